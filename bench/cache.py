"""What a request costs that the cache answers, beside nginx and Varnish: `python -m bench.cache`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple
from urllib.request import Request, urlopen

from bench import machine, table
from bench.cache_recipes import CACHES, PACKAGES, balancer
from bench.figures import Case, Goal, Row, ratio, spread
from bench.load import LoadFailed, LoadMaker
from bench.program import NotStarted, Program, Recipe, running
from bench.proxy import at_least, some_of
from bench.recipes import Place, server, where
from bench.request import MEDIUM, STORABLE

UNCACHED: Final = "-uncached"
KEYS: Final = 1000
ENTRIES: Final = 100_000
STATS: Final = "/api/infrastructure/cache/stats"
TIMES: Final = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Sitting:
    """What all cases of one run share."""

    place: Place
    upstream: Program
    load_maker: LoadMaker
    core: int
    names: Sequence[str]
    rounds: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One program in one round."""

    cost: float
    """Microseconds of CPU per request."""
    upstream: float
    """The same of the server behind it: nothing, where all is answered from the cache."""
    busy: float
    rate: float
    errors: int


Asked = Callable[[], tuple[str, Sequence[str]]]
"""The path of a round, and what `report.lua` is to make of it."""


def hit(sitting: Sitting) -> Case:
    names = _caching(sitting)
    return _case(sitting, names, "hit", "Hits: one small answer", lambda: (f"{STORABLE}one", ()))


def hits(sitting: Sitting) -> Case:
    title = f"Hits: {KEYS:,} small answers, asked for as by Zipf's law"
    return _case(sitting, _caching(sitting), "hits", title, lambda: (STORABLE, ("zipf", str(KEYS))))


def hit_64k(sitting: Sitting) -> Case:
    return _case(sitting, _caching(sitting), "hit-64k", "Hits: one answer of 64 KiB", lambda: (MEDIUM, ()), large=True)


def miss(sitting: Sitting) -> Case:
    """Each is a small answer that may be stored, asked for once; beside them the same programs without a cache."""

    def asked() -> tuple[str, Sequence[str]]:
        return STORABLE, ("new", str(time.monotonic_ns()))

    return _case(sitting, sitting.names, "miss", "Misses: small answers that are stored", asked)


def memory(sitting: Sitting) -> Case:
    """What an entry takes in the real process, beside what it is counted with."""
    recipe = balancer(sitting.place, caches=True, room=1024)
    with running(recipe, sitting.core) as program:
        sitting.load_maker.load(program.port, STORABLE, 1, paths=("new", "first"))  # what a process needs once
        before = now = _held(recipe, program)
        errors = 0
        while now.entries - before.entries < ENTRIES:
            # Each load begins with the first ones again: all but the last have been served, too.
            load = sitting.load_maker.load(program.port, STORABLE, 5, paths=("new", "page", str(ENTRIES)))
            errors += load.errors
            now = _held(recipe, program)
            _say(f"memory: {now.entries} entries")
    entries = now.entries - before.entries
    each = (now.resident - before.resident) / entries
    extra: dict[str, float | str] = {
        "counted with": (now.counted - before.counted) / entries,
        "entries": float(entries),
        "before, MB": before.resident / 1e6,
        "after, MB": now.resident / 1e6,
    }
    row = Row("balancer", spread([each]), None, extra, [each])
    return Case("memory", "Memory of small answers that are stored", "bytes an entry", [row], None, errors)


class _Held(NamedTuple):
    resident: int
    """Bytes of the process."""
    entries: int
    counted: int
    """Bytes, as the store counts them."""


def _held(recipe: Recipe, program: Program) -> _Held:
    admin = json.loads((recipe.folder / "balancer.yaml").read_text())["admin"]["listen"]
    key = recipe.environment["ADMIN_API_KEY"]
    asked = Request(f"http://{admin}{STATS}", headers={"Authorization": f"Bearer {key}"})
    with urlopen(asked, timeout=10) as answer:
        stats = json.load(answer)
    return _Held(program.resident(), stats["entries"], stats["bytes"])


CASES: Final[dict[str, Callable[[Sitting], Case]]] = {
    "hit": hit,
    "hits": hits,
    "hit-64k": hit_64k,
    "miss": miss,
    "memory": memory,
}
"""By the names that `--cases` takes, in the order they are run."""

GOALS: Final = {
    "hit": (("nginx", 1.5), ("varnish", 0.75)),
    "hits": (("nginx", 1.5), ("varnish", 0.75)),
}
"""By case: how many times another's cost the balancer's may be."""
MOST_FOR_A_MISS: Final = 3.0
"""Microseconds that a miss may cost more than the same request without a cache."""


def _caching(sitting: Sitting) -> list[str]:
    return [name for name in sitting.names if not name.endswith(UNCACHED)]


