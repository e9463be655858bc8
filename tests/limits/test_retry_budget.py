from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.limits.retry_budget import RetryBudget


def spent(budget: RetryBudget, now: float, at_most: int = 1000) -> int:
    """How many retries it grants at one moment."""
    for granted in range(at_most):
        if not budget.withdraw(now):
            return granted
    return at_most


@pytest.mark.parametrize(("ratio", "requests", "retries"), [(0.2, 50, 10), (0.1, 10, 1), (0.1, 9, 0), (1.0, 7, 7)])
def test_retries_are_a_share_of_requests(ratio: float, requests: int, retries: int) -> None:
    budget = RetryBudget(ratio, minimum_per_second=0.0)
    for _ in range(requests):
        budget.deposit()
    assert spent(budget, 0.0) == retries


def test_a_pool_without_traffic_may_retry_its_minimum_each_second() -> None:
    budget = RetryBudget(0.2, minimum_per_second=3.0)
    assert spent(budget, 100.0) == 3
    assert spent(budget, 100.2) == 0
    assert spent(budget, 100.5) == 1
    assert spent(budget, 200.0) == 3


def test_a_minimum_below_one_grants_a_retry_once_in_a_while() -> None:
    budget = RetryBudget(0.0, minimum_per_second=0.5)
    assert [spent(budget, now) for now in (0.0, 1.0, 2.0, 3.0, 4.0, 99.0)] == [1, 0, 1, 0, 1, 1]


def test_a_budget_of_nothing_allows_no_retry_ever() -> None:
    budget = RetryBudget(0.0, minimum_per_second=0.0)
    budget.deposit()
    assert not budget.withdraw(0.0)
    assert not budget.withdraw(1e9)


def test_savings_are_capped() -> None:
    budget = RetryBudget(0.5, minimum_per_second=0.0, cap=10.0)
    for _ in range(1_000):
        budget.deposit()
    assert spent(budget, 0.0) == 10


def test_a_clock_that_stands_still_or_goes_back_grants_nothing() -> None:
    budget = RetryBudget(0.0, minimum_per_second=3.0)
    assert spent(budget, 10.0) == 3
    assert spent(budget, 10.0) == 0
    assert spent(budget, 5.0) == 0
    assert spent(budget, 10.0) == 0


@given(
    ratio=st.floats(0.0, 1.0),
    minimum=st.floats(0.0, 10.0),
    cap=st.floats(0.0, 50.0),
    story=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20), st.floats(0.0, 3.0)), max_size=30),
)
def test_there_are_never_more_retries_than_the_share_and_the_minimum(
    ratio: float, minimum: float, cap: float, story: list[tuple[int, int, float]]
) -> None:
    budget = RetryBudget(ratio, minimum, cap)
    now = 0.0
    requests = retries = 0
    for deposits, tries, pause in story:
        for _ in range(deposits):
            budget.deposit()
        granted = sum(budget.withdraw(now) for _ in range(tries))
        assert granted <= cap + max(minimum, 1.0) + 1e-6
        requests += deposits
        retries += granted
        # One retry may be granted a billionth too early, many times over.
        assert retries <= (ratio * requests + (max(minimum, 1.0) + minimum * now if minimum else 0.0)) + 1e-6
        now += pause


def test_under_a_total_failure_load_grows_by_the_ratio_and_no_more() -> None:
    budget = RetryBudget(0.2, minimum_per_second=3.0)
    retries = 0
    for request in range(10_000):  # 1000 a second, each of which fails and asks for a retry
        budget.deposit()
        retries += budget.withdraw(request / 1000)
    assert 2000 <= retries <= 2000 + 3 * 11


def test_it_shows_what_is_left() -> None:
    budget = RetryBudget(0.5, minimum_per_second=3.0)
    budget.deposit()
    assert repr(budget) == "<RetryBudget 0.5 saved, 3.0 free>"
