"""What the cache has, and what is on its way into it: memory, the fills under way, and the level below."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic
from typing import Final, Protocol

from balancer.cache.entry import Entry, Selecting
from balancer.cache.memory import Memory
from balancer.cache.purge_log import Purged
from balancer.cache.purges import Purge
from balancer.cache.receipts import LevelReceipt, PurgeReceipt
from balancer.cache.variants import matches, selecting
from balancer.caching.fill import Fill
from balancer.caching.order import Lane, Order
from balancer.http1.head import RequestHead
from balancer.tally import CacheTally
from balancer.telemetry.cache_report import CacheReport, SecondReport
from config.schema import Cache

ALONE: Final = 10.0
"""Seconds in which requests do not wait for each other, after an answer that was for one of them only."""
MOST_ALONE: Final = 4096
REAPED: Final = 250
"""Entries that a tick of a tenth of a second looks at for those that were purged."""
MOST_PASSES: Final = 10_000
OVERFLOWN: Final = "more was purged at once than can be told apart, so all that was stored has gone"
"""Turns in which the store is gone through for a receipt; ten million entries are more than fit into any memory."""
TOGETHER: Final = 32
"""Purges that the level below is told of at once: of a thousand it would miss the deadlines, and be taken for dead."""


class Second(Protocol):
    """The level below memory, which is shared with other balancers."""

    async def get(self, key: bytes, lane: Lane, request: RequestHead) -> Entry | None: ...

    async def lease(self, key: bytes, lane: Lane) -> object | None: ...

    async def await_other(self, key: bytes, lane: Lane, request: RequestHead) -> Entry | None: ...

    def release(self, lease: object) -> None: ...

    def invalidate(self, key: bytes) -> None: ...

    def mark(self) -> object: ...

    def put(self, entry: Entry, mark: object) -> None: ...

    async def purge(self, purge: Purge) -> LevelReceipt: ...

    @property
    def up(self) -> bool: ...


class Stock:
    """The stored answers of one plane, and the fills that are to become some. Others write to it what they get."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.second: Second | None = None
        self.tally = CacheTally()
        self.fills: dict[tuple[bytes, Lane], list[Fill]] = {}
        self._max_object = 0
        self._growing = 0  # bytes of bodies that are not complete
        self._alone: dict[int, float] = {}  # until when, by the hash of a place: places may be as long as a head

    def configure(self, settings: Cache) -> None:
        """Take the settings of a configuration; what no longer fits into memory is evicted."""
        self.memory.limit = settings.memory
        self._max_object = settings.max_object

    def tick(self) -> None:
        """Ten times a second: give back the memory of what was purged, a little at a time."""
        self.memory.reap(REAPED)

    def stored(self, key: bytes, lane: Lane, head: RequestHead) -> Entry | None:
        """What is stored for such a request, fresh or not."""
        memory = self.memory
        for entry in memory.find(key):
            if entry.lane == lane and (not entry.vary or matches(entry, head)):
                if entry.checked == memory.serial or memory.current(entry):
                    return entry
                return self.stored(key, lane, head)  # it was purged, and the list is another one now
        return None

    def is_news(self, entry: Entry, request: RequestHead) -> bool:
        """Whether it is younger than what is stored for such a request."""
        known = self.stored(entry.key, entry.lane, request)
        return known is None or entry.born > known.born

    def hint(self, order: Order) -> Selecting:
        """What will probably select the answer, going by the last one of the same URL."""
        for entry in self.memory.find(order.key):
            if entry.lane == order.lane:
                return selecting([name for name, _ in entry.vary], order.head) if entry.vary else ()
        return ()

    # What fetches say.

    def register(self, fill: Fill) -> None:
        """From now on others may join it, until it has ended."""
        self.fills.setdefault((fill.key, fill.lane), []).append(fill)

    def refused(self, order: Order, reason: str) -> None:
        self.tally.refused[reason] += 1

    def alone(self, order: Order) -> None:
        """For a while requests for this do not wait for each other."""
        self._set_alone(hash(order.place))

    def _set_alone(self, place: int) -> None:
        if len(self._alone) >= MOST_ALONE:
            del self._alone[next(iter(self._alone))]
        self._alone[place] = monotonic() + ALONE

    def is_alone(self, order: Order) -> bool:
        if order.alone:
            return True
        until = self._alone.get(hash(order.place)) if self._alone else None
        if until is None:
            return False
        if monotonic() < until:
            return True
        del self._alone[hash(order.place)]
        return False

    def refreshed(self, fill: Fill, before: Entry, after: Entry) -> None:
        self.memory.put(after, fill.begun)
        if self.second is not None and fill.mark is not None:
            self.second.put(after, fill.mark)

    def spoiled(self, order: Order, entry: Entry) -> None:
        """What is stored is not what the server has any more, or not for everybody."""
        self.memory.remove(entry)
        if self.second is not None:
            self.second.invalidate(entry.key)

    def room(self, fill: Fill, size: int) -> bool:
        entry = fill.entry
        limit = self.memory.limit
        if entry is None or fill.size + size > self._max_object or self._growing + size > limit:
            self.tally.refused["too-large"] += 1
            self._set_alone(hash((fill.key, fill.lane)))  # those who follow it go at the pace of the slowest
            return False
        self._growing += size
        fill.counted += size
        return True

    def keep(self, fill: Fill) -> None:
        entry = fill.entry
        assert entry is not None
        self._alone.pop(hash((fill.key, fill.lane)), None)
        self.memory.put(entry, fill.begun)
        second = self.second
        if second is not None and fill.mark is not None:
            second.put(entry, fill.mark)

    def ended(self, fill: Fill) -> None:
        self._growing -= fill.counted
        fill.counted = 0
        fill.open = False
        self._unregister(fill)
        if fill.lease is not None and self.second is not None:
            self.second.release(fill.lease)
            fill.lease = None

    # What has changed.

    def invalidate(self, key: bytes) -> None:
        """Forget what is stored of a URL, on all levels: it has been changed."""
        self.tally.invalidated += self.memory.invalidate(key)
        self._close([fill for place, there in self.fills.items() if place[0] == key for fill in there])
        if self.second is not None:
            self.second.invalidate(key)

    def forget(self) -> None:
        """Nothing in memory is to be believed any more: purges of others may have been missed."""
        self.memory.clear()
        self._close([fill for there in self.fills.values() for fill in there])

    def purge(self, purges: Iterable[Purge]) -> list[Purged]:
        """Put purges in force in memory; the receipts are complete when the store has been gone through."""
        now = monotonic()
        found = []
        for purge in purges:
            self.tally.purges[purge.kind] += 1
            found.append(self.memory.purge(purge, now))
            self._close([fill for there in self.fills.values() for fill in there if _is_met(purge, fill)])
        return found

    async def purge_all(self, purges: Iterable[Purge]) -> list[PurgeReceipt]:
        """Put purges in force on every level, and count what they met. A level that does not take it says so."""
        wanted = list(purges)
        began = monotonic()
        receipts: list[Purged] = []
        for purge in wanted:
            if self.memory.crowded:
                await self._reaped()
            receipts += self.purge((purge,))
        in_force = monotonic() - began
        below = await self.purge_below(wanted)
        await self._reaped()
        found = []
        for position, purge in enumerate(wanted):
            purged = receipts[position]
            reason = None if purged.purge == purge else OVERFLOWN
            own = LevelReceipt("memory", True, purged.entries if purged.done else None, in_force, reason)
            found.append(PurgeReceipt(purge, (own, below[position]) if below else (own,)))
        return found

    async def _reaped(self) -> None:
        """Give back what was purged, with other work in between."""
        for _ in range(MOST_PASSES):
            if not self.memory.reap(REAPED):
                return
            await asyncio.sleep(0)

    async def purge_below(self, purges: Iterable[Purge]) -> list[LevelReceipt]:
        """Put purges in force in the level below; nothing where there is none."""
        second = self.second
        wanted = list(purges)
        receipts: list[LevelReceipt] = []
        if second is not None:
            for start in range(0, len(wanted), TOGETHER):
                receipts += await asyncio.gather(*map(second.purge, wanted[start : start + TOGETHER]))
        return receipts

    def _close(self, fills: list[Fill]) -> None:
        """What they fetch is from before a change: who comes later must not be given it."""
        for fill in fills:
            fill.open = False
            self._unregister(fill)

    def _unregister(self, fill: Fill) -> None:
        place = fill.key, fill.lane
        others = self.fills.get(place)
        if others is not None and fill in others:
            others.remove(fill)
            if not others:
                del self.fills[place]

    def report(self, second: SecondReport | None = None) -> CacheReport:
        """How full it is and what it did; what is in it takes longer to tell. `second` is the level below."""
        fills = [fill for there in self.fills.values() for fill in there]
        return CacheReport(
            memory=self.memory.figures(),
            tally=self.tally,
            fills=len(fills),
            followers=sum(len(fill.followers) for fill in fills),
            uncacheable=len(self._alone),
            second=second,
        )


def _is_met(purge: Purge, fill: Fill) -> bool:
    """Whether a purge means what is being fetched; before the head nobody knows of its tags and groups."""
    if fill.entry is None and purge.kind in ("tag", "group"):
        return True
    return purge.meets(fill.entry or Entry(fill.key, fill.lane, (), 0, b"", b""))
