"""What clients notice when the Redis of shared limits dies, freezes or is full: `python -m bench.limit_faults`."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, Final

import uvloop

from bench import machine
from bench.cache_faults import PATIENCE, Balancer
from bench.program import NotStarted, Recipe, free_port, running
from bench.proxy import at_least
from bench.recipes import Place, server
from bench.redis_server import RedisServer
from bench.request import SMALL_BODY, STORABLE

MODES: Final = ("exact", "leased")
KEYS: Final = 5
"""Of each policy; each has a client at either balancer for each of `AT_ONCE`."""
AT_ONCE: Final = 2
RATE: Final = 10
BURST: Final = 5
"""Of each key: of all that is asked, a quarter is allowed."""
PAUSE: Final = 0.1
"""Seconds between an answer and the client's next request, on average."""
LIMITS: Final = "/api/infrastructure/rate-limits"
WITHOUT: Final = ("fallback", "fallback-limited", "fallback-denied")


@dataclass
class Phase:
    """What happened to clients, and what the balancers said, while one thing was wrong with Redis."""

    name: str
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    """Seconds that answers took."""
    statuses: Counter[int] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    """Requests that were let through, by the policy."""
    failures: list[str] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    """Of the policies, as the API told them, ten times a second, of both balancers."""
    shared: list[float] = field(default_factory=list)
    """`balancer_ratelimit_shared`, summed up, as often."""
    without: float = 0.0
    """Requests that were judged without Redis, by `/metrics`."""
    healed: float | None = None
    """Seconds from its end until both balancers shared again."""

    def at(self, share: float) -> float:
        times = sorted(self.times)
        return times[min(int(len(times) * share), len(times) - 1)] if times else 0.0

    def most(self, bursts: int) -> float:
        """What a policy may let through: what came back meanwhile, and so many bursts."""
        return KEYS * (RATE * self.seconds + bursts * BURST)


