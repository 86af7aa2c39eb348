"""Requests and answers without I/O: what is sent, when it is sent again, what an answer means.

Every call is a script: a generator that yields what is to be done (`Send` or `Pause`), is sent what came of it, and
returns the answer. A shell (see `client`) plays it, with or without an event loop.
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from .bodies import Given, dumped, encode_request, made, request, untouched
from .errors import DeadlineExceeded, LaconicError, ServiceFailure, Unavailable, of_answer, of_validation, told
from .pages import Row, answers, joined, refused
from .wire import BatchAnswer, CompressAnswer, CompressRequest

if TYPE_CHECKING:
    from .latents import Latents
    from .wire_latents import EncodeRequest

log = logging.getLogger("laconic.client")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
MARK = "laconic-"  # how ids begin that clients give their requests: nobody on the way makes such
AGAIN = {408, 429, 502, 503, 504}  # statuses after which the same request may be answered


@dataclass(frozen=True, kw_only=True)
class Send:
    """To be sent, and answered within `seconds`."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Pause:
    """To be waited for."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back; header names are looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Lost:
    """No answer came, and why; `late` where the time was up."""

    reason: str
    late: bool = False


Script = Generator[Send | Pause, Reply | Lost | None, T]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How long a call may take in all, and what is done about failures; `jitter` gives numbers in [0, 1)."""

    timeout: float = 30.0
    retries: int = 4
    least: float = 0.1  # seconds of the first pause where the service names none, doubled each time
    most: float = 5.0  # seconds of the longest such pause
    fail_open: bool = False
    jitter: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if not 0 < self.timeout < math.inf or self.retries < 0:
            raise ValueError("timeout is a positive number of seconds, retries at least 0")

    def pause(self, attempt: int, told: float | None) -> float:
        """Seconds before attempt `attempt` + 1: never less than told, and not the same for all who were told so."""
        if told is not None:
            return told * (1 + self.jitter() / 10)
        return min(self.most, self.least * 2.0**attempt) * (1 + self.jitter()) / 2


@dataclass(frozen=True, kw_only=True)
class Ask(Generic[T]):
    """One call: `content` writes the body, told the seconds that are left; `read` makes the answer's value."""

    path: str
    read: Callable[[bytes], T]
    content: Callable[[float], bytes] | None = None
    kind: str = "application/json"
    retried: bool = True


@dataclass(frozen=True, kw_only=True)
class Health:
    """Whether the service takes work now, and what it says if not."""

    ready: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Core:
    """One service as a client knows it: where it is, the key for it, and the rules."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url begins with http:// or https://")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("api_key has characters that no header can carry")

    def compress(
        self,
        given: Given | None,
        query: str | None,
        options: Mapping[str, Any],
        timeout: float | None,
        fail_open: bool | None,
    ) -> Script[CompressAnswer]:
        """Raises LaconicError; where it is to fail open, ServiceFailure turns into an answer made of the input."""
        body = request(given, query, options)
        ask = Ask(path="/v1/compress", content=timed(body), read=reading(CompressAnswer))
        try:
            return (yield from self.exchange(ask, timeout))
        except ServiceFailure as e:
            if not self.opens(fail_open):
                raise
            log.warning("failed open, the input stays as it is: %s", e.message, extra={"request_id": e.request_id})
            return untouched(body, e)

    def page(self, rows: list[Row], timeout: float | None, fail_open: bool | None) -> Script[list[BatchAnswer]]:
        """An answer for each row; in all within `timeout` for each of them."""
        opens, sent = self.opens(fail_open), [r for r in rows if r.error is None]
        found: list[BatchAnswer] = []
        if sent:
            seconds = (self.rules.timeout if timeout is None else timeout) * len(sent)
            content = b"".join(r.line for r in sent)
            ask = Ask(
                path="/v1/compress/batch",
                content=lambda _: content,
                kind="application/x-ndjson",
                read=lambda c: answers(c, len(sent)),
            )
            try:
                found = yield from self.exchange(ask, seconds)
            except ServiceFailure as e:
                if not opens:
                    raise
                log.warning("failed open, %d inputs stay as they are: %s", len(sent), e.message)
                found = [refused(r.index, e) for r in sent]
        return joined(rows, found, opens)

    def encode(self, given: Given | None, options: Mapping[str, Any], timeout: float | None) -> Script[Latents]:
        """The answer's file, read."""
        ask = Ask(path="/v1/encode", content=timed(encode_request(given, options)), read=latents)
        return (yield from self.exchange(ask, timeout))

    def expand(self, ids: Iterable[str]) -> Script[dict[str, str | None]]:
        """Texts by the segments' names, None for those no longer kept."""
        from .wire_latents import ExpandAnswer, ExpandRequest

        body = dumped(made(ExpandRequest, {"ids": list(ids)}))
        ask = Ask(path="/v1/expand", content=lambda _: body, read=reading(ExpandAnswer))
        answer = yield from self.exchange(ask)
        return {s.id: s.text for s in answer.segments}

    def rows(self, name: str) -> Script[list[dict[str, Any]]]:
        """A table of the service: its models or its recipes."""
        found: list[dict[str, Any]]
        found = yield from self.exchange(Ask(path=f"/v1/{name}", read=lambda c: list(json.loads(c)[name])))
        return found

    def health(self, timeout: float | None) -> Script[Health]:
        """One look, no retries; raises nothing but what the caller must mend."""
        try:
            yield from self.exchange(Ask(path="/readyz", read=bytes, retried=False), timeout)
        except ServiceFailure as e:
            return Health(ready=False, reason=e.message)
        return Health(ready=True)

    def opens(self, asked: bool | None) -> bool:
        return self.rules.fail_open if asked is None else asked

    def exchange(self, ask: Ask[T], timeout: float | None = None) -> Script[T]:
        """Ask until there is an answer, a failure that will not pass, or no time; raises LaconicError."""
        rules, ident, attempt = self.rules, MARK + os.urandom(16).hex(), 0
        if timeout is not None and not 0 < timeout < math.inf:
            raise ValueError("timeout is a positive number of seconds")
        end = rules.clock() + (timeout or rules.timeout)
        failure: LaconicError | None = None
        while (left := end - rules.clock()) > 0:
            reply = yield (sent := self._sending(ask, ident, left))
            if isinstance(reply, Reply) and (other := foreign(sent, reply.headers)):
                message = f"the answer is to another request, {other}: was a connection shared with another process?"
                raise ServiceFailure(message, status=reply.status, code="foreign_answer", request_id=ident)
            if isinstance(reply, Reply) and 200 <= reply.status < 300:
                return understood(ask, reply, ident)
            before, failure = failure, failed(reply, ident, rules.clock() >= end)
            if not ask.retried or attempt >= rules.retries or not passing(failure):
                raise failure from before
            pause = rules.pause(attempt, failure.retry_after)
            if pause >= end - rules.clock():
                raise failure  # coming back would be too late
            yield Pause(seconds=pause)
            attempt += 1
        raise failure or DeadlineExceeded("no time was left to ask", code="deadline_exceeded", request_id=ident)

    def _sending(self, ask: Ask[Any], ident: str, left: float) -> Send:
        headers = {"user-agent": "laconic-client", "x-request-id": ident}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        if ask.content is None:
            return Send(method="GET", url=self.url + ask.path, headers=headers, content=None, seconds=left)
        headers["content-type"] = ask.kind
        return Send(method="POST", url=self.url + ask.path, headers=headers, content=ask.content(left), seconds=left)


