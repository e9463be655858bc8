"""How much of what the cache was asked for it had, of late."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from balancer.telemetry.cache_report import hits, lookups
from balancer.telemetry.report import Report

Window = Literal["now", "five_minutes", "hour"]
SECONDS: Final[dict[Window, float]] = {"now": 0.0, "five_minutes": 300.0, "hour": 3600.0}
STEP: Final = 10.0
"""Seconds between two samples that are kept: a window is up to this much longer than its name."""


class HitCount(NamedTuple):
    """What was asked for, and what of it the cache had, until a moment (monotonic) and since the one before."""

    at: float
    lookups: int
    hits: int


class _Mark(NamedTuple):
    at: float
    hits: int
    lookups: int


class HitRatios:
    """The last hour, as a ring of samples."""

    def __init__(self) -> None:
        self._last: _Mark | None = None
        self._before: _Mark | None = None
        self._marks: deque[_Mark] = deque(maxlen=int(SECONDS["hour"] / STEP) + 1)

    def sample(self, now: float, report: Report) -> None:
        """Take in the counts of this moment: once a second."""
        counted = [route.cache for route in report.routes.values() if route.cache]
        mark = _Mark(now, sum(map(hits, counted)), sum(map(lookups, counted)))
        if self._last is None or mark.lookups < self._last.lookups:  # counts have begun, or begun anew: from nothing
            self._last = _Mark(report.started, 0, 0)
            self._marks.clear()
            self._marks.append(self._last)
        self._before, self._last = self._last, mark
        if now - self._marks[-1].at >= STEP:
            self._marks.append(mark)

    def ratio(self, window: Window) -> float | None:
        """None when nothing was asked for in this time."""
        last, base = self._last, self._base(window)
        if last is None or base is None or last.lookups <= base.lookups:
            return None
        return (last.hits - base.hits) / (last.lookups - base.lookups)

    def points(self) -> list[HitCount]:
        """The last hour in steps of ten seconds, the oldest first."""
        marks = list(self._marks)
        return [
            HitCount(mark.at, mark.lookups - before.lookups, mark.hits - before.hits)
            for before, mark in pairwise(marks)
        ]

    def _base(self, window: Window) -> _Mark | None:
        """The youngest sample that is old enough, or the oldest there is."""
        if window == "now" or self._last is None:
            return self._before
        since = self._last.at - SECONDS[window]
        return next((mark for mark in reversed(self._marks) if mark.at <= since), self._marks[0])
