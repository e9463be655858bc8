"""What clients notice when the cache's Redis dies, freezes, is flushed or full: `python -m bench.cache_faults`."""

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
from bench.program import NotStarted, Program, Recipe, free_port, running
from bench.proxy import at_least
from bench.recipes import Place, server
from bench.redis_server import RedisServer
from bench.request import BRIEF, SMALL_BODY, encoded

CLIENTS: Final = 60
PAUSE: Final = 0.1
"""Seconds between an answer and the client's next request, on average: 600 requests a second of them all."""
URLS: Final = 200
"""They are stale after a second: each is fetched once a second, by one balancer for both."""
DEADLINE: Final = 0.1
"""Seconds that a command to Redis may take: `redis.timeout` as shipped."""
PATIENCE: Final = 40.0
"""Seconds in which all has to be as before once Redis is back: probes are up to half a minute apart."""
STATS: Final = "/api/infrastructure/cache/stats"


@dataclass
class Phase:
    """What happened to clients, and what the balancers said of Redis, while one thing was wrong with it."""

    name: str
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    """Seconds that answers took."""
    failures: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    """As the API told them, ten times a second, of both balancers."""
    fills: int = 0
    """Requests to the server."""
    healed: float | None = None
    """Seconds from its end until both balancers used Redis again; None where it did not come to that."""

    def at(self, share: float) -> float:
        times = sorted(self.times)
        return times[min(int(len(times) * share), len(times) - 1)] if times else 0.0


