"""A zone's traffic by GraphQL: exact sums by hour or day where the plan has them, else estimates from a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from pydantic import TypeAdapter

from balancer.cdn.cloudflare.datasets import (
    DAILY,
    DAY,
    GRAIN,
    HITS,
    HOURLY,
    SAMPLED,
    Found,
    Row,
    Set,
    SetLimits,
    Zone,
    bounds,
    limits_query,
    query,
)
from balancer.cdn.cloudflare.periods import ceiling, floor, pieces
from balancer.cdn.errors import Invalid, NotFound, Unsupported
from balancer.cdn.http import Call, Caller
from balancer.cdn.types import CdnStats, StatPoint

KEPT: Final = 3600.0
"""Seconds that the limits of the zone's data sets are not asked for again."""
MOST_CALLS: Final = 32
"""Queries for one answer of ours; 300 in 5 minutes are allowed."""
ROWS: Final = 10_000
STATUSES: Final = 32
"""Rows that an hour of a sample has, at most: one for each cache status, of which there are about fifteen."""
FOUND: Final = TypeAdapter(Found)

_MISSING: Final = {
    "bytes_origin": "Cloudflare tells the bytes to clients only",
    "status_4xx": "Cloudflare's sums by hour and day are not by status",
    "status_5xx": "Cloudflare's sums by hour and day are not by status",
}


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    bytes: int = 0
    hits: int = 0


class Statistics:
    """Asks for one zone. What its plan allows is asked first, and kept for a while."""

    def __init__(
        self,
        caller: Caller,
        zone: str,
        clock: Callable[[], float] = monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._caller = caller
        self._zone = zone
        self._clock = clock
        self._today = today
        self._limits: Mapping[str, SetLimits] = {}
        self._asked = float("-inf")

    async def limits(self) -> Mapping[str, SetLimits]:
        """By data set, of those that the zone has. CdnError: the token may not ask, among others."""
        if self._clock() - self._asked >= KEPT:
            try:
                zone = await self._ask("limits", limits_query(), {})
            except Invalid:  # not all sets are documented to have limits that can be asked for, and this one is
                zone = await self._ask("limits", limits_query((SAMPLED,)), {})
            self._limits = {
                name: one for name, one in zone.settings.items() if one is not None and one.enabled and one.longest > 0
            }
            self._asked = self._clock()
        return self._limits

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        """The period in whole intervals of an hour, a day or several of them; what is too old is left out, and told."""
        if from_ >= to:
            raise Invalid("the period has to begin before it ends")
        limits = await self.limits()
        now = self._today()
        chosen = _chosen(limits, (now - from_).total_seconds(), interval_s)
        grain = GRAIN[chosen]
        interval = max(-(-interval_s // grain), 1) * grain
        missing = dict(_MISSING)
        start, end = floor(from_, interval), ceiling(to, grain)
        kept = f"this plan keeps {limits[chosen].oldest // DAY} days of statistics"
        if start < (oldest := now - timedelta(seconds=limits[chosen].oldest)):
            start = ceiling(oldest, interval)
            missing["before"] = f"{kept}: they begin at {start:%Y-%m-%d %H:%M}"
        if start >= end:
            raise Invalid(f"{kept}: ask for a later period")
        rows = await self._rows(chosen, limits[chosen], start, end)
        return _summed(chosen, rows, start, end, interval, missing)

    async def _rows(self, chosen: Set, limits: SetLimits, start: datetime, end: datetime) -> list[Row]:
        grain = GRAIN[chosen]
        page = max(min(limits.page, ROWS), 1)
        grains = page if chosen != SAMPLED else page // STATUSES
        wanted = pieces(start, end, min(limits.longest, grains * grain), grain)
        if len(wanted) > MOST_CALLS:
            longest = (wanted[0][1] - wanted[0][0]) * MOST_CALLS
            raise Invalid(
                f"the period takes {len(wanted)} queries of this plan: ask for at most {longest // timedelta(hours=1)} "
                "hours, or for an interval of a day"
            )
        rows: list[Row] = []
        for since, until in wanted:
            zone = await self._ask("stats", query(chosen, page), bounds(chosen, since, until))
            rows += zone.rows(chosen)
        return rows

    async def _ask(self, operation: str, text: str, variables: Mapping[str, str]) -> Zone:
        asked = {"query": text, "variables": {"zone": self._zone, **variables}}
        answer = await self._caller.make(Call(operation, "POST", "/graphql", json=asked))
        zones = answer.into(FOUND).data.viewer.zones
        if not zones:
            raise answer.fault(NotFound, "there is no such zone: check cdn.cloudflare.zone_id")
        return zones[0]


def _chosen(limits: Mapping[str, SetLimits], age: float, interval: int) -> Set:
    """The exact sums that fit the interval where they reach back so far, else others that do, else the exact ones."""
    days = interval >= DAY and interval % DAY == 0
    order: Sequence[Set] = (DAILY, HOURLY, SAMPLED) if days else (HOURLY, SAMPLED, DAILY)
    there = [one for one in order if one in limits]
    if not there:
        raise Unsupported("the zone has no statistics: neither its plan nor the token's rights give any")
    return next((one for one in there if limits[one].oldest >= age), there[0])


def _summed(
    chosen: Set, rows: Sequence[Row], start: datetime, end: datetime, interval: int, missing: dict[str, str]
) -> CdnStats:
    points: dict[datetime, _Sum] = {}
    for row in rows:
        if not start <= row.at < end:
            continue
        point = points.setdefault(floor(row.at, interval), _Sum())
        if chosen == SAMPLED:
            point.requests += row.count
            point.bytes += row.sum.sampled_bytes
            point.hits += row.count if row.dimensions.status.lower() in HITS else 0
        else:
            point.requests += row.sum.requests
            point.bytes += row.sum.bytes
            point.hits += row.sum.cached
    requests = sum(point.requests for point in points.values())
    hits = sum(point.hits for point in points.values())
    if not requests:
        missing["hit_ratio"] = "there was no request"
    return CdnStats(
        start,
        end,
        interval,
        requests=requests,
        bytes_out=sum(point.bytes for point in points.values()),
        hits=hits,
        hit_ratio=hits / requests if requests else None,
        sampled=chosen == SAMPLED,
        missing=missing,
        series=tuple(StatPoint(at, one.requests, one.bytes, one.hits) for at, one in sorted(points.items())),
    )
