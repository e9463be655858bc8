"""Two real balancers that share a cluster, or the master that sentinels know."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from balancer.redis_slots import slot_of
from tests.redis_server import RedisCluster, RedisSentinels
from tests.system.process import Balancer, until
from tests.system.test_cache_redis import ask, eventually_hit, two

pytestmark = pytest.mark.slow


async def metrics(balancer: Balancer) -> dict[str, float]:
    _, text = await balancer.call("GET", "/metrics")
    found = (re.fullmatch(r"(balancer_redis\S*) (\S+)", line) for line in text.splitlines())
    return {match[1]: float(match[2]) for match in found if match is not None}


def says(balancer: Balancer, name: str, value: float) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return (await metrics(balancer)).get(name) == value

    return done


def sharing(session: aiohttp.ClientSession, one: Balancer, other: Balancer, path: str) -> Callable[[], Awaitable[bool]]:
    """Whether what one has fetched is a hit at the other, each time with another URL."""
    numbers = count()

    async def done() -> bool:
        here = f"{path}/{next(numbers)}"
        await ask(session, one, here)
        await asyncio.sleep(0.05)
        return "hit" in (await ask(session, other, here))[1]

    return done


async def holds(session: aiohttp.ClientSession, one: Balancer, other: Balancer, path: str) -> None:
    """What one has fetched, the other serves; what one purges, the other has not any more."""
    assert (await ask(session, one, path))[2] == f"{path} 1"
    await eventually_hit(session, other, path)
    assert (await ask(session, other, path))[2] == f"{path} 1"
    assert (await ask(session, one, path, "PURGE"))[0] == 200
    await asyncio.sleep(0.05)
    assert (await ask(session, other, path))[2] == f"{path} 2"


@pytest.mark.parametrize("with_log", [False, True], ids=["some node", "the node with the log of purges"])
async def test_balancers_share_a_cluster_and_go_on_while_one_of_its_nodes_is_dead(
    tmp_path: Path, with_log: bool
) -> None:
    (tmp_path / "redis").mkdir()
    with RedisCluster(tmp_path / "redis") as cluster:
        async with two(tmp_path, cluster) as (_, one, other, session):
            for number in range(6):
                await holds(session, one, other, f"/whole/{number}")
            told = await metrics(one)
            assert told['balancer_redis_nodes{state="up"}'] == 3
            assert told["balancer_redis_up"] == 1
            log = slot_of(("GET", "balancer:{purges}recent"))
            assert log is not None
            victim = next(node for node in cluster.nodes if (node is cluster.owner(log)) == with_log)
            victim.kill()
            answers = await asyncio.gather(*(ask(session, at, f"/dead/{n}") for n in range(60) for at in (one, other)))
            assert {status for status, *_ in answers} == {200}
            await until(says(one, 'balancer_redis_nodes{state="up"}', 2), one, other)
            _, figures = await one.call("GET", "/api/monitoring/metrics")
            use = figures["databases"]["redis"]["use"]
            assert use["state"] == "partial"
            assert sorted(node["state"] == "up" for node in use["nodes"]) == [False, True, True]
            if not with_log:  # what is on the others is still shared
                await until(sharing(session, one, other, "/still"), one, other)
            victim.start()
            await until(says(one, 'balancer_redis_nodes{state="up"}', 3), one, other)
            await until(says(other, 'balancer_redis_nodes{state="up"}', 3), one, other)
            dead = f"127.0.0.1:{victim.port}".encode()
            told_of = [
                json.loads(line)["event"] for line in one.output.splitlines() if dead in line and b'"event"' in line
            ]
            assert [event for event in told_of if event != "redis_refuses"] == ["redis_down", "redis_back"]
            await eventually_hit(session, one, "/back")
            await eventually_hit(session, other, "/back")


async def test_balancers_follow_a_failover_of_sentinels_and_purge_at_the_new_master(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with RedisSentinels(tmp_path / "redis") as sentinels:
        async with two(tmp_path, sentinels) as (_, one, other, session):
            await holds(session, one, other, "/before")
            sentinels.fail_over()
            new = f"127.0.0.1:{sentinels.servers[1].port}"

            async def moved() -> bool:
                asked = [await ask(session, at, "/during") for at in (one, other)]
                assert {status for status, *_ in asked} == {200}
                found = [await at.call("GET", "/api/monitoring/metrics") for at in (one, other)]
                uses = [figures["databases"]["redis"]["use"] for _, figures in found]
                return [(use["state"], use["nodes"][0]["name"]) for use in uses] == [("up", new)] * 2

            await until(moved, one, other)

            await until(sharing(session, one, other, "/shared"), one, other)
            await holds(session, one, other, "/after")
            assert sentinels.servers[1].do("EXISTS", "balancer:{purges}recent") == "1"
