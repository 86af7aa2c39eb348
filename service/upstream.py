"""Who chats are passed on to: one client for all callers, so nothing of one caller may stay in it for the next."""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import httpx
from starlette.requests import Request

from laconic.compressors import LaconicError

from .admission import Overloaded
from .errors import request_id

if TYPE_CHECKING:
    from .settings import Settings

log = logging.getLogger("laconic")
TIMEOUT = httpx.Timeout(600, connect=10, pool=10)  # language models take their time between two bytes
IDLE = 100  # connections kept for the next chat
AGAIN = 1.0  # seconds until a chat that found no room may try once more
HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
ASKED = HOP | {"content-length", "cookie", "expect", "host", "proxy-authorization", "x-request-id"}  # not passed on
# beside a key of the operator's nothing else goes up that could be one: what a caller may say of its own
SAID = {
    *("accept", "accept-encoding", "accept-language", "content-encoding", "content-type", "user-agent"),
    *("anthropic-beta", "anthropic-version", "http-referer", "idempotency-key", "openai-beta", "x-title"),
    *("traceparent", "tracestate"),
}
SAID_BEGIN = "x-stainless-"  # what OpenAI's clients tell of themselves
QUERY = {"api-version"}
CONNECTION_BOUND = ("ntlm", "negotiate")  # who is let in so is let in with the connection, and others use it next


class UpstreamAway(LaconicError):
    """The upstream cannot be reached, or broke off before it answered."""

    code, status = "upstream_unreachable", 502


class UpstreamOdd(LaconicError):
    """The upstream answered what cannot be passed on."""

    code, status = "upstream_invalid", 502


class UpstreamLate(LaconicError):
    """The upstream did not answer in time."""

    code, status = "upstream_timeout", 504


class Room:
    """Chats under way, counted by key: a key may hold as many as are still free, so that none can take them all."""

    def __init__(self, most: int, shared: bool) -> None:
        self.most, self.shared = most, shared
        self.held: Counter[str] = Counter()

    @contextmanager
    def taken(self, key: str) -> Iterator[None]:
        """One chat's place; raises Overloaded where there is none for this key."""
        free = self.most - self.held.total()
        if free <= 0 or (self.shared and self.held[key] >= free):
            whose = "of this key " if free > 0 else ""
            raise Overloaded(f"as many chats {whose}are under way as may be: see --upstream-chats", AGAIN)
        self.held[key] += 1
        try:
            yield
        finally:
            self.held[key] -= 1
            if not self.held[key]:
                del self.held[key]


class Upstream:
    """In whose name chats go up: its own key's, or the caller's where that is not a key of ours."""

    def __init__(self, settings: Settings) -> None:
        parts = urlsplit(settings.upstream_url or "")
        account, _, place = parts.netloc.rpartition("@")
        self.url = f"{parts._replace(netloc=place).geturl().rstrip('/')}/chat/completions"
        self.authorization: str | None = None  # the operator's
        if account:
            self.authorization = f"Basic {base64.b64encode(unquote(account).encode()).decode()}"
        if settings.upstream_key_file:
            self.authorization = f"Bearer {settings.upstream_key_file.read_text(encoding='utf-8').strip()}"
        self.hides = settings.api_keys_file is not None  # a caller's key is one of ours, and nobody else's business
        self.room = Room(settings.upstream_chats, shared=settings.api_keys_file is not None)
        limits = httpx.Limits(max_connections=settings.upstream_chats, max_keepalive_connections=IDLE)
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # takes none: a cookie would be the next caller's
        self.client = httpx.AsyncClient(timeout=TIMEOUT, limits=limits, cookies=jar, follow_redirects=False)

    def request(self, request: Request, body: bytes) -> httpx.Request:
        """The caller's request, with another body and without what is between the two of us."""
        named = {n.strip().lower() for n in request.headers.get("connection", "").split(",")}
        given = [(k, v) for k, v in request.headers.raw if (n := k.decode("latin-1")) not in named and self._passes(n)]
        headers = httpx.Headers(given)
        if headers.get("authorization", "").partition(" ")[0].lower() in CONNECTION_BOUND:
            del headers["authorization"]
        headers.setdefault("accept-encoding", "identity")  # what the caller can read, not what this client could
        headers["x-request-id"] = request_id(request)
        query = request.url.query
        if self.authorization:
            headers["authorization"] = self.authorization
            query = urlencode([(k, v) for k, v in parse_qsl(query) if k in QUERY])
        url = f"{self.url}?{query}" if query else self.url
        return self.client.build_request("POST", url, content=body, headers=headers)

    def _passes(self, name: str) -> bool:
        """Whether a header of the caller's goes up."""
        if name in ASKED:
            return False
        if self.authorization:
            return name in SAID or name.startswith(SAID_BEGIN)
        return name != "authorization" or not self.hides

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The answer's head; raises UpstreamAway, UpstreamOdd or UpstreamLate."""
        try:
            answer = await self.client.send(request, stream=True)
        except (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError) as e:
            raise UpstreamAway(f"the upstream cannot be reached: {type(e).__name__}") from None
        except httpx.TimeoutException:
            raise UpstreamLate(f"the upstream has not answered within {TIMEOUT.read:g} s") from None
        except httpx.HTTPError as e:
            raise UpstreamAway(f"the upstream broke off: {type(e).__name__}") from None
        if not 200 <= answer.status_code <= 599:
            await answer.aclose()
            raise UpstreamOdd(f"the upstream answered {answer.status_code}, which is no status of HTTP")
        return answer
