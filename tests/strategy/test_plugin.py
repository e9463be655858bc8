"""A user's own strategy is found by its dotted path, or it is said what is wrong."""

from __future__ import annotations

from random import Random

import pytest

from balancer.server import Server
from balancer.strategy import Strategy, StrategyError, build, figures, load_strategy
from config.schema import Pool
from tests.strategy.world import picks, servers

HERE = "tests.strategy.plugins"


def built(name: str, members: list[Server]) -> Strategy:
    def unexpected(error: Exception) -> None:
        raise error

    return build(Pool(servers={}, strategy=f"{HERE}:{name}"), members, Random(1), unexpected)


def test_a_users_class_picks() -> None:
    members = servers(1, 1, 1)
    strategy = built("First", members)
    assert [strategy.pick(0, 0.0) for _ in range(3)] == [members[0]] * 3
    assert strategy.pick(0, 0.0, members[:2]) is members[2]
    assert strategy.pick(0, 0.0, members) is None
    assert not strategy.keyed


def test_a_class_with_nothing_but_pick_finds_its_servers_and_random_numbers() -> None:
    members = servers(1, 1, 1)
    assert set(picks(built("Bare", members), 50)) == set(members)


def test_a_dataclass_will_do() -> None:
    members = servers(1, 1)
    assert built("Recorded", members).pick(0, 0.0) is members[0]


def test_a_class_may_ask_for_keys_and_settings_and_give_figures() -> None:
    members = servers(1)
    strategy = built("Keyed", members)
    assert strategy.keyed
    assert figures(strategy, members[0], 7, 0.0) == {"weight": 1.0, "inflight": 0.0, "key": 7.0, "named": 1.0}


def test_the_reason_names_the_class() -> None:
    assert built("First", servers(1)).reason == f"the choice of {HERE}:First"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("round_robin", "no strategy 'round_robin'; did you mean 'round-robin'?"),
        (
            "ewma",
            "two-choices, random, hash, or package.module:Class for a class of your own",
        ),
        ("mine.prices.Cheapest", "a class of your own is written mine.prices:Cheapest"),
        ("a_package_that_nobody_wrote.prices:Cheapest", "no module named 'a_package_that_nobody_wrote'"),
        (
            "tests.strategy.prices:Cheapest",
            "no module named 'tests.strategy.prices'; its folder must be on PYTHONPATH",
        ),
        ("tests.strategy.plugin_that_fails_to_import:Cheapest", "failed: KeyError: 'large'"),
        (
            "tests.strategy.plugin_that_needs_more:Cheapest",
            "failed: No module named 'a_package_that_nobody_wrote'",
        ),
        (":Cheapest", "importing '' failed"),
        (f"{HERE}:", "has no class ''"),
        (f"{HERE}:Frist", "has no class 'Frist'; it has AsyncPick, Bare, Demanding, First, "),
        (f"{HERE}:NOT_A_CLASS", "must be a class with a method pick(key, now, tried), not 3"),
        (f"{HERE}:function", "must be a class with a method pick(key, now, tried), not <function"),
        (f"{HERE}:NoPick", "has no method pick(self, key, now, tried)"),
        (f"{HERE}:ShortPick", "pick must take (self, key, now, tried), not (self)"),
        (f"{HERE}:AsyncPick", "pick must be a plain method, not `async def`"),
        (f"{HERE}:Demanding", "must be constructible as Demanding(servers, rng), not Demanding("),
    ],
)
def test_it_is_said_why_a_strategy_cannot_be_had(name: str, message: str) -> None:
    with pytest.raises(StrategyError) as raised:
        load_strategy(name)
    assert message in str(raised.value)
    assert name.rpartition(":")[0] in str(raised.value)
