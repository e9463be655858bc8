from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from balancer.strategy.two_choices import TwoChoices
from tests.strategy.world import always, keys, picks, server, servers, shares, simulate


@given(
    loads=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    weights=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_of_two_servers_the_less_busy_for_its_weight_is_picked(
    loads: tuple[int, int], weights: tuple[int, int]
) -> None:
    members = [server(f"s{i}", weights[i], inflight=loads[i]) for i in range(2)]
    strategy = TwoChoices(members, Random(1))
    for _ in range(5):
        picked = strategy.pick(0, 0.0)
        assert picked is not None
        assert picked.inflight / picked.weight == min(member.inflight / member.weight for member in members)


@given(count=st.integers(2, 9), seed=st.integers())
def test_the_busiest_server_is_never_picked(count: int, seed: int) -> None:
    members = servers(*[1] * count)
    members[seed % count].inflight = 1
    assert picks(TwoChoices(members, Random(seed)), 50)[members[seed % count]] == 0


def test_the_least_busy_of_many_is_not_everybodys_choice() -> None:
    members = servers(*[1] * 10)
    for member in members[1:]:
        member.inflight = 1
    count = 5000
    first = picks(TwoChoices(members, Random(1)), count)[members[0]]
    # It is among the two drawn in one case of five; five standard deviations are 5 x sqrt(5000 x 0.2 x 0.8)
    # = 141.
    assert abs(first - count / 5) <= 141


def test_load_is_nearly_as_even_as_if_all_were_compared() -> None:
    members = servers(*[1] * 50)
    count = 5000
    counts = picks(TwoChoices(members, Random(1)), count, hold=True)
    # Theory puts the fullest at the mean plus a small constant (log log n); random draws would be off by
    # 2.3 x sqrt(100) = 23.
    assert max(counts.values()) <= 100 + 5


def test_a_slow_server_is_sent_less() -> None:
    slow, *quick = members = servers(1, 1, 1, 1)
    answers = {slow: always(0.400), **dict.fromkeys(quick, always(0.100))}
    sent = simulate(TwoChoices(members, Random(1)), answers, rate=200, seconds=60)
    # In proportion to speed it would be 1 of 13; two choices see only half of the pool, hence less than
    # twice that.
    assert shares(sent, members)[0] < 2 / 13


def test_of_those_left_the_less_busy_are_preferred_on_a_retry_too() -> None:
    members = servers(1, 1, 1)
    members[2].inflight = 5
    strategy = TwoChoices(members, Random(1))
    assert {strategy.pick(key, 0.0, [members[0]]) for key in keys(20)} == {members[1]}
