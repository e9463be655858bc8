"""The buckets of a limit: what passes, when, and how much is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.guards.gcra import NEVER, Gcra


def test_a_burst_passes_at_once_and_then_one_for_each_interval() -> None:
    buckets = Gcra(interval=0.1, burst=5, most=10)
    assert [buckets.take("a", 1, 0.0) for _ in range(5)] == [0.0] * 5
    assert buckets.take("a", 1, 0.0) == pytest.approx(0.1)
    assert buckets.take("a", 1, 0.1) == 0.0
    assert buckets.take("a", 1, 0.1) == pytest.approx(0.1)


def test_what_is_refused_costs_nothing() -> None:
    buckets = Gcra(interval=1.0, burst=1, most=10)
    assert buckets.take("a", 1, 0.0) == 0.0
    for _ in range(100):
        assert buckets.take("a", 1, 0.5) == pytest.approx(0.5)
    assert buckets.take("a", 1, 1.0) == 0.0


def test_a_bucket_is_full_again_after_the_time_of_a_burst_and_holds_no_more() -> None:
    buckets = Gcra(interval=0.5, burst=4, most=10)
    for _ in range(4):
        buckets.take("a", 1, 0.0)
    assert buckets.left("a", 1.0) == 2
    assert buckets.full_in("a", 1.0) == pytest.approx(1.0)
    assert buckets.left("a", 1000.0) == 4


def test_what_costs_more_than_a_burst_never_passes() -> None:
    assert Gcra(interval=1.0, burst=3, most=10).take("a", 4, 0.0) == NEVER


def test_keys_have_buckets_of_their_own() -> None:
    buckets = Gcra(interval=1.0, burst=1, most=10)
    assert buckets.take("a", 1, 0.0) == 0.0
    assert buckets.take("b", 1, 0.0) == 0.0


def test_the_key_that_was_not_seen_for_the_longest_time_is_forgotten_first() -> None:
    buckets = Gcra(interval=10.0, burst=1, most=3)
    for key in ("a", "b", "c"):
        buckets.take(key, 1, 0.0)
    assert buckets.take("a", 1, 0.1) > 0  # seen again, though it did not pass
    buckets.take("d", 1, 0.2)
    assert len(buckets) == 3
    assert buckets.take("a", 1, 0.3) > 0
    assert buckets.take("b", 1, 0.3) == 0.0


def test_a_hundred_thousand_strangers_take_no_more_than_the_room_there_is() -> None:
    buckets = Gcra(interval=1.0, burst=1, most=1000)
    for number in range(100_000):
        buckets.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1, number / 1000)
        assert len(buckets) <= 1000


@given(
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 5)), min_size=1, max_size=200),
)
def test_no_stretch_of_time_lets_more_pass_than_burst_and_rate(burst: int, steps: list[tuple[int, int]]) -> None:
    """Against the definition: in any window of t seconds at most burst + t / interval."""
    interval = 0.25
    buckets = Gcra(interval, burst, 10)
    now = 0.0
    passed: list[tuple[float, int]] = []
    for pause, cost in steps:
        now += pause / 20
        if buckets.take("a", cost, now) == 0.0:
            passed.append((now, cost))
    for at, (begin, _) in enumerate(passed):
        total = 0
        for moment, cost in passed[at:]:
            total += cost
            assert total <= burst + (moment - begin) / interval + 1e-6


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 3000))
def test_the_wait_that_is_told_is_just_long_enough(burst: int, cost: int, spent: int) -> None:
    buckets = Gcra(0.1, burst, 10)
    for _ in range(min(spent, burst)):
        buckets.take("a", 1, 0.0)
    wait = buckets.take("a", cost, 0.0)
    if 0.0 < wait < NEVER:
        assert buckets.take("a", cost, wait * 0.99) > 0.0
        assert buckets.take("a", cost, wait + 1e-9) == 0.0


@pytest.mark.parametrize(
    ("count", "period", "burst"), [(100, 1.0, 100), (600, 60.0, 100), (7, 1.0, 1), (1000, 1.0, 50)]
)
def test_at_ten_times_the_rate_for_a_minute_as_many_pass_as_should(count: int, period: float, burst: int) -> None:
    interval = period / count
    buckets = Gcra(interval, burst, 10)
    asked = round(60 / interval * 10)
    passed = sum(buckets.take("a", 1, 1000.0 + number * interval / 10) == 0.0 for number in range(asked))
    assert passed == pytest.approx(60 / interval + burst, rel=0.01)


def test_what_a_key_owes_already_is_kept_and_less_changes_nothing() -> None:
    buckets = Gcra(1.0, 10, 10)
    buckets.owe("a", 107.0)
    assert buckets.left("a", 100.0) == 3
    buckets.owe("a", 105.0)
    assert buckets.left("a", 100.0) == 3
    buckets.owe("a", 109.0)
    assert buckets.left("a", 100.0) == 1
    for n in range(20):
        buckets.owe(str(n), 105.0)
    assert len(buckets) == 10


@given(st.integers(1, 1000), st.integers(1, 50), st.integers(1, 1000), st.integers(1, 50), st.integers(1, 60))
def test_after_a_change_nobody_waits_longer_than_the_new_rate_says(
    old: int, old_burst: int, new: int, burst: int, spent: int
) -> None:
    buckets = Gcra(float(old), old_burst, 10)
    for _ in range(spent):
        buckets.take("a", 1, 0.0)
    buckets.configure(float(new), burst, 10)
    assert buckets.full_in("a", 0.0) <= burst * new
    assert 0 <= buckets.left("a", 0.0) <= burst
    assert buckets.take("a", 1, 0.0) <= new + 1e-6
