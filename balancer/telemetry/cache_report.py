"""What a plane hands over about its cache: how full it is, what it did, and how the level below is doing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from balancer.cache.memory import MemoryFigures
from balancer.tally import CacheTally, Histogram
from balancer.telemetry.sums import add_up, merge

RESULTS: Final = ("hit", "stale", "revalidated", "collapsed", "expired", "miss", "bypass", "purge")
"""What `Decision.cache` may say."""
HITS: Final = frozenset(("hit", "stale", "revalidated", "collapsed"))
"""Requests for which no server had to send an answer: of those collapsed another's was sent on."""
LOOKED_UP: Final = HITS | {"expired", "miss"}
"""Requests that the cache was asked for; the others went past it, or steer it."""


@dataclass(frozen=True, slots=True)
class SecondReport:
    """The level below memory, which is shared with other balancers, as one plane sees it."""

    state: str
    """up; open or half-open while it fails; deaf: it answers, and purges of others are not heard."""
    up: bool
    reason: str | None = None
    """Why it is not up."""
    commands: Mapping[str, int] = field(default_factory=dict)
    """By result: ok, or why there was none."""
    seconds: Histogram | None = None
    """Of commands that were answered; None where that is not measured."""
    lookups: Mapping[str, int] = field(default_factory=dict)
    """By result: hit, miss, ..."""
    gaps: int = 0
    """Times that purges of others may have been missed, and all of memory was dropped."""
    owed: int = 0
    """Purges that Redis has yet to be told of."""


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The cache of one plane, or the sum of several. The tally is the live one."""

    memory: MemoryFigures
    tally: CacheTally
    fills: int = 0
    """Answers that are being fetched for the cache now."""
    followers: int = 0
    """Requests that wait for them now."""
    uncacheable: int = 0
    """Places whose requests do not wait for each other for a while, since an answer was for one of them only."""
    second: SecondReport | None = None
    """None: there is none."""


def hits(results: Mapping[str, int]) -> int:
    """How many of a route's requests were hits, by its `RouteTally.cache`."""
    return sum(count for result, count in results.items() if result in HITS)


def lookups(results: Mapping[str, int]) -> int:
    return sum(count for result, count in results.items() if result in LOOKED_UP)


def add(reports: Sequence[CacheReport]) -> CacheReport | None:
    """The sum of several planes; None for none."""
    if len(reports) < 2:
        return reports[0] if reports else None
    return CacheReport(
        memory=MemoryFigures(*map(sum, zip(*(_counts(report.memory) for report in reports), strict=True))),
        tally=merge([report.tally for report in reports]),
        fills=sum(report.fills for report in reports),
        followers=sum(report.followers for report in reports),
        uncacheable=sum(report.uncacheable for report in reports),
        second=_add_seconds([report.second for report in reports if report.second is not None]),
    )


def _counts(memory: MemoryFigures) -> list[int]:
    return [getattr(memory, name) for name in MemoryFigures.__slots__]


def _add_seconds(levels: Sequence[SecondReport]) -> SecondReport | None:
    """One that is not up is told before those that are."""
    if not levels:
        return None
    worst = min(levels, key=lambda level: (level.up, level.state, level.reason or ""))
    measured = [level.seconds for level in levels if level.seconds is not None]
    return SecondReport(
        state=worst.state,
        up=worst.up,
        reason=worst.reason,
        commands=add_up([dict(level.commands) for level in levels]),
        seconds=merge(measured) if measured else None,
        lookups=add_up([dict(level.lookups) for level in levels]),
        gaps=sum(level.gaps for level in levels),
        owed=max(level.owed for level in levels),
    )
