"""The client's calls answered in this process: the same pipeline, checks and errors, and no network."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from typing_extensions import Self

from laconic.client.calls import Calls, again
from laconic.client.core import Core, Lost, Reply, Rules, Send
from laconic.client.wire import BatchAnswer, CompressAnswer, ErrorAnswer
from laconic.compressors import Compressor
from laconic.models import Work

from .bodies import compress_body, encode_body, expand_body
from .encode import encode, expanded, package
from .errors import describe
from .handle import answer, answer_line
from .keys import ANYONE
from .opening import make_compressor
from .routes import model_rows, recipes
from .settings import load

URL = "http://in.process"  # goes nowhere: requests have one, so that all that reads them is shared


class LocalClient(Calls):
    """Client's methods without a service, and `acompress` for event loops: what adapters take as their `backend`.

    Settings are the service's, from `settings`, `LACONIC_*` variables or `laconic.toml`; `compressor` takes the place
    of the one they describe. May be shared by threads. A context manager; or `close` it.
    """

    def __init__(
        self, compressor: Compressor | None = None, *, timeout: float = 30.0, fail_open: bool = False, **settings: Any
    ) -> None:
        self.core = Core(url=URL, rules=Rules(timeout=timeout, retries=0, fail_open=fail_open))
        self._own = compressor is None
        self._made = {"timeout": timeout, "fail_open": fail_open, **settings}
        self._compressor = compressor or make_compressor(load(**settings))

    async def acompress(self, *given: Any, **options: Any) -> CompressAnswer:
        """`compress`, off the event loop."""
        return await asyncio.to_thread(self.compress, *given, **options)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Copies and pickles are made anew, of the same settings; raises TypeError over a compressor of your own."""
        if not self._own:
            raise TypeError("a LocalClient over a compressor of your own cannot be copied: make it where it is used")
        return again, (type(self), self._made)

    def close(self) -> None:
        """End the lanes of the models it opened; a compressor of your own stays open."""
        if self._own:
            self._compressor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, step: Send) -> Reply | Lost:
        return copy_context().run(self._answer, step)  # whose work it is stays inside

    def _answer(self, step: Send) -> Reply:
        ident = step.headers["x-request-id"]
        work = Work(key=ANYONE.name, deadline=time.monotonic() + step.seconds)
        try:
            content = ROUTES[step.url.removeprefix(URL)](self._compressor, step.content or b"", ident, work)
        except Exception as e:  # described, as the service does
            status, detail = describe(e, ident)
            return Reply(status=status, headers={}, content=dumped(ErrorAnswer(error=detail)))
        return Reply(status=200, headers={}, content=content)


def dumped(found: CompressAnswer | BatchAnswer | ErrorAnswer) -> bytes:
    return found.model_dump_json(exclude_none=True, by_alias=True).encode()


def compress(compressor: Compressor, content: bytes, ident: str, work: Work) -> bytes:
    return dumped(answer(compressor, compress_body(content), ident, work))


def batch(compressor: Compressor, content: bytes, ident: str, work: Work) -> bytes:
    each = enumerate(content.splitlines())
    return b"".join(dumped(answer_line(compressor, n, x, f"{ident}-{n}", work)) + b"\n" for n, x in each)


def soft(compressor: Compressor, content: bytes, ident: str, work: Work) -> bytes:
    made, _ = package(encode(compressor, encode_body(content), ident, work))
    return made if isinstance(made, bytes) else made.encode()


def expand(compressor: Compressor, content: bytes, ident: str, work: Work) -> bytes:
    return expanded(compressor, expand_body(content), ANYONE.name).model_dump_json().encode()


def ready(compressor: Compressor, content: bytes, ident: str, work: Work) -> bytes:
    compressor.warm()
    return b""


ROUTES: dict[str, Callable[[Compressor, bytes, str, Work], bytes]] = {
    "/v1/compress": compress,
    "/v1/compress/batch": batch,
    "/v1/encode": soft,
    "/v1/expand": expand,
    "/v1/models": lambda compressor, *_: json.dumps({"models": model_rows(compressor)}).encode(),
    "/v1/recipes": lambda *_: json.dumps(recipes()).encode(),
    "/readyz": ready,
}
