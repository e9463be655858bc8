"""What a process and its children have used, from /proc; and which core a process runs on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_RSS = re.compile(r"^Rss: +(\d+) kB$", re.MULTILINE)


def _stats() -> dict[int, tuple[int, int]]:
    """Of every process, its parent and the ticks of CPU it and its dead children have used."""
    found: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended since the listing
        # The second field is the command in parentheses and may hold anything; then come numbers (proc(5)).
        fields = text.rpartition(")")[2].split()
        user, system, dead_user, dead_system = map(int, fields[11:15])
        found[int(path.parent.name)] = int(fields[1]), user + system + dead_user + dead_system
    return found


def _family(pid: int, stats: dict[int, tuple[int, int]]) -> list[int]:
    """The process and all that descend from it."""
    members = [pid]
    for member in members:
        members += [child for child, (parent, _) in stats.items() if parent == member]
    return members


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return _family(pid, _stats())


def cpu(pid: int) -> float:
    """Seconds of user and system time used by a process, its threads and children, in steps of 10 ms."""
    stats = _stats()
    return _TICK * sum(stats[member][1] for member in _family(pid, stats))


def resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold; pages they share count for each.

    Taken from smaps_rollup, because the sums in stat and statm lag behind by some pages for each core.
    """
    kilobytes = 0
    for member in _family(pid, _stats()):
        match = _RSS.search(Path(f"/proc/{member}/smaps_rollup").read_text())
        kilobytes += int(match[1]) if match else 0
    return kilobytes * 1024


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on this core, with all its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
