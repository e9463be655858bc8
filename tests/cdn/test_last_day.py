"""The last 24 hours are asked of a provider now and then, and never twice at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from balancer.cdn.errors import Unavailable
from balancer.cdn.last_day import KEPT, KEPT_WHERE_DEAR, LastDay
from balancer.cdn.types import Capability, CdnStats
from config.cdn import Cdn
from tests.cdn.shelf import Shelf

NOW = datetime(2026, 11, 30, 12, 34, 56, tzinfo=UTC)


class Counting(Shelf):
    """Notes what it was asked for."""

    def __init__(self, name: str = "bunny") -> None:
        super().__init__(Cdn())
        self.name = name
        self.asked: list[tuple[datetime, datetime]] = []

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        self.asked.append((from_, to))
        return await super().stats(from_, to, interval_s)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("name", "kept"), [("bunny", KEPT), ("aws", KEPT_WHERE_DEAR)])
async def test_it_is_asked_once_for_all_and_again_when_that_is_old(name: str, kept: float) -> None:
    provider, clock = Counting(name), Clock()
    day = LastDay(provider, clock, lambda: NOW)
    found = await asyncio.gather(*(day.stats() for _ in range(5)))
    assert {one.requests for one in found if one is not None} == {3}
    clock.now = kept - 1
    await day.stats()
    assert provider.asked == [
        (NOW.replace(hour=13, minute=0, second=0) - timedelta(hours=24), NOW.replace(hour=13, minute=0, second=0))
    ]
    clock.now = kept
    await day.stats()
    assert len(provider.asked) == 2


async def test_what_is_not_told_is_none() -> None:
    provider = Counting()
    provider.failure = Unavailable("no answer")
    assert await LastDay(provider, Clock()).stats() is None
    provider.capabilities = Capability.UPLOAD
    provider.failure = None
    asked = len(provider.asked)
    assert await LastDay(provider, Clock()).stats() is None
    assert len(provider.asked) == asked
