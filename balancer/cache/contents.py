"""What a store holds, for people: the URLs that are asked for most, and the tags with the most answers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from balancer.cache.memory import Memory
from balancer.cache.purges import Purge

MOST_TAGS: Final = 65536
"""Different tags that are counted. With more in the store, those that come later are not."""


@dataclass(frozen=True, slots=True)
class StoredUrl:
    """All answers of one URL."""

    url: bytes
    variants: int
    hits: int
    bytes: int
    status: int
    """Of the newest, as are age and lifetime."""
    age: float
    """Seconds since a server made it."""
    fresh_for: float
    """Seconds; negative when it is stale."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The most of what is there, the most first."""

    urls: tuple[StoredUrl, ...]
    tags: tuple[tuple[bytes, int], ...]
    """Each with the number of answers that have it."""


@dataclass(frozen=True, slots=True)
class Met:
    """What purges would meet."""

    entries: int
    size: int
    """Bytes."""
    by_purge: tuple[int, ...]
    """Answers that each of them would meet; one that several meet counts for each."""
    urls: tuple[bytes, ...]
    """Some of them."""


class Rehearsal:
    """Goes through a store as a purge would, a little at a time, and touches nothing."""

    def __init__(self, memory: Memory, purges: Sequence[Purge], most: int) -> None:
        self._memory = memory
        self._purges = purges
        self._most = most
        self._left = iter(memory.urls())
        self._counts = [0] * len(purges)
        self._urls: list[bytes] = []
        self._entries = self._bytes = 0

    def steps(self, urls: int) -> Iterator[None]:
        """Look at so many URLs in each step, with other work in between."""
        while some := list(islice(self._left, urls)):
            for url in some:
                self._look(url)
            yield

    def _look(self, url: bytes) -> None:
        met_here = False
        for entry in self._memory.find(url):
            if entry.checked != self._memory.serial and not self._memory.current(entry):
                continue
            met = [number for number, purge in enumerate(self._purges) if purge.meets(entry)]
            for number in met:
                self._counts[number] += 1
            if met:
                self._entries += 1
                self._bytes += entry.size
                met_here = True
        if met_here and len(self._urls) < self._most:
            self._urls.append(url)

    def met(self) -> Met:
        return Met(self._entries, self._bytes, tuple(self._counts), tuple(self._urls))


class Survey:
    """Goes through a store, a little at a time: what comes in meanwhile may be missing."""

    def __init__(self, memory: Memory, most: int) -> None:
        self._memory = memory
        self._most = most
        self._left = iter(memory.urls())
        self._top: list[tuple[int, bytes]] = []  # a heap: the fewest hits first
        self._tags: dict[bytes, int] = {}

    def steps(self, urls: int) -> Iterator[None]:
        """Look at so many URLs in each step, with other work in between."""
        while some := list(islice(self._left, urls)):
            for url in some:
                self._look(url)
            yield

    def _look(self, url: bytes) -> None:
        hits = 0
        tags = self._tags
        for entry in self._memory.find(url):
            if entry.checked != self._memory.serial and not self._memory.current(entry):
                continue
            hits += entry.hits
            for tag in entry.tags:
                if tag in tags or len(tags) < MOST_TAGS:
                    tags[tag] = tags.get(tag, 0) + 1
        if hits and len(self._top) < self._most:
            heapq.heappush(self._top, (hits, url))
        elif self._top and hits > self._top[0][0]:
            heapq.heapreplace(self._top, (hits, url))

    def contents(self, now: float) -> Contents:
        """What was found, as it is at this moment."""
        ranked = sorted(self._top, key=lambda pair: (-pair[0], pair[1]))
        tags = heapq.nsmallest(self._most, self._tags.items(), key=lambda pair: (-pair[1], pair[0]))
        return Contents(tuple(self._told(ranked, now)), tuple(tags))

    def _told(self, ranked: Iterable[tuple[int, bytes]], now: float) -> Iterable[StoredUrl]:
        for hits, url in ranked:
            entries = [entry for entry in self._memory.find(url) if self._memory.current(entry)]
            if entries:
                newest = entries[0]
                yield StoredUrl(
                    url=url,
                    variants=len(entries),
                    hits=hits,
                    bytes=sum(entry.size for entry in entries),
                    status=newest.status,
                    age=max(0.0, now - newest.born),
                    fresh_for=newest.fresh_until - now,
                )
