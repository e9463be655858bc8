"""The questions put to the proxies, one function each."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Case, Goal, Row, ratio, slope, spread
from bench.load import LoadMaker
from bench.program import Program, running
from bench.recipes import LOGGING, PROXIES, Place
from bench.request import LARGE, SMALL, ask

_POINTS = 10
_FLUSHED = 1.2  # seconds; logs are flushed once a second
_LONGEST = 600  # seconds of load in the memory case, however slow the proxy


@dataclass(frozen=True, slots=True)
class Sitting:
    """What all cases of one run share: all figures that are compared were taken in one sitting."""

    place: Place
    load_maker: LoadMaker
    core: int
    """The proxies' core; load maker and server have another."""
    names: Sequence[str]
    rounds: int
    seconds: int
    idle: int
    requests: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One proxy in one round."""

    cost: float
    """Microseconds of CPU per request."""
    busy: float
    """The share of its core that the proxy used. Well below 1, the load maker or the server was the limit."""
    rate: float
    requests: int
    errors: int


def small(sitting: Sitting) -> Case:
    taken = _interleaved(sitting, "small answers", SMALL)
    return _costs("small", "Small answers on kept connections", taken, Goal("ratio", 2.2))


def large(sitting: Sitting) -> Case:
    taken = _interleaved(sitting, "1 MiB answers", LARGE)
    return _costs("large", "1 MiB answers on kept connections", taken, Goal("ratio", 1.1))


def fresh(sitting: Sitting) -> Case:
    taken = _interleaved(sitting, "a connection for each request", SMALL, fresh=True)
    return _costs("fresh", "Small answers, a new client connection for each", taken)


def log(sitting: Sitting) -> Case:
    """The price of an access log: the same proxy with and without one, side by side."""
    names = [name for name in sitting.names if name in LOGGING]
    taken: dict[str, list[Sample]] = {}
    written: dict[str, int] = {}
    with ExitStack() as stack:
        programs: dict[str, Program] = {}
        for name in names:
            for label, logging in ((name, False), (f"{name}, log", True)):
                recipe = PROXIES[name](sitting.place, log=logging)
                programs[label] = stack.enter_context(running(recipe, sitting.core))
        for label, program in programs.items():
            _sample(sitting, program, SMALL)
            if program.log:
                time.sleep(_FLUSHED)
                _count_and_empty(program.log)
            taken[label] = []
            written[label] = 0
        for number in range(sitting.rounds):
            for label, program in programs.items():
                _say(f"access log, round {number + 1} of {sitting.rounds}: {label}")
                taken[label].append(_sample(sitting, program, SMALL))
                if program.log:
                    # Emptied each round: at full speed a log grows by 10 MB a second.
                    time.sleep(_FLUSHED)
                    written[label] += _count_and_empty(program.log)
    case = _costs("log", "Access log: small answers with a line to a file for each, and without", taken)
    for row in case.rows:
        if row.name.endswith(", log"):
            without = taken[row.name.removesuffix(", log")]
            pairs = zip(taken[row.name], without, strict=True)
            row.extra["µs a line"] = spread([one.cost - other.cost for one, other in pairs]).median
            requests = sum(sample.requests for sample in taken[row.name])
            row.extra["lines a request"] = written[row.name] / requests
    return case


def idle(sitting: Sitting) -> Case:
    """Memory of a client connection that made a request and stays open, without the kernel's part.

    As many connections are opened twice and the second lot is measured: the first one takes what the process had
    to spare, a start-up's leavings of several megabytes.
    """
    rows = []
    for name in sitting.names:
        _say(f"{sitting.idle} idle connections: {name}")
        with running(PROXIES[name](sitting.place), sitting.core) as program, ExitStack() as stack:
            _sample(sitting, program, SMALL)
            connections = _opened(program, sitting.idle, stack)
            before = program.resident()
            connections += _opened(program, sitting.idle, stack)
            after = program.resident()
            for connection in connections:
                ask(connection, program.port, SMALL)  # fails where a connection was not kept after all
            each = (after - before) / sitting.idle / 1024
        rows.append(Row(name, spread([each]), None, {"before, MB": before / 1e6}, [each]))
    title = f"Memory per idle client connection, over {sitting.idle} that made one request each"
    return Case("idle", title, "KiB", rows, Goal("median", 10.0))


def _opened(program: Program, count: int, stack: ExitStack) -> list[socket.socket]:
    """New connections that have made a request each; they stay open as long as the stack."""
    connections = []
    for _ in range(count):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", program.port), 10))
        ask(connection, program.port, SMALL)
        connections.append(connection)
    time.sleep(1)  # for what is given back with a delay
    return connections


def memory(sitting: Sitting) -> Case:
    """Whether a proxy grows with the requests it serves: the balancer, or those asked for without it."""
    rows = []
    errors = 0
    for name in [name for name in sitting.names if name == "balancer"] or sitting.names:
        with running(PROXIES[name](sitting.place), sitting.core) as program:
            _sample(sitting, program, SMALL)
            points: list[tuple[float, float]] = []
            done = 0
            start = time.monotonic()
            while len(points) < _POINTS and time.monotonic() - start < _LONGEST:
                load = sitting.load_maker.load(program.port, SMALL, 1)
                done += load.requests
                errors += load.errors
                if done >= (len(points) + 1) * sitting.requests / _POINTS:
                    points.append((done, program.resident()))
                    _say(f"memory: {name}, {done} requests, {points[-1][1] / 1e6:.1f} MB")
        if len(points) < 2:
            raise TimeoutError(f"{name} served only {done} requests in {_LONGEST} s, too few to see it grow")
        growth = slope(points)
        extra: dict[str, float | str] = {
            "requests": float(done),
            "first, MB": points[0][1] / 1e6,
            "last, MB": points[-1][1] / 1e6,
            "MB at each point": " ".join(f"{size / 1e6:.2f}" for _, size in points),
        }
        rows.append(Row(name, spread([growth]), None, extra, [size for _, size in points]))
    flat = Goal("median", 2.0)  # the smallest Python object is 16 bytes: one leaked per request shows as 16
    return Case("memory", "Growth of memory with requests", "bytes a request", rows, flat, errors)


CASES: dict[str, Callable[[Sitting], Case]] = {
    "small": small,
    "large": large,
    "fresh": fresh,
    "log": log,
    "idle": idle,
    "memory": memory,
}
"""By the names that `--cases` takes, in the order they are run."""


def _interleaved(sitting: Sitting, what: str, path: str, *, fresh: bool = False) -> dict[str, list[Sample]]:
    """All proxies in turn, round by round, so that a change of the machine's mood meets all of them."""
    with ExitStack() as stack:
        recipes = [PROXIES[name](sitting.place) for name in sitting.names]
        programs = [stack.enter_context(running(recipe, sitting.core)) for recipe in recipes]
        for program in programs:
            _sample(sitting, program, path, fresh=fresh)  # warms caches, pools and the interpreter
        taken: dict[str, list[Sample]] = {program.name: [] for program in programs}
        for number in range(sitting.rounds):
            for program in programs:
                _say(f"{what}, round {number + 1} of {sitting.rounds}: {program.name}")
                taken[program.name].append(_sample(sitting, program, path, fresh=fresh))
        return taken


