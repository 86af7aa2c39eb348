"""How many cores this process may use: its affinity, and the quotas of its control groups, of version 2 or 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """At least 1; a quota of less than a whole core more counts for nothing. `root` is where /proc and /sys are."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *(int(q) for q in quotas(root))]))


def quotas(root: Path) -> Iterator[float]:
    """The quota, in cores, of each group from this process's own up to the topmost that is seen here."""
    for folder in groups(root):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()[:2]
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):  # no quota ("max"), or no such file
            continue


def groups(root: Path) -> Iterator[Path]:
    """Folders that may hold a quota: a container sees its group as the topmost one, whatever /proc calls it."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    own = {names: path.strip("/") for _, names, path in (line.split(":", 2) for line in lines if line.count(":") > 1)}
    for names, path in {"": "", "cpu": "", "cpu,cpuacct": "", **own}.items():
        if names and "cpu" not in names.split(","):
            continue
        top = mounted / names
        here = top / path if ".." not in Path(path).parts else top
        yield from (here, *(p for p in here.parents if p.is_relative_to(top)))