class Clients:
    """They ask two balancers over kept connections, until they are told to stop; what they see goes into a phase."""

    def __init__(self, ports: Sequence[int], count: int, pause: float) -> None:
        self.phase = Phase("")
        self._ports = ports
        self._count = count
        self._pause = pause
        self._rng = Random(1)
        self._over = False

    async def __aenter__(self) -> Clients:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._client(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        port = self._ports[number % len(self._ports)]
        rng = self._rng
        reader = writer = None
        while not self._over:
            path = f"{BRIEF}{int(URLS ** rng.random())}"  # as by Zipf's law
            start = perf_counter()
            try:
                async with asyncio.timeout(10):
                    if reader is None or writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                        start = perf_counter()
                    writer.write(encoded(80, path))  # the same host of both, or they would have nothing to share
                    said = await _answer(reader)
                self.phase.times.append(perf_counter() - start)
                if said != (200, SMALL_BODY):
                    self.phase.failures.append(f"{path}: {said}")
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.phase.failures.append(f"{path}: {error!r}")
                if writer is not None:
                    writer.transport.abort()
                reader = writer = None
            await asyncio.sleep(self._pause * (0.5 + rng.random()))
        if writer is not None:
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return int(head[9:12]), await reader.readexactly(int(length))


class Balancer:
    """A running balancer, and what its API says."""

    def __init__(self, program: Program, admin: int, key: str) -> None:
        self.program = program
        self.port = program.port
        self._admin = admin
        self._key = key

    async def get(self, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._admin)
        try:
            fields = f"Host: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\nConnection: close\r\n"
            writer.write(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
            return await _answer(reader)
        finally:
            writer.transport.abort()

    async def stats(self) -> dict[str, Any]:
        """What the API says of the cache."""
        status, body = await self.get(STATS)
        if status != 200:
            raise RuntimeError(f"GET {STATS}: {status} {body!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        _, body = await self.get("/metrics")
        lines = body.decode().splitlines()
        found = [line.rsplit(" ", 1)[1] for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        if not found:
            raise RuntimeError(f"/metrics has no {name}")
        return sum(map(float, found))


@asynccontextmanager
async def balancers(folder: Path, upstream: int, redis: RedisServer, count: int = 2) -> AsyncIterator[list[Balancer]]:
    """So many that share a Redis; they use it inside the block."""
    with ExitStack() as stack:
        found = []
        for number in range(count):
            place = folder / f"balancer-{number}"
            place.mkdir()
            port, admin, key = free_port(), free_port(), secrets.token_hex(24)
            configuration = {
                "listen": f"127.0.0.1:{port}",
                "servers": [f"http://127.0.0.1:{upstream}"],
                "cache": True,
                "redis": {"url": redis.url},
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
        await until_used(found)
        yield found


async def until_used(found: Sequence[Balancer]) -> float:
    """Wait until all of them use Redis and hear of purges; the seconds that took. Raises TimeoutError."""
    start = perf_counter()
    while True:
        said = [(await balancer.stats())["redis"] for balancer in found]
        if all(redis is not None and redis["state"] == "up" for redis in said):
            return perf_counter() - start
        if perf_counter() - start > PATIENCE:
            raise TimeoutError(f"Redis is back for {PATIENCE:g} s and not used: {said}")
        await asyncio.sleep(0.05)


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
        before = await self._fills()
        self._clients.phase = phase
        start = perf_counter()
        if begin is not None:
            await asyncio.to_thread(begin)
        while perf_counter() - start < self._seconds:
            for balancer in self._found:
                phase.states[(await balancer.stats())["redis"]["state"]] += 1
            await asyncio.sleep(0.1)
        if end is not None:
            await asyncio.to_thread(end)
        phase.healed = await until_used(self._found)
        phase.seconds = perf_counter() - start
        phase.fills = await self._fills() - before
        return phase

    async def _fills(self) -> int:
        return sum([(await balancer.stats())["fills"] for balancer in self._found])

    async def all(self) -> None:
        """Everything that may go wrong with a Redis, and nothing at the beginning and the end."""
        redis = self._redis
        await self.phase("nothing is wrong")
        await self.phase("killed, and started again empty", redis.kill, redis.start)
        await self.phase("frozen (SIGSTOP)", redis.pause, redis.resume)
        await self.phase("CLIENT PAUSE", lambda: redis.do("CLIENT", "PAUSE", int(self._seconds * 1000), "ALL"))
        await self.phase("flushed", lambda: redis.do("FLUSHALL"))
        await self.phase("all connections cut", self._cut)
        await self.phase("full, and nothing is evicted", lambda: self._fill("noeviction"), self._empty)
        await self.phase("full, and everything may be evicted", lambda: self._fill("allkeys-random"), self._empty)
        await self.phase("killed and started five times", self._restart)
        await self.phase("nothing is wrong any more")

    def _cut(self) -> None:
        self._redis.do("CLIENT", "KILL", "TYPE", "normal")
        self._redis.do("CLIENT", "KILL", "TYPE", "pubsub")

    def _fill(self, policy: str) -> None:
        self._redis.do("CONFIG", "SET", "maxmemory-policy", policy)
        self._redis.do("CONFIG", "SET", "maxmemory", "1mb" if policy == "noeviction" else "3mb")

    def _empty(self) -> None:
        self._redis.do("CONFIG", "SET", "maxmemory", 0)

    def _restart(self) -> None:
        for _ in range(5):
            self._redis.kill()
            self._redis.start()


async def measured(folder: Path, upstream: int, *, seconds: float, clients: int = CLIENTS) -> list[Phase]:
    """All phases, with a Redis of its own."""
    redis = RedisServer(folder)
    redis.start()
    try:
        async with balancers(folder, upstream, redis) as found:
            async with Clients([balancer.port for balancer in found], clients, PAUSE) as crowd:
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
        "median",
        "99 %",
        "longest",
        "server asked a second",
        "said of it",
        "used again",
    )
    lines = ["| " + " | ".join(titles) + " |", "| --- |" + " ---: |" * 6 + " --- | ---: |"]
    for phase in phases:
        states = sorted(phase.states, key=lambda word: -phase.states[word])
        times = [f"{1000 * time:.1f} ms" for time in (phase.at(0.5), phase.at(0.99), phase.at(1.0))]
        healed = "" if phase.healed is None else f"{phase.healed:.1f} s"
        counts = [f"{len(phase.times):,}", str(len(phase.failures)), *times, f"{phase.fills / phase.seconds:.0f}"]
        lines.append("| " + " | ".join([phase.name, *counts, ", ".join(states), healed]) + " |")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Run it and print the table; 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache_faults", description=__doc__)
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
