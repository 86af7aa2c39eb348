"""Who is connected, and who goes first when there is no room: whoever has kept us waiting longest."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from .connection import Connection

log = logging.getLogger("laconic")
SPARED = 1.0  # seconds a request whose body has paused is left alone, and a TLS handshake


class Crowd:
    """At most `most` connections, fewer where the limit of open files asks for it.

    A connection waits between requests, is withheld while a body is missing, paced if that is a batch; three queues,
    each in the order of the last sign of life. `refused`, `closed` and `late` count what `report` tells the log.
    """

    def __init__(self, most: int, paced_seconds: float) -> None:
        self.most, self.ceiling = most, descriptors()
        if self.ceiling is not None:
            self.most = max(4, min(most, self.ceiling - in_use()))
        self.present: set[Connection] = set()
        self._fresh: dict[int, tuple[socket.socket, float]] = {}  # accepted; over TLS, not yet shaken hands with
        self._waiting: dict[Connection, float] = {}
        self._withheld: dict[Connection, float] = {}
        self._paced: dict[Connection, float] = {}
        self._spared = ((self._waiting, 0.0), (self._withheld, SPARED), (self._paced, paced_seconds))
        self.refused = self.closed = self.late = 0
        self._told = 0

    def is_full(self, made: socket.socket) -> bool:
        if len(self.present) + len(self._fresh) >= self.most:
            self._fresh = {
                fd: row for fd, row in self._fresh.items() if row[0].fileno() == fd
            }  # handshakes that failed
        return len(self.present) + len(self._fresh) >= self.most or self._is_high(made)

    def make_room(self, made: socket.socket) -> bool:
        """Close the connection that has kept us waiting longest; whether there was one."""
        if self._is_high(made):  # others hold descriptors too: one more than the newcomer takes
            self._close_one()
        return self._close_one()

    def enters(self, made: socket.socket) -> None:
        self._fresh[made.fileno()] = made, time.monotonic()

    def came(self, connection: Connection, transport: asyncio.Transport) -> None:
        found = transport.get_extra_info("socket")
        self._fresh.pop(found.fileno() if found is not None else -1, None)
        self.present.add(connection)
        self.waits(connection)

    def waits(self, connection: Connection) -> None:
        """It has no request that is being read or answered."""
        self._forget(connection)
        self._waiting[connection] = time.monotonic()

    def works(self, connection: Connection, *, withheld: bool, paced: bool) -> None:
        """Its request is being answered; `withheld`: and its body is not complete."""
        self._forget(connection)
        if withheld:
            (self._paced if paced else self._withheld)[connection] = time.monotonic()

    def left(self, connection: Connection) -> None:
        self.present.discard(connection)
        self._forget(connection)

    def report(self) -> None:
        """A line in the log, if there is something to tell since the last one."""
        if (total := self.refused + self.closed + self.late) != self._told:
            self._told = total
            text = (
                "of at most %d connections, so far: %d turned away, %d closed for others, %d closed for their silence"
            )
            log.warning(text, self.most, self.refused, self.closed, self.late)

    def _is_high(self, made: socket.socket) -> bool:
        return self.ceiling is not None and made.fileno() >= self.ceiling  # the lowest free number: all below are taken

    def _close_one(self) -> bool:
        now = time.monotonic()
        for queue, spared in self._spared:
            first = next(iter(queue), None)
            if first is not None and now - queue[first] >= spared:
                self._forget(first)
                first.transport.abort()
                self.closed += 1
                return True
        for fd, (made, since) in list(self._fresh.items())[:1]:
            if now - since >= SPARED:
                del self._fresh[fd]
                with contextlib.suppress(OSError):
                    made.shutdown(socket.SHUT_RDWR)
                self.closed += 1
                return True
        return False

    def _forget(self, connection: Connection) -> None:
        for queue, _ in self._spared:
            queue.pop(connection, None)


def descriptors() -> int | None:
    """How many descriptors connections may reach, a reserve for everybody else aside; None where there is no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft - max(8, min(soft // 4, 2048))


def in_use() -> int:
    """The lowest number that is free: about how many descriptors are open."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    return free


def more_files() -> None:
    """Raise the soft limit of open files to the hard one: idle connections must not starve working ones."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; not always allowed
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
