"""A client that says exactly what a test wants said, byte by byte."""

from __future__ import annotations

import re
import socket
import time
from types import TracebackType


class Wire:
    """One connection; what has come back and is not yet looked at is in `got`."""

    def __init__(self, address: str, first: bytes = b"", buffer: int | None = None) -> None:
        host, port = address.removeprefix("http://").split(":")
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(30)
        self.socket.connect((host, int(port)))
        self.got = b""
        self.say(first)

    def say(self, what: bytes) -> None:
        self.socket.sendall(what)

    def until(self, what: bytes) -> bytes:
        """Everything up to and with `what`; raises AssertionError if the other side ends before."""
        while what not in self.got:
            more = self.socket.recv(65536)
            assert more, self.got
            self.got += more
        before, _, self.got = self.got.partition(what)
        return before + what

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer that says how long it is."""
        head = self.until(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head)
        while len(self.got) < int(length):
            more = self.socket.recv(65536)
            assert more, self.got
            self.got += more
        body, self.got = self.got[: int(length)], self.got[int(length) :]
        return int(head.split()[1]), body

    def rest(self) -> bytes:
        """Everything until the other side ends."""
        try:
            while more := self.socket.recv(65536):
                self.got += more
        except ConnectionResetError:
            pass
        return self.got

    def is_open(self) -> bool:
        """Nothing has come and the other side has not ended."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(30)

    def seconds_open(self) -> float:
        start = time.monotonic()
        self.rest()
        return time.monotonic() - start

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()


def head(line: str, *headers: str) -> bytes:
    """A request's head: its line, a host and the headers."""
    return "\r\n".join([f"{line} HTTP/1.1", "host: localhost", *headers, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
