"""Who is in rotation, and why: the pool on a virtual clock."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from balancer.ewma import PeakEwma
from balancer.pool import FIRST_STEP, Pool
from balancer.server import Server
from config.schema import Pool as PoolSettings

SECRET = b"a secret of thirty-two bytes...."
MARKS = ("checking", "down", "drained", "maintenance", "ejected")


class Raising:
    """A user's strategy that always fails."""

    def pick(self, key: int, now: float, tried: Any = ()) -> Server | None:
        raise RuntimeError("out of order")


def pool_of(
    names: str, backups: str = "", events: list[tuple[str, str, str]] | None = None, **settings: Any
) -> tuple[Pool, dict[str, Server]]:
    members = {name: {"url": f"http://{name}:1", "backup": name in backups} for name in names}
    parsed = PoolSettings.model_validate({"servers": members, **settings})
    servers = {}
    for name in names:
        server = servers[name] = Server(("app", name), f"http://{name}:1", name, 1, PeakEwma(10.0, 0.03))
        server.backup = name in backups
        server.cap = parsed.connections.per_server
    seen = events if events is not None else []
    pool = Pool("app", Random(1), SECRET, lambda *event: seen.append(event))
    pool.configure(parsed, servers.values(), 0.0)
    return pool, servers


def names(pool: Pool) -> str:
    return "".join(sorted(server.name for server in pool.rotation))


marks = st.lists(st.sets(st.sampled_from(MARKS), max_size=2), min_size=4, max_size=4)


@given(marks, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from(["", "d", "cd"]))
def test_rotation_holds_whoever_may_have_traffic_and_nobody_else(
    marked: list[set[str]], keep: float, backups: str
) -> None:
    pool, servers = pool_of("abcd", backups, health={"keep_at_least": keep})
    for server, reasons in zip(servers.values(), marked, strict=True):
        for reason in reasons:
            setattr(server, reason, True)
    pool.refresh(1.0)
    rotation = set(pool.rotation)
    everybody = set(servers.values())
    eligible = {s for s in everybody if not (s.drained or s.maintenance or s.checking)}
    well = {s for s in eligible if not (s.down or s.ejected)}
    assert rotation <= eligible  # whatever happens, the operator's word and the first check stand
    if not pool.panic:
        assert rotation <= well
        primaries = {s for s in well if not s.backup}
        assert rotation == (primaries or {s for s in well if s.backup})
    if eligible and keep > 0:
        assert rotation  # fails open rather than closed
    if keep == 0.0:
        assert not pool.panic


def test_a_pool_fails_open_below_its_share_but_leaves_out_what_live_traffic_found_dead() -> None:
    events: list[tuple[str, str, str]] = []
    pool, servers = pool_of("abc", events=events)
    servers["a"].down = servers["b"].down = True
    pool.refresh(1.0)
    assert (names(pool), pool.panic) == ("abc", True)
    servers["a"].ejected = True
    pool.refresh(2.0)
    assert names(pool) == "bc"
    servers["b"].down = False
    pool.refresh(3.0)
    assert (names(pool), pool.panic) == ("bc", False)
    assert [event[0] for event in events] == ["pool_panic", "pool_panic_over"]
    assert pool.tally.panics == 1


def test_a_newcomer_starts_slowly_and_takes_its_full_share_in_time() -> None:
    pool, servers = pool_of("ab", health={"slow_start": 10.0})
    assert {s.weight for s in servers.values()} == {1.0}  # the first servers have nobody to spare them
    servers["b"].down = True
    pool.refresh(1.0)
    servers["b"].down = False
    pool.refresh(2.0)
    assert servers["b"].ramp == FIRST_STEP

    def share(now: float) -> float:
        counts = Counter(s.name for _ in range(1000) if (s := pool.pick(0, now)) is not None)
        return counts["b"] / 1000

    early = share(2.0)
    pool.tick(7.0)
    middle = share(7.0)
    pool.tick(12.0)
    assert early < 0.15 < middle < 0.4
    assert 0.45 < share(12.0) < 0.55


def test_the_first_servers_of_a_pool_do_not_start_slowly_however_late_their_checks_end() -> None:
    pool, servers = pool_of("abc", health={"slow_start": 10.0})
    for server in servers.values():
        server.checking = True
    pool._fresh = True
    pool.refresh(0.0)
    for name, now in (("a", 1.0), ("b", 1.1), ("c", 1.3)):
        servers[name].checking = False
        pool.refresh(now)
    assert {server.ramp for server in servers.values()} == {1.0}


def test_a_strategy_that_raises_falls_back_and_is_counted_and_told() -> None:
    events: list[tuple[str, str, str]] = []
    pool, _ = pool_of("ab", events=events, strategy="tests.test_pool:Raising")
    picks = Counter(server.name for _ in range(6) if (server := pool.pick(0, 0.0)) is not None)
    assert picks == {"a": 3, "b": 3}
    assert pool.tally.plugin_errors == 6
    told = [event for event in events if event[0] == "strategy_failed"]
    assert len(told) == 3  # the first, the second, the fourth: a broken strategy must not flood the log
    assert "out of order" in told[0][2]


def test_servers_at_their_cap_are_passed_over_and_then_waited_for() -> None:
    pool, servers = pool_of("ab", connections={"per_server": 1})
    first = pool.pick(0, 0.0)
    assert first is not None
    pool.take(first)
    second = pool.pick(0, 0.0)
    assert second is not None
    assert second is not first
    pool.take(second)
    assert pool.pick(0, 0.0) is None
    assert pool.may_wait(())
    assert not pool.may_wait(list(servers.values()))
    pool.give(first)
    assert pool.pick(0, 0.0) is first


def test_nobody_waits_for_servers_that_will_not_come() -> None:
    pool, servers = pool_of("ab", health={"keep_at_least": 0.0})
    for server in servers.values():
        server.down = True
    pool.refresh(1.0)
    assert not pool.may_wait(())
    servers["a"].checking = True
    assert pool.may_wait(())
    servers["a"].drained = True
    assert not pool.may_wait(())


def test_an_ejection_ends_with_its_time() -> None:
    events: list[tuple[str, str, str]] = []
    pool, servers = pool_of("abc", events=events, health={"passive": {"failures": 2, "eject": 5.0}})
    for _ in range(2):
        pool.observe(servers["a"], ok=False, now=1.0)
    assert names(pool) == "bc"
    pool.tick(5.9)
    assert names(pool) == "bc"
    pool.tick(6.0)
    assert names(pool) == "abc"
    assert [event[0] for event in events] == ["server_ejected", "server_back"]
