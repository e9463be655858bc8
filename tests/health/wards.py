"""A clock that moves when told to, and servers that answer probes as told, for tests of the monitor."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from aiohttp import ClientSession

from balancer.health.probes import ProbeResult
from balancer.health.target import Target
from balancer.server import ServerKey
from config.schema import ActiveChecks

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


async def settle() -> None:
    """Let every task run until it waits for something that only time or the test brings."""
    for _ in range(20):
        await asyncio.sleep(0)


class Clock:
    """Time in which nothing passes but by `advance`. Call it for the monotonic now."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps = 0  # how often somebody went to sleep
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return MIDNIGHT + timedelta(seconds=self.now - 1000.0)

    async def sleep(self, seconds: float) -> None:
        self.naps += 1
        nap: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, nap))
        await nap

    async def advance(self, seconds: float) -> None:
        """Pass this much time, waking each sleeper at its own moment."""
        until = self.now + seconds
        await settle()
        while awake := [(due, nap) for due, nap in self._sleepers if due <= until and not nap.done()]:
            self.now, nap = min(awake, key=lambda sleeper: sleeper[0])
            nap.set_result(None)
            self._sleepers = [(due, nap) for due, nap in self._sleepers if not nap.done()]
            await settle()
        self.now = until


class Wards:
    """The servers of a test, by URL: well unless told otherwise. `probe` is what a monitor asks them with."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ill: set[str] = set()
        self.silent: set[str] = set()  # these do not answer until `speak`
        self.faulty: set[str] = set()  # probing these raises
        self.out_of_means = False  # nobody can be asked, and that is this machine's fault
        self.asked: defaultdict[str, list[float]] = defaultdict(list)  # when, by URL
        self.with_checks: list[ActiveChecks] = []
        self.most_at_once = 0
        self._under_way = 0
        self._speech = asyncio.Event()

    async def probe(self, session: ClientSession, server: Target, checks: ActiveChecks) -> ProbeResult:
        assert not session.closed
        self.asked[server.url].append(self.clock())
        self.with_checks.append(checks)
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            if server.url in self.faulty:
                raise ZeroDivisionError(server.url)
            if server.url in self.silent:
                await self._speech.wait()
        finally:
            self._under_way -= 1
        if self.out_of_means:
            return ProbeResult(False, None, "connection failed: Too many open files", 0.01, ours=True)
        ok = server.url not in self.ill
        return ProbeResult(ok, 200 if ok else 503, "answered 200" if ok else "answered 503, expected 200-399", 0.01)

    def speak(self) -> None:
        self.silent.clear()
        self._speech.set()

    @property
    def under_way(self) -> int:
        return self._under_way


def key(name: str) -> ServerKey:
    return ("web", name)


def keys(*names: str) -> frozenset[ServerKey]:
    return frozenset(key(name) for name in names)


#: Every 30 s while up and every 5 s otherwise, to the second; two to rise and three to fall.
STEADY = ActiveChecks(jitter=0.0)


def target(name: str, checks: ActiveChecks | None = STEADY, *, maintenance: bool = False) -> Target:
    return Target(f"http://{name}:80", checks, maintenance=maintenance)


def together(*names: str, checks: ActiveChecks | None = STEADY) -> dict[ServerKey, Target]:
    return {key(name): target(name, checks) for name in names}
