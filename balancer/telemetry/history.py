"""How it went, for charts: a point for each second, each ten and each minute, in rings that never grow.

Of each series, 15 minutes by seconds, two hours by tens of them, and a day by minutes: 3,060 points of 9 numbers, which
are 110 KB. Percentiles of a point are those of its own requests, from the histogram's change, and no mean of others.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import isnan, nan
from operator import sub
from typing import Final, NamedTuple

from balancer.tally import BOUNDS, EXPORTED
from balancer.telemetry.quantiles import quantiles
from balancer.telemetry.rates import Buckets, Counts, Key, counted, kept_apart, latencies_of
from balancer.telemetry.report import Report

STEPS: Final[Mapping[int, int]] = {1: 900, 10: 720, 60: 1440}
"""Seconds between two points to how many are kept."""
COLUMNS: Final = ("requests", "errors_4xx", "errors_5xx", "bytes_in", "bytes_out", "in_flight", "p50", "p90", "p99")
"""Per second but for `in_flight`, which is as it was at the point, and percentiles, in seconds (NaN: no request)."""
MOST: Final = 120
"""Series at a time: everything, listeners, routes and pools come first, and servers have what is left."""
GROUPS: Final = tuple(BOUNDS.index(bound) for bound in EXPORTED)
_SHARES: Final = (0.5, 0.9, 0.99)


class Line(NamedTuple):
    """One series over a span: `times` in seconds since 1970, the oldest first."""

    step: int
    times: array[float]
    columns: dict[str, array[float]]
    heat: list[list[int]]
    """For each point, requests by upper bound of `EXPORTED`, and above them; empty where it is not kept."""


class _Ring:
    """Points of one resolution of one series."""

    __slots__ = ("before", "columns", "heat", "latency", "size")

    def __init__(self, size: int, *, heat: bool) -> None:
        self.size = size
        self.columns = [array("f", [nan]) * size for _ in COLUMNS]
        self.heat = array("I", [0]) * (size * (len(EXPORTED) + 1)) if heat else None
        self.before: Counts[int] | None = None
        self.latency: Sequence[int] = ()

    def put(self, index: int, counts: Counts[int], in_flight: int, latency: Sequence[int], seconds: float) -> None:
        before, self.before = self.before, counts
        old, self.latency = self.latency, array("Q", latency)
        if before is None or any(now < then for now, then in zip(counts, before, strict=True)):
            self.skip(index)  # it has begun, or begun anew: nothing is known of what was before
            self.columns[5][index] = in_flight
            return
        per = 1 / seconds if seconds > 0 else 0.0
        columns = self.columns
        columns[0][index] = (counts.requests - before.requests) * per
        columns[1][index] = (counts.errors_4xx - before.errors_4xx) * per
        columns[2][index] = (counts.errors_5xx - before.errors_5xx) * per
        columns[3][index] = (counts.bytes_in - before.bytes_in) * per
        columns[4][index] = (counts.bytes_out - before.bytes_out) * per
        columns[5][index] = in_flight
        new = list(map(sub, latency, old)) if len(old) == len(latency) else []
        told = quantiles(new, _SHARES) if new and any(new) else (None, None, None)
        for column, value in zip(columns[6:], told, strict=True):
            column[index] = nan if value is None else value
        if self.heat is not None:
            width = len(EXPORTED) + 1
            self.heat[index * width : (index + 1) * width] = array("I", _grouped(new))

    def skip(self, index: int) -> None:
        """A point of which nothing is known."""
        for column in self.columns:
            column[index] = nan
        if self.heat is not None:
            width = len(EXPORTED) + 1
            self.heat[index * width : (index + 1) * width] = array("I", [0]) * width


def _rings(key: Key) -> dict[int, _Ring]:
    heat = not key or key[0] == "route"
    return {step: _Ring(size, heat=heat and step > 1) for step, size in STEPS.items()}


class History:
    """To be given a sample once a second. What has left the configuration goes when something new needs its place."""

    def __init__(self) -> None:
        self._rings: dict[Key, dict[int, _Ring]] = {(): _rings(())}  # of everything there is always one
        self._times = {step: array("d", [nan]) * size for step, size in STEPS.items()}
        self._next = dict.fromkeys(STEPS, 0)
        self._last = dict.fromkeys(STEPS, 0.0)
        self.left_out = 0
        """Series for which there was no room at the last sample."""

    def sample(self, now: float, wall: float, report: Report) -> None:
        """Take in the counts of this moment."""
        due = [step for step in STEPS if now - self._last[step] >= step - 0.05]
        if not due:
            return
        counts, latencies = counted(report), latencies_of(report)
        keys = self._keys(counts)
        parts = {key: kept_apart(key, counts) for key in keys}
        flying = _in_flight(report)
        for step in due:
            index = self._next[step]
            seconds = now - self._last[step] if self._last[step] else 0.0
            self._times[step][index] = wall
            for key, rings in self._rings.items():
                ring = rings[step]
                if key in parts:
                    latency = _latency(key, latencies)
                    ring.put(index, parts[key], flying.get(key, 0), latency, seconds)
                else:
                    ring.skip(index)
            self._next[step] = (index + 1) % STEPS[step]
            self._last[step] = now

    def line(self, key: Key, span: float) -> Line | None:
        """The finest points that reach so many seconds back; None: there is no such series."""
        rings = self._rings.get(key)
        if rings is None:
            return None
        step = next((step for step, size in STEPS.items() if step * size >= span), max(STEPS))
        ring, size = rings[step], STEPS[step]
        count = min(round(span / step), size)
        end = self._next[step]
        order = [(end - count + offset) % size for offset in range(count)]
        order = [index for index in order if self._times[step][index] == self._times[step][index]]
        width = len(EXPORTED) + 1
        heat = ring.heat
        return Line(
            step,
            array("d", [self._times[step][index] for index in order]),
            {name: array("f", [column[i] for i in order]) for name, column in zip(COLUMNS, ring.columns, strict=True)},
            [list(heat[i * width : (i + 1) * width]) for i in order] if heat is not None else [],
        )

    def latest(self, key: Key) -> tuple[float, dict[str, float]] | None:
        """The last second of a series: when, in seconds since 1970, and each of `COLUMNS`; None before the first."""
        rings = self._rings.get(key)
        if rings is None:
            return None
        index = (self._next[1] - 1) % STEPS[1]
        if isnan(self._times[1][index]):
            return None
        columns = zip(COLUMNS, rings[1].columns, strict=True)
        return self._times[1][index], {name: column[index] for name, column in columns}

    @property
    def keys(self) -> list[Key]:
        """Series that there are."""
        return list(self._rings)

    def _keys(self, counts: Mapping[Key, Counts[int]]) -> list[Key]:
        """Those that are followed now, the most general first."""
        wanted: list[Key] = [(), *sorted(counts, key=lambda key: (_RANK[key[0]], key))]
        wanted = list(dict.fromkeys(wanted))
        self.left_out = max(len(wanted) - MOST, 0)
        wanted = wanted[:MOST]
        for key in wanted:
            if key not in self._rings:
                if len(self._rings) >= MOST:
                    gone = next((old for old in self._rings if old not in wanted), None)
                    if gone is None:
                        continue
                    del self._rings[gone]
                self._rings[key] = _rings(key)
        return [key for key in wanted if key in self._rings]


_RANK: Final = {"listener": 0, "route": 1, "pool": 2, "server": 3}


def _in_flight(report: Report) -> dict[Key, int]:
    found: dict[Key, int] = {(): report.inflight}
    for name, pool in report.pools.items():
        found["pool", name] = sum(server.inflight for server in pool.servers)
        for server in pool.servers:
            found["server", name, server.name] = server.inflight
    return found


def _latency(key: Key, live: Buckets) -> Sequence[int]:
    """Of a route or a server, the sum over a pool's servers, or over all routes."""
    if key in live:
        return live[key]
    if not key:
        parts = [counts for part, counts in live.items() if part[0] == "route"]
    elif key[0] == "pool":
        parts = [counts for part, counts in live.items() if part[:2] == ("server", key[1])]
    else:
        return [0] * (len(BOUNDS) + 1)
    if len(parts) == 1:
        return parts[0]
    return [sum(values) for values in zip(*parts, strict=True)] if parts else [0] * (len(BOUNDS) + 1)


def _grouped(counts: Sequence[int]) -> list[int]:
    """Fine buckets as those that Prometheus is shown."""
    if not counts:
        return [0] * (len(EXPORTED) + 1)
    reached = list(accumulate(counts))
    ends = [reached[index] for index in GROUPS] + [reached[-1]]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
