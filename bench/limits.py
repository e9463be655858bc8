"""What limits cost that balancers share, and how exact they are: `python -m bench.limits`, with a Redis of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any, Final

import uvloop

from balancer.decision import Decision
from balancer.guarding.shared_limits import DEADLINE, SharedLimits
from balancer.guards.gcra import Gcra
from balancer.guards.leases import PAUSE
from balancer.guards.limiter import Limiter, Step
from balancer.guards.verdict import Refusal, Verdict
from balancer.http1.head import parse_request
from balancer.redis_gateway import Gateway
from balancer.telemetry.limit_report import LimitReport, of_policy
from bench import machine
from bench.figures import Spread, spread
from bench.proxy import at_least
from bench.redis_server import RedisServer
from config.guards import RateLimit, RouteLimit
from config.schema import Config, Redis

HEAD: Final = parse_request(b"GET / HTTP/1.1\r\nHost: site", 100, 8192)
TURN: Final = 20
"""Requests that one turn of the loop brings."""
PATIENT: Final = 1.0
"""Seconds for Redis to answer where it is measured what that costs, and others may have the processor."""
WAITING: Final = 200
"""Requests that wait for Redis at a time."""


class Nobody:
    """A client of which a limit reads nothing."""

    shown = "unknown"
    trusted = False
    scheme = b"http"
    node = b"unknown"
    vouched: tuple[bytes, bytes] | None = None


class Limited:
    """One balancer's limits, with a single policy."""

    def __init__(self, url: str, policy: dict[str, Any], deadline: float = DEADLINE) -> None:
        settings = {"redis": {"url": url, "timeout": 1.0}, "listeners": {}, "pools": {}, "routes": {}}
        config = Config.model_validate({**settings, "rate_limits": {"p": RateLimit.model_validate(policy)}})
        self.gateway = Gateway(Redis(url=url, timeout=1.0))
        self.limits = SharedLimits(
            lambda event, where, detail: print(event, detail, file=sys.stderr), deadline=deadline
        )
        self.limiter = Limiter()
        self.limiter.configure(config.rate_limits)
        self.limits.configure(config, self.limiter.policies)
        self._step: Step = self.limiter.policies["p"].step(RouteLimit(policy="p"), "route")
        self._client = Nobody()

    async def __aenter__(self) -> Limited:
        await self.limits.use(self.gateway)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.limits.close()
        await self.gateway.close()

    def decide(self, client: str, now: float) -> Verdict:
        decision = Decision("main", client, now)
        decision.method = "GET"
        return self._step(HEAD, self._client, decision)

    @property
    def report(self) -> LimitReport:
        policy = self.limiter.policies["p"]
        report = of_policy(policy)
        shared = self.limits.policies.get("p")
        return shared.report(report) if shared is not None else report

    @property
    def alone(self) -> float:
        """The share of decisions that were taken without Redis, since it was too slow on a busy machine."""
        counted = self.counted
        alone = sum(count for word, count in counted.items() if word.startswith("fallback"))
        return alone / max(sum(counted.values()), 1)

    @property
    def counted(self) -> dict[str, int]:
        return dict(self.limiter.policies["p"].tally.decisions)


def clients(count: int) -> list[str]:
    return [f"192.0.{n // 250}.{n % 250}" for n in range(count)]


# What it costs.


async def spent(limited: Limited, count: int, seconds: float) -> tuple[float, float]:
    """Microseconds of this process for a decision, all that Redis brings included, and questions for each.

    As many requests come as each of the clients may make, so nobody is refused.
    """
    names = clients(count)
    done = 0
    waiting = 0

    def answered(found: Refusal | Exception | None) -> None:
        nonlocal waiting
        waiting -= 1

    begin, cpu, asked = perf_counter(), process_time(), limited.report.questions
    while (now := perf_counter() - begin) < seconds:
        moment = monotonic()
        for _ in range(TURN):
            verdict = limited.decide(names[done % count], moment)
            done += 1
            if verdict is not None and not isinstance(verdict, Refusal):
                waiting += 1
                verdict.ask(answered)
        await asyncio.sleep(0)
        while waiting > WAITING:  # noqa: ASYNC110  # an event would cost more than what is measured
            await asyncio.sleep(0)
        ahead = done / (PACE * count) - now
        if ahead > 0.005:
            await asyncio.sleep(ahead)
    return (process_time() - cpu) / done * 1e6, (limited.report.questions - asked) / done


