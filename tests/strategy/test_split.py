from __future__ import annotations

from collections import Counter
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.strategy.split import Split
from config.schema import Sticky

SECRET = b"sixteen bytes or"


@given(shares=st.dictionaries(st.sampled_from("abcde"), st.floats(0.001, 1.0), min_size=1), seed=st.integers())
def test_requests_are_split_in_proportion_to_shares(shares: dict[str, float], seed: int) -> None:
    split = Split("canary", shares, Random(seed))
    count = 1000
    counts = Counter(split.pick()[0] for _ in range(count))
    assert set(counts) <= set(shares)
    for pool, share in shares.items():
        fair = share / sum(shares.values())
        # Five standard deviations of independent draws, and one for shares near nothing.
        assert abs(counts[pool] - count * fair) <= 5 * sqrt(count * fair * (1 - fair)) + 1


def test_a_split_that_is_not_sticky_issues_no_cookie() -> None:
    assert Split("canary", {"app": 1.0}, Random(1)).pick(b"lb=x") == ("app", None)


def test_a_client_stays_in_its_lane() -> None:
    split = Split("canary", {"app": 0.5, "next": 0.5}, Random(1), Sticky(cookie="lane"), SECRET)
    for _ in range(10):
        lane, issued = split.pick()
        assert issued is not None
        assert split.pick(b"theme=dark; " + issued.partition(b";")[0]) == (lane, None)


def test_a_client_stays_in_its_lane_when_shares_change() -> None:
    before = Split("canary", {"app": 0.0, "next": 1.0}, Random(1), Sticky(cookie="lane"), SECRET)
    after = Split("canary", {"app": 0.99, "next": 0.01}, Random(1), Sticky(cookie="lane"), SECRET)
    issued = before.pick()[1]
    assert issued is not None
    assert after.pick(issued.partition(b";")[0]) == ("next", None)


def test_a_lane_that_is_closed_lets_its_clients_go_and_tells_them() -> None:
    sticky = Sticky(cookie="lane")
    issued = Split("canary", {"next": 1.0}, Random(1), sticky, SECRET).pick()[1]
    assert issued is not None
    after = Split("canary", {"app": 1.0, "next": 0.0}, Random(1), sticky, SECRET)
    lane, again = after.pick(issued.partition(b";")[0])
    assert lane == "app"
    assert again is not None
    assert again != issued


def test_a_lane_of_one_route_is_none_of_another() -> None:
    shares = {"app": 0.5, "next": 0.5}
    one, other = (Split(route, shares, Random(1), Sticky(cookie="lane"), SECRET) for route in ("one", "other"))
    issued = one.pick()[1]
    assert issued is not None
    assert other.pick(issued.partition(b";")[0])[1] is not None


@pytest.mark.parametrize("shares", [{}, {"app": 0.0, "next": 0.0}])
def test_a_split_that_goes_nowhere_is_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"routes.canary.split: at least one share must be above 0"):
        Split("canary", shares, Random(1))
