"""What befalls the Redis of two processes, under load: no request fails or waits, and nothing purged comes back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import pytest

from bench.cache_faults import DEADLINE, measured, table
from bench.machine import cores
from bench.program import running as started
from bench.recipes import Place, server
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.redis_server import RedisServer, redis_server
from tests.system.herd import Asker, Origin, askers, leave
from tests.system.process import Balancer, running, until

pytestmark = pytest.mark.slow
__all__ = ["redis_server"]  # a fixture

STATS = "/api/infrastructure/cache/stats"
PURGE = "/api/infrastructure/cache/purge"
SLACK = 1.0
"""Seconds that a busy machine may hold anybody up; to wait for a lease of which nobody knows would take two."""


def test_clients_notice_nothing_of_what_befalls_redis(tmp_path: Path) -> None:
    with started(server(Place(tmp_path, sys.executable), None), cores()[1]) as upstream:
        phases = asyncio.run(measured(tmp_path, upstream.port, seconds=2, clients=60))
    print("\n" + table(phases))
    for phase in phases:
        assert not phase.failures, f"{phase.name}: {phase.failures[:3]}"
        assert len(phase.times) > 30, phase.name
        assert phase.at(1.0) < 2 * DEADLINE + SLACK, phase.name
    told = {phase.name: set(phase.states) for phase in phases}
    assert told["nothing is wrong"] == told["nothing is wrong any more"] == {"up"}
    for name in ("killed, and started again empty", "frozen (SIGSTOP)", "CLIENT PAUSE"):
        assert told[name] & {"open", "half-open"}, f"{name}: {told[name]}"
    asked = {phase.name: phase.fills / phase.seconds for phase in phases}
    alone = asked["killed, and started again empty"]
    assert asked["nothing is wrong any more"] < 0.85 * alone, asked  # an answer is fetched once for both


@asynccontextmanager
async def two(folder: Path, redis: RedisServer) -> AsyncIterator[tuple[Origin, Balancer, Balancer, FaultProxy]]:
    """Two balancers; the second one's way to Redis may be cut. The server's answers are numbered, by path."""

    async def answer(origin: Origin, writer: asyncio.StreamWriter, number: int) -> None:
        body = b"%d" % number
        fields = b"Cache-Control: public, max-age=600\r\nSurrogate-Key: some all\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body))

    async with Origin(answer) as origin, fault_proxy(redis.port) as way:
        balancers = []
        for number, url in enumerate((redis.url, way.url)):
            place = folder / f"balancer-{number}"
            place.mkdir()
            settings: dict[str, Any] = {
                "servers": [f"http://127.0.0.1:{origin.port}"],
                "defaults": {"health": {"active": False, "passive": False}},
                "cache": True,
                "redis": {"url": url},
            }
            balancers.append(Balancer(place, settings))
        async with running(*balancers):
            for balancer in balancers:
                await until_up(balancer)
            yield origin, balancers[0], balancers[1], way


async def level(balancer: Balancer) -> dict[str, Any]:
    """What the API says of Redis."""
    status, stats = await balancer.call("GET", STATS)
    assert status == 200, stats
    found: dict[str, Any] = stats["redis"]
    return found


async def purged(balancer: Balancer, said: dict[str, Any]) -> None:
    """It holds for everybody: said again where Redis was too slow for a moment, as the 503 asks for."""

    async def taken() -> bool:
        status, _ = await balancer.call("POST", PURGE, said)
        return bool(status == 200)

    await until(taken, balancer)


async def until_up(balancer: Balancer) -> None:
    """It uses Redis, hears of purges, and has told its own. A probe after long silence takes half a minute."""
    for _ in range(4):
        try:
            await until(lambda: is_up(balancer), balancer)
        except AssertionError:
            continue
        return
    raise AssertionError(f"it does not heal: {await level(balancer)}")


async def is_up(balancer: Balancer) -> bool:
    found = await level(balancer)
    return found["state"] == "up" and found["owed"] == 0


async def is_away(balancer: Balancer) -> bool:
    """It asks, as it would not notice otherwise, and neither uses Redis nor hears of purges."""
    await number(balancer, f"/asks-{asyncio.get_running_loop().time()}")
    return bool((await level(balancer))["state"] in ("open", "half-open"))


async def metric(balancer: Balancer, name: str) -> float:
    _, text = await balancer.call("GET", "/metrics")
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def number(balancer: Balancer, path: str) -> int:
    """Which of the server's answers it gives."""
    found = await askers(balancer.port, 1, path.encode())
    asker: Asker = found[0]
    await until(lambda: asker.whole, balancer)
    leave(found)
    assert asker.status == 200, asker.heard
    return int(asker.body)


async def stored(*balancers: Balancer, paths: list[str]) -> None:
    """All of them have the first answer in memory, and Redis has it."""
    for path in paths:
        for balancer in balancers:
            assert await number(balancer, path) == 1, path
            await asyncio.sleep(0.05)  # it is written to Redis in the background


PURGES: dict[str, tuple[str, dict[str, object]]] = {
    "url": ("/url", {"urls": ["/url"]}),
    "prefix": ("/prefix/a", {"prefixes": ["/prefix/"]}),
    "pattern": ("/pattern/a", {"patterns": ["/pattern/*"]}),
    "soft": ("/soft", {"urls": ["/soft"], "soft": True}),
    "tag": ("/tagged", {"tags": ["some"]}),
    "host": ("/host", {"hosts": ["s"]}),
    "everything": ("/everything", {"everything": True}),
}
"""By kind: a path, and what is said to the API. The later ones meet everything before them."""


