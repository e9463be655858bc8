"""What a proxied request costs, beside nginx, HAProxy and a blind copy of bytes: `python -m bench.proxy`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench import machine, table
from bench.cases import CASES, Sitting
from bench.load import LoadFailed, LoadMaker
from bench.program import NotStarted, running
from bench.recipes import PACKAGES, PROXIES, Place, server, where

_INSTEAD = {
    "nginx": "; our own server, which costs more, stands behind the proxies",
    "wrk": "; our own load maker, which is slower, takes its place",
}


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
    names = _installed(arguments.only, own=arguments.own)
    commands = {name: path for name in PACKAGES if (path := where(name))}
    about = machine.description(commands, arguments.python)
    machine.warn_if_busy()
    machine.raise_descriptor_limit()
    core, other = machine.cores()
    load_maker = LoadMaker(None if arguments.own else where("wrk"), other)
    with tempfile.TemporaryDirectory(prefix="balancer-bench-") as folder:
        Path(folder).chmod(0o755)  # nginx's worker may be another user
        place = Place(Path(folder), arguments.python)
        with running(server(place, None if arguments.own else where("nginx")), other) as upstream:
            sitting = Sitting(
                place=replace(place, upstream=upstream.port),
                load_maker=load_maker,
                core=core,
                names=names,
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                idle=arguments.idle,
                requests=arguments.requests,
            )
            sitting = replace(sitting, names=_startable(sitting))
            report, failed = _measured(sitting, arguments.cases)
    if arguments.json:
        settings = {name: getattr(arguments, name) for name in ("rounds", "seconds", "idle", "requests", "own")}
        written = {"machine": about, "settings": settings, "cases": report}
        arguments.json.write_text(json.dumps(written, indent=2) + "\n")
    return int(failed or sitting.names != names)


def _measured(sitting: Sitting, cases: Sequence[str]) -> tuple[dict[str, object], bool]:
    """Run the cases and print each as soon as it is done; what they came to, and whether one failed."""
    report: dict[str, object] = {}
    failed = False
    for name in cases if sitting.names else ():
        try:
            case = CASES[name](sitting)
        except (LoadFailed, NotStarted, OSError) as error:
            print(f"\n{name} could not be measured: {error}", file=sys.stderr)
            failed = True
            continue
        if case.rows:
            if sys.stderr.isatty():
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            print(table.text(case) + "\n", flush=True)
            report[name] = table.plain(case)
            failed = failed or case.errors > 0
    return report, failed


def _installed(asked: Sequence[str], *, own: bool) -> list[str]:
    """The proxies that are installed here; says of what is missing how to get it."""
    wanted = dict.fromkeys(asked if own else [*asked, "nginx", "wrk"])
    missing = [name for name in wanted if name in PACKAGES and where(name) is None]
    for name in missing:
        how = f"{name} is not installed (Debian, Ubuntu: apt-get install {PACKAGES[name]})"
        print(how + _INSTEAD.get(name, ""), file=sys.stderr)
    return [name for name in asked if name not in missing]


def _startable(sitting: Sitting) -> list[str]:
    """The proxies that start and answer; says of the others why not, once and not in each case."""
    good = []
    for name in sitting.names:
        try:
            with running(PROXIES[name](sitting.place), sitting.core):
                good.append(name)
        except NotStarted as error:
            print(f"{error}\n", file=sys.stderr)
    return good


def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """For argparse: some of these names, separated by commas; they come back in the order of `known`."""

    def names(text: str) -> list[str]:
        asked = text.split(",")
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, not {','.join(unknown)!r}")
        return [name for name in known if name in asked]

    return names


def at_least(least: int) -> Callable[[str], int]:
    """For argparse: a whole number."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least}, not {text!r}")
        return int(text)

    return number


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    most = machine.most_connections() // 2 - 100  # the case opens them twice, and some are for other things
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="turns of 1 s, 200,000 requests for memory: about 2 minutes")
    add("--only", type=some_of(list(PROXIES)), default=list(PROXIES), metavar="NAMES", help=",".join(PROXIES))
    add("--cases", type=some_of(list(CASES)), default=list(CASES), metavar="NAMES", help=",".join(CASES))
    add("--json", type=Path, metavar="FILE", help="write all figures, with each round's, to a file")
    add("--python", default=sys.executable, metavar="PATH", help="runs the balancer and the floor")
    add("--own", action="store_true", help="our own load maker and server, as without wrk and nginx")
    add("--rounds", type=at_least(1), default=5, metavar="N", help="turns each proxy has (5)")
    add("--seconds", type=at_least(1), metavar="N", help="length of a turn (3; 1 with --quick)")
    add("--idle", type=at_least(1), default=2000, metavar="N", help="idle connections (2000)")
    add("--requests", type=at_least(10), metavar="N", help="for the memory case (1,000,000)")
    arguments = parser.parse_args(given)
    arguments.seconds = arguments.seconds or (1 if arguments.quick else 3)
    arguments.requests = arguments.requests or (200_000 if arguments.quick else 1_000_000)
    if arguments.idle > most:
        parser.error(f"--idle may be {most} at most with this limit of open files (ulimit -Hn)")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
