from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.strategy.least_connections import LeastConnections
from tests.strategy.world import always, picks, server, servers, shares, simulate


@given(loads=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=8))
def test_nobody_has_fewer_requests_in_flight_for_its_weight(loads: list[tuple[int, int]]) -> None:
    members = [server(f"s{i}", weight, inflight=inflight) for i, (weight, inflight) in enumerate(loads)]
    picked = LeastConnections(members, Random(1)).pick(0, 0.0)
    assert picked is not None
    assert picked.inflight / picked.weight == min(member.inflight / member.weight for member in members)


def test_idle_servers_take_turns() -> None:
    members = servers(1, 1, 1)
    counts = picks(LeastConnections(members, Random(1)), 300)
    assert [counts[member] for member in members] == [100, 100, 100]


def test_the_neighbour_of_a_busy_server_gets_no_more_than_the_others() -> None:
    members = servers(1, 1, 1, 1)
    members[0].inflight = 1
    counts = picks(LeastConnections(members, Random(1)), 3000)
    assert counts[members[0]] == 0
    # Five standard deviations of a fair draw: 5 x sqrt(3000 x 1/3 x 2/3) = 129.
    assert all(abs(counts[member] - 1000) <= 129 for member in members[1:])


@pytest.mark.parametrize("weights", [(3, 1), (1, 3), (2, 1, 1)])
def test_equally_busy_servers_are_drawn_by_weight(weights: tuple[int, ...]) -> None:
    members = servers(*weights)
    for member, weight in zip(members, weights, strict=True):
        member.inflight = 2 * weight
    counts = picks(LeastConnections(members, Random(1)), 4000)
    for member, weight in zip(members, weights, strict=True):
        # Five standard deviations: at most 5 x sqrt(4000 x 1/2 x 1/2) = 158.
        assert abs(counts[member] - 4000 * weight / sum(weights)) <= 158


def test_a_slow_server_is_sent_less_by_as_much_as_it_is_slower() -> None:
    slow, *quick = members = servers(1, 1, 1)
    answers = {slow: always(0.400), **dict.fromkeys(quick, always(0.100))}
    # 200 a second: some 15 to 20 in flight, so that their number can follow the ratio of 1 to 4.
    sent = simulate(LeastConnections(members, Random(1)), answers, rate=200, seconds=60)
    # Equal numbers in flight mean shares in proportion to speed: 1 to 4 to 4, a ninth. An idle server
    # always gets one first, which at this load adds up to a few per cent of all.
    assert 1 / 9 - 0.01 <= shares(sent, members)[0] <= 1 / 9 + 0.04


def test_a_server_that_hangs_is_sent_no_more_than_the_others_have_in_flight() -> None:
    stuck, *quick = members = servers(1, 1, 1)
    answers = {stuck: always(1e6), **dict.fromkeys(quick, always(0.100))}
    sent = simulate(LeastConnections(members, Random(1)), answers, rate=100, seconds=60)
    # 100 a second at 0.1 s are 10 in flight, 5 each on average; some hundred seconds never see three times
    # that.
    assert sent[stuck] <= 15
