"""Servers that die, lie or only look dead, under load, with the real process."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from tests.system.process import AppServer, Balancer, Load, running, until

CHECKS = {"path": "/health", "interval": "1s", "unhealthy_interval": "500ms", "timeout": "1s", "rise": 2, "fall": 2}

pytestmark = pytest.mark.slow


async def test_a_server_killed_in_mid_flight_costs_no_request_and_returns_only_after_its_checks(tmp_path: Path) -> None:
    servers = [AppServer(name, "--delay", "0.05") for name in ("a", "b", "c")]
    urls = {server.name: f"http://127.0.0.1:{server.port}" for server in servers}
    balancer = Balancer(tmp_path, {"servers": urls, "defaults": {"health": {"active": CHECKS}}})
    async with running(*servers, balancer):
        async with Load(balancer.url, clients=12) as load:
            await asyncio.sleep(1.0)
            assert set(load.served) == {"a", "b", "c"}
            servers[0].signal(signal.SIGKILL)
            await servers[0].wait()
            await asyncio.sleep(0.3)
            load.served.clear()
            await asyncio.sleep(1.5)
            assert set(load.served) == {"b", "c"}
            shares = load.served["b"] / load.served.total()
            assert 0.4 < shares < 0.6  # its share has gone to both of the others

            async def is_out() -> bool:
                return (await balancer.server("a"))["state"] in ("down", "ejected")

            await until(is_out, balancer)
            passed = (await balancer.server("a"))["checks"]["passed"]
            await servers[0].start()
            await until(lambda: load.served["a"] > 0, balancer)
            assert (await balancer.server("a"))["checks"]["passed"] >= passed + CHECKS["rise"]
        assert load.failures == []
        assert load.refused == 0


async def test_a_fast_failing_server_gets_less_and_not_more(tmp_path: Path) -> None:
    servers = [
        AppServer("failing", "--delay", "0.002", "--status", "500"),
        AppServer("b", "--delay", "0.05"),
        AppServer("c", "--delay", "0.05"),
    ]
    urls = {server.name: f"http://127.0.0.1:{server.port}" for server in servers}
    # Passive checks are off: the strategy alone has to see it.
    health = {"active": {**CHECKS, "interval": "30s"}, "passive": None}
    balancer = Balancer(tmp_path, {"servers": urls, "strategy": "response-time", "defaults": {"health": health}})
    async with running(*servers, balancer):
        async with Load(balancer.url, clients=8) as load:
            await asyncio.sleep(4.0)
        share = load.served["failing"] / load.served.total()
        assert load.served.total() > 200
        assert share < 0.1  # by turns it would be a third, by bare latency nearly all
        assert load.served["failing"] > 0  # it is tried, or nobody would know when it is well again


async def test_when_every_health_path_fails_traffic_goes_on_and_the_alarm_is_up(tmp_path: Path) -> None:
    servers = [AppServer(name, "--health", "500") for name in ("a", "b")]
    urls = {server.name: f"http://127.0.0.1:{server.port}" for server in servers}
    balancer = Balancer(tmp_path, {"servers": urls, "defaults": {"health": {"active": CHECKS}}})
    async with running(*servers, balancer):

        async def panics() -> bool:
            return 'balancer_pool_panic{pool="default"} 1' in (await balancer.call("GET", "/metrics"))[1]

        await until(panics, balancer)
        async with Load(balancer.url, clients=4) as load:
            await asyncio.sleep(1.0)
        assert load.failures == []
        assert set(load.served) == {"a", "b"}
        assert b"pool_panic" in balancer.output


async def test_servers_get_nothing_before_their_first_passed_check(tmp_path: Path) -> None:
    server = AppServer("a")
    urls = {"a": f"http://127.0.0.1:{server.port}", "late": "http://127.0.0.1:1"}
    settings = {"servers": urls, "defaults": {"health": {"active": CHECKS, "keep_at_least": 0}}}
    balancer = Balancer(tmp_path, settings)
    async with running(server, balancer):
        async with Load(balancer.url, clients=2) as load:
            await asyncio.sleep(0.5)
        assert load.failures == []
        late = await balancer.server("late")
        assert (late["state"], late["requests"]) == ("down", 0)


async def test_draining_waits_for_what_is_under_way(tmp_path: Path) -> None:
    servers = [AppServer(name) for name in ("a", "b")]
    urls = {server.name: f"http://127.0.0.1:{server.port}" for server in servers}
    balancer = Balancer(tmp_path, {"servers": urls, "defaults": {"health": {"active": CHECKS}}})
    async with running(*servers, balancer):
        async with Load(balancer.url, clients=4, path="/slow") as load:
            await asyncio.sleep(0.3)
            began = time.monotonic()
            path = "/api/infrastructure/load-balancer/pools/default/servers/a/drain?wait=10s"
            status, _ = await balancer.call("POST", path)
            assert status == 200
            assert 0.2 < time.monotonic() - began < 8
            assert (await balancer.server("a"))["in_flight"] == 0
            load.served.clear()
            await asyncio.sleep(1.2)
            assert set(load.served) == {"b"}
        assert load.failures == []


async def test_what_the_operator_changed_survives_a_restart(tmp_path: Path) -> None:
    servers = [AppServer(name) for name in ("a", "b")]
    urls = {server.name: f"http://127.0.0.1:{server.port}" for server in servers}
    balancer = Balancer(tmp_path, {"servers": urls, "defaults": {"health": {"active": CHECKS}}})
    base = "/api/infrastructure/load-balancer/pools/default/servers"
    async with running(*servers):
        async with running(balancer):
            assert (await balancer.call("POST", f"{base}/a/maintenance"))[0] == 200
            assert (await balancer.call("PATCH", f"{base}/b", {"weight": 7}))[0] == 200
        async with running(balancer):
            assert (await balancer.server("a"))["state"] == "maintenance"
            assert (await balancer.server("b"))["weight"]["set"] == 7
            async with Load(balancer.url, clients=2) as load:
                await asyncio.sleep(0.5)
            assert set(load.served) == {"b"}
