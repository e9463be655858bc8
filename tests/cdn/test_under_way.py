"""What is being done by something that is to be closed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from balancer.cdn.errors import Unavailable
from balancer.cdn.under_way import UnderWay


class Work:
    """Lasts until it is let go, and clears away when it is broken off."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.cleared = False

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.cleared = True
            raise
        return "done"


async def test_what_is_under_way_ends_before_the_end() -> None:
    found, work = UnderWay(), Work()
    doing = asyncio.create_task(found.run(work()))
    await work.begun.wait()
    ending = asyncio.create_task(found.end(60))
    await asyncio.sleep(0)
    assert not ending.done()
    work.go.set()
    assert await doing == "done"
    await ending
    assert len(found) == 0


async def test_what_takes_too_long_is_broken_off_and_has_cleared_away_at_the_end() -> None:
    found, work = UnderWay(), Work()
    doing = asyncio.create_task(found.run(work()))
    await work.begun.wait()
    await found.end(0)
    assert work.cleared
    with pytest.raises(Unavailable, match="ask again"):
        await doing


async def test_whoever_leaves_breaks_off_what_they_wanted_and_nothing_else() -> None:
    found, one, other = UnderWay(), Work(), Work()
    leaving, staying = asyncio.create_task(found.run(one())), asyncio.create_task(found.run(other()))
    await one.begun.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert one.cleared
    other.go.set()
    assert await staying == "done"


async def test_who_waits_for_the_end_and_leaves_breaks_everything_off() -> None:
    found, work = UnderWay(), Work()
    doing = asyncio.create_task(found.run(work()))
    await work.begun.wait()
    ending = asyncio.create_task(found.end(60))
    await asyncio.sleep(0)
    ending.cancel()
    with suppress(asyncio.CancelledError):
        await ending
    assert work.cleared
    with pytest.raises(Unavailable):
        await doing


async def test_nothing_begins_after_the_end() -> None:
    found, work = UnderWay(), Work()
    await found.end(0)
    with pytest.raises(Unavailable):
        await found.run(work())
    assert not work.begun.is_set()


async def test_a_failure_is_raised_as_it_is() -> None:
    async def fail() -> None:
        raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        await UnderWay().run(fail())
