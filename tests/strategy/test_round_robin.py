from __future__ import annotations

from math import ceil, floor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.strategy.round_robin import LONGEST, RoundRobin, smooth, whole_turns
from tests.strategy.world import picks, server, servers, weights


@given(turns=st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_at_every_point_of_a_cycle_each_has_had_its_share_rounded_up_or_down(turns: list[int]) -> None:
    order = smooth(turns)
    length = sum(turns)
    assert len(order) == length
    for point in range(1, length + 1):
        for index, count in enumerate(turns):
            had = order[:point].count(index)
            assert floor(point * count / length) <= had <= ceil(point * count / length)


def test_the_turns_of_a_heavy_server_do_not_come_all_at_once() -> None:
    assert smooth([5, 1, 1]) == [0, 0, 0, 1, 0, 0, 2]
    assert smooth([3, 2, 1]) == [0, 1, 0, 1, 0, 2]


@given(weights=weights)
def test_every_whole_cycle_gives_each_server_exactly_its_weight(weights: list[int]) -> None:
    members = servers(*weights)
    counts = picks(RoundRobin(members, Random(1)), 2 * sum(weights))
    assert [counts[member] for member in members] == [2 * weight for weight in weights]


def test_weights_with_a_common_divisor_make_a_short_cycle() -> None:
    assert whole_turns([1000.0, 500.0, 1000.0]) == [2, 1, 2]


def test_a_thousand_to_one_is_kept_exactly() -> None:
    assert whole_turns([1000.0, 1.0]) == [1000, 1]


@given(weights=st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=60))
def test_rounded_weights_keep_their_share_and_the_cycle_its_bound(weights: list[float]) -> None:
    turns = whole_turns(weights)
    assert all(turns)
    assert sum(turns) <= LONGEST + len(weights)
    for count, weight in zip(turns, weights, strict=True):
        share = weight / sum(weights)
        # A 32nd of itself: the count is rounded by a 64th, and so is the cycle it is compared with. Where the
        # bound on the cycle cuts that off: half a turn, or the one turn that even the lightest gets, and as
        # much again from the others' roundings.
        allowed = share / 32 + 2 * (1 + len(weights) * share) / LONGEST
        assert abs(count / sum(turns) - share) <= allowed


def test_nearly_equal_large_weights_do_not_make_a_long_cycle() -> None:
    assert whole_turns([1000.0, 999.0, 998.0]) == [1, 1, 1]


def test_a_cycle_of_a_thousand_servers_is_no_longer_than_that() -> None:
    assert len(smooth(whole_turns([1.0] * 2000))) == 2000


def test_a_server_of_weight_zero_still_gets_a_turn() -> None:
    members = [server("cold", 0.0), server("warm", 1.0)]
    strategy = RoundRobin(members, Random(1))
    assert set(picks(strategy, LONGEST + 2)) == set(members)
    assert strategy.pick(0, 0.0, members[1:]) is members[0]


def test_a_retry_spends_the_turn_it_takes() -> None:
    members = servers(1, 1, 1)
    strategy = RoundRobin(members, Random(1))
    first = strategy.pick(0, 0.0)
    assert first is not None
    second = strategy.pick(0, 0.0, {first})
    third = strategy.pick(0, 0.0)
    assert {first, second, third} == set(members)


def test_the_score_is_the_number_of_turns_to_wait() -> None:
    members = servers(1, 1, 1)
    strategy = RoundRobin(members, Random(1))
    strategy.pick(0, 0.0)
    for wait in (0, 1, 2):
        scores = {member: strategy.figures(member, 0, 0.0)["score"] for member in members}
        assert sorted(scores.values()) == [0, 1, 2]
        assert scores[min(members, key=scores.__getitem__)] == 0, wait
        due = min(members, key=scores.__getitem__)
        assert strategy.pick(0, 0.0) is due


@pytest.mark.parametrize("count", [1, 2, 7])
def test_equal_servers_take_turns_in_the_order_of_the_configuration(count: int) -> None:
    members = servers(*[1] * count)
    strategy = RoundRobin(members, Random(1))
    first = strategy.pick(0, 0.0)
    assert first is not None
    at = members.index(first)
    for turn in range(1, 2 * count + 1):
        assert strategy.pick(0, 0.0) is members[(at + turn) % count]
