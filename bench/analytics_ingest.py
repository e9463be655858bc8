"""Whether storing many events slows requests down: `python -m bench.analytics_ingest`.

A balancer with a server behind it answers a steady, modest load, in turns without and with so many product events a
second coming from somewhere else in its process (as 20,000 requests a second would be more than two cores can make).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from time import time as wall_time  # noqa: TID251  # events have the time of the wall clock

import aiohttp
import yaml
from aiohttp import web

from bench.program import free_port

BATCH = 100
"""Injections a second."""


def inject(rate: int, config: Path) -> int:
    """The balancer itself, which also counts `rate` events a second while it is told to by SIGUSR2."""
    from balancer.analytics.service import AnalyticsService
    from balancer.app import run

    state = {"on": False, "number": 0, "begun": False}
    tick = AnalyticsService.tick

    def toggle(*_: object) -> None:
        state["on"] = not state["on"]

    def more(self: AnalyticsService) -> None:
        """As if so many requests had come in the last hundredth of a second."""
        asyncio.get_running_loop().call_later(1 / BATCH, more, self)
        collector = self.collector
        if state["on"] and collector is not None:
            at = round(wall_time() * 1000)
            for _ in range(rate // BATCH):
                state["number"] += 1
                number = state["number"]
                dims = {"post": str(number % 5000), "community": str(number % 97)}
                collector.counted += 1
                collector.queue.append((at, "post_viewed", number % 9973, None, 200, 900, 700, dims))

    def first(self: AnalyticsService, now: float) -> None:
        if not state["begun"]:
            state["begun"] = True
            more(self)
        tick(self, now)

    AnalyticsService.tick = first  # type: ignore[method-assign]  # only here, and only in this process
    signal.signal(signal.SIGUSR2, toggle)
    return run(config, os.environ)


async def measured(url: str, seconds: float, rate: float) -> list[float]:
    """Latencies of requests at a steady pace."""
    taken: list[float] = []

    async def one(session: aiohttp.ClientSession) -> None:
        began = perf_counter()
        async with session.get(url) as answer:
            await answer.read()
        taken.append(perf_counter() - began)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        end = perf_counter() + seconds
        due = perf_counter()
        while due < end:
            group.create_task(one(session))
            due += 1 / rate
            await asyncio.sleep(max(due - perf_counter(), 0))
    return sorted(taken)


async def _answer(request: web.Request) -> web.Response:
    return web.Response(text="x" * 500)


async def bench(rate: int, seconds: float, turns: int, load: float) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        back, front, admin = free_port(), free_port(), free_port()
        app = web.Application()
        app.router.add_get("/", _answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", back).start()
        settings = {
            "listen": f"127.0.0.1:{front}",
            "servers": [f"http://127.0.0.1:{back}"],
            "admin": {"listen": f"127.0.0.1:{admin}", "state": str(folder / "overlay.yaml")},
            "logs": {"access": {"to": "none"}, "level": "error"},
            "analytics": {"events": {"post_viewed": {"match": {"path": "/posts/{post}"}}}},
        }
        config = folder / "balancer.yaml"
        config.write_text(yaml.safe_dump(settings))
        environment = {**os.environ, "ADMIN_API_KEY": "a-key-of-the-bench-that-is-long"}
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.analytics_ingest",
            "--inject",
            str(config),
            "--rate",
            str(rate),
            env=environment,
        )
        try:
            await asyncio.sleep(3)
            url = f"http://127.0.0.1:{front}/"
            await measured(url, 2, load)
            p99: dict[bool, list[float]] = {False: [], True: []}
            p50: dict[bool, list[float]] = {False: [], True: []}
            for turn in range(2 * turns):
                on = bool(turn % 2)
                if on:
                    child.send_signal(signal.SIGUSR2)
                taken = await measured(url, seconds / turns, load)
                if on:
                    child.send_signal(signal.SIGUSR2)
                p99[on].append(taken[int(len(taken) * 0.99)])
                p50[on].append(taken[len(taken) // 2])
                word = "with" if on else "without"
                print(f"{word:8} events: p50 {p50[on][-1] * 1e3:.2f} ms, p99 {p99[on][-1] * 1e3:.2f} ms")
            await asyncio.sleep(3)
            headers = {"X-API-Key": environment["ADMIN_API_KEY"]}
            status = f"http://127.0.0.1:{admin}/api/monitoring/analytics/status"
            async with aiohttp.ClientSession(headers=headers) as session, session.get(status) as answer:
                told = json.loads(await answer.read())
            moved = median(p99[True]) / median(p99[False]) - 1
            print(f"median p99 {median(p99[False]) * 1e3:.2f} -> {median(p99[True]) * 1e3:.2f} ms ({moved:+.0%})")
            queue, stored = told["queue"], told["stored"]
            print(f"counted {queue['counted']:,}, dropped {queue['dropped']:,}, stored {stored['events']:,}")
            return 0 if queue["dropped"] == 0 and stored["events"] == queue["counted"] and moved < 0.1 else 1
        finally:
            child.terminate()
            await child.wait()
            await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.analytics_ingest", description=__doc__)
    add = parser.add_argument
    add("--rate", type=int, default=20_000, help="events a second (%(default)s)")
    add("--seconds", type=float, default=60.0, help="with events, and as long without (%(default)s)")
    add("--turns", type=int, default=4)
    add("--load", type=float, default=200.0, help="requests a second (%(default)s)")
    add("--inject", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inject is not None:
        return inject(given.rate, given.inject)
    return asyncio.run(bench(given.rate, given.seconds, given.turns, given.load))


if __name__ == "__main__":
    sys.exit(main())
