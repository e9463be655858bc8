"""Whether one more call may be made of a provider."""

from __future__ import annotations

import asyncio

import pytest

from balancer.cdn.cloudflare.limits import limits
from balancer.cdn.errors import CdnError, MissingRight, RateLimited, Unavailable
from balancer.cdn.purging.breaker import FAILURES, OPEN
from balancer.cdn.purging.buckets import Bucket, Buckets, Taking
from balancer.cdn.throttle import AWAY, PATIENCE, Throttle
from balancer.cdn.types import CALLS, LimitState


class Time:
    """Passes when somebody pauses, and at no other time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds


def throttle(time: Time, bucket: Bucket | None = None) -> Throttle:
    return Throttle("acme", time, bucket, time.pause)


async def refused(found: Throttle) -> CdnError:
    with pytest.raises(CdnError) as caught:
        await found.turn()
    return caught.value


@pytest.mark.parametrize("plan", ["free", "enterprise"])
async def test_calls_of_every_kind_together_never_reach_the_block_of_five_minutes(plan: str) -> None:
    time = Time()
    found = throttle(time, Bucket(limits(plan)[CALLS], 0.0))  # type: ignore[arg-type]  # of the parameters
    made: list[float] = []
    while time.now < 1000:
        await found.turn()
        made.append(time.now)
    assert max(sum(at <= one < at + 300 for one in made) for at in made[::10]) <= 1200


async def test_what_other_calls_take_purges_have_not_and_the_other_way_round() -> None:
    time = Time()
    bucket = Bucket(LimitState(4, 4, 1), 0.0)
    purges = Buckets({CALLS: LimitState(4, 4, 1), "files": LimitState(9, 9, 9)}, 0.0, {CALLS: bucket})
    found = throttle(time, bucket)
    for _ in range(3):
        await found.turn()
    assert purges.wait([Taking(CALLS, 1)], 0.0) == 0
    purges.take([Taking(CALLS, 1), Taking("files", 1)], 0.0)
    assert purges.wait([Taking(CALLS, 1)], 0.0) == found.wait() == 1


async def test_a_call_waits_for_its_turn_if_that_comes_soon() -> None:
    time = Time()
    found = throttle(time, Bucket(LimitState(0, 10, 0.5), 0.0))
    await found.turn()
    assert time.now == 2


async def test_those_that_wait_have_their_turns_one_after_another_and_others_are_told_when_to_come() -> None:
    time = Time()
    over = asyncio.Event()
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await over.wait()

    found = Throttle("acme", time, Bucket(LimitState(0, 10, 0.5), 0.0), pause)
    waiting = [asyncio.create_task(found.turn()) for _ in range(2)]
    await asyncio.sleep(0)
    error = await refused(found)
    assert pauses == [2, 4]
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 6 > PATIENCE
    over.set()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize(("said", "meant"), [(40.0, 40.0), (None, AWAY)])
async def test_a_provider_that_wants_fewer_calls_gets_none_until_it_wants_them(
    said: float | None, meant: float
) -> None:
    time = Time()
    bucket = Bucket(LimitState(100, 100, 1), 0.0)
    found = throttle(time, bucket)
    found.ended(RateLimited("slower", retry_after_s=said))
    assert found.wait() == bucket.wait(1, time.now) == meant
    time.now += meant
    await found.turn()


async def test_that_purges_are_too_many_keeps_nobody_else() -> None:
    found = throttle(Time())
    found.ended(RateLimited("slower", retry_after_s=40.0), of_purge=True)
    assert found.wait() == 0


async def test_what_a_provider_says_is_left_counts() -> None:
    time = Time()
    found = throttle(time, Bucket(LimitState(100, 100, 1), 0.0))
    found.left(0, 60.0)
    assert found.wait() == 60


async def test_a_provider_that_is_away_is_left_alone_and_then_asked_once_more() -> None:
    time = Time()
    found = throttle(time)
    for _ in range(FAILURES):
        await found.turn()
        found.ended(Unavailable("nobody there"))
    error = await refused(found)
    assert isinstance(error, Unavailable)
    assert error.retry_after_s == OPEN
    time.now += OPEN
    await found.turn()
    found.ended(Unavailable("nobody there"))
    await refused(found)
    time.now += OPEN
    found.ended(None)
    await found.turn()


async def test_a_refusal_is_an_answer() -> None:
    found = throttle(Time())
    for _ in range(FAILURES - 1):
        found.ended(Unavailable("nobody there"))
    found.ended(MissingRight("no"))
    found.ended(Unavailable("nobody there"))
    await found.turn()
