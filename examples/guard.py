"""Ends processes whose parent has died: told their pids on standard input, it acts when that closes."""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def main() -> None:
    """Read `+pid` and `-pid` lines until the parent ends in whatever way, then stop what is left."""
    left: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            left.add(pid)
        else:
            left.discard(pid)
    deadline = time.monotonic() + GRACE
    for pid in tuple(left):
        _signal(left, pid, signal.SIGTERM)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        for pid in tuple(left):
            _signal(left, pid, 0)
    for pid in tuple(left):
        _signal(left, pid, signal.SIGKILL)


def _signal(left: set[int], pid: int, number: int) -> None:
    """Signal 0 only asks whether the process is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        left.discard(pid)


if __name__ == "__main__":
    main()
