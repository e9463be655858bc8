"""Limits that two processes share, and what befalls their Redis under load."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from balancer.commands.outcome import OK
from bench.limit_faults import BURST, KEYS, MODES, measured, table
from bench.machine import cores
from bench.program import running as started
from bench.recipes import Place, server
from tests.redis_server import RedisServer, redis_server
from tests.system.process import KEY, AppServer, Balancer, Child, running, until

pytestmark = pytest.mark.slow
__all__ = ["redis_server"]  # a fixture

LIMITS = "/api/infrastructure/rate-limits"
STATUS = "/api/infrastructure/load-balancer/status"
AWAY = ("killed, and started again empty", "frozen (SIGSTOP)", "CLIENT PAUSE", "full, and nothing is evicted")


def test_clients_get_nothing_but_429_whatever_befalls_redis(tmp_path: Path) -> None:
    with started(server(Place(tmp_path, sys.executable), None), cores()[1]) as upstream:
        phases = asyncio.run(measured(tmp_path, upstream.port, seconds=2))
    print("\n" + table(phases))
    for phase in phases:
        assert not phase.failures, f"{phase.name}: {phase.failures[:3]}"
        assert set(phase.statuses) == {200, 429}, phase.name
        # A burst that was saved up, one of shares, what is held; and each time that Redis is back, of which there can
        # be one a second on a busy machine, one that it has since it was empty, or had no questions.
        most = phase.most(4) + KEYS * BURST * phase.seconds
        for mode in MODES:
            assert 0 < phase.allowed[mode] <= most, f"{phase.name}: {phase.allowed}"
    by_name = {phase.name: phase for phase in phases}
    for name in AWAY:
        phase = by_name[name]
        assert phase.without > 0, name
        assert phase.modes["fallback"] > 0, f"{name}: {phase.modes}"
        assert min(phase.shared) < 4, "the metrics of both balancers say that both policies are shared"
    last = by_name["nothing is wrong any more"]
    assert set(last.modes) == set(MODES)
    assert set(last.shared) == {4.0}


async def statuses(balancers: list[Balancer], client: str) -> Counter[int]:
    """What fifty requests of a client are answered, in turn at each of them."""
    found: Counter[int] = Counter()
    async with aiohttp.ClientSession() as session:
        for n in range(50):
            async with session.get(balancers[n % len(balancers)].url, headers={"X-Client": client}) as response:
                found[response.status] += 1
    return found


async def undisturbed(balancers: list[Balancer], client: str) -> Counter[int]:
    """The same, of a client all of whose requests Redis has judged: on a busy machine some answers come too late."""
    for turn in range(10):
        before = await without_redis(balancers)
        found = await statuses(balancers, f"{client}-{turn}")
        if await without_redis(balancers) == before:
            return found
    raise AssertionError("there is no time at which Redis answers fifty requests within their deadlines")


async def without_redis(balancers: list[Balancer]) -> int:
    """Decisions that were taken alone."""
    counts = [(await one.call("GET", LIMITS))[1]["policies"]["p"]["decisions"] for one in balancers]
    return sum(count for one in counts for word, count in one.items() if word.startswith("fallback"))


async def sharing(balancer: Balancer) -> tuple[str, int]:
    """The mode of the policy, and how many share it."""
    _, told = await balancer.call("GET", LIMITS)
    policy = told["policies"]["p"]
    return policy["mode"], policy["instances"]


async def test_two_processes_hold_one_limit_and_tell_when_they_can_not(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    app = AppServer("a")
    balancers = []
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        settings = {
            "servers": [f"http://127.0.0.1:{app.port}"],
            "redis": {"url": redis_server.url},
            "rate_limits": {"p": {"rate": "20/h", "shared": "exact", "key": "header:X-Client"}},
            "routes": {"all": {"pool": "default", "rate_limit": "p"}},
            "defaults": {"health": {"active": False}},
        }
        balancers.append(Balancer(place, settings, BALANCER_SECRET="what both of them know"))
    first = balancers[0]
    async with running(app, *balancers):
        for balancer in balancers:
            await until(lambda one=balancer: _is(one, "exact", 2), balancer)
        assert await undisturbed(balancers, "a") == {200: 20, 429: 30}
        alone = await without_redis(balancers)
        redis_server.kill()
        assert await statuses(balancers, "b") == {200: 20, 429: 30}, "a share of ten at each of the two"
        assert await without_redis(balancers) == alone + 50
        for balancer in balancers:
            assert await sharing(balancer) == ("fallback", 2)
            _, text = await balancer.call("GET", "/metrics")
            assert 'balancer_ratelimit_shared{policy="p"} 0' in text
            assert 'balancer_ratelimit_decisions_total{policy="p",decision="fallback"} ' in text
            assert 'balancer_ratelimit_decisions_total{policy="p",decision="fallback-limited"} ' in text
            _, status = await balancer.call("GET", STATUS)
            assert status["shared_limits"]["state"] == "fallback"
            assert status["shared_limits"]["reason"]
            assert balancer.output.count(b"rate_limits_local") >= 1
        status_page = Child(
            "-m", "balancer", "status", "--admin", f"http://127.0.0.1:{first.admin}", env={"ADMIN_API_KEY": KEY}
        )
        await status_page.start()
        assert await status_page.wait() == OK, status_page.output
        assert b"1/2 of it" in status_page.output
        redis_server.start()
        for balancer in balancers:
            await until(lambda one=balancer: _is(one, "exact", 2), balancer)
            assert balancer.output.count(b"rate_limits_shared") >= 1
        assert await undisturbed(balancers, "c") == {200: 20, 429: 30}


async def _is(balancer: Balancer, mode: str, instances: int) -> bool:
    return await sharing(balancer) == (mode, instances)
