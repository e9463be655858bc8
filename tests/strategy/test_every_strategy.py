"""What holds for all strategies at once."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite, sqrt
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.server import Server
from balancer.strategy import STRATEGIES, build, figures, preview
from balancer.strategy.hashing import BUCKETS
from config.schema import Pool, StrategyName
from tests.strategy.world import keys, names, picks, server, servers, weights

EVERY = sorted(STRATEGIES)


@st.composite
def rotations(draw: st.DrawFn) -> list[Server]:
    """Servers in any state a strategy may find them in, slow start's fractions of weights included."""
    return [
        server(
            f"s{index}",
            weight=draw(st.integers(1, 1000) | st.floats(0.0, 1000.0)),
            latency=draw(st.none() | st.floats(0.0, 60.0)),
            inflight=draw(st.integers(0, 20)),
        )
        for index in range(draw(st.integers(0, 12)))
    ]


def tolerated(count: int, share: float) -> float:
    """How far a server's picks may be off `count` x `share`.

    Five standard deviations of independent draws, which chance passes once in two million times; `random` is
    that uneven, the others less. `hash` adds the unevenness of its buckets, which is drawn once for all keys.
    And one pick for rounding.
    """
    return 5 * sqrt(count * share * (1 - share) * (1 + count / BUCKETS)) + 1


def test_every_strategy_the_schema_names_exists_and_no_other() -> None:
    assert set(STRATEGIES) == set(get_args(StrategyName))


@pytest.mark.slow
@given(name=names, members=rotations(), data=st.data())
def test_a_strategy_picks_an_untried_server_whenever_one_is_left(
    name: str, members: list[Server], data: st.DataObject
) -> None:
    some = st.lists(st.sampled_from(members), unique=True) if members else st.just([])
    strategy = STRATEGIES[name](members, Random(1))
    for now in (0.0, 0.001, 100.0, 1e6):
        tried: Collection[Server] = data.draw(some.map(frozenset) | some)
        picked = strategy.pick(data.draw(st.integers(0, 2**64 - 1)), now, tried)
        assert (picked is None) == (len(tried) == len(members))
        assert picked is None or picked in set(members) - set(tried)


@given(name=names, weights=weights)
def test_requests_in_flight_are_shared_by_weight(name: str, weights: list[int]) -> None:
    members = servers(*weights, latency=0.1)
    count = 400
    counts = picks(STRATEGIES[name](members, Random(1)), count, hold=True)
    for member, weight in zip(members, weights, strict=True):
        share = weight / sum(weights)
        assert abs(counts[member] - count * share) <= tolerated(count, share)


@given(name=names.filter(lambda name: name != "response-time"), weights=weights)
def test_an_idle_pool_is_shared_by_weight_too(name: str, weights: list[int]) -> None:
    # But not by response-time: the one that is expected to answer first is the one to ask.
    members = servers(*weights)
    count = 400
    counts = picks(STRATEGIES[name](members, Random(1)), count)
    for member, weight in zip(members, weights, strict=True):
        share = weight / sum(weights)
        assert abs(counts[member] - count * share) <= tolerated(count, share)


@given(name=names, weights=weights, seed=st.integers())
def test_the_same_random_numbers_make_the_same_picks(name: str, weights: list[int], seed: int) -> None:
    members = servers(*weights)
    one = STRATEGIES[name](members, Random(seed))
    other = STRATEGIES[name](members, Random(seed))
    for turn, key in enumerate(keys(30)):
        assert one.pick(key, turn / 10) is other.pick(key, turn / 10)


@pytest.mark.parametrize("name", EVERY)
def test_a_change_of_rotation_does_not_favour_the_first_server(name: str) -> None:
    members = servers(1, 1, 1, 1)
    rng = Random(1)
    count = 1000
    first = sum(STRATEGIES[name](members, rng).pick(key, 0.0) is members[0] for key in keys(count))
    assert abs(first - count / 4) <= tolerated(count, 1 / 4)


@pytest.mark.parametrize("name", EVERY)
def test_retries_are_not_all_sent_to_the_same_server(name: str) -> None:
    members = servers(1, 1, 1, 1, latency=0.1)
    strategy = STRATEGIES[name](members, Random(1))
    retried = set()
    for key in keys(100):
        picked = strategy.pick(key, 0.0, members[:1])
        assert picked is not None
        retried.add(picked)
    assert retried == set(members[1:])


@pytest.mark.slow
@given(name=names, members=rotations(), key=st.integers(0, 2**64 - 1))
def test_a_preview_is_what_the_next_pick_returns_and_spends_no_turn(name: str, members: list[Server], key: int) -> None:
    strategy = STRATEGIES[name](members, Random(1))
    for now in (0.0, 0.1, 50.0):
        expected = preview(strategy, key, now)
        assert preview(strategy, key, now) is expected
        assert strategy.pick(key, now) is expected


@pytest.mark.parametrize("name", EVERY)
@given(members=rotations(), key=st.sampled_from([0, 1, 2**64 - 1]))
def test_figures_are_finite_numbers_and_tell_weight_and_load(name: str, members: list[Server], key: int) -> None:
    strategy = STRATEGIES[name](members, Random(1))
    for member in members:
        told = figures(strategy, member, key, 1.0)
        assert all(isfinite(value) for value in told.values())
        assert told["weight"] == member.weight
        assert told["inflight"] == member.inflight
        assert ("latency" in told) == member.latency.measured


@pytest.mark.parametrize("name", ["round-robin", "least-connections", "response-time", "hash"])
@given(loads=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=6))
def test_the_lowest_score_is_picked(name: str, loads: list[tuple[int, int]]) -> None:
    members = [server(f"s{i}", weight, 0.1, inflight) for i, (weight, inflight) in enumerate(loads)]
    strategy = STRATEGIES[name](members, Random(1))
    for key in keys(5):
        scores = {member: figures(strategy, member, key, 1.0)["score"] for member in members}
        picked = strategy.pick(key, 1.0)
        assert picked is not None
        assert scores[picked] == min(scores.values())


@pytest.mark.parametrize("name", EVERY)
def test_a_built_in_strategy_is_built_as_a_pool_names_it_without_a_guard(name: str) -> None:
    members = servers(1, 1)
    strategy = build(Pool(servers={}, strategy=name), members, Random(1), raised)
    assert type(strategy) is STRATEGIES[name]
    assert set(strategy.servers) == set(members)
    assert strategy.keyed == (name == "hash")
    assert strategy.reason


def raised(error: Exception) -> None:
    raise error