def _case(sitting: Sitting, names: Sequence[str], name: str, title: str, asked: Asked, *, large: bool = False) -> Case:
    """All programs in turn, round by round, so that a change of the machine's mood meets all of them."""
    with ExitStack() as stack:
        programs = [stack.enter_context(running(CACHES[which](sitting.place, large), sitting.core)) for which in names]
        for program in programs:
            _sample(sitting, program, asked)  # fills and warms
        taken: dict[str, list[Sample]] = {program.name: [] for program in programs}
        for number in range(sitting.rounds):
            for program in programs:
                _say(f"{name}, round {number + 1} of {sitting.rounds}: {program.name}")
                taken[program.name].append(_sample(sitting, program, asked))
    costs = {program: [sample.cost for sample in samples] for program, samples in taken.items()}
    rows = []
    for which, samples in taken.items():
        extra: dict[str, float | str] = {}
        if "varnish" in costs:
            extra[f"{TIMES} varnish"] = ratio(costs[which], costs["varnish"]).median
        if which + UNCACHED in costs:
            pairs = zip(costs[which], costs[which + UNCACHED], strict=True)
            extra["µs over uncached"] = spread([cached - uncached for cached, uncached in pairs]).median
        extra["core busy, %"] = 100 * spread([sample.busy for sample in samples]).median
        extra["requests/s"] = spread([sample.rate for sample in samples]).median
        extra["server, µs"] = spread([sample.upstream for sample in samples]).median
        beside = ratio(costs[which], costs["nginx"]) if "nginx" in costs else None
        rows.append(Row(which, spread(costs[which]), beside, extra, costs[which]))
    errors = sum(sample.errors for samples in taken.values() for sample in samples)
    goal = Goal("ratio", GOALS[name][0][1]) if name in GOALS else None
    return Case(name, title, "µs of CPU a request", rows, goal, errors)


def _sample(sitting: Sitting, program: Program, asked: Asked) -> Sample:
    path, paths = asked()
    before, upstream_before = program.cpu(), sitting.upstream.cpu()
    load = sitting.load_maker.load(program.port, path, sitting.seconds, paths=paths)
    used, upstream = program.cpu() - before, sitting.upstream.cpu() - upstream_before
    return Sample(
        cost=used / load.requests * 1e6,
        upstream=upstream / load.requests * 1e6,
        busy=used / load.seconds,
        rate=load.requests / load.seconds,
        errors=load.errors,
    )


def verdicts(case: Case) -> list[str]:
    """Whether the balancer reached what it is to reach beside Varnish, and beside itself without a cache."""
    said = []
    row = next((row for row in case.rows if row.name == "balancer"), None)
    if row is not None:
        for other, most in GOALS.get(case.name, ())[1:]:
            found = row.extra.get(f"{TIMES} {other}")
            if isinstance(found, float):
                said.append(_verdict(f"{most:g} {TIMES} {other}", found, most))
        found = row.extra.get("µs over uncached")
        if isinstance(found, float):
            said.append(_verdict(f"{MOST_FOR_A_MISS:g} µs over uncached", found, MOST_FOR_A_MISS))
    return said


def _verdict(what: str, found: float, most: float) -> str:
    return f"  goal: balancer at most {what}: {'reached' if found <= most else 'MISSED'} ({found:.2f})"


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def main(given: Sequence[str] | None = None) -> int:
    """Run the cases and print their tables; 1 when something that is installed could not be measured."""
    if not sys.platform.startswith("linux"):
        print("this benchmark reads /proc and pins processes to cores: it needs Linux", file=sys.stderr)
        return 2
    arguments = _arguments(given)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: argparse.Namespace) -> int:
    commands = {name: path for name in PACKAGES if (path := where(name))}
    for name, package in PACKAGES.items():
        if name not in commands:
            print(f"{name} is not installed (Debian, Ubuntu: apt-get install {package})", file=sys.stderr)
    if "wrk" not in commands or "nginx" not in commands:
        print("wrk makes the load and nginx is the server behind the caches: both are needed", file=sys.stderr)
        return 2
    about = machine.description(commands, arguments.python)
    machine.warn_if_busy()
    machine.raise_descriptor_limit()
    core, other = machine.cores()
    names = [name for name in arguments.only if name != "varnish" or "varnishd" in commands]
    report: dict[str, object] = {}
    failed = False
    with tempfile.TemporaryDirectory(prefix="balancer-bench-") as folder:
        Path(folder).chmod(0o755)  # nginx's worker may be another user
        place = Place(Path(folder), arguments.python)
        with running(server(place, commands["nginx"]), other) as upstream:
            sitting = Sitting(
                place=replace(place, upstream=upstream.port),
                upstream=upstream,
                load_maker=LoadMaker(commands["wrk"], other),
                core=core,
                names=names,
                rounds=arguments.rounds,
                seconds=arguments.seconds,
            )
            for name in arguments.cases:
                try:
                    case = CASES[name](sitting)
                except (LoadFailed, NotStarted, OSError) as error:
                    print(f"\n{name} could not be measured: {error}", file=sys.stderr)
                    failed = True
                    continue
                if sys.stderr.isatty():
                    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
                print("\n".join([table.text(case), *verdicts(case)]) + "\n", flush=True)
                report[name] = table.plain(case)
                failed = failed or case.errors > 0
    if arguments.json:
        settings = {name: getattr(arguments, name) for name in ("rounds", "seconds")}
        written = {"machine": about, "settings": settings, "cases": report}
        arguments.json.write_text(json.dumps(written, indent=2) + "\n")
    return int(failed)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    add = parser.add_argument
    add("--cases", type=some_of(list(CASES)), default=list(CASES), metavar="NAMES", help=",".join(CASES))
    add("--only", type=some_of(list(CACHES)), default=list(CACHES), metavar="NAMES", help=",".join(CACHES))
    add("--json", type=Path, metavar="FILE", help="write all figures, with each round's, to a file")
    add("--python", default=sys.executable, metavar="PATH", help="runs the balancer")
    add("--rounds", type=at_least(1), default=5, metavar="N", help="turns each program has (5)")
    add("--seconds", type=at_least(1), default=3, metavar="N", help="length of a turn (3)")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
