"""One connection: uvicorn's h11 protocol with limits of its own on what a client may withhold.

A request's head must be complete within `head_seconds`. After that a client has credit: `stall_seconds` at most, used
up while it owes us a part of its body or leaves what we answered untaken, earned by RATE bytes a second either way.
Batches are paced by their clients: there every byte restores `batch_idle_seconds`.
"""

from __future__ import annotations

import asyncio
import http
import json
import socket
import struct
from typing import Any, Literal

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from .parser import Parser

RATE = 1000.0  # bytes a second: who is slower uses up its credit
LOOK = 1.0  # seconds between looks at a connection that keeps us waiting
PACED = "/v1/compress/batch"  # end of the paths whose clients take as long as they like
SAYS = {
    400: ("invalid_http", "this is not HTTP/1.1"),
    408: ("request_timeout", "the request did not arrive in time"),
    431: ("headers_too_large", "the request's head has too many headers or too many bytes"),
}


class Flow(FlowControl):
    """Reading goes on only when what has been read is parsed."""

    connection: Connection

    def resume_reading(self) -> None:
        if self.connection.behind:
            self.read_paused = False
        else:
            super().resume_reading()


class Connection(H11Protocol):
    """Closes itself when its client keeps it waiting; uvicorn's in all else."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.bounds, self.crowd = config.bounds, config.crowd
        self.conn = self.parser = Parser(self.bounds.head_bytes, self.bounds.headers)
        self._app: Any = self.app
        self.app: Any = self._run
        self.behind = False  # more was read than has been parsed
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0  # when the head that is awaited was
        self._credit = self.bounds.stall_seconds
        self._looked = 0.0
        self._received = self._sent = 0  # bytes since the last look
        self._untaken = 0  # bytes that the client had not taken then

    # what asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        self.flow.connection = self
        self.crowd.came(self, transport)
        self._began = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.crowd.left(self)
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self.behind:
            self.parser.receive_data(data)
            return
        if self.cycle is not None and self._is_idle() and not self.parser.begun:
            self._began = self.loop.time()
        super().data_received(data)
        if self._timer is None:
            self._watch()

    # what uvicorn calls

    def handle_events(self) -> None:
        """Handle some events; what is left over has its turn after everybody else's."""
        self.parser.turn()
        super().handle_events()
        self.behind = self.parser.more and not self.transport.is_closing()
        if self.behind:
            self.transport.pause_reading()
            self.loop.call_soon(self._go_on)
        if self.cycle is not None and not self.cycle.response_complete:
            self.crowd.works(self, withheld=self.cycle.more_body, paced=self._is_paced())

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # the next request has not begun
            self._began = self.loop.time()
            self.crowd.waits(self)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self.parser.fault)

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: an upgrade that is not taken goes on as HTTP/1.1, and Java proposes one each time."""

    # the rest is ours

    def _go_on(self) -> None:
        if self.transport.is_closing():
            return
        self.handle_events()
        if not self.behind and not self.flow.read_paused:
            self.transport.resume_reading()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application; a client that waits for a 100 gets it before an answer that begins while it sends."""
        cycle = self.cycle
        self._credit = self._allowance()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.body":
                self._sent += len(message.get("body", b""))
            elif cycle.waiting_for_100_continue and message["status"] < 300 and not cycle.disconnected:
                cycle.waiting_for_100_continue = False
                self._write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            await send(message)

        await self._app(scope, receive, counted)

    def _is_idle(self) -> bool:
        """No request is being read or answered."""
        return self.cycle is None or (self.cycle.response_complete and not self._owes())

    def _owes(self) -> bool:
        """A part of the request's body is still to come."""
        return self.parser.their_state is h11.SEND_BODY

    def _is_paced(self) -> bool:
        under_way = self.cycle is not None and (not self.cycle.response_complete or self._untaken > 0)
        return under_way and self.scope["path"].endswith(PACED)

    def _allowance(self) -> float:
        return float(self.bounds.batch_idle_seconds if self._is_paced() else self.bounds.stall_seconds)

    def _watch(self) -> None:
        self._looked = self.loop.time()
        self._timer = self.loop.call_later(min(LOOK, self.bounds.head_seconds / 4), self._look)

    def _look(self) -> None:
        """End what has kept us waiting for too long; look again as long as something is owed."""
        self._timer = None
        now, untaken = self.loop.time(), self.transport.get_write_buffer_size()
        if self._is_idle() and not untaken and not self.transport.is_closing():
            if self.cycle is not None and not self.parser.begun:
                self._untaken = 0
                return  # kept alive; the next byte watches again
            is_late = now - self._began > self.bounds.head_seconds
        else:
            self._charge(now - self._looked, untaken)
            is_late = self._credit <= 0
        if is_late:
            self._end(untaken)
            return
        self._received = self._sent = 0
        self._untaken = untaken
        self._watch()

    def _charge(self, seconds: float, untaken: int) -> None:
        """Time uses credit up while the client owes or leaves something; bytes earn it."""
        most = self._allowance()
        moved = max(0, self._untaken + self._sent - untaken)  # taken since the last look
        if self._owes() and not self.flow.read_paused and not self.behind:
            moved += self._received
        elif not untaken:
            self._credit = most
            return
        earned = most if moved and self._is_paced() else moved / RATE
        self._credit = min(most, self._credit - seconds + earned)

    def _end(self, untaken: int) -> None:
        """Tell the client, if it can still be told and has said anything; then the connection is gone."""
        self.crowd.late += 1
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if untaken or answering or (self.cycle is None and not self.parser.begun):
            if untaken and (found := self.transport.get_extra_info("socket")):  # the kernel would keep what it holds
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self._refuse(408)

    def _refuse(self, status: Literal[400, 408, 431]) -> None:
        """Answer in the shape of every error, and close; a request that was being read is over."""
        if self.parser.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            code, message = SAYS[status]
            error = {"type": "invalid_request", "code": code, "message": message, "param": None, "request_id": ""}
            body = json.dumps({"error": error}).encode()
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            reason = http.HTTPStatus(status).phrase.encode()
            self._write(h11.Response(status_code=status, headers=headers, reason=reason))
            self._write(h11.Data(data=body))
            self._write(h11.EndOfMessage())
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _write(self, event: h11.Event) -> None:
        self.transport.write(self.parser.send(event) or b"")
