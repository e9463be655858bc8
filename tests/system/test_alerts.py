"""Alerts of the running balancer, as whoever has the webhook gets them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.system.process import AppServer, Balancer, running, until

pytestmark = pytest.mark.slow
SECRET = "a secret to sign with"


class Hook:
    """Somebody's webhook: keeps what it gets, and answers with the next of `answers`, then with 200."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, dict[str, str]]] = []
        self.answers: list[int] = []
        app = web.Application()
        app.router.add_post("/T0/secret-path", self._take)
        self.server = TestServer(app, host="127.0.0.1")

    async def _take(self, request: web.Request) -> web.Response:
        if self.answers:
            return web.Response(status=self.answers.pop(0), headers={"Retry-After": "1", "Location": "/elsewhere"})
        self.messages.append((await request.read(), dict(request.headers)))
        return web.Response(text="ok")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/T0/secret-path"))

    @property
    def alerts(self) -> list[tuple[str, str, str]]:
        return [
            (one["rule"], one["subject"], one["status"])
            for content, _ in self.messages
            for one in json.loads(content)["alerts"]
        ]


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    found = Hook()
    async with found.server:
        yield found


def settings(hook: Hook, *servers: AppServer) -> dict[str, Any]:
    return {
        "servers": [f"http://127.0.0.1:{server.port}" for server in servers],
        "defaults": {"health": {"active": {"path": "/health", "interval": "200ms", "unhealthy_interval": "200ms"}}},
        "alerts": {
            "webhooks": {"team": {"url": hook.url, "secret": SECRET}},
            "rules": {"server_down": {"when": "server_down", "lasting": "1s"}},
        },
    }


async def test_a_dead_server_is_told_once_over_a_restart_and_again_when_it_is_back(tmp_path: Path, hook: Hook) -> None:
    first, second = AppServer("a"), AppServer("b")
    hook.answers = [500, 429]  # it is tried again
    async with running(first, second):
        balancer = Balancer(tmp_path, settings(hook, first, second))
        async with running(balancer):
            await first.end()
            dead = f"default/127.0.0.1:{first.port}"
            await until(lambda: _has(hook, ("server_down", dead, "firing")), balancer)
            _, told = await balancer.call("GET", "/api/monitoring/alerts")
            assert told["rules"]["server_down"]["state"] == "firing"
            assert told["webhooks"]["team"] | {"last": None} == {
                "format": "json",
                "signed": True,
                "results": {"sent": 1},
                "last": None,
                "last_result": "sent",
            }
            assert "secret-path" not in json.dumps(told)
            await until(lambda: _kept(tmp_path), balancer)
        content, fields = hook.messages[0]
        expected = hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()
        assert fields["X-Balancer-Signature"] == f"sha256={expected}"
        (alert,) = json.loads(content)["alerts"]
        assert (alert["severity"], alert["look"]) == ("warning", "/api/infrastructure/load-balancer/status")
        assert b"secret-path" not in bytes(balancer.output)
        again = Balancer(tmp_path, settings(hook, first, second))
        async with running(again):
            await until(lambda: _firing(again), again)
            await first.start()
            await until(lambda: _has(hook, ("server_down", dead, "resolved")), again)
        assert hook.alerts == [("server_down", dead, "firing"), ("server_down", dead, "resolved")]


async def test_a_test_is_sent_and_what_comes_back_is_told(tmp_path: Path, hook: Hook) -> None:
    server = AppServer("a")
    async with running(server):
        balancer = Balancer(tmp_path, settings(hook, server))
        async with running(balancer):
            said = await balancer.call("POST", "/api/monitoring/alerts/test", {"webhook": "team"})
            assert said == (200, {"result": "sent"})
            hook.answers = [302]
            said = await balancer.call("POST", "/api/monitoring/alerts/test", {"webhook": "team"})
            assert said == (200, {"result": "answered 302"})  # and it is not followed
            status, problem = await balancer.call("POST", "/api/monitoring/alerts/test", {"webhook": "x"})
            assert (status, problem["detail"]) == (404, "there is no webhook of this name; there is team")


async def _has(hook: Hook, alert: tuple[str, str, str]) -> bool:
    return alert in hook.alerts


async def _firing(balancer: Balancer) -> bool:
    _, told = await balancer.call("GET", "/api/monitoring/alerts")
    return bool(told["rules"]["server_down"]["state"] == "firing")


async def _kept(folder: Path) -> bool:
    kept = folder / "alerts.json"
    return await asyncio.to_thread(lambda: kept.exists() and "server_down" in kept.read_text())
