"""How tunnels are closed when their time is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from balancer.limits.farewell import due


@given(st.integers(0, 5000), st.integers(2, 600))
def test_tunnels_close_evenly_over_the_second_half_and_none_is_left(count: int, grace: int) -> None:
    open_now, closed = count, []
    for second in range(grace + 1):
        step = due(open_now, grace - second, grace)
        closed.append(step)
        open_now -= step
    assert open_now == 0
    assert sum(closed) == count
    assert not any(closed[: grace // 2])
    assert max(closed) <= count / (grace / 2 - 1 if grace > 4 else 1) + 1 or grace <= 4


def test_without_a_grace_all_close_at_once() -> None:
    assert due(200, 0.0, 0.0) == 200
    assert due(200, -1.0, 300.0) == 200
