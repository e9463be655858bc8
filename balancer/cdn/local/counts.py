"""What was asked of the folder since it was last written down."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from balancer.cdn.local.index import Traffic

MOST = 10_000
"""Files of which requests are counted in memory; with more of them it is time to write them down."""


class Counts:
    """Numbers that go up, and are taken away together. One loop's."""

    def __init__(self) -> None:
        self._traffic = [0, 0, 0, 0]
        self._by_file: defaultdict[str, int] = defaultdict(int)
        self.full = asyncio.Event()

    def answered(self, status: int, size: int, path: str | None) -> None:
        """One request, with this many bytes of a body; `path` is that of the file, if there was one."""
        traffic = self._traffic
        traffic[0] += 1
        traffic[1] += size
        traffic[2] += 400 <= status < 500
        traffic[3] += status >= 500
        if path is not None:
            self._by_file[path] += 1
            if len(self._by_file) >= MOST:
                self.full.set()

    def take(self) -> tuple[Traffic, dict[str, int]]:
        """What came together, which begins anew."""
        (reads, size, client, server), by_file = self._traffic, self._by_file
        self._traffic, self._by_file = [0, 0, 0, 0], defaultdict(int)
        self.full.clear()
        return Traffic(reads=reads, bytes_read=size, status_4xx=client, status_5xx=server), dict(by_file)

    def give_back(self, traffic: Traffic, by_file: dict[str, int]) -> None:
        """What could not be written down."""
        for at, count in enumerate((traffic.reads, traffic.bytes_read, traffic.status_4xx, traffic.status_5xx)):
            self._traffic[at] += count
        for path, count in by_file.items():
            if path in self._by_file or len(self._by_file) < MOST:
                self._by_file[path] += count