def _sample(sitting: Sitting, program: Program, path: str, *, fresh: bool = False) -> Sample:
    before = program.cpu()
    load = sitting.load_maker.load(program.port, path, sitting.seconds, fresh=fresh)
    used = program.cpu() - before
    return Sample(
        cost=used / load.requests * 1e6,
        busy=used / load.seconds,
        rate=load.requests / load.seconds,
        requests=load.requests,
        errors=load.errors,
    )


def _costs(name: str, title: str, taken: dict[str, list[Sample]], goal: Goal | None = None) -> Case:
    rows = []
    nginx = [sample.cost for sample in taken.get("nginx", [])]
    for program, samples in taken.items():
        costs = [sample.cost for sample in samples]
        extra: dict[str, float | str] = {
            "core busy, %": 100 * spread([sample.busy for sample in samples]).median,
            "requests/s": spread([sample.rate for sample in samples]).median,
        }
        rows.append(Row(program, spread(costs), ratio(costs, nginx) if nginx else None, extra, costs))
    errors = sum(sample.errors for samples in taken.values() for sample in samples)
    return Case(name, title, "µs of CPU a request", rows, goal, errors)


def _count_and_empty(log: Path) -> int:
    with log.open("rb") as file:
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
    os.truncate(log, 0)
    return lines


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