def timed(body: CompressRequest | EncodeRequest) -> Callable[[float], bytes]:
    """Writes a body with the time that is left in it, less what a refusal needs to come back."""

    def content(left: float) -> bytes:
        ms = max(1, min(600_000, int(1000 * (left - min(0.1, left / 10)))))
        return dumped(body.model_copy(update={"timeout_ms": ms}))

    return content


def reading(model: type[M]) -> Callable[[bytes], M]:
    """A newer service may say more than this client knows of."""
    return lambda content: model.model_validate_json(content, extra="ignore")


def latents(content: bytes) -> Latents:
    from .latents import read_safetensors

    return read_safetensors(content)


def foreign(sent: Send, headers: Mapping[str, str]) -> str | None:
    """The request that an answer belongs to, where that is another's than the one sent.

    The service answers under the id it was given. Proxies replace ids or drop them; but an id with a client's mark
    that is not this one was sent by somebody else. Answers to GET are anybody's, and may come from a cache.
    """
    given = [i.strip() for i in headers.get("x-request-id", "").split(",")]
    if sent.method == "GET" or sent.headers["x-request-id"] in given:
        return None
    return next((i for i in given if i.startswith(MARK)), None)


def understood(ask: Ask[T], reply: Reply, ident: str) -> T:
    try:
        return ask.read(reply.content)
    except (LookupError, TypeError, ValueError) as e:
        reason = of_validation(e).message if isinstance(e, ValidationError) else str(e)
        message = f"the answer to {ask.path} cannot be read: {reason}"
        raise ServiceFailure(message, status=reply.status, code="unreadable_answer", request_id=ident) from None


def failed(reply: Reply | Lost | None, ident: str, late: bool) -> LaconicError:
    """What an attempt that has no answer came to."""
    if isinstance(reply, Reply):
        named = reply.headers.get("x-request-id", ident)
        return of_answer(reply.status, reply.content, named, told(reply.headers))
    if late or (reply is not None and reply.late):
        return DeadlineExceeded("no answer came in time", code="deadline_exceeded", request_id=ident)
    reason = reply.reason if reply is not None else "nothing was sent"
    return Unavailable(f"the service cannot be reached: {reason}", code="unreachable", request_id=ident)


def passing(error: LaconicError) -> bool:
    """Whether the same request may be answered later; the service's own word that it is too late is final."""
    if isinstance(error, DeadlineExceeded) and error.code == "deadline_exceeded":
        return False
    return error.status in AGAIN if error.status is not None else isinstance(error, Unavailable)
