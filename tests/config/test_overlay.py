"""What the admin API changed: each change, merging over the file, and what has no effect any more."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from config.load import parse
from config.overlay import (
    Overlay,
    ServerState,
    add_server,
    cleared,
    describe,
    initialize,
    marks,
    merge,
    remove_server,
    set_state,
    set_strategy,
    set_weight,
    stale,
)
from config.schema import Config, Health, Server
from config.state import from_text, to_text

FILE = parse(
    "pools: {app: {servers: {a: http://a:1, b: http://b:1}}, next: [http://n:1]}\nroutes: {r: {pool: app}}", "f", {}
).config


def servers(config: Config, pool: str = "app") -> dict[str, int]:
    return {name: server.weight for name, server in config.pools[pool].servers.items()}


def test_an_empty_overlay_leaves_the_configuration_as_it_is() -> None:
    assert merge(FILE, Overlay()) is FILE
    assert Overlay().is_empty


def test_a_server_is_added_weighed_and_removed() -> None:
    overlay = add_server(Overlay(), "app", "c", Server(url="http://c:1"))
    overlay = set_weight(overlay, "app", "c", 5)
    overlay = set_weight(overlay, "app", "a", 3)
    assert servers(merge(FILE, overlay)) == {"a": 3, "b": 1, "c": 5}
    overlay = remove_server(overlay, FILE, "app", "c")
    overlay = remove_server(overlay, FILE, "app", "b")
    assert servers(merge(FILE, overlay)) == {"a": 3}
    overlay = add_server(overlay, "app", "b", Server(url="http://b:2"))
    assert merge(FILE, overlay).pools["app"].servers["b"].url == "http://b:2"


def test_removing_what_only_the_overlay_has_leaves_nothing_behind() -> None:
    overlay = add_server(Overlay(), "app", "c", Server(url="http://c:1"))
    assert remove_server(overlay, FILE, "app", "c") == Overlay()


def test_initialize_puts_new_servers_in_the_place_of_all() -> None:
    overlay = set_state(set_weight(Overlay(), "app", "a", 9), "app", "a", "drained")
    overlay = initialize(overlay, "app", {"x": Server(url="http://x:1")}, strategy="hash", health=Health(active=None))
    merged = merge(FILE, overlay)
    assert servers(merged) == {"x": 1}
    assert merged.pools["app"].strategy == "hash"
    assert merged.pools["app"].health.active is None
    assert merged.pools["next"] is FILE.pools["next"]
    overlay = set_weight(overlay, "app", "x", 4)
    overlay = add_server(overlay, "app", "y", Server(url="http://y:1"))
    assert servers(merge(FILE, overlay)) == {"x": 4, "y": 1}
    assert servers(merge(FILE, remove_server(overlay, FILE, "app", "x"))) == {"y": 1}
    assert merge(FILE, cleared(overlay, "app")) is FILE
    assert cleared(overlay).is_empty


def test_a_strategy_goes_back_to_the_file_s() -> None:
    overlay = set_strategy(Overlay(), "app", "hash")
    assert merge(FILE, overlay).pools["app"].strategy == "hash"
    assert set_strategy(overlay, "app", None) == Overlay()


def test_states_are_marks_of_servers_that_there_are() -> None:
    overlay = set_state(Overlay(), "app", "a", "drained")
    overlay = set_state(overlay, "app", "b", "maintenance")
    overlay = set_state(overlay, "app", "gone", "drained")
    assert marks(FILE, overlay, "drained") == {("app", "a")}
    assert marks(FILE, overlay, "maintenance") == {("app", "b")}
    assert merge(FILE, overlay) is FILE
    assert marks(FILE, set_state(overlay, "app", "a", None), "drained") == frozenset()


def test_an_old_overlay_is_kept_and_its_changes_without_effect_are_told() -> None:
    overlay = set_weight(Overlay(), "app", "gone", 3)
    overlay = set_state(overlay, "app", "gone", "drained")
    overlay = set_strategy(overlay, "away", "hash")
    overlay = remove_server(overlay, FILE, "next", "n:1")
    assert merge(FILE, overlay) is FILE
    told = {str(change) for change in stale(FILE, overlay)}
    assert told == {
        "pools.app.servers.gone.weight: nothing -> 3 (without effect)",
        "pools.app.servers.gone.state: nothing -> drained (without effect)",
        "pools.away.strategy: nothing -> hash (without effect)",
        'pools.next.servers["n:1"]: nothing -> removed (without effect)',
    }


def test_a_file_that_lost_servers_never_leaves_a_pool_empty() -> None:
    overlay = remove_server(Overlay(), FILE, "app", "a")
    shrunk = parse("pools: {app: {servers: {a: http://a:1}}}", "f", {}).config
    assert servers(merge(shrunk, overlay)) == {"a": 1}
    assert [change.path for change in stale(shrunk, overlay)] == ["pools.app.servers.a"]


def test_everything_that_the_overlay_says_is_described() -> None:
    overlay = set_weight(Overlay(), "app", "b", 5)
    overlay = set_state(overlay, "app", "a", "maintenance")
    assert [str(change) for change in describe(FILE, overlay)] == [
        "pools.app.servers.b.weight: 1 -> 5",
        "pools.app.servers.a.state: ready -> maintenance",
    ]


def test_an_overlay_survives_a_pipe_to_another_process() -> None:
    overlay = set_state(Overlay(), "app", "a", "drained")
    assert pickle.loads(pickle.dumps(overlay)) == overlay


NAMES = st.sampled_from(["a", "b", "c", "gone"])
POOLS = st.sampled_from(["app", "next", "away"])


class Changes(RuleBasedStateMachine):
    """Any changes in any order: the overlay still merges, keeps over a restart, and no pool is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.overlay = Overlay()

    @rule(pool=POOLS, name=NAMES, weight=st.integers(1, 1000))
    def add(self, pool: str, name: str, weight: int) -> None:
        self.overlay = add_server(self.overlay, pool, name, Server(url=f"http://{name}:1", weight=weight))
        if pool in FILE.pools:
            assert servers(merge(FILE, self.overlay), pool)[name] == weight

    @rule(pool=POOLS, name=NAMES)
    def remove(self, pool: str, name: str) -> None:
        self.overlay = remove_server(self.overlay, FILE, pool, name)
        if pool in FILE.pools:
            left = servers(merge(FILE, self.overlay), pool)
            assert name not in left or left.keys() == servers(FILE, pool).keys()

    @rule(pool=POOLS, name=NAMES, weight=st.integers(1, 1000))
    def weigh(self, pool: str, name: str, weight: int) -> None:
        self.overlay = set_weight(self.overlay, pool, name, weight)
        if pool in FILE.pools:
            assert servers(merge(FILE, self.overlay), pool).get(name, weight) == weight

    @rule(pool=POOLS, name=NAMES, state=st.sampled_from(["drained", "maintenance", None]))
    def mark(self, pool: str, name: str, state: ServerState | None) -> None:
        self.overlay = set_state(self.overlay, pool, name, state)

    @rule(pool=POOLS, strategy=st.sampled_from(["hash", "random", None]))
    def choose(self, pool: str, strategy: str | None) -> None:
        self.overlay = set_strategy(self.overlay, pool, strategy)

    @rule(pool=POOLS, names=st.sets(NAMES, min_size=1))
    def replace(self, pool: str, names: set[str]) -> None:
        made = {name: Server(url=f"http://{name}:2") for name in sorted(names)}
        self.overlay = initialize(self.overlay, pool, made)
        if pool in FILE.pools:
            assert merge(FILE, self.overlay).pools[pool].servers == made

    @invariant()
    def holds(self) -> None:
        merged = merge(FILE, self.overlay)
        assert all(pool.servers for pool in merged.pools.values())
        assert from_text(to_text(self.overlay), "f") == self.overlay
        assert all(change.stale for change in stale(FILE, self.overlay))


TestChanges = pytest.mark.slow(Changes.TestCase)
TestChanges.settings = settings(max_examples=25, stateful_step_count=12)


@given(st.lists(st.tuples(NAMES, st.integers(1, 1000)), max_size=5))
def test_weights_given_twice_are_the_last_ones(weights: list[tuple[str, int]]) -> None:
    overlay = Overlay()
    for name, weight in weights:
        overlay = set_weight(overlay, "app", name, weight)
    expected = servers(FILE) | {name: weight for name, weight in weights if name in ("a", "b")}
    assert servers(merge(FILE, overlay)) == expected
