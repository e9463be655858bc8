"""Adding tallies: those of several planes, or of servers that have left their pool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import TypeVar

from balancer.tally import (
    AuthTally,
    CacheTally,
    Histogram,
    IssuerTally,
    ListenerTally,
    PoolTally,
    RequireCdnTally,
    RouteTally,
    ServerTally,
)

Tally = TypeVar(
    "Tally",
    ServerTally,
    RouteTally,
    PoolTally,
    ListenerTally,
    CacheTally,
    AuthTally,
    IssuerTally,
    RequireCdnTally,
    Histogram,
)
Counted = TypeVar("Counted", int, str, tuple[str, int])


def merge(tallies: Sequence[Tally]) -> Tally:
    """A new tally with the sum of all, field by field, whatever fields it has; at least one."""
    whole = type(tallies[0])()
    for tally in tallies:
        absorb(whole, tally)
    return whole


def absorb(whole: Tally, part: Tally) -> None:
    """Add `part` to `whole`: what a plane does with the tally of a server that leaves its pool."""
    for name in whole.__slots__:
        mine, its = getattr(whole, name), getattr(part, name)
        if isinstance(mine, Histogram):
            absorb(mine, its)
        elif isinstance(mine, dict):
            for key, count in its.items():
                mine[key] += count
        elif isinstance(mine, list):
            mine[:] = map(add, mine, its)
        else:
            setattr(whole, name, mine + its)


def add_up(maps: Iterable[dict[Counted, int]]) -> dict[Counted, int]:
    """Counts by key, summed."""
    total: dict[Counted, int] = {}
    for counts in maps:
        for key, count in counts.items():
            total[key] = total.get(key, 0) + count
    return total
