"""What share of requests is turned away when the process cannot keep up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from balancer.limits.overload import MOST, Overload


def test_one_long_pause_is_no_overload() -> None:
    overload = Overload(0.5)
    overload.observe(2.0)
    assert overload.share == 0.0


def test_twice_too_late_for_long_refuses_half() -> None:
    overload = Overload(0.5)
    for _ in range(200):
        overload.observe(1.0)
    assert abs(overload.share - 0.5) < 0.01
    for _ in range(20):
        overload.observe(0.0)
    assert overload.share == 0.0


@given(st.lists(st.floats(-1, 1e6), max_size=50))
def test_some_requests_are_always_taken(lags: list[float]) -> None:
    overload, never = Overload(0.5), Overload(float("inf"))
    for late in lags:
        overload.observe(late)
        never.observe(late)
        assert 0.0 <= overload.share <= MOST
        assert never.share == 0.0
