"""Rate limits as the provider counts them, and the breaker."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.purging.breaker import Breaker
from balancer.cdn.purging.buckets import Bucket, Buckets, Taking, takings
from balancer.cdn.types import CALLS, LimitState, PurgeBatch


def bucket(capacity: float, refill: float) -> Bucket:
    return Bucket(LimitState(capacity, capacity, refill), 100.0)


def test_a_burst_goes_at_once_and_the_rest_as_it_refills() -> None:
    bunny = bucket(20, 0.5)
    for _ in range(20):
        assert bunny.wait(1, 100.0) == 0
        bunny.take(1, 100.0)
    assert bunny.wait(1, 100.0) == pytest.approx(2)
    assert bunny.wait(1, 101.0) == pytest.approx(1)
    assert bunny.wait(1, 102.0) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 12)), max_size=60))
def test_no_window_ever_sees_more_than_the_burst_and_what_refilled(calls: list[tuple[float, int]]) -> None:
    capacity, refill = 10.0, 2.0
    limited, now, sent = bucket(capacity, refill), 100.0, list[tuple[float, float]]()
    for pause, cost in calls:
        now += pause
        now += limited.wait(cost, now)
        assert limited.wait(cost, now) == pytest.approx(0, abs=1e-6)
        limited.take(cost, now)
        sent.append((now, cost))
    for first, (begin, _) in enumerate(sent):
        for last in range(first, len(sent)):
            spent = sum(cost for _, cost in sent[first : last + 1])
            # One that is larger than the bucket goes when that is full, as it never could otherwise.
            assert spent <= capacity + 2 + refill * (sent[last][0] - begin) + 1e-6


def test_retry_after_empties_until_then() -> None:
    limited = bucket(10, 1)
    limited.empty(30, 100.0)
    assert limited.wait(1, 100.0) == 30
    assert limited.wait(1, 129.0) == pytest.approx(1)
    assert limited.wait(1, 130.0) == 0
    assert limited.state(100.0) == LimitState(10, 10, 1, 30)


def test_a_refusal_without_a_time_empties_it_all_the_same() -> None:
    limited = bucket(10, 0.5)
    limited.empty(0, 100.0)
    assert limited.wait(1, 100.0) == 2


def test_the_provider_is_believed_when_it_says_less_and_not_when_it_says_more() -> None:
    limited = bucket(10, 1)
    limited.correct(3, 100.0)
    assert limited.wait(5, 100.0) == 2
    limited.correct(9, 100.0)
    assert limited.wait(5, 100.0) == 2


def test_what_does_not_refill_is_given_back() -> None:
    wildcards = bucket(15, 0)
    wildcards.take(15, 100.0)
    assert wildcards.wait(1, 1e9) == math.inf
    wildcards.give_back(3)
    assert wildcards.wait(3, 1e9) == 0
    assert wildcards.wait(4, 1e9) == math.inf
    wildcards.give_back(100)
    assert wildcards.state(1e9).left == 15


def test_what_refills_is_not_given_back() -> None:
    limited = bucket(2, 1)
    limited.take(2, 100.0)
    limited.give_back(2)
    assert limited.wait(2, 100.0) == 2


def test_more_than_fits_goes_when_it_is_full_and_is_owed() -> None:
    limited = bucket(10, 1)
    assert limited.wait(25, 100.0) == 0
    limited.take(25, 100.0)
    assert limited.wait(1, 100.0) == 16


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    limited = bucket(1, 1)
    limited.take(1, 100.0)
    assert limited.wait(1, 99.0) == 1


def test_a_batch_takes_its_cost_of_its_limit_and_one_of_all_calls() -> None:
    batch = PurgeBatch("files", ("a", "b"), (), 2)
    assert takings(batch) == (Taking("files", 2), Taking(CALLS, 1))
    limits = Buckets({"files": LimitState(4, 4, 1), CALLS: LimitState(3, 3, 0.1)}, 0.0)
    limits.take(takings(batch), 0.0)
    assert limits.wait(takings(batch), 0.0) == 0
    limits.take(takings(batch), 0.0)
    assert limits.wait(takings(batch), 0.0) == 2
    assert limits.wait([Taking("tags", 5)], 0.0) == 0
    limits.correct(CALLS, 0, 0.0)
    assert limits.wait(takings(batch), 0.0) == 10
    limits.empty("files", 60, 0.0)
    assert limits.wait(takings(batch), 0.0) == 60
    assert limits.states(0.0)["files"].blocked_s == 60


def test_the_breaker_opens_after_five_failures_in_a_row_and_only_then() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0.0)
    breaker.answered()
    for _ in range(4):
        breaker.failed(0.0)
    assert (breaker.wait(0.0), breaker.state(0.0)) == (0, "closed")
    breaker.failed(0.0)
    assert (breaker.wait(0.0), breaker.state(0.0)) == (30, "open")
    assert (breaker.wait(30.0), breaker.state(30.0)) == (0, "half_open")


def test_one_failure_opens_a_half_open_breaker_anew_and_one_answer_closes_it() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(0.0)
    breaker.failed(31.0)
    assert (breaker.wait(31.0), breaker.state(31.0), breaker.opened) == (30, "open", 1)
    breaker.answered()
    assert (breaker.wait(31.0), breaker.state(31.0)) == (0, "closed")
    breaker.failed(32.0)
    assert breaker.wait(32.0) == 0
