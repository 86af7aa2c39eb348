"""Where connections come in: listening sockets that never let in more than the process has file descriptors for."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .crowd import Crowd

if TYPE_CHECKING:
    from .settings import Settings

log = logging.getLogger("laconic")
RUN = 32  # connections taken in one turn of the event loop
BUSY = {"type": "unavailable", "code": "too_many_connections", "message": "come back in a second", "param": None}
BODY = json.dumps({"error": {**BUSY, "request_id": ""}}).encode()
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class ListenError(Exception):
    """Nothing can listen there; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a client may withhold, and how large a request's head may be."""

    head_seconds: float = 20.0
    stall_seconds: float = 30.0
    batch_idle_seconds: float = 600.0
    head_bytes: int = 32 * 1024
    headers: int = 100

    @staticmethod
    def of(settings: Settings) -> Bounds:
        return Bounds(settings.head_seconds, settings.stall_seconds, settings.batch_idle_seconds)


class Door(socket.socket):
    """A listening socket for asyncio that makes room for whom it lets in, or turns away whom there is no room for."""

    def __init__(self, family: int, crowd: Crowd, *, secure: bool = False) -> None:
        # asyncio lets small answers go at once where the protocol is named, else they wait 40 ms for Nagle's algorithm
        super().__init__(family, socket.SOCK_STREAM, 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP)
        self.crowd, self.secure = crowd, secure
        self._taken, self._spare = 0, os.open(os.devnull, os.O_RDONLY)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; raises BlockingIOError where there is none, and where others should have their turn."""
        while self._taken < RUN:
            self._taken += 1
            try:
                made, address = super().accept()
            except OSError as e:
                if e.errno in (errno.EMFILE, errno.ENFILE):
                    self._without_descriptors()
                    continue
                self._taken = 0
                raise
            if not self.crowd.is_full(made):
                self.crowd.enters(made)
                return made, address
            if self.crowd.make_room(made):
                self._taken = RUN  # the room is there in the loop's next turn
                self.crowd.enters(made)
                return made, address
            self._turn_away(made)
        self._taken = 0
        raise BlockingIOError(errno.EAGAIN, "the others' turn")

    def _turn_away(self, made: socket.socket) -> None:
        self.crowd.refused += 1
        with made, contextlib.suppress(OSError):
            made.setblocking(False)
            if not self.secure:
                made.send(TURNED_AWAY)

    def _without_descriptors(self) -> None:
        """Somebody else has used them up: one is kept to tell those who wait."""
        os.close(self._spare)
        try:
            with contextlib.suppress(OSError):
                self._turn_away(super().accept()[0])
        finally:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        if self.fileno() >= 0:
            with contextlib.suppress(OSError):
                os.close(self._spare)
        super().close()


def open_doors(settings: Settings, crowd: Crowd) -> list[Door]:
    """Bound sockets for `uds`, or for every address of `host`; raises ListenError."""
    secure = settings.tls_cert is not None
    if settings.uds is not None:
        return [at_path(settings.uds, Door(socket.AF_UNIX, crowd, secure=secure))]
    host, port, doors = settings.host or None, settings.port, list[Door]()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, *_, address in dict.fromkeys(found):
            door = Door(family, crowd, secure=secure)
            doors.append(door)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            door.bind((address[0], port, *address[2:]))
            port = port or door.getsockname()[1]  # the same on all addresses
    except OSError as e:
        for door in doors:
            door.close()
        raise ListenError(f"cannot listen on {settings.host}:{port}: {e.strerror or e}") from None
    return doors


def at_path(path: Path, door: Door) -> Door:
    """Bind to a path for its owner and group. A socket that nobody answers on is replaced; raises ListenError."""
    try:
        if path.exists() or path.is_symlink():
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ListenError(f"{path}: there is something that is no socket")
            with socket.socket(socket.AF_UNIX) as other:
                other.settimeout(1)
                try:
                    other.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
                else:
                    raise ListenError(f"{path}: somebody answers there")
        door.bind(str(path))
        path.chmod(0o660)  # before it listens: until then nobody gets in
    except OSError as e:
        door.close()
        raise ListenError(f"{path}: {e.strerror or e}") from None
    except ListenError:
        door.close()
        raise
    return door


def where(doors: list[Door], *, secure: bool) -> str:
    """The address to show: of the first door."""
    name = doors[0].getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if secure else 'http'}://{host}:{name[1]}"
