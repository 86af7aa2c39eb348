"""API keys: a TOML file of hashes, read again when it changes; constant-time comparison; scopes and rates per key.

[[key]]
name = "team-a"
sha256 = "9f86d081884c7d65..."      # of the key itself; `laconic key team-a` makes one
scopes = ["compress"]               # and "chat" (spends the upstream's key), "admin"
tokens_per_second = 5000            # optional
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from laconic.compressors import LaconicError

from .admission import Overloaded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger("laconic")
Scope = Literal["compress", "chat", "admin"]
SCOPES: tuple[str, ...] = get_args(Scope)
BURST = 10.0  # seconds of its rate a key may use at once
LOOK = 2.0  # seconds between looks at the file


class Unauthorized(LaconicError):
    """No key, or one this service does not know."""

    code, status = "unauthorized", 401


class Forbidden(LaconicError):
    """The key is known and may not do this."""

    code, status = "forbidden", 403


class Key(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: list[Scope] = ["compress"]
    tokens_per_second: Annotated[float, Field(gt=0)] = math.inf


class KeyFile(BaseModel):
    """The whole file; names are unique."""

    model_config = ConfigDict(extra="forbid")

    key: list[Key] = []


class KeysError(ValueError):
    """A key file that cannot be used; the message names the entry and never repeats a value."""


def read(path: Path) -> list[Key]:
    """Parse the file; raises KeysError."""
    try:
        found = KeyFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).key
    except OSError as e:
        raise KeysError(f"{path}: {e.strerror}") from None
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        raise KeysError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError:
        raise KeysError(f"{path}: not TOML in UTF-8") from None
    if len({k.name for k in found}) != len(found):
        raise KeysError(f"{path}: two keys have the same name")
    if len({k.sha256 for k in found}) != len(found):  # whose scopes would hold?
        raise KeysError(f"{path}: two names have the same key")
    return found


ANYONE = Key(name="anonymous", sha256="0" * 64, scopes=["compress", "chat"])


class Keys:
    """The keys of a file, or anyone where there is none, who is admin if `opens_admin`.

    A file that turns unreadable leaves the last good keys.
    """

    def __init__(
        self, path: Path | None, clock: Callable[[], float] = time.monotonic, *, opens_admin: bool = False
    ) -> None:
        self.path, self._clock, self.opens_admin = path, clock, opens_admin
        self._keys = read(path) if path else []
        self._stamp, self._looked = self._mark(), clock()
        self._owed: dict[str, tuple[float, float]] = {}  # name -> (tokens used up, when)

    def check(self, header: str | None, scope: Scope | None) -> Key:
        """The key of an `Authorization` header, which must have the scope if one is named.

        Raises Unauthorized or Forbidden.
        """
        if self.path is None:
            if scope == "admin" and not self.opens_admin:
                raise Forbidden("without API keys nobody is admin here: see --api-keys-file and --admin-without-keys")
            return ANYONE
        self._look()
        word, _, given = (header or "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).hexdigest()
        found: Key | None = None
        for key in self._keys:  # all of them, whatever has matched: time tells nothing
            if hmac.compare_digest(key.sha256, digest) and word.lower() == "bearer":
                found = key
        if found is None:
            raise Unauthorized("send Authorization: Bearer <key>" if not header else "this key is not known")
        if scope is not None and scope not in found.scopes:
            raise Forbidden(f"this key lacks the scope {scope}")
        return found

    def spend(self, key: Key, tokens: float) -> None:
        """Charge tokens to a key; what is owed beyond its burst must run off before its next request."""
        if not math.isinf(key.tokens_per_second):
            self._owed[key.name] = (self._debt(key) + tokens, self._clock())

    def allow(self, key: Key) -> None:
        """Raises Overloaded while a key owes more than its burst."""
        if math.isinf(key.tokens_per_second):
            return
        late = self._debt(key) / key.tokens_per_second - BURST
        if late > 0:
            raise Overloaded(f"this key may use {key.tokens_per_second:g} tokens per second", late)

    def _debt(self, key: Key) -> float:
        owed, when = self._owed.get(key.name, (0.0, 0.0))
        return max(0.0, owed - (self._clock() - when) * key.tokens_per_second)

    def _mark(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat() if self.path else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size) if stat else None

    def reload(self) -> None:
        """Read the file again now, changed or not; one that cannot be used leaves the last good keys."""
        if self.path is None:
            return
        self._looked, self._stamp = self._clock(), self._mark()
        try:
            self._keys = read(self.path)
            log.info("read %d API keys", len(self._keys))
        except KeysError as e:
            log.error("the last good keys stay: %s", e)

    def _look(self) -> None:
        now = self._clock()
        if self.path is None or now - self._looked < LOOK:
            return
        self._looked = now
        if self._mark() != self._stamp:
            self.reload()


def new(name: str, scopes: Sequence[str] = ("compress",)) -> tuple[str, str]:
    """A fresh key and the lines that admit it to its scopes; raises ValueError for a name that cannot be one."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError("a key's name has 1 to 64 letters, digits, dots, dashes or underscores")
    key = f"lac_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key, f'[[key]]\nname = "{name}"\nsha256 = "{digest}"\nscopes = {json.dumps([*scopes])}\n'
