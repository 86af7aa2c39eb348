"""Signals while the rest of the program is still being read, which takes a second.

To the first process of a container an unhandled SIGTERM is nothing: whoever stops it would wait, and then kill. And a
SIGHUP that asks the service to read its files again must not end it because it comes before they were read.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def leave(sig: int, frame: FrameType | None) -> None:
    """End at once: nothing has been begun that could be finished."""
    os._exit(128 + sig)


if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
    signal.signal(signal.SIGTERM, leave)
if sys.argv[1:2] == ["serve"] and hasattr(signal, "SIGHUP") and not (sys.stdin and sys.stdin.isatty()):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server listens (server.py)
