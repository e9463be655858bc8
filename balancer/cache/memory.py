"""The store in memory: bounded in bytes, and purged without looking at what is in it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from balancer.cache.entry import Entry, Selecting
from balancer.cache.policy import LONGEST_SEARCH, Policy
from balancer.cache.purge_log import Purged, PurgeLog
from balancer.cache.purges import EVERYTHING, Purge

MOST_VARIANTS: Final = 64
"""Answers of one URL; one more takes the place of the oldest."""
MOST_INVALIDATED: Final = 4096
"""URLs whose invalidation is remembered for fetches under way."""
MOST_ALIKE: Final = 1024
"""Different values of the fields in Vary that are held once for all entries."""
LARGEST: Final = 2
"""An entry may take one of so many parts of the limit; a larger one would make too much go that is wanted."""
_GONE: Final = -1


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """What a store holds and has done. All but the first three are counts since it was made."""

    entries: int
    bytes: int
    limit: int
    stored: int
    evicted: int
    """To make room."""
    refused: int
    """Too large, or purged while they were fetched."""
    purged: int
    """Given back of what was purged."""
    pending: int
    """Purges that are in force, and whose entries have not all been given back yet."""
    overflows: int
    """Times that everything was purged because more purges came than can be kept in mind."""


class Memory:
    """Stored answers by URL.

    A purge is in force at once: it is put down, and what is found in the store is held against the purges since it was
    last. `reap` goes through the store in the background, gives back what was purged, and completes the receipts.

    `moment` counts purges and invalidations, `serial` is that of the last purge. Whoever fetches an answer takes
    `moment` down before and hands it over with the answer: what was purged meanwhile is then not stored.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit  # may be changed; `reap` then gives back what is too much
        self.bytes = 0
        self.entries = 0
        self.moment = 0
        self.serial = 0
        self._urls: dict[
            bytes, Entry | tuple[Entry, ...]
        ] = {}  # those of one URL, where there are several newest first
        self._alike: dict[Selecting, Selecting] = {}  # what requests said in the fields of Vary
        self._policy = Policy()
        self._log = PurgeLog()
        self._invalidated: dict[int, int] = {}  # moments by the hash of a URL, the oldest first
        self._invalid_floor = 0  # the moment of the last one that was forgotten
        self._receipts: deque[Purged] = deque()  # not done yet
        self._passing = 0  # the serial that the pass of `reap` through the store began with
        self._passed = 0  # the serial that every stored entry has been held against
        self._stored = self._evicted = self._refused = self._purged = self._overflows = 0

    def find(self, key: bytes) -> tuple[Entry, ...]:
        """All of a URL, the newest first. Unchecked: one whose `checked` is not `serial` goes through `current`."""
        found = self._urls.get(key)
        if found is None:
            return ()
        return found if isinstance(found, tuple) else (found,)

    def urls(self) -> list[bytes]:
        """All of which something is stored, purged or not."""
        return list(self._urls)

    def current(self, entry: Entry) -> bool:
        """Whether no purge has met the entry; if not, it is gone from the store. A soft purge makes it stale."""
        return entry.checked == self.serial or self._settle(entry)

    def put(self, entry: Entry, begun: int) -> bool:
        """Store an answer that was asked for at the moment `begun`, in the place of the last one that is told apart by
        the same; False when it is too large, or was purged meanwhile."""
        entry.fold()
        size = entry.weight()
        if size > self.limit // LARGEST or (begun != self.moment and not self._valid(entry, begun)):
            self._refused += 1
            return False
        key = entry.key
        found = self._urls.get(key)
        if found is not None:
            entry.key = key = self._make_way(entry)
        most = self.limit if self.limit > self.bytes else self.bytes
        while self.bytes + size > most:
            self._evict()
        if found is not None and (others := self.find(key)):
            self._urls[key] = (entry, *others)
        else:
            self._urls[key] = entry
        if entry.vary:
            entry.vary = self._shared(entry.vary)
        entry.checked = self.serial
        entry.size = size
        self._policy.insert(entry)
        self.bytes += size
        self.entries += 1
        self._stored += 1
        return True

    def resize(self, entry: Entry) -> None:
        """Count an entry anew: call it when `encodings` were set."""
        if entry.next is None:
            return
        size = entry.weight()
        self.bytes += size - entry.size
        self._policy.resize(entry, size)
        while self.bytes > self.limit and self.entries:
            self._evict()

    def remove(self, entry: Entry) -> None:
        """Take an entry out, if it is stored."""
        if entry.next is None:
            return
        if entry.checked != self.serial and not self._settle(entry):
            return  # the purge has it
        self._take_out(entry)

    def invalidate(self, key: bytes) -> int:
        """Take out all of a URL, and let nothing in of it that is being fetched: it was changed. How many it were."""
        self.moment += 1
        mark = hash(key)
        self._invalidated.pop(mark, None)
        self._invalidated[mark] = self.moment
        if len(self._invalidated) > MOST_INVALIDATED:
            self._invalid_floor = self._invalidated.pop(next(iter(self._invalidated)))
        count = 0
        for entry in self.find(key):
            if entry.checked == self.serial or self._settle(entry):
                self._take_out(entry)
                count += 1
        return count

    def purge(self, purge: Purge, now: float) -> Purged:
        """Put a purge in force; its receipt is complete when `reap` has gone through the store."""
        self.moment += 1
        self.serial = self.moment
        if self._log.full:
            self._overflows += 1
            self._log = PurgeLog()
            purge = EVERYTHING
        purged = Purged(purge, self.serial, now)
        self._log.add(purged)
        self._receipts.append(purged)
        return purged

    @property
    def crowded(self) -> bool:
        """Whether purges should wait until `reap` is done: beyond what can be told apart, everything is purged."""
        return self._log.crowded and self._passed != self.serial

    def clear(self) -> Purged:
        """Purge everything; `reap` gives the memory back."""
        return self.purge(EVERYTHING, 0.0)

    def reap(self, entries: int) -> bool:
        """Look at so many entries for what was purged, and give it back; False when nothing is left to do.

        Call it now and then, with other work in between: a thousand entries take about a millisecond. They are fewer
        where each has to be held against many patterns.
        """
        entries = max(entries // self._log.effort, 1)
        while self.bytes > self.limit and entries > 0:
            self._evict()
            entries -= 1
        if self._passed != self.serial:
            self._pass(entries)
        return self._passed != self.serial or self.bytes > self.limit

    def figures(self) -> MemoryFigures:
        """What is in it."""
        return MemoryFigures(
            self.entries,
            self.bytes,
            self.limit,
            self._stored,
            self._evicted,
            self._refused,
            self._purged,
            len(self._receipts),
            self._overflows,
        )

    def _valid(self, entry: Entry, begun: int) -> bool:
        """Hold an answer against what has happened since the moment it was asked for."""
        if begun < self._log.floor or begun < self._invalid_floor or self._invalidated.get(hash(entry.key), 0) > begun:
            return False
        for purged in self._log.since(entry, begun):
            if not purged.purge.soft:
                return False
            _make_stale(entry, purged.at)
        return True

    def _settle(self, entry: Entry) -> bool:
        """Hold an entry against the purges since the last time; False when it is gone."""
        checked = entry.checked
        if checked < self._log.floor:
            return False
        stored = entry.next is not None
        for purged in self._log.since(entry, checked):
            purged.entries += stored
            if purged.purge.soft:
                _make_stale(entry, purged.at)
                continue
            if stored:
                self._take_out(entry)
                self._purged += 1
            entry.checked = _GONE
            return False
        entry.checked = self.serial
        return True

    def _make_way(self, entry: Entry) -> bytes:
        """Take out whose place a new entry takes among those of its URL; the key that they have in common."""
        others = self.find(entry.key)
        for other in others:
            if other.lane == entry.lane and other.vary == entry.vary:
                entry.hits = other.hits
                entry.visited = other.visited
                entry.main = other.main
                self.remove(other)
                break
        else:
            if len(others) >= MOST_VARIANTS:
                self.remove(others[-1])
        return others[0].key

    def _shared(self, vary: Selecting) -> Selecting:
        """The same value as another entry has it, if one has."""
        if len(self._alike) >= MOST_ALIKE:
            self._alike.clear()
        return self._alike.setdefault(vary, vary)

    def _take_out(self, entry: Entry) -> None:
        key = entry.key
        others = self._urls[key]
        if not isinstance(others, tuple):
            del self._urls[key]
        elif len(others) == 2:
            self._urls[key] = others[others[0] is entry]
        else:
            self._urls[key] = tuple(other for other in others if other is not entry)
        self._policy.remove(entry)
        self.bytes -= entry.size
        self.entries -= 1

    def _evict(self) -> None:
        for search in range(LONGEST_SEARCH):
            entry = self._policy.victim(self.serial)
            if entry is None or (entry.checked != self.serial and not self._settle(entry)):
                return
            if not entry.visited or search == LONGEST_SEARCH - 1:
                self._take_out(entry)
                self._evicted += 1
                return

    def _pass(self, entries: int) -> None:
        """Go on through the store; what comes in meanwhile, or moves, has been held against all."""
        policy = self._policy
        if self._passing == self._passed:
            self._passing = self.serial
            policy.walk()
        for _ in range(entries):
            if policy.walked:
                break
            entry = policy.walker
            policy.step()
            if entry.checked != self.serial:
                self._settle(entry)
        if policy.walked:
            self._passed = self._passing
            while self._receipts and self._receipts[0].serial <= self._passed:
                self._receipts.popleft().done = True
            self._log.forget(self._passed)


def _make_stale(entry: Entry, at: float) -> None:
    """End the freshness of an entry at this time; its windows move with it."""
    early = entry.fresh_until - at
    if early > 0:
        entry.fresh_until = at
        entry.revalidate_until -= early
        entry.error_until -= early
