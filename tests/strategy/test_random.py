from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from balancer.strategy.random import RandomChoice
from balancer.strategy.weights import bounds_of, draw
from tests.strategy.world import server, servers


class Highest(Random):
    """The largest number that `random` can return, each time."""

    def random(self) -> float:
        return 1 - 2**-53


def test_what_was_picked_before_does_not_matter() -> None:
    members = servers(1, 1)
    strategy = RandomChoice(members, Random(1))
    run = [strategy.pick(0, 0.0) for _ in range(4000)]
    repeats = sum(one is other for one, other in pairwise(run))
    # Half of all pairs; five standard deviations are 5 x sqrt(4000) / 2 = 158.
    assert abs(repeats - 2000) <= 158


def test_a_retry_keeps_the_proportion_of_those_left() -> None:
    members = servers(5, 3, 1)
    strategy = RandomChoice(members, Random(1))
    count = 4000
    second = sum(strategy.pick(0, 0.0, members[:1]) is members[1] for _ in range(count))
    # Five standard deviations: 5 x sqrt(4000 x 3/4 x 1/4) = 137.
    assert abs(second - 3000) <= 137


@given(weights=st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=20))
def test_the_largest_random_number_draws_the_last_server(weights: list[float]) -> None:
    assert draw(bounds_of(weights), Highest()) == len(weights) - 1


def test_shares_are_told() -> None:
    members = [server("a", 3), server("b", 1)]
    strategy = RandomChoice(members, Random(1))
    assert [strategy.figures(member, 0, 0.0)["share"] for member in members] == [0.75, 0.25]