@pytest.mark.parametrize("kind", PURGES)
async def test_a_purge_holds_for_a_balancer_that_was_cut_off_meanwhile(
    tmp_path: Path, redis_server: RedisServer, kind: str
) -> None:
    path, said = PURGES[kind]
    async with two(tmp_path, redis_server) as (origin, near, far, way):
        await stored(near, far, paths=[path])
        assert origin.asked[path] == 1
        way.refuse = True
        way.cut()
        await until(lambda: is_away(far), far)
        assert await metric(far, "balancer_cache_redis_up") == 0
        await purged(near, said)
        assert await number(near, path) == 2
        way.refuse = False
        await until_up(far)
        assert await number(far, path) == 2
        assert await metric(far, "balancer_cache_redis_up") == 1


@pytest.mark.parametrize("kind", PURGES)
async def test_a_purge_of_a_balancer_that_is_cut_off_reaches_the_other_afterwards(
    tmp_path: Path, redis_server: RedisServer, kind: str
) -> None:
    path, said = PURGES[kind]
    async with two(tmp_path, redis_server) as (_, near, far, way):
        await stored(near, far, paths=[path])
        way.refuse = True
        way.cut()
        await until(lambda: is_away(far), far)
        status, receipt = await far.call("POST", PURGE, said)
        assert status == 503, receipt  # Redis has not taken it, and the other does not know
        levels = {one["level"]: one["ok"] for one in receipt["items"][0]["levels"]}
        assert levels == {"memory": True, "redis": False}
        assert await number(far, path) == 2  # it is in force here
        assert (await level(far))["owed"] == 1
        way.refuse = False
        await until_up(far)
        await until(lambda: _differs(near, path), near)
        assert await number(far, path) > 1


async def _differs(balancer: Balancer, path: str) -> bool:
    return await number(balancer, path) > 1


def _flush(redis: RedisServer) -> None:
    redis.do("FLUSHALL")


def _restart(redis: RedisServer) -> None:
    redis.kill()
    redis.start()


def _evict(redis: RedisServer) -> None:
    """Much of what it has goes, whatever it is."""
    redis.do("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    redis.do("CONFIG", "SET", "maxmemory", "1mb")
    redis.do("CONFIG", "SET", "maxmemory", 0)


def _lose_purges(redis: RedisServer) -> None:
    """The log of purges is evicted, and all else is kept."""
    for key in ("balancer:{purges}recent", "balancer:{purges}wide"):
        redis.do("DEL", key)


LOSSES: dict[str, Callable[[RedisServer], None]] = {
    "flushed": _flush,
    "restarted empty": _restart,
    "evicted": _evict,
    "the log is lost": _lose_purges,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cut_off", [False, True])
async def test_nothing_that_was_purged_comes_back_whatever_redis_loses(
    tmp_path: Path, redis_server: RedisServer, loss: str, cut_off: bool
) -> None:
    """Before the loss, and after it; with the other balancer looking on, or knowing nothing of it."""
    paths = [f"/{loss.replace(' ', '-')}/{number}" for number in range(6)]
    async with two(tmp_path, redis_server) as (_, near, far, way):
        await stored(near, far, paths=paths)
        if cut_off:
            way.refuse = True
            way.cut()
            await until(lambda: is_away(far), far)
        await purged(near, {"urls": paths[:2]})
        LOSSES[loss](redis_server)
        await near.call("POST", PURGE, {"urls": paths[2:4]})  # 503 where Redis is not back yet: it is told again
        way.refuse = False
        for balancer in (near, far):
            await until_up(balancer)
        seen = {path: (await number(near, path), await number(far, path)) for path in paths}
        for path in paths[:4]:
            assert min(seen[path]) > 1, seen


async def test_a_purge_while_redis_is_frozen_is_in_force_when_it_thaws(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    async with two(tmp_path, redis_server) as (_, near, far, _way):
        await stored(near, far, paths=["/frozen"])
        redis_server.pause()
        status, receipt = await near.call("POST", PURGE, {"urls": ["/frozen"]})
        assert status == 503, receipt
        assert await number(near, "/frozen") == 2
        redis_server.resume()
        for balancer in (near, far):
            await until_up(balancer)
        await until(lambda: _differs(far, "/frozen"), far)
        assert await number(near, "/frozen") > 1


async def test_a_full_redis_takes_purges(tmp_path: Path, redis_server: RedisServer) -> None:
    """They are small; what was purged would have to be served otherwise, or everything dropped."""
    async with two(tmp_path, redis_server) as (_, near, far, _way):
        await stored(near, far, paths=["/full"])
        redis_server.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
        redis_server.do("CONFIG", "SET", "maxmemory", "1mb")
        for balancer in (near, far):
            assert await number(balancer, "/written-in-vain") >= 1
        await purged(near, {"urls": ["/full"]})
        assert await number(near, "/full") == 2
        await until(lambda: _differs(far, "/full"), far)
        redis_server.do("CONFIG", "SET", "maxmemory", 0)
        for balancer in (near, far):
            await until_up(balancer)
            assert await number(balancer, "/full") > 1


async def test_a_slow_redis_is_not_asked_twice(tmp_path: Path, redis_server: RedisServer) -> None:
    """Each of its answers comes just in time, and a request needs several of them."""
    async with two(tmp_path, redis_server) as (_, _near, far, way):
        way.delay = 0.8 * DEADLINE
        took = []
        async with aiohttp.ClientSession() as session:
            for turn in range(5):
                start = perf_counter()
                async with session.get(f"{far.url}/slow/{turn}") as response:
                    assert await response.text() == "1"
                took.append(perf_counter() - start)
        print(f"\na slow Redis: {', '.join(f'{1000 * one:.0f} ms' for one in took)}")
        assert min(took[:2]) < 2 * DEADLINE  # the later ones may not ask it any more
