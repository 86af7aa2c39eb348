"""Clients of Redis as people run it, from a URL: one server, a socket, Sentinels, a cluster; with TLS and options."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

# seconds to connect and for one answer, at most; more with TLS, and of Sentinels, which are asked once a connection:
# who reads waits for none of it, and a connection that is given up half-way must begin anew
CONNECT, TLS, ANSWER, SENTINEL = 0.1, 1.0, 0.2, 0.5
SHOWN = 200  # characters of an error's text
NO = ("", "0", "f", "false", "n", "no")  # what redis-py takes for no


def connect(url: str, seconds: float) -> Any:
    """A client of `redis[s]://`, `unix://`, `redis[s]+cluster://` or `redis[s]+sentinel://HOST,HOST/MASTER/DB`.

    User and password stand in the URL, redis-py's options in its query; `sentinel_username`, `sentinel_password` and
    `sentinel_ssl` are the Sentinels' own. Raises ValueError, TypeError or RedisError for what cannot be a client.
    """
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    # one short try: the breaker, not the client, decides what to do about a failure
    connecting, answering = (TLS, max(seconds, ANSWER)) if base == "rediss" else (max(CONNECT, seconds / 2), seconds)
    common: dict[str, Any] = {"socket_connect_timeout": connecting, "socket_timeout": answering}
    # RESP 2: old servers and most proxies know no HELLO, and nothing here needs more
    common |= {"socket_keepalive": True, "protocol": 2}
    plain = {**common, "retry": Retry(NoBackoff(), 0), "health_check_interval": 0}
    if kind == "cluster":
        return RedisCluster.from_url(f"{base}://{rest}", **common)
    if kind == "sentinel":
        return _sentinel(base, rest, plain)
    if base == "unix":  # a socket of this machine has no keep-alive, and redis-py refuses one
        plain.pop("socket_keepalive")
    made: Any = Redis.from_url(url, **plain)
    made.connection_pool.make_connection()  # an option that no connection knows is found here, not by the first read
    return made


def _sentinel(base: str, rest: str, plain: dict[str, Any]) -> Any:
    rest, _, query = rest.partition("?")
    account, _, place = rest.rpartition("@")
    hosts, _, path = place.partition("/")
    master, _, db = path.partition("/")
    user, _, password = account.partition(":")
    nodes = [(s.hostname or "", s.port or 26379) for s in (urlsplit(f"//{h}") for h in hosts.split(","))]
    options: dict[str, Any] = dict(parse_url(f"{base}://unused?{query}"))
    for name in ("host", "connection_class"):
        options.pop(name, None)
    tls = base == "rediss"
    own = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password", "ssl")}
    theirs = {k: v for k, v in options.items() if k not in ("username", "password", "db", "client_name")}
    watched = tls and str("yes" if own["ssl"] is None else own["ssl"]).lower() not in NO
    if not watched:
        theirs = {k: v for k, v in theirs.items() if not k.startswith("ssl")}
    theirs = {**plain, "socket_timeout": max(plain["socket_timeout"], SENTINEL), **theirs}
    theirs |= {"username": own["username"], "password": own["password"], "ssl": watched}
    known = {"username": unquote(user) or None, "password": unquote(password) or None, "db": int(db or 0), "ssl": tls}
    sentinel: Any = Sentinel(nodes, sentinel_kwargs=theirs)  # type: ignore[no-untyped-call]
    made = sentinel.master_for(master or "mymaster", **{**plain, **known, **options})
    for client in (made, *sentinel.sentinels):
        client.connection_pool.make_connection()
    return made


def secrets_in(url: str) -> set[str]:
    """What of a URL must not be shown: user names' and options' passwords, as written and as meant."""
    account = url.partition("://")[2].partition("?")[0].rpartition("@")[0]
    found = {account.partition(":")[2], *re.findall(r"[?&][^=&]*password=([^&]+)", url)}
    return {s for secret in found for s in (secret, unquote(secret)) if s}


def told(error: BaseException, secrets: set[str]) -> str:
    """An error in one short line, without the secrets: old servers repeat the password in what they say."""
    text = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text, before = text.replace("<REDACTED>", "***"), ""
    while text != before:  # clients print themselves, one inside the other, before the reason
        text, before = re.sub(r"<[A-Za-z_][^<>]*>", "client", text), text
    return text[:SHOWN]