def bare(seconds: float) -> float:
    """The same of what stands around a decision here: to be taken off the others."""
    names = clients(1000)
    done, begin, cpu = 0, perf_counter(), process_time()
    while perf_counter() - begin < seconds:
        moment = monotonic()
        for _ in range(TURN):
            decision = Decision("main", names[done % 1000], moment)
            decision.method = "GET"
            done += 1
    return (process_time() - cpu) / done * 1e6


PACE: Final = 800.0
"""Requests a second of each client, where 1000 are allowed."""


TURNS: Final = 0.1
"""Seconds of a turn: on a busy machine the best of many is what could be had without the others."""


async def decisions(limited: Limited, seconds: float, count: int) -> tuple[Spread, float, float]:
    """Decisions a second while `WAITING` requests wait for Redis at any time, CPU of each in us, and questions."""
    names = clients(count)
    done = 0
    over = asyncio.get_running_loop().create_future()
    begin, cpu, asked = perf_counter(), process_time(), limited.report.questions
    turns: list[float] = []
    turn, before = begin, 0

    def ask() -> None:
        verdict = limited.decide(names[done % count], monotonic())
        if verdict is None or isinstance(verdict, Refusal):
            asyncio.get_running_loop().call_soon(answered, verdict)
        else:
            verdict.ask(answered)

    def answered(found: Refusal | Exception | None) -> None:
        nonlocal done, turn, before
        done += 1
        now = perf_counter()
        if now - turn > TURNS:
            turns.append((done - before) / (now - turn))
            turn, before = now, done
        if now - begin < seconds:
            ask()
        elif not over.done():
            over.set_result(None)

    for _ in range(WAITING):
        ask()
    await over
    return spread(turns), (process_time() - cpu) / done * 1e6, (limited.report.questions - asked) / done


