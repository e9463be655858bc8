"""A Redis as it is told of: from INFO of any version, and with a replica."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.databases.advice import of_redis
from balancer.databases.redis import details
from balancer.redis_link import RedisLink, RedisState
from balancer.telemetry.database_figures import RedisDetails
from config.schema import Redis
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture


def said(at: float = 10.0, **info: object) -> RedisState:
    return RedisState(True, None, 0.001, info={name: str(value) for name, value in info.items()}, at=at)


def told(state: RedisState, before: RedisState | None = None) -> RedisDetails:
    found = details(state, before)
    assert found is not None
    return found


def test_what_a_server_does_not_say_is_not_known_and_no_zero() -> None:
    found = told(said(role="master"))
    assert found.role == "master"
    known = {name for name, value in found.model_dump().items() if value is not None}
    assert known == {"role", "replicas", "keyspace", "rates"}


@given(st.dictionaries(st.sampled_from(["role", "slave0", "db0", "used_memory", "keyspace_hits", "x"]), st.text()))
def test_no_answer_whatever_is_in_it_is_more_than_not_known(info: dict[str, str]) -> None:
    details(said(**info), said(9.0, **info))


def test_rates_are_from_two_looks_and_none_is_negative() -> None:
    before = said(10.0, run_id="a", keyspace_hits=10, keyspace_misses=10, evicted_keys=0)
    found = told(said(20.0, run_id="a", keyspace_hits=40, keyspace_misses=20, evicted_keys=5), before)
    assert found.rates == {"hits_per_s": 3.0, "misses_per_s": 1.0, "evicted_keys_per_s": 0.5}
    assert (found.hit_ratio, found.hit_ratio_recent) == (round(40 / 60, 5), 0.75)
    assert told(said(20.0, run_id="b", keyspace_hits=40), before).rates == {}, "it is another process"
    assert told(said(20.0, run_id="a", keyspace_hits=0), before).rates == {}, "CONFIG RESETSTAT"
    assert told(replace(before, at=10.0), before).rates == {}


def test_replicas_and_keys_are_read_from_their_lines() -> None:
    state = said(
        role="master",
        master_repl_offset=100,
        slave0="ip=::1,port=7,state=online,offset=40,lag=1",
        slave1="ip=10.0.0.2,port=8,state=wait_bgsave",
        db0="keys=3,expires=1,avg_ttl=0",
        db7="keys=4",
    )
    found = told(state)
    assert [(one.address, one.lag_bytes, one.lag_s) for one in found.replicas] == [
        ("[::1]:7", 60, 1.0),
        ("10.0.0.2:8", None, None),
    ]
    assert found.lag_bytes == 60
    assert {name: one.keys for name, one in found.keyspace.items()} == {"db0": 3, "db7": 4}


@pytest.mark.parametrize(
    ("info", "about"),
    [
        ({"used_memory": 95, "maxmemory": 100, "maxmemory_policy": "noeviction"}, "memory"),
        ({"used_memory": 95, "maxmemory": 100, "maxmemory_policy": "allkeys-lru"}, None),
        ({"rdb_last_bgsave_status": "err"}, "persistence"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, "persistence"),
        ({"aof_enabled": 0, "aof_last_write_status": "err"}, None),
        ({"role": "slave", "master_link_status": "down"}, "lag"),
        ({"slave0": "ip=h,port=1,state=online,offset=1,lag=40", "master_repl_offset": 1}, "lag"),
        ({"connected_clients": 90, "maxclients": 100}, "connections"),
        ({"connected_clients": 10, "maxclients": 100}, None),
    ],
)
def test_what_is_wrong_is_told_and_nothing_else(info: dict[str, object], about: str | None) -> None:
    assert [one.about for one in of_redis(told(said(**info)))] == ([about] if about else [])


@pytest.fixture
def replica(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "replica"
    folder.mkdir()
    server = RedisServer(folder, options=["--replicaof", "127.0.0.1", str(redis_server.port)])
    server.start()
    yield server
    server.kill()


async def test_a_replica_and_its_master_tell_of_each_other(redis_server: RedisServer, replica: RedisServer) -> None:
    above, below = (RedisLink(Redis(url=one.url, timeout=5.0)) for one in (redis_server, replica))
    redis_server.do("CONFIG", "SET", "repl-ping-replica-period", 1)
    redis_server.do("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    try:
        async with asyncio.timeout(20):
            while True:
                master, follower = told(await above.check_now()), told(await below.check_now())
                if follower.link_up and master.replicas and master.replicas[0].state == "online":
                    break
        (one,) = master.replicas
        assert one.address == f"127.0.0.1:{replica.port}"
        assert one.lag_bytes is not None
        assert (master.role, follower.role) == ("master", "slave")
        assert list(of_redis(follower)) == []
        redis_server.kill()
        async with asyncio.timeout(20):
            while (follower := told(await below.check_now())).link_up:
                pass
        assert [problem.about for problem in of_redis(follower)] == ["lag"]
    finally:
        await above.close()
        await below.close()


async def test_a_user_who_may_not_ask_for_slow_commands_is_noted_once(redis_server: RedisServer) -> None:
    redis_server.do("ACL", "SETUSER", "plain", "on", ">pw", "-@all", "+hello", "+auth", "+ping", "+info", "+client")
    link = RedisLink(Redis(url=redis_server.url.replace("://", "://plain:pw@"), timeout=5.0))
    try:
        for _ in range(3):
            state = await link.check_now()
            assert (state.ok, state.slow) == (True, None)
        noted = redis_server.do_all("ACL", "LOG")
        assert "slowlog|len" in noted
        assert noted.count("\r\ncount\r\n") == noted.count("\r\ncount\r\n:1\r\n") == 1, noted
    finally:
        await link.close()