class Clients:
    """They ask two balancers over kept connections, four times as often as they may, until they are told to stop."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.phase = Phase("")
        self._ports = ports
        self._rng = Random(1)
        self._over = False

    async def __aenter__(self) -> Clients:
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._client(port, mode, key))
            for port in self._ports
            for mode in MODES
            for key in range(KEYS)
            for _ in range(AT_ONCE)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _client(self, port: int, mode: str, key: int) -> None:
        request = f"GET {STORABLE}{mode} HTTP/1.1\r\nHost: site\r\nX-Client: client-{key}\r\n\r\n".encode()
        reader = writer = None
        while not self._over:
            start = perf_counter()
            try:
                async with asyncio.timeout(10):
                    if reader is None or writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                        start = perf_counter()
                    writer.write(request)
                    status, told = await _answer(reader)
                phase = self.phase
                phase.times.append(perf_counter() - start)
                phase.statuses[status] += 1
                if status == 200 and told == SMALL_BODY:
                    phase.allowed[mode] += 1
                elif status != 429:
                    phase.failures.append(f"{mode}: {status} {told!r}")
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.phase.failures.append(f"{mode}: {error!r}")
                if writer is not None:
                    writer.transport.abort()
                reader = writer = None
            await asyncio.sleep(PAUSE * (0.5 + self._rng.random()))
        if writer is not None:
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    status, body = int(head[9:12]), await reader.readexactly(int(length))
    if status == 429 and b"\r\nretry-after: " not in head.lower():
        raise OSError("a refusal without Retry-After")
    return status, body


async def policies(balancer: Balancer) -> dict[str, Any]:
    """What the API says of each."""
    status, body = await balancer.get(LIMITS)
    if status != 200:
        raise RuntimeError(f"GET {LIMITS}: {status} {body!r}")
    found: dict[str, Any] = json.loads(body)["policies"]
    return found


async def until_shared(found: Sequence[Balancer]) -> float:
    """Wait until all of them share all policies, and know of each other; the seconds that took."""
    start = perf_counter()
    while True:
        said = [policy for balancer in found for policy in (await policies(balancer)).values()]
        if all(one["mode"] in MODES and one["instances"] == len(found) for one in said):
            return perf_counter() - start
        if perf_counter() - start > PATIENCE:
            raise TimeoutError(f"Redis is back for {PATIENCE:g} s and limits are not shared: {said}")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def balancers(folder: Path, upstream: int, redis: RedisServer, count: int = 2) -> AsyncIterator[list[Balancer]]:
    """So many that share their limits inside the block."""
    policy = {"rate": f"{RATE}/s", "burst": BURST, "key": "header:X-Client"}
    with ExitStack() as stack:
        found = []
        for number in range(count):
            place = folder / f"balancer-{number}"
            place.mkdir()
            port, admin, key = free_port(), free_port(), secrets.token_hex(24)
            configuration = {
                "listen": f"127.0.0.1:{port}",
                "servers": [f"http://127.0.0.1:{upstream}"],
                "redis": {"url": redis.url},
                "rate_limits": {mode: {**policy, "shared": mode} for mode in MODES},
                "routes": {
                    **{mode: {"match": STORABLE + mode, "pool": "default", "rate_limit": mode} for mode in MODES},
                    "rest": {"pool": "default"},
                },
                "defaults": {"health": {"active": False}},
                "admin": {"listen": f"127.0.0.1:{admin}", "state": str(place / "overlay.yaml")},
                "logs": {"level": "warning", "access": {"to": "none"}},
                "shutdown": {"grace": "3s"},
            }
            (place / "balancer.yaml").write_text(json.dumps(configuration))
            command = (sys.executable, "-m", "balancer", "run", "-c", str(place / "balancer.yaml"))
            recipe = Recipe(f"balancer {number}", command, port, place, {"ADMIN_API_KEY": key})
            core = machine.cores()[number % 2]
            program = await asyncio.to_thread(stack.enter_context, running(recipe, core))
            found.append(Balancer(program, admin, key))
        await until_shared(found)
        yield found


class Run:
    """The phases of one run, one after the other under the same load."""

    def __init__(self, found: Sequence[Balancer], redis: RedisServer, clients: Clients, seconds: float) -> None:
        self.phases: list[Phase] = []
        self._found = found
        self._redis = redis
        self._clients = clients
        self._seconds = seconds

    async def phase(
        self, name: str, begin: Callable[[], object] | None = None, end: Callable[[], object] | None = None
    ) -> Phase:
        """Do it to Redis, look on, take it back, and wait until all is well. All of that is one phase."""
        phase = Phase(name)
        self.phases.append(phase)
        before = await self._without()
        self._clients.phase = phase
        start = perf_counter()
        if begin is not None:
            await asyncio.to_thread(begin)
        while perf_counter() - start < self._seconds:
            for balancer in self._found:
                phase.modes.update([one["mode"] for one in (await policies(balancer)).values()])
            phase.shared.append(sum([await balancer.metric("balancer_ratelimit_shared") for balancer in self._found]))
            await asyncio.sleep(0.1)
        if end is not None:
            await asyncio.to_thread(end)
        phase.healed = await until_shared(self._found)
        phase.seconds = perf_counter() - start
        phase.without = await self._without() - before
        return phase

    async def _without(self) -> float:
        """Decisions without Redis so far."""
        found = 0.0
        for balancer in self._found:
            for policy in (await policies(balancer)).values():
                found += sum(policy["decisions"].get(word, 0) for word in WITHOUT)
        return found

    async def all(self) -> None:
        """Everything that may go wrong with a Redis, and nothing at the beginning and the end."""
        redis = self._redis
        await self.phase("nothing is wrong")
        await self.phase("killed, and started again empty", redis.kill, redis.start)
        await self.phase("frozen (SIGSTOP)", redis.pause, redis.resume)
        await self.phase("CLIENT PAUSE", lambda: redis.do("CLIENT", "PAUSE", int(self._seconds * 1000), "ALL"))
        await self.phase("all connections cut", lambda: redis.do("CLIENT", "KILL", "TYPE", "normal"))
        await self.phase("full, and nothing is evicted", self._fill, lambda: redis.do("CONFIG", "SET", "maxmemory", 0))
        await self.phase("killed and started five times", self._restart)
        await self.phase("nothing is wrong any more")

    def _fill(self) -> None:
        self._redis.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
        self._redis.do("CONFIG", "SET", "maxmemory", "1")

    def _restart(self) -> None:
        for _ in range(5):
            self._redis.kill()
            self._redis.start()


async def measured(folder: Path, upstream: int, *, seconds: float) -> list[Phase]:
    """All phases, with a Redis of its own."""
    redis = RedisServer(folder)
    redis.start()
    try:
        async with balancers(folder, upstream, redis) as found:
            async with Clients([balancer.port for balancer in found]) as crowd:
                run = Run(found, redis, crowd, seconds)
                await run.all()
            return run.phases
    finally:
        redis.kill()


def table(phases: Sequence[Phase]) -> str:
    """As Markdown."""
    titles = (
        "Redis",
        "requests",
        "failed",
        "429",
        "median",
        "99 %",
        "longest",
        "let through by exact",
        "by leased",
        "judged without Redis",
        "said of it",
        "shared again",
    )
    lines = ["| " + " | ".join(titles) + " |", "| --- |" + " ---: |" * 9 + " --- | ---: |"]
    for phase in phases:
        modes = sorted(phase.modes, key=lambda word: -phase.modes[word])
        times = [f"{1000 * time:.1f} ms" for time in (phase.at(0.5), phase.at(0.99), phase.at(1.0))]
        healed = "" if phase.healed is None else f"{phase.healed:.1f} s"
        counts = [f"{len(phase.times):,}", str(len(phase.failures)), f"{phase.statuses[429]:,}"]
        allowed = [f"{phase.allowed[mode] / phase.most(0):.0%}" for mode in MODES]
        without = f"{phase.without:,.0f}"
        lines.append(
            "| " + " | ".join([phase.name, *counts, *times, *allowed, without, ", ".join(modes), healed]) + " |"
        )
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Run it and print the table; 1 when a request was answered neither 200 nor 429."""
    parser = argparse.ArgumentParser(prog="python -m bench.limit_faults", description=__doc__)
    parser.add_argument("--seconds", type=at_least(1), default=5, metavar="N", help="that each fault lasts (5)")
    arguments = parser.parse_args(given)
    machine.warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="balancer-bench-") as name:
        folder = Path(name)
        try:
            with running(server(Place(folder, sys.executable), None), machine.cores()[1]) as upstream:
                phases = uvloop.run(measured(folder, upstream.port, seconds=arguments.seconds))
        except NotStarted as error:
            print(error, file=sys.stderr)
            return 1
    print(table(phases))
    failures = [failure for phase in phases for failure in phase.failures]
    print("\n".join(failures[:10]), file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
