"""Which stored answer makes room for another: SIEVE (Zhang and others, NSDI 2024)."""

from __future__ import annotations

from typing import Final

from balancer.cache.entry import Entry

LONGEST_SEARCH: Final = 256
"""Entries that are spared in a row at most: when all of them were asked for, the search would take too long."""


class Sieve:
    """Entries from the newest to the oldest, and a hand that goes from the oldest to the newest.

    What was asked for since the hand was there last is spared and may stay where it is; what was not goes. So what is
    asked for once only, a crawler's way through the site, goes soon, and a hit costs no more than setting `visited`.

    `walker` is another place in the list, for whoever looks at all of them little by little. The list is a ring that
    begins and ends in `root`.
    """

    __slots__ = ("hand", "root", "walker")

    def __init__(self) -> None:
        root = Entry(b"", (), (), 0, b"", ())
        root.next = root.previous = root
        self.root: Final = root
        self.hand = root
        self.walker = root

    def insert(self, entry: Entry) -> None:
        """Take in a new one."""
        root = self.root
        newest = root.next
        assert newest is not None
        entry.next = newest
        entry.previous = root
        newest.previous = root.next = entry

    def remove(self, entry: Entry) -> None:
        """Leave one out."""
        previous, following = entry.previous, entry.next
        assert previous is not None
        assert following is not None
        if self.hand is entry:
            self.hand = previous
        if self.walker is entry:
            self.walker = previous
        previous.next = following
        following.previous = previous
        entry.previous = entry.next = None

    def victim(self) -> Entry | None:
        """Who goes next; it is still in the list. None when that is empty."""
        root = self.root
        entry = self.hand
        for _ in range(LONGEST_SEARCH):
            if entry is root:
                entry = root.previous  # type: ignore[assignment]  # the ring is closed
            if not entry.visited:
                break
            entry.visited = False
            entry = entry.previous  # type: ignore[assignment]  # it is in the ring
        if entry is root:
            entry = root.previous  # type: ignore[assignment]  # the ring is closed
        self.hand = entry
        return None if entry is root else entry
