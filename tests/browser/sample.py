"""The demonstration of `make run`, as a process of its own: what the dashboard shows is what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bench.program import free_port
from tests.system.process import Child, until

KEY = "a-key-for-looking-at-the-dashboard"
RATE = 30.0


class Sample(Child):
    """Three sample servers, their traffic and the balancer."""

    def __init__(self, rate: float = RATE) -> None:
        self.site = f"http://127.0.0.1:{free_port()}"
        self.admin = f"http://127.0.0.1:{free_port()}"
        super().__init__(
            *("-m", "examples.demo", "--rate", str(rate)),
            env={
                "LOAD_BALANCER_LISTEN": self.site.removeprefix("http://"),
                "BALANCER_ADMIN_LISTEN": self.admin.removeprefix("http://"),
                "ADMIN_API_KEY": KEY,
            },
        )
        self.session: aiohttp.ClientSession | None = None

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """What the admin API answers."""
        assert self.session is not None
        async with self.session.request(method, self.admin + path, json=body) as response:
            assert response.status < 300, (path, await response.text())
            return await response.json()

    async def key(self, role: str) -> str:
        """A new key of that role."""
        return str((await self.call("POST", "/api/keys", {"id": f"the-{role}", "role": role}))["key"])

    async def lively(self) -> bool:
        """Whether there is something to be seen of everything."""
        stats = await self.call("GET", "/api/infrastructure/stats")
        if stats["uptime"] < 10:
            return False  # there is no history of so short a time
        history = await self.call("GET", "/api/monitoring/history?of=total&span=5m")
        events = await self.call("GET", "/api/monitoring/analytics/events")
        known = [value for value in history["columns"]["requests"] if value]
        return len(known) >= 5 and len(events["summary"]) >= 4

    async def spoil(self, seconds: float = 0.0) -> None:
        """Have one of the servers fail, once or for so many seconds, and be well again."""
        chaos = next(word for word in self.output.decode().split() if word.endswith("/chaos"))
        assert self.session is not None
        async with self.session.post(chaos, json={"mode": "failing", "rate": 1.0}) as response:
            assert response.status == 200
        await until(self._failed, self)
        await asyncio.sleep(seconds)
        async with self.session.post(chaos, json={"mode": "none"}) as response:
            assert response.status == 200

    async def _failed(self) -> bool:
        return bool((await self.call("GET", "/api/monitoring/errors"))["groups"])


@asynccontextmanager
async def sample(rate: float = RATE) -> AsyncIterator[Sample]:
    """Running, with some seconds behind it."""
    site = Sample(rate)
    await site.start()
    site.session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"})
    try:
        await until(lambda: b"Stop      Ctrl-C" in site.output, site)
        await until(site.lively, site)
        await site.spoil()
        yield site
    finally:
        await site.session.close()
        if site.process is not None and site.process.returncode is None:
            site.process.terminate()
            await asyncio.wait_for(site.process.wait(), 30)
        await site.end()
