"""Where a command goes: Redis itself is the judge."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balancer.redis_slots import SLOTS, SlotMap, redirection, slot_of
from config.redis_url import RedisPlace
from tests.redis_server import RedisCluster, redis_cluster

__all__ = ["redis_cluster"]  # a fixture

HERE = RedisPlace("10.0.0.1", 7000)
ANYTHING = st.recursive(
    st.none() | st.integers() | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(), inner, max_size=2),
    max_leaves=20,
)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]) | st.sampled_from("{}"), min_size=1))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_key_is_in_the_slot_that_redis_says(redis_cluster: RedisCluster, key: str) -> None:
    slot = int(redis_cluster.nodes[0].do("CLUSTER", "KEYSLOT", key))
    assert slot_of(("GET", key)) == slot
    assert slot_of((b"set", key.encode(), b"value", "PX", 1)) == slot
    assert slot_of(("EVALSHA", "0" * 40, 2, key, "{other}", "argument")) == slot
    assert slot_of(("EVAL", "return 1", 0, key)) is None, "it is no key but an argument"


def test_what_has_no_key_goes_anywhere() -> None:
    for command in (("PING",), ("PUBLISH", "channel", "message"), ("CLUSTER", "SLOTS"), ("ECHO", "a")):
        assert slot_of(command) is None


@given(ANYTHING)
def test_whatever_is_answered_makes_a_map_or_none(answer: object) -> None:
    slots = SlotMap.of(answer, HERE)
    assert slots is None or slots.masters


@given(st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 3)), min_size=1, max_size=20))
def test_a_map_says_of_each_slot_what_was_said_last(parts: list[tuple[int, int]]) -> None:
    answer = [
        [slot, slot, [b"10.0.0.2", 7000 + node, b"id", {}], [b"10.0.0.9", 1, b"a replica"]] for slot, node in parts
    ]
    slots = SlotMap.of(answer, HERE)
    assert slots is not None
    said = dict(parts)
    for slot, owner in enumerate(slots.owners):
        assert owner == (RedisPlace("10.0.0.2", 7000 + said[slot]) if slot in said else None)
    assert slots.masters == {RedisPlace("10.0.0.2", 7000 + node) for _, node in parts} | set(filter(None, slots.owners))


def test_a_node_that_does_not_know_its_address_is_where_it_was_asked() -> None:
    for unknown in (b"", None, b"?"):
        slots = SlotMap.of([[0, SLOTS - 1, [unknown, 7001, b"id"]]], HERE)
        assert slots is not None
        assert slots.masters == {RedisPlace("10.0.0.1", 7001)}
    assert redirection("MOVED 12 :7001", HERE) == ("MOVED", 12, RedisPlace("10.0.0.1", 7001))


def test_a_redirection_is_read_with_any_kind_of_address() -> None:
    assert redirection("ASK 16383 ::1:7001", HERE) == ("ASK", 16383, RedisPlace("::1", 7001))
    assert redirection("MOVED 1 node-1.example:7001", HERE) == ("MOVED", 1, RedisPlace("node-1.example", 7001))
    for nonsense in ("MOVED", "MOVED nonsense", "MOVED 16384 h:1", "ASK 1 h:0", "MOVED 1 h:99999", "moved 1 h:1"):
        assert redirection(nonsense, HERE) is None
