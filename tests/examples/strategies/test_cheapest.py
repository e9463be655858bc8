"""The example of a user's own strategy does what it says, under the name that it says."""

from __future__ import annotations

from random import Random

from balancer.server import Server
from balancer.strategy import Strategy, build
from config.schema import Pool
from examples.strategies.cheapest import ROOM
from tests.strategy.world import server
from tests.tree import ROOT

PATH = "examples.strategies.cheapest:Cheapest"


def strategy(members: list[Server]) -> Strategy:
    def unexpected(error: Exception) -> None:
        raise error

    return build(Pool(servers={}, strategy=PATH), members, Random(1), unexpected)


def test_the_cheapest_server_is_filled_before_the_next_one() -> None:
    cloud, own, spot = members = [server("cloud-1"), server("own-1"), server("spot-1")]
    cheapest = strategy(members)
    for expected in (own, spot, cloud):
        for _ in range(ROOM):
            assert cheapest.pick(0, 0.0) is expected
            expected.inflight += 1


def test_when_all_are_full_the_least_busy_is_taken() -> None:
    own, cloud = members = [server("own-1", inflight=ROOM + 1), server("cloud-1", inflight=ROOM)]
    assert strategy(members).pick(0, 0.0) is cloud
    assert strategy(members).pick(0, 0.0, [cloud]) is own
    assert strategy(members).pick(0, 0.0, members) is None


def test_a_kind_without_a_price_is_the_dearest() -> None:
    unknown, cloud = members = [server("gold-1"), server("cloud-1")]
    assert strategy(members).pick(0, 0.0) is cloud
    assert strategy(members).pick(0, 0.0, [cloud]) is unknown


def test_its_name_stands_in_its_own_text_and_the_file_in_the_documentation() -> None:
    assert PATH in (ROOT / "examples/strategies/cheapest.py").read_text()
    assert "examples/strategies/cheapest.py" in (ROOT / "docs/strategies.md").read_text()
