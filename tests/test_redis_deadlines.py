from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from balancer.redis_deadlines import Ask, Deadlines

STEP = 0.015


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4), st.booleans()), min_size=1, max_size=12))
def test_each_is_brought_up_when_it_is_due_and_none_that_is_over(wanted: list[tuple[int, int, bool]]) -> None:
    """Each is due at some step, and once more so many steps later; some are over before that."""

    async def bring_up() -> set[tuple[int, int]]:
        loop = asyncio.get_running_loop()
        step = 0
        seen: set[tuple[int, int]] = set()
        numbers: dict[Ask, int] = {}

        def due(asks: list[Ask], now: float) -> None:
            for ask in asks:
                seen.add((step, numbers[ask]))
                _, more, over = wanted[numbers[ask]]
                if over:
                    ask.over = True
                elif not ask.missed and more:
                    ask.missed = True
                    deadlines.add(ask, ask.limit, now)

        deadlines = Deadlines(lambda: step * STEP, due)
        for number, (first, more, _) in enumerate(wanted):
            ask = Ask(loop.create_future(), b"", 0.0, first * STEP, (first + more) * STEP)
            numbers[ask] = number
            deadlines.add(ask, ask.until, 0.0)
        for step in range(1, 10):
            while deadlines._timer is not None and deadlines._expected <= step * STEP:
                deadlines._expire()  # as the loop does, which is not let run
        deadlines.clear()
        return seen

    firsts = {(first, number) for number, (first, _, _) in enumerate(wanted)}
    seconds = {(first + more, number) for number, (first, more, over) in enumerate(wanted) if more and not over}
    assert asyncio.run(bring_up()) == firsts | seconds


def test_what_was_over_is_forgotten() -> None:
    async def forget() -> None:
        loop = asyncio.get_running_loop()
        brought: list[Ask] = []
        deadlines = Deadlines(loop.time, lambda asks, now: brought.extend(asks))
        now = loop.time()
        asks = [Ask(loop.create_future(), b"", now, now + 0.01, now + 0.01) for _ in range(1000)]
        for ask in asks:
            deadlines.add(ask, ask.until, now)
            ask.over = True
        last = Ask(loop.create_future(), b"", now, now + 0.02, now + 0.02)
        deadlines.add(last, last.until, now)
        async with asyncio.timeout(10):
            while not brought:  # noqa: ASYNC110  # the timer sets no event
                await asyncio.sleep(0.005)
        assert brought == [last]
        assert deadlines._heap == []

    asyncio.run(forget())