async def costs(url: str, seconds: float) -> None:
    print(f"\n| {'limit':34} | clients | us of CPU | decisions a second | questions each | without Redis |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(f"| {'no limit':34} | 1000 | {bare(seconds):.2f} | | | |", flush=True)
    for mode in (False, "leased"):
        for count in (100, 1000):
            policy = {"rate": "1000/s", "burst": 2000, "shared": mode}
            async with Limited(url, policy, PATIENT) as limited:
                await spent(limited, count, 0.5)
                cost, asked = await spent(limited, count, seconds)
                name = f"{mode or 'local'}, 1000/s, each at {PACE:.0f}/s"
                print(f"| {name:34} | {count} | {cost:.2f} | | {asked:.4f} | {limited.alone:.1%} |", flush=True)
    for count in (1, 1000, 50_000):
        async with Limited(url, {"rate": "100000/s", "burst": 1_000_000, "shared": "exact"}, PATIENT) as limited:
            await decisions(limited, 0.5, count)
            rates, cost, asked = await decisions(limited, seconds, count)
            name = f"exact, {WAITING} waiting"
            pace = f"{rates.high:,.0f} at best, {rates.median:,.0f}"
            print(f"| {name:34} | {count} | {cost:.1f} | {pace} | {asked:.3f} | {limited.alone:.1%} |", flush=True)


# How exact it is.


async def flood(
    url: str, policy: dict[str, Any], pace: float, seconds: float, go: Callable[[], None]
) -> dict[str, Any]:
    """Ask at that pace for so long, as one client; `go` is called when it could begin."""
    async with Limited(url, policy) as limited:
        while limited.report.instances < 2:  # noqa: ASYNC110  # nothing in the product waits for it
            await asyncio.sleep(0.05)
        await asyncio.to_thread(go)
        done = 0
        begin = monotonic()
        while (passed := monotonic() - begin) < seconds:
            while done < passed * pace:
                verdict = limited.decide("192.0.2.1", monotonic())
                done += 1
                if verdict is not None and not isinstance(verdict, Refusal):
                    verdict.ask(lambda refusal: None)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        return {
            "allowed": limited.counted.get("allowed", 0) + limited.counted.get("fallback", 0),
            "decisions": done,
            "questions": limited.report.questions,
            "held": limited.report.held,
            "alone": limited.alone,
        }


def worker(given: str) -> None:
    """One of the processes that share a limit: told what to do, it says when it is ready, and waits for a line."""
    task = json.loads(given)

    def go() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    print(json.dumps(uvloop.run(flood(**task, go=go))), flush=True)


def accuracy(redis: RedisServer, seconds: float) -> bool:
    """Two processes on one limit, ten times as much as it allows; whether what passed was within the bounds."""
    print(f"\n| {'limit':22} | requests | allowed | of | off by | bound | questions | without Redis |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    well = True
    for mode in ("exact", "leased"):
        for rate, burst in ((100, 200), (1000, 1000)):
            task = {"url": redis.url, "policy": {"rate": f"{rate}/s", "burst": burst, "shared": mode}, "pace": 5 * rate}
            said = _together(json.dumps({**task, "seconds": seconds}))
            redis.do("FLUSHALL")
            asked, allowed, questions, held = (
                sum(one[what] for one in said) for what in ("decisions", "allowed", "questions", "held")
            )
            alone = sum(one["alone"] for one in said) / len(said)
            whole = burst + rate * seconds
            # Less, as at the end there is what is held, and what came back while nobody asked.
            most = 0.03 * whole if mode == "exact" else held + DEADLINE * rate
            least = 0.03 * whole if mode == "exact" else held + PAUSE * rate
            good = -least <= allowed - whole <= most
            well = well and good
            print(
                f"| {mode}, {rate}/s, {burst} at once | {asked:,} | {allowed:,} | {whole:,.0f} "
                f"| {allowed / whole - 1:+.2%} | -{least / whole:.2%} to +{most / whole:.2%} | {questions:,} "
                f"| {alone:.1%} |{'' if good else ' NOT WITHIN IT'}",
                flush=True,
            )
    return well


def _together(task: str) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        workers = []
        for _ in range(2):
            command = [sys.executable, "-m", "bench.limits", "--worker", task]
            started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            workers.append(stack.enter_context(started))
        for process in workers:
            assert process.stdout is not None  # a pipe
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("a worker did not come so far")
        for process in workers:
            assert process.stdin is not None  # a pipe
            process.stdin.write("\n")
            process.stdin.flush()
        return [json.loads(process.stdout.readline()) for process in workers if process.stdout is not None]


def memory() -> None:
    """Ten times as many clients as there is room for, one request of each."""
    room, strangers = 100_000, 1_000_000
    tracemalloc.start()
    buckets = Gcra(1.0, 1, room)
    for number in range(strangers):
        buckets.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1, number / 1000)
    size, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{strangers:,} clients, room for {room:,}: {len(buckets):,} are remembered, in {size / 2**20:.1f} MiB")
    print(f"{size / len(buckets):.0f} bytes each; never more than {most / 2**20:.1f} MiB\n")


def main(given: Sequence[str] | None = None) -> int:
    """Measure, and print tables; 1 when what passed was not within the bounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("--seconds", type=at_least(1), default=3, metavar="N", help="for each cost (3)")
    parser.add_argument("--flood", type=at_least(1), default=10, metavar="N", help="seconds of each flood (10)")
    parser.add_argument("--only", choices=["costs", "accuracy", "memory"], help="only one of the tables")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.worker:
        worker(arguments.worker)
        return 0
    if arguments.only in (None, "memory"):
        memory()
        if arguments.only is not None:
            return 0
    machine.warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="balancer-bench-") as name:
        redis = RedisServer(Path(name))
        redis.start()
        try:
            if arguments.only != "accuracy":
                uvloop.run(costs(redis.url, arguments.seconds))
            return 0 if arguments.only == "costs" or accuracy(redis, arguments.flood) else 1
        finally:
            redis.kill()


if __name__ == "__main__":
    sys.exit(main())
