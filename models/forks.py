"""What a process made by fork does about what stayed with its parent: threads, held locks, connections.

Only the thread that forks lives on in the child: whatever another thread held, ran or answered is there as it was and
for ever. So things with threads or locks say here how they begin anew (docs/adr/0028-forks.md).
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_known: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def after_fork(thing: T, mend: Callable[[T], None]) -> None:
    """Have `mend(thing)` run in every process that is forked from this one while the thing lives.

    It runs before anything else in the child, on its one thread: it takes no lock, starts nothing and is quick.
    """
    _known[thing] = mend


def abandon(thing: object) -> None:
    """Never let go of it, not even at exit: what would end it waits for threads that are not in this process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _begin_anew() -> None:
    for thing, mend in list(_known.items()):
        mend(thing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
