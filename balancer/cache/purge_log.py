"""The purges that are in force, found by what an entry says of itself."""

from __future__ import annotations

from collections import deque
from typing import Final

from balancer.cache.entry import Entry
from balancer.cache.purges import Place, Purge, place

MOST_EXACT: Final = 16384  # purges of a tag, a group, a URL, a path or a host: some 4 MiB
MOST_WIDE: Final = 256  # those that have to be tried one by one


class Purged:
    """The receipt of a purge: `entries` that it removed, or made stale; `done` once that count is final."""

    __slots__ = ("at", "done", "entries", "purge", "serial")

    def __init__(self, purge: Purge, serial: int, at: float) -> None:
        self.purge = purge
        self.serial = serial
        self.at = at  # what a soft one meets is stale from then on
        self.entries = 0
        self.done = False


class PurgeLog:
    """Purges by what they meet, in the order of their serials.

    An entry is held only against those that are newer than it. Looking for them costs one dictionary look-up per tag,
    group and form of its URL, and a match for each of the wide ones.

    `floor` is the last serial that was forgotten: of what is older than that, nobody knows any more what met it.
    """

    def __init__(self, most_exact: int = MOST_EXACT, most_wide: int = MOST_WIDE) -> None:
        self._most_exact = most_exact
        self._most_wide = most_wide
        self.floor = 0
        self._exact: dict[tuple[str, bytes], list[Purged]] = {}
        self._wide: deque[Purged] = deque()
        self._order: deque[Purged] = deque()  # the exact ones
        self._by_place = 0  # how many of the exact ones are of a URL, a path or a host
        self._paths = 0
        self._tags = 0
        self._groups = 0

    def __len__(self) -> int:
        return len(self._order) + len(self._wide)

    @property
    def full(self) -> bool:
        """Whether the next purge takes one that is in force."""
        return len(self._order) >= self._most_exact or len(self._wide) >= self._most_wide

    @property
    def crowded(self) -> bool:
        """Whether half of the room is taken: `forget` then gives it back, once the store has been gone through."""
        return len(self._order) > self._most_exact // 2 or len(self._wide) > self._most_wide // 2

    @property
    def effort(self) -> int:
        """How many times as long it takes to hold an entry against all, than against those that are looked up."""
        return 1 + len(self._wide) // 16

    def add(self, purged: Purged) -> None:
        """Put one in force; its serial is the highest so far."""
        if not purged.purge.exact:
            self._wide.append(purged)
            return
        self._exact.setdefault((purged.purge.kind, purged.purge.value), []).append(purged)
        self._order.append(purged)
        self._count(purged, 1)

    def since(self, entry: Entry, serial: int) -> list[Purged]:
        """Those after `serial` that meet the entry, oldest first."""
        found: list[Purged] = []
        if self._tags:
            for tag in entry.tags:
                self._look_up("tag", tag, serial, found)
        where: Place | None = None
        if self._by_place or (self._groups and entry.groups):
            key = entry.key
            where = place(key)
            self._look_up("url", key, serial, found)
            self._look_up("url", where.host_path, serial, found)
            self._look_up("url", where.path, serial, found)
            if self._paths:
                query = key.find(b"?")
                end = query - len(key) if query >= 0 else None
                self._look_up("path", key[:end], serial, found)
                self._look_up("path", where.host_path[:end], serial, found)
                self._look_up("path", where.path[:end], serial, found)
            self._look_up("host", where.host, serial, found)
            if where.name != where.host:
                self._look_up("host", where.name, serial, found)
            for group in entry.groups:
                self._look_up("group", key[: len(key) - len(where.path)] + b" " + group, serial, found)
        for purged in reversed(self._wide):
            if purged.serial <= serial:
                break
            if purged.purge.meets(entry):
                found.append(purged)
        if len(found) > 1:
            found.sort(key=_serial)
        return found

    def forget(self, serial: int) -> None:
        """Make room: every stored entry was held against what came until `serial`; only fetches may need it yet."""
        while len(self._order) > self._most_exact // 2 and self._order[0].serial <= serial:
            self._drop(self._order.popleft())
        while len(self._wide) > self._most_wide // 2 and self._wide[0].serial <= serial:
            self.floor = max(self.floor, self._wide.popleft().serial)

    def _drop(self, purged: Purged) -> None:
        self.floor = max(self.floor, purged.serial)
        key = (purged.purge.kind, purged.purge.value)
        same = self._exact[key]
        same.remove(purged)
        if not same:
            del self._exact[key]
        self._count(purged, -1)

    def _look_up(self, kind: str, value: bytes, serial: int, found: list[Purged]) -> None:
        same = self._exact.get((kind, value))
        if same is not None and same[-1].serial > serial:
            found.extend(purged for purged in same if purged.serial > serial and purged not in found)

    def _count(self, purged: Purged, by: int) -> None:
        kind = purged.purge.kind
        if kind == "tag":
            self._tags += by
        elif kind == "group":
            self._groups += by
        else:
            self._by_place += by
            self._paths += by * (kind == "path")


def _serial(purged: Purged) -> int:
    return purged.serial
