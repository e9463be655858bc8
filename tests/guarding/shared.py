"""One balancer's shared limits without a listener: requests are asked for, and answered, in a few words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from time import monotonic
from typing import Any

from balancer.decision import Decision
from balancer.guarding.shared_limits import SharedLimits
from balancer.guarding.shared_policy import Asking
from balancer.guards.limiter import Limiter
from balancer.guards.verdict import Refusal, Verdict
from balancer.http1.head import RequestHead, parse_request
from balancer.redis_gateway import Gateway
from config.guards import RateLimit, RouteLimit
from config.schema import Config, Redis

HEAD = parse_request(b"GET / HTTP/1.1\r\nHost: h", 100, 8192)
PATIENT = 5.0
"""A deadline that a busy test machine does not reach."""


async def brisk(seconds: float) -> None:
    """The gateway's pauses, a hundred times as short."""
    await asyncio.sleep(seconds / 100)


class Naps:
    """Sleeps that end when the test says so."""

    def __init__(self) -> None:
        self._go = asyncio.Condition()
        self.asked: list[float] = []
        self.begun = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.begun.set()
        async with self._go:
            await self._go.wait()

    async def wake(self) -> None:
        async with self._go:
            self._go.notify_all()


class Clock:
    """One that goes on by `step` each time that somebody looks at it."""

    def __init__(self) -> None:
        self.step = 0.0
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self.step
        return self._now


class Balancer:
    """Policies by name, in the words of a file."""

    def __init__(
        self, gateway: Gateway, policies: dict[str, dict[str, Any]], deadline: float, clock: Callable[[], float]
    ) -> None:
        self.gateway = gateway
        self.events: list[tuple[str, str]] = []
        self.naps = Naps()
        self.limiter = Limiter()
        self.limits = SharedLimits(
            lambda event, where, detail: self.events.append((event, detail)),
            clock=clock,
            sleep=self.naps.sleep,
            rng=Random(1),
            deadline=deadline,
        )
        self.configure(policies)

    def configure(self, policies: dict[str, dict[str, Any]]) -> None:
        config = Config.model_validate(
            {
                "redis": {"url": self.gateway.settings.url},
                "rate_limits": {name: RateLimit.model_validate(one) for name, one in policies.items()},
                "listeners": {},
                "pools": {},
                "routes": {},
            }
        )
        self.limiter.configure(config.rate_limits)
        self.limits.configure(config, self.limiter.policies)

    def ask(self, client: str = "192.0.2.1", *, policy: str = "p", cost: int = 1, head: RequestHead = HEAD) -> Answer:
        return Answer(self.verdict(client, policy=policy, cost=cost, head=head))

    def verdict(
        self, client: str = "192.0.2.1", *, policy: str = "p", cost: int = 1, head: RequestHead = HEAD
    ) -> Verdict:
        step = self.limiter.policies[policy].step(RouteLimit(policy=policy, cost=cost), "r")
        decision = Decision("l", client, self.limits.clock())
        decision.method = head.method.decode()
        return step(head, Nobody(), decision)

    async def passes(self, client: str = "192.0.2.1", **how: Any) -> bool:
        return await self.ask(client, **how).status() == 200

    def counted(self, policy: str = "p") -> dict[str, int]:
        return dict(self.limiter.policies[policy].tally.decisions)

    @property
    def commands(self) -> int:
        """What Redis was asked."""
        return sum(self.gateway.state.results.values())

    async def beat(self) -> None:
        """Let one sign of life be given, and wait for what comes of it."""
        self.naps.begun.clear()
        async with asyncio.timeout(10):
            await self.naps.wake()
            await self.naps.begun.wait()

    async def until(self, state: str) -> None:
        """Let signs of life be given until it is so."""
        async with asyncio.timeout(10):
            while (sharing := self.limits.sharing) is None or sharing.state != state:
                await self.naps.wake()
                await asyncio.sleep(0.005)


class Nobody:
    """A client of which nothing is read."""

    shown = "unknown"
    trusted = False
    scheme = b"http"
    node = b"unknown"
    vouched: tuple[bytes, bytes] | None = None


class Answer:
    """What comes of a request, perhaps later."""

    def __init__(self, verdict: Verdict) -> None:
        self.waited = isinstance(verdict, Asking)
        self._said: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        if verdict is None or isinstance(verdict, Refusal):
            self._said.set_result(verdict)
        else:
            verdict.ask(self._said.set_result)

    async def refusal(self) -> Refusal | None:
        async with asyncio.timeout(10):
            return await self._said

    async def status(self) -> int:
        refusal = await self.refusal()
        return refusal.status if refusal is not None else 200


@asynccontextmanager
async def balancer(
    url: str,
    *,
    patience: float = PATIENT,
    deadline: float = PATIENT,
    clock: Callable[[], float] = monotonic,
    **policy: Any,
) -> AsyncIterator[Balancer]:
    """One with a policy `p`."""
    gateway = Gateway(Redis(url=url, timeout=patience), sleep=brisk)
    one = Balancer(gateway, {"p": policy}, deadline, clock)
    try:
        await one.limits.use(gateway)
        yield one
    finally:
        await one.limits.close()
        await gateway.close()
