"""A monitor with a clock and servers that a test moves."""

from __future__ import annotations

import asyncio
from random import Random

from balancer.health.monitor import CheckResult, Monitor
from balancer.health.target import Target
from balancer.server import ServerKey
from tests.health.wards import Clock, Wards, key, settle


class Watch:
    """A monitor with everything around it that a test looks at or moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wards = Wards(self.clock)
        self.published: list[tuple[frozenset[ServerKey], frozenset[ServerKey]]] = []
        self.deaf = False  # the listener raises
        self.monitor = Monitor(
            self.hear,
            rng=Random(1),
            clock=self.clock,
            sleep=self.clock.sleep,
            wall=self.clock.wall,
            probe=self.wards.probe,
        )

    def hear(self, checking: frozenset[ServerKey], down: frozenset[ServerKey]) -> None:
        if self.deaf:
            raise RuntimeError("deaf")
        self.published.append((checking, down))

    async def begin(self, targets: dict[ServerKey, Target]) -> None:
        """Watch these and let the first round pass."""
        self.monitor.watch(targets)
        await self.monitor.start()
        await settle()

    def verdict(self, name: str) -> str:
        return self.monitor.report()[key(name)].verdict

    def asked(self, name: str) -> list[float]:
        """When the server was probed, in seconds since the test began."""
        return [at - 1000.0 for at in self.wards.asked[f"http://{name}:80"]]

    def fall_ill(self, *names: str) -> None:
        self.wards.ill |= {f"http://{name}:80" for name in names}

    def recover(self) -> None:
        self.wards.ill.clear()

    def fall_silent(self, *names: str) -> None:
        self.wards.silent |= {f"http://{name}:80" for name in names}


async def soon(check: asyncio.Task[list[CheckResult]]) -> list[CheckResult]:
    """What it answers, unless a fault keeps it waiting for ever."""
    async with asyncio.timeout(1):
        return await check
