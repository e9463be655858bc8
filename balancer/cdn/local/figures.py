"""Traffic of the files by the hour: what was counted, and never more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from balancer.cdn.errors import Invalid, Unavailable
from balancer.cdn.local.counts import Counts
from balancer.cdn.local.index import HOUR, Index, Lost, Traffic
from balancer.cdn.types import CdnStats, StatPoint
from balancer.tally import RouteTally
from balancer.telemetry.cache_report import hits

EVERY: Final = 10.0
"""Seconds between two times that counts are written down; what a balancer that is killed forgets."""
MOST_POINTS: Final = 10_000

log: FilteringBoundLogger = structlog.get_logger("balancer.cdn")


@dataclass(frozen=True, slots=True)
class Front:
    """What the balancer counted on the way to the files since it started, over all of its routes to them."""

    requests: int
    hits: int
    """Answered by its cache, without the folder."""
    status_4xx: int
    status_5xx: int
    bytes_out: int
    """Bytes of bodies to clients."""


def front_of(tally: RouteTally) -> Front:
    """What a route has counted."""
    return Front(
        requests=sum(tally.codes.values()),
        hits=hits(tally.cache),
        status_4xx=sum(count for status, count in tally.codes.items() if 400 <= status < 500),
        status_5xx=sum(count for status, count in tally.codes.items() if status >= 500),
        bytes_out=tally.bytes_out,
    )


class Ledger:
    """Writes counts down every few seconds, and adds them up when somebody asks.

    The cache in front answers without the folder being asked, so `front` is what requests are counted by, if there
    is one; the folder's own counts then are what the cache took from it.
    """

    def __init__(self, index: Index, counts: Counts, now: Callable[[], datetime]) -> None:
        self._index = index
        self._counts = counts
        self.front: Callable[[], Front | None] | None = None
        """Tells what was counted in front of the folder; None: nothing is (owner: whoever knows, before the start)."""
        self._now = now
        self._before: Front | None = None  # what of it is written down (owner: write)
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._before = self.front() if self.front is not None else None
        self._task = asyncio.get_running_loop().create_task(self._run(), name="cdn-figures")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            await self.write()
        except Lost as error:
            log.warning("the last requests for files are not counted", reason=str(error))

    async def write(self) -> None:
        """Write down what came since the last time. Lost: it could not be done, and will be with the next."""
        async with self._writing:
            own, by_file = self._counts.take()
            front = self.front() if self.front is not None else None
            traffic = _together(own, front, self._before)
            if not traffic.requests and not traffic.reads:
                return
            try:
                await self._index.count(int(self._now().timestamp()) // HOUR * HOUR, traffic, by_file)
            except BaseException:
                self._counts.give_back(own, by_file)
                raise
            if front is not None:
                self._before = front

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        """By whole hours: the period is widened to them. Unavailable: there is no index at the moment."""
        start = int(from_.timestamp()) // HOUR * HOUR
        end = -(-int(to.timestamp()) // HOUR) * HOUR
        step = max(-(-interval_s // HOUR), 1) * HOUR
        if not start < end or (end - start) // step > MOST_POINTS:
            raise Invalid(f"expected a period that begins before it ends, and at most {MOST_POINTS} intervals of it")
        try:
            await self.write()
            hours = await self._index.hours(start, end)
        except Lost as error:
            raise Unavailable(f"the figures of files are in their index, which can not be used: {error}") from error
        whole = _sum([traffic for _, traffic in hours])
        return CdnStats(
            from_=datetime.fromtimestamp(start, UTC),
            to=datetime.fromtimestamp(end, UTC),
            interval_s=step,
            requests=whole.requests,
            bytes_out=whole.bytes_out,
            bytes_origin=whole.bytes_read,
            hits=whole.hits,
            hit_ratio=whole.hits / whole.requests if whole.hits is not None and whole.requests else None,
            status_4xx=whole.status_4xx,
            status_5xx=whole.status_5xx,
            missing=_missing(whole),
            series=tuple(_points(hours, start, end, step)),
        )

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._counts.full.wait(), EVERY)
            except TimeoutError:
                pass
            try:
                await self.write()
            except Lost:  # told by the store, which meets the same
                await asyncio.sleep(EVERY)


def _together(own: Traffic, now: Front | None, before: Front | None) -> Traffic:
    """What clients were answered; with nothing in front, just what the folder was asked for."""
    if now is None:
        return replace(own, requests=own.reads, bytes_out=own.bytes_read, hits=None)
    if before is None or now.requests < before.requests:  # the balancer counts from the beginning
        before = Front(0, 0, 0, 0, 0)
    return Traffic(
        requests=now.requests - before.requests,
        hits=max(now.hits - before.hits, 0),
        bytes_out=max(now.bytes_out - before.bytes_out, 0),
        status_4xx=max(now.status_4xx - before.status_4xx, 0),
        status_5xx=max(now.status_5xx - before.status_5xx, 0),
        reads=own.reads,
        bytes_read=own.bytes_read,
    )


def _sum(hours: Sequence[Traffic]) -> Traffic:
    return Traffic(
        requests=sum(hour.requests for hour in hours),
        hits=_known([hour.hits for hour in hours]),
        bytes_out=sum(hour.bytes_out for hour in hours),
        status_4xx=sum(hour.status_4xx for hour in hours),
        status_5xx=sum(hour.status_5xx for hour in hours),
        reads=sum(hour.reads for hour in hours),
        bytes_read=sum(hour.bytes_read for hour in hours),
    )


def _known(parts: Sequence[int | None]) -> int | None:
    """Their sum, which nobody knows if one of them is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _points(hours: Sequence[tuple[int, Traffic]], start: int, end: int, step: int) -> Iterator[StatPoint]:
    at = 0
    for begin in range(start, end, step):
        first = at
        while at < len(hours) and hours[at][0] < begin + step:
            at += 1
        whole = _sum([traffic for _, traffic in hours[first:at]])
        yield StatPoint(datetime.fromtimestamp(begin, UTC), whole.requests, whole.bytes_out, whole.hits)


def _missing(whole: Traffic) -> dict[str, str]:
    missing = {}
    if whole.hits is None:
        missing["hits"] = "for a part of this time nothing was counted in front of the files"
    if whole.hits is None or not whole.requests:
        missing["hit_ratio"] = missing.get("hits", "there was no request")
    return missing
