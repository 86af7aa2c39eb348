"""The secret that seals what a service leaves in Redis; see docs/adr/0026-a-secret-for-redis.md."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import tempfile
from pathlib import Path

from laconic.service.settings import state_folder

log = logging.getLogger("laconic.cache")
ASK = "give all that share this Redis one --cache-secret-file (openssl rand -hex 32 makes it)"


def find_secret(given: Path | None) -> bytes:
    """What the file holds; without one, this account's own on this machine, made if need be, and a warning."""
    if given is not None:
        return given.read_bytes().strip()
    path = own_file()
    try:
        secret = keep(path)
    except OSError as e:
        log.warning(
            "no --cache-secret-file, and none can be kept in %s (%s): values in Redis are sealed with a secret of this "
            "process, which no other process and no later one can read; %s",
            path.parent,
            e.strerror or "what is there is not one",
            ASK,
        )
        return secrets.token_bytes(32)
    log.warning(
        "no --cache-secret-file: values in Redis are sealed with %s, which other machines have not; %s", path, ASK
    )
    return secret


def own_file() -> Path:
    """Where this account keeps its secret."""
    return state_folder() / "cache-secret"


def keep(path: Path) -> bytes:
    """The secret in the file, which is made whole and readable for its owner only; raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return held(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, made = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
        with contextlib.suppress(FileExistsError):  # another process was first: its secret is the secret
            os.link(made, path)
    finally:
        Path(made).unlink()
    return held(path)


def held(path: Path) -> bytes:
    """A secret that nobody else can have read or written; raises OSError."""
    stat = path.stat()
    if stat.st_mode & 0o077 or stat.st_uid != os.geteuid():
        raise PermissionError(1, f"{path.name} is not its owner's alone")
    if not (secret := path.read_bytes().strip()):
        raise OSError
    return secret
