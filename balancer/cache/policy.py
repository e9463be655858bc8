"""Which stored answer makes room for another: S3-FIFO (Yang and others, SOSP 2023), with one bit.

Chosen by measuring it against LRU, SIEVE and W-TinyLFU: see bench/CACHE_POLICY.md.
"""

from __future__ import annotations

from array import array
from typing import Final

from balancer.cache.entry import Entry

SMALL_SHARE: Final = 10
"""The small queue has one of so many bytes."""
LONGEST_SEARCH: Final = 256
"""Entries that are spared in a row at most: when all of them were asked for, the search would take too long."""
_FEWEST_GHOSTS: Final = 1024


class Ring:
    """Entries from the newest to the oldest, closed by `root`: the newest is its `next`, the oldest its `previous`."""

    __slots__ = ("bytes", "root")

    def __init__(self) -> None:
        root = Entry(b"", (), (), 0, b"", ())
        root.next = root.previous = root
        self.root: Final = root
        self.bytes = 0

    @property
    def oldest(self) -> Entry:
        """Or `root`, if there is none."""
        return self.root.previous  # type: ignore[return-value]  # the ring is closed

    def insert(self, entry: Entry) -> None:
        """Take in a new one."""
        root = self.root
        newest = root.next
        entry.next = newest
        entry.previous = root
        newest.previous = root.next = entry  # type: ignore[union-attr]  # the ring is closed
        self.bytes += entry.size

    def remove(self, entry: Entry) -> None:
        """Leave one out, which then refers to none of the others: nothing is to be found by the collector of cycles."""
        previous, following = entry.previous, entry.next
        previous.next = following  # type: ignore[union-attr]  # it is in the ring
        following.previous = previous  # type: ignore[union-attr]  # it is in the ring
        entry.previous = entry.next = None
        self.bytes -= entry.size


class Policy:
    """Two queues and a memory of what left the first. A hit only sets `visited`.

    What is new waits in a small queue. Asked for again by the time it gets to the end, it moves to the main one; if not
    it goes, so that what a crawler walks through makes nothing go that is wanted. In the main queue what was asked for
    since the last time goes round again. Keys that left the small queue are remembered for about as long as it takes to
    put as many into the store as it holds, by a hash that another one may take the place of; when they come again in
    that time, it is to the main queue.

    `walker` is a place in the queues, for whoever looks at all entries little by little: `walk` begins and `step` goes
    from the newest to the oldest of the small queue and then of the main one. New ones come in behind it, so that it
    gets to the end however fast they come.
    """

    __slots__ = ("_ghosts", "_main", "_small", "count", "walker")

    def __init__(self) -> None:
        self.count = 0
        self._small = Ring()
        self._main = Ring()
        self._ghosts = array("q", bytes(8 * _FEWEST_GHOSTS))
        self.walker = self._main.root

    def insert(self, entry: Entry) -> None:
        """Take in a new one, to the main queue if it says `main`."""
        self.count += 1
        ghosts = self._ghosts
        mark = hash(entry.key)
        if entry.main or ghosts[mark % len(ghosts)] == mark:
            entry.main = True
            ring = self._main
        else:
            ring = self._small
        # Ring.insert, written out: every put comes by here.
        root = entry.previous = ring.root
        newest = entry.next = root.next
        newest.previous = root.next = entry  # type: ignore[union-attr]  # the ring is closed
        ring.bytes += entry.size
        if self.count > len(ghosts):
            self._grow()

    def remove(self, entry: Entry) -> None:
        """Leave one out."""
        self.count -= 1
        if self.walker is entry:
            self.step()
        ring = self._main if entry.main else self._small
        # Ring.remove, written out.
        previous, following = entry.previous, entry.next
        previous.next = following  # type: ignore[union-attr]  # it is in the ring
        following.previous = previous  # type: ignore[union-attr]  # it is in the ring
        entry.previous = entry.next = None
        ring.bytes -= entry.size

    def resize(self, entry: Entry, size: int) -> None:
        """One has become larger, or smaller."""
        (self._main if entry.main else self._small).bytes += size - entry.size
        entry.size = size

    def _grow(self) -> None:
        ghosts = self._ghosts
        self._ghosts = array("q", bytes(16 * len(ghosts)))
        for mark in ghosts:
            self._ghosts[mark % len(self._ghosts)] = mark

    def victim(self, serial: int) -> Entry | None:
        """Who goes next; it is still in its queue. None when there is none.

        An entry whose `checked` is not `serial` is never spared, as it may be purged: hold it against the purges and
        ask again. That none of those moves also is what lets the walker miss none.
        """
        small, main = self._small, self._main
        entry: Entry
        for _ in range(LONGEST_SEARCH):
            if small.bytes * SMALL_SHARE > small.bytes + main.bytes or main.root.previous is main.root:
                entry = small.root.previous  # type: ignore[assignment]  # the ring is closed
                if not entry.visited or entry.checked != serial:
                    break
                if self.walker is entry:
                    self.step()
                small.remove(entry)
                entry.main = True
            else:
                entry = main.root.previous  # type: ignore[assignment]  # the ring is closed
                if not entry.visited or entry.checked != serial:
                    break
                if self.walker is entry:
                    self.step()
                main.remove(entry)
            entry.visited = False
            main.insert(entry)
        else:
            entry = main.oldest
        if entry is small.root:
            return None
        if not entry.main:
            mark = hash(entry.key)
            self._ghosts[mark % len(self._ghosts)] = mark
        return entry

    @property
    def bytes(self) -> int:
        """Of all entries."""
        return self._small.bytes + self._main.bytes

    def walk(self) -> None:
        """Begin at the beginning."""
        self.walker = self._small.root
        self.step()

    def step(self) -> None:
        """Go on by one."""
        self.walker = self.walker.next  # type: ignore[assignment]  # it is in a ring
        if self.walker is self._small.root:
            self.walker = self._main.root.next  # type: ignore[assignment]  # the ring is closed

    @property
    def walked(self) -> bool:
        """Whether there are no more."""
        return self.walker is self._main.root
