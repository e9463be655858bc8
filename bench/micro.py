"""What the hot functions cost one by one: `python -m bench.micro`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from timeit import Timer

from bench.figures import Spread, spread
from bench.micro_cases import CASES, Call

_TURN = 0.02  # seconds: long beside the clock's steps, short beside a disturbance
_TURNS = 15


def measured(call: Call) -> Spread:
    """Nanoseconds that one call takes."""
    timer = Timer(call)
    for _ in range(3):
        timer.timeit(1000)  # the interpreter adapts to what it runs, within some calls
    number = max(1, int(1000 * _TURN / timer.timeit(1000)))
    return spread([seconds / number * 1e9 for seconds in timer.repeat(_TURNS, number)])


def main(given: Sequence[str] | None = None) -> int:
    """Measure the cases and print them; with `--before`, beside an earlier run's figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="which cases, such as 'http1:*'; else all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--before", type=Path, metavar="FILE", help="compare with figures written by --json")
    arguments = parser.parse_args(given)
    names = [name for name in CASES if any(fnmatch(name, wanted) for wanted in arguments.patterns or ["*"])]
    if not names:
        parser.error(f"no case is called {' or '.join(arguments.patterns)}; there are:\n  " + "\n  ".join(CASES))
    before: dict[str, float] = json.loads(arguments.before.read_text()) if arguments.before else {}
    best: dict[str, float] = {}
    print(f"{'ns a call':44}{'best':>8}{'median':>8}" + ("  before" if before else ""))
    for name in names:
        figures = measured(CASES[name]())
        best[name] = figures.low
        line = f"{name:44}{figures.low:8.0f}{figures.median:8.0f}"
        if name in before:
            line += f"{before[name]:8.0f}  {figures.low / before[name] - 1:+.0%}"
        print(line, flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(best, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
