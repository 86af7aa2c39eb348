"""The store of a service: memory in front of Redis, keys that name a tenant, values sealed to their keys."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from laconic.compressors import codec
from laconic.compressors.flight import Flights
from laconic.models import current

from .lru import Lru
from .remote import Remote
from .secret import find_secret

if TYPE_CHECKING:
    from laconic.service.settings import Settings

log = logging.getLogger("laconic.cache")
SCHEMA = 1
SHARED = "shared"


class Tiers:
    """`{prefix}:v{schema}:{namespace}:{kind}:{digest}`: a namespace is a tenant's, unless all share one."""

    def __init__(
        self,
        lru: Lru,
        remote: Remote | None = None,
        *,
        prefix: str = "laconic",
        secret: bytes = b"",
        shared: bool = False,
    ) -> None:
        self.lru, self.remote, self.prefix, self.shared = lru, remote, prefix, shared
        # two keys from one secret: what names a tenant must not also seal a value
        self._names, self._seals = (
            hashlib.blake2b(secret, person=p, digest_size=32).digest() for p in (b"name", b"seal")
        )
        self._namespace = lru_cache(1024)(self._hashed)
        self.flights: Flights[Any] = Flights()
        self.emptied = 0
        self.lookups: Counter[tuple[str, str]] = Counter()

    def namespace(self, tenant: str) -> str:
        """HMAC of the tenant's name: whoever reads Redis' keys learns nothing, and nobody can guess another's."""
        return SHARED if self.shared else self._namespace(tenant)

    def _hashed(self, tenant: str) -> str:
        return hmac.new(self._names, tenant.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:24]

    def key(self, kind: str, digest: bytes) -> bytes:
        work = current.get()
        namespace = self.namespace(work.key if work else "")
        return f"{self.prefix}:v{SCHEMA}:{namespace}:{kind}:{digest.hex()}".encode()

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        out = self.lru.get(keys)
        missing = [i for i, value in enumerate(out) if value is None]
        self._count("l1", len(keys) - len(missing), len(missing))
        if self.remote is None or not missing:
            return out
        fetched = {}
        for i, sealed in zip(missing, self.remote.get([keys[i] for i in missing]), strict=True):
            if sealed is None:
                continue
            out[i] = codec.unseal(keys[i], sealed, self._seals)
            if (value := out[i]) is None:
                self.lookups["l2", "corrupt"] += 1
                self.remote.drop(keys[i])
            else:
                fetched[keys[i]] = value
        self.lru.put(fetched)
        self._count("l2", len(fetched), len(missing) - len(fetched))
        return out

    def put(self, values: Mapping[bytes, bytes]) -> None:
        self.lru.put(values)
        if self.remote is not None:
            self.remote.put({key: codec.seal(key, value, self._seals) for key, value in values.items()})

    def drop(self, key: bytes) -> None:
        self.lookups["l2", "corrupt"] += 1
        self.lru.drop(key)
        if self.remote is not None:
            self.remote.drop(key)

    async def flush(self, tenant: str | None = None) -> dict[str, int | None]:
        """Forget a tenant's values, or all; how many each tier held. Redis' figure is None where it does not answer."""
        self.emptied += 1
        own = f"{self.prefix}:v{SCHEMA}:" + (f"{self.namespace(tenant)}:" if tenant is not None else "")
        gone: dict[str, int | None] = {"l1": self.lru.clear(own.encode())}
        if self.remote is not None:
            try:
                gone["l2"] = await self.remote.flush(f"{glob(own)}*")
            except Exception as e:
                log.warning("redis flush: %s", self.remote.told(e))
                gone["l2"] = None
        return gone

    def stats(self) -> dict[str, Any]:
        """Figures for people and for /v1/cache."""
        l2 = self.remote and {
            "state": ("closed", "half_open", "open")[self.remote.breaker.state],
            "reason": self.remote.reason,
            "errors": self.remote.errors,
            "written": self.remote.written,
            "dropped": self.remote.dropped,
        }
        return {
            "l1": {"entries": len(self.lru), "bytes": self.lru.held, "limit": self.lru.limit},
            "l2": l2,
            "lookups": {f"{tier}_{result}": n for (tier, result), n in sorted(self.lookups.items())},
            "joined": self.flights.joined,
            "shared": self.shared,
        }

    def close(self) -> None:
        if self.remote is not None:
            self.remote.close()

    def _count(self, tier: str, hits: int, misses: int) -> None:
        self.lookups[tier, "hit"] += hits
        self.lookups[tier, "miss"] += misses


def glob(text: str) -> str:
    """`text` with what Redis' patterns treat as special escaped."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)


def open_store(settings: Settings, *, patient: bool = False) -> Tiers | None:
    """The store the settings ask for; None where caching is off. A `patient` one waits for Redis if need be."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else None
    if not settings.cache_bytes and not url:
        return None
    remote = Remote(url, settings.cache_ttl_seconds, settings.cache_prefix, patient=patient) if url else None
    secret = find_secret(settings.cache_secret_file) if remote else b""
    return Tiers(
        Lru(settings.cache_bytes),
        remote,
        prefix=settings.cache_prefix,
        secret=secret,
        shared=settings.cache_shared,
    )
