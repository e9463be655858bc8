"""A user's strategy cannot hurt a request."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.server import Server
from balancer.strategy import StrategyError, build, preview
from balancer.strategy.guarded import PATIENCE, Guarded
from config.schema import Pool
from tests.strategy.plugins import First, Scripted
from tests.strategy.world import picks, server, servers


class Guard:
    """A guarded strategy that does what `script` says, and the errors that were told."""

    def __init__(self, members: list[Server], script: list[object]) -> None:
        self.errors: list[Exception] = []
        self.members = members

        def construct() -> Scripted:
            plugin = Scripted(members, Random(1))
            plugin.script = script
            return plugin

        self.strategy = Guarded("my:Own", construct, members, Random(1), self.errors.append)  # type: ignore[arg-type]  # Scripted may return anything


def named(name: str, members: list[Server], errors: list[Exception]) -> Guarded:
    strategy = build(Pool(servers={}, strategy=f"tests.strategy.plugins:{name}"), members, Random(1), errors.append)
    assert isinstance(strategy, Guarded)
    return strategy


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (KeyError("price"), "price"),
        (None, "my:Own.pick returned None while 2 of its servers were left"),
        ("s1", "my:Own.pick returned 's1', which is none of the servers it was built over"),
        ([], r"my:Own.pick returned \[\], which is none"),
        (server("stranger"), "my:Own.pick returned <Server pool/stranger up inflight=0>, which is none"),
    ],
)
def test_round_robin_stands_in_for_a_pick_that_fails(wrong: object, message: str) -> None:
    members = servers(1, 1)
    guard = Guard(members, [members[0], wrong, members[0]])
    assert guard.strategy.pick(0, 0.0) is members[0]
    assert guard.strategy.pick(0, 0.0) in members
    assert guard.strategy.pick(0, 0.0) is members[0]
    with pytest.raises((StrategyError, KeyError), match=message):
        raise guard.errors.pop()
    assert not guard.errors


def test_a_server_that_was_tried_is_not_asked_again_whatever_the_plug_in_says() -> None:
    members = servers(1, 1)
    guard = Guard(members, [members[0]])
    assert guard.strategy.pick(0, 0.0, members[:1]) is members[1]
    assert "which is among `tried`" in str(guard.errors[0])


def test_none_is_right_when_all_were_tried() -> None:
    members = servers(1, 1)
    guard = Guard(members, [None])
    assert guard.strategy.pick(0, 0.0, members) is None
    assert not guard.errors


def test_a_broken_plug_in_is_switched_off_and_round_robin_goes_on() -> None:
    members = servers(1, 2)
    errors: list[Exception] = []
    strategy = named("Raising", members, errors)
    counts = picks(strategy, 30 * PATIENCE)
    assert (counts[members[0]], counts[members[1]]) == (10 * PATIENCE, 20 * PATIENCE)
    assert [type(error) for error in errors] == [KeyError] * PATIENCE + [StrategyError]
    assert "failed 10 times in a row" in str(errors[-1])
    assert "is off after its errors" in strategy.reason


def test_a_good_pick_makes_the_plug_in_patient_again() -> None:
    members = servers(1, 1)
    bad: list[object] = [KeyError("price")] * (PATIENCE - 1)
    guard = Guard(members, [*bad, members[0], *bad, members[0]])
    for _ in range(2 * PATIENCE):
        assert guard.strategy.pick(0, 0.0) in members
    assert len(guard.errors) == 2 * (PATIENCE - 1)
    assert guard.strategy.reason == "the choice of my:Own"


def test_a_plug_in_that_cannot_be_constructed_leaves_round_robin() -> None:
    members = servers(1, 1)
    errors: list[Exception] = []
    strategy = named("NotBuilt", members, errors)
    counts = picks(strategy, 20)
    assert (counts[members[0]], counts[members[1]]) == (10, 10)
    assert [str(error) for error in errors] == ["prices.csv is missing"]


def test_a_constructor_that_cannot_be_read_shows_its_fault_when_it_is_called() -> None:
    members = servers(1)
    errors: list[Exception] = []
    assert named("Unreadable", members, errors).pick(0, 0.0) is members[0]
    assert [type(error) for error in errors] == [TypeError]


def test_a_rebuild_gives_the_plug_in_another_chance() -> None:
    members = servers(1, 1)
    errors: list[Exception] = []
    for _ in range(2):
        named("Raising", members, errors).pick(0, 0.0)
    assert len(errors) == 2


def test_figures_that_fail_are_left_out_and_harm_nothing() -> None:
    members = servers(1)
    errors: list[Exception] = []
    assert named("Raising", members, errors).figures(members[0], 0, 0.0) == {}
    assert named("Bare", members, errors).figures(members[0], 0, 0.0) == {}
    assert not errors


@given(
    entries=st.lists(st.sampled_from(["s0", "s1", "s2", None, 7, KeyError("price")]), max_size=40),
    data=st.data(),
)
def test_whatever_a_plug_in_does_an_untried_server_is_picked_while_one_is_left(
    entries: list[object], data: st.DataObject
) -> None:
    members = servers(1, 1, 1)
    by_name: dict[object, object] = {member.name: member for member in members}
    guard = Guard(members, [entry if isinstance(entry, Exception) else by_name.get(entry, entry) for entry in entries])
    for _ in entries:
        tried = data.draw(st.lists(st.sampled_from(members), unique=True))
        picked = guard.strategy.pick(0, 0.0, tried)
        assert (picked is None) == (len(tried) == len(members))
        assert picked not in tried


def test_a_preview_of_a_plug_in_spends_nothing_and_tells_nobody() -> None:
    members = servers(1, 1, 1)
    guard = Guard(members, [KeyError("price"), members[2]])
    first = preview(guard.strategy, 0, 0.0)
    assert first in members
    assert preview(guard.strategy, 0, 0.0) is first
    assert not guard.errors
    assert guard.strategy.pick(0, 0.0) is first
    assert len(guard.errors) == 1
    assert guard.strategy.pick(0, 0.0) is members[2]


def test_a_preview_that_would_switch_the_plug_in_off_does_not() -> None:
    members = servers(1, 1)
    guard = Guard(members, [KeyError("price")] * PATIENCE)
    for _ in range(PATIENCE - 1):
        guard.strategy.pick(0, 0.0)
    preview(guard.strategy, 0, 0.0)
    assert guard.strategy.reason == "the choice of my:Own"


def test_a_plug_in_that_cannot_be_copied_has_no_preview() -> None:
    members = servers(1)
    strategy = named("Locked", members, [])
    with pytest.raises(StrategyError, match=r"cannot be asked without spending a turn: .*lock"):
        preview(strategy, 0, 0.0)
    assert strategy.pick(0, 0.0) is members[0]


def test_a_copy_does_not_copy_who_is_told_of_errors() -> None:
    class Told:
        def tell(self, error: Exception) -> None:
            raise AssertionError("a copy told")

        def __deepcopy__(self, memo: dict[int, object]) -> Told:
            raise AssertionError("was copied")

    members = servers(1)
    strategy = Guarded("my:First", lambda: First([server("stranger")], Random(1)), members, Random(1), Told().tell)
    twin = deepcopy(strategy, {id(members[0]): members[0]})
    assert twin.pick(0, 0.0) is members[0]
