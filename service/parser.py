"""h11 with a bound on the work of one turn, on the number of headers, and with request lines that name a host."""

from __future__ import annotations

from typing import Any, Literal

import h11

TURN = 64  # events: a read of 256 KiB may hold forty thousand chunks of one byte


class Parser(h11.Connection):
    """The server's side of a connection.

    `turn` allows TURN further events; `more` says that there may be others in what was received. `begun` says that a
    part of a head has come. After RemoteProtocolError, `fault` is the status that says what was wrong.
    """

    def __init__(self, head_bytes: int, headers: int) -> None:
        super().__init__(h11.SERVER, head_bytes)
        self._head_bytes, self._headers, self._left = head_bytes, headers, TURN
        self.more = False
        self.fault: Literal[400, 431] = 400

    @property
    def begun(self) -> bool:
        return self.their_state is h11.IDLE and bool(self.trailing_data[0])

    def turn(self) -> None:
        self._left, self.more = TURN, False

    def next_event(self) -> Any:
        """The next event, NEED_DATA also where the turn is over; raises h11.RemoteProtocolError."""
        if not self._left:
            self.more = True
            return h11.NEED_DATA
        self._left -= 1
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as e:
            self.fault = 431 if e.error_status_hint == 431 else 400
            raise
        return self._read(event) if isinstance(event, h11.Request) else event

    def _read(self, request: h11.Request) -> h11.Request:
        fields = request.headers.raw_items()
        if len(fields) > self._headers or sum(len(k) + len(v) for k, v in fields) > self._head_bytes:
            self.fault = 431
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        scheme, mark, rest = request.target.partition(b"://")
        if request.target[:1] == b"/" or not mark or scheme.lower() not in (b"http", b"https"):
            return request
        # RFC 9112, 3.2.2: a server must accept the absolute form, and its host stands above the header's
        end = min((at for sign in (b"/", b"?") if (at := rest.find(sign)) >= 0), default=len(rest))
        host, path = rest[:end].rpartition(b"@")[2], rest[end:]
        target = path if path[:1] == b"/" else b"/" + path
        headers = [(b"Host", host), *((k, v) for k, v in fields if k.lower() != b"host")]
        return h11.Request(method=request.method, target=target, headers=headers, http_version=request.http_version)
