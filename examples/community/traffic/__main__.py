"""Sends a little traffic: `python -m examples.community.traffic --url http://127.0.0.1:8080`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
from random import Random
from typing import TextIO

from examples.community.traffic.load import Load
from examples.community.traffic.meter import Meter

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LIVE = 0.5
"""Seconds between two versions of the line on a terminal."""
PLAIN = 5.0
"""Seconds between two lines in a file or a pipe."""


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        return asyncio.run(generate(given))
    except KeyboardInterrupt:  # before generate() took the signal over
        return 0


async def generate(given: argparse.Namespace) -> int:
    """Traffic until it is over or somebody interrupts, which is its normal end; then the summary."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    meter = Meter(loop.time())
    load = Load(given.url, given.rate, given.concurrency, Random(given.seed), meter)
    display = None
    if not given.quiet:
        print(f"about {given.rate:g} requests a second to {given.url}", flush=True)
        display = loop.create_task(show(meter, sys.stdout))
    try:
        if given.requests:
            await load.script(stop, given.requests)
        else:
            await load.run(stop, given.duration)
    finally:
        if display is not None:
            display.cancel()
            if sys.stdout.isatty():
                print()
    print("\n".join(meter.summary(loop.time())))
    return 0


async def show(meter: Meter, out: TextIO) -> None:
    """Keep one line up to date on a terminal; elsewhere write one now and then."""
    loop = asyncio.get_running_loop()
    live = out.isatty()
    while True:
        await asyncio.sleep(LIVE if live else PLAIN)
        line = meter.line(loop.time())
        if live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:width]}\x1b[K", end="", file=out, flush=True)
        else:
            print(line, file=out, flush=True)


def seconds(text: str) -> float:
    """30s, 2m, 500ms; a bare number is seconds, 0 means no end."""
    for unit, factor in UNITS.items():
        if text.endswith(unit) and text[: -len(unit)].replace(".", "", 1).isdecimal():
            return float(text[: -len(unit)]) * factor
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    raise argparse.ArgumentTypeError(f"expected a duration such as 30s, 2m or 0, not {text!r}")


def _positive(text: str) -> float:
    if text.replace(".", "", 1).isdecimal() and float(text) > 0:
        return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!r}")


def _whole(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number above 0, not {text!r}")


def _url(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return text
    raise argparse.ArgumentTypeError(f"expected an address such as http://127.0.0.1:8080, not {text!r}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m examples.community.traffic", description=__doc__)
    add = parser.add_argument
    add("--url", type=_url, default="http://127.0.0.1:8080", help="where the site is (%(default)s)")
    add("--rate", type=_positive, default=20.0, help="requests a second, on average (%(default)s)")
    add("--duration", type=seconds, default=0.0, help="such as 30s; 0: until interrupted (%(default)s)")
    add("--requests", type=_whole, default=0, help="so many, one after the other, as fast as they are answered")
    add("--concurrency", type=_whole, default=32, help="requests under way at most (%(default)s)")
    add("--seed", type=int, default=None, help="for the same choices again")
    add("--quiet", action="store_true", help="only the summary")
    return parser


if __name__ == "__main__":
    sys.exit(main())
