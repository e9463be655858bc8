"""Fuzz one target: with atheris where it is there, which sees what code an input reaches, else with the mutator."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from random import Random
from time import monotonic
from types import FrameType
from typing import Any

try:
    import atheris  # type: ignore[import-untyped]  # it has no types, and need not be there
except ImportError:
    atheris = None

TraceFunction = Callable[[FrameType, str, Any], Any]
NAMES = ("request_head", "response_head", "chunked", "client_stream", "server_stream")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the changes (1)")
    parser.add_argument("--plain", action="store_true", help="use the mutator even if atheris is there")
    parser.add_argument("--keep", action="store_true", help="take over into the corpus what was found")
    parser.add_argument("--work", type=Path, default=Path("var/fuzz"), help="where inputs and failures go (var/fuzz)")
    options = parser.parse_args()
    with_coverage = atheris is not None and not options.plain and not options.keep
    # Only what is imported in here tells atheris where an input has been.
    with atheris.instrument_imports(include=["balancer.http1", "balancer.proxy"]) if with_coverage else nullcontext():
        from tests.fuzz.targets import TARGETS
    if with_coverage:
        _with_atheris(options, TARGETS[options.target])
        return 0
    if options.keep:
        return _keep(options, TARGETS[options.target])
    return _with_mutator(options, TARGETS[options.target])


def _with_mutator(options: argparse.Namespace, target: Callable[[bytes], None]) -> int:
    from tests.differential.mutator import mutate
    from tests.fuzz.seeds import seeds

    corpus = seeds(options.target)
    rng = Random(options.seed)
    until = monotonic() + options.seconds
    cases = 0
    while monotonic() < until:
        data = mutate(rng.choice(corpus), corpus, rng)
        for _ in range(rng.randrange(4)):
            data = mutate(data, corpus, rng)
        cases += 1
        try:
            target(data)
        except Exception:
            options.work.mkdir(parents=True, exist_ok=True)
            failure = options.work / f"failure-{options.target}-{options.seed}-{cases}"
            failure.write_bytes(data)
            print(f"case {cases} fails: {failure}", file=sys.stderr)
            raise
    print(f"{cases} inputs, none fails")
    return 0


def _with_atheris(options: argparse.Namespace, target: Callable[[bytes], None]) -> None:
    """Does not return: the fuzzer ends the process."""
    from tests.differential.mutator import INSERTS
    from tests.fuzz.seeds import seeds

    found = options.work / options.target
    found.mkdir(parents=True, exist_ok=True)
    # The fuzzer ends the process without a word to Python, so these stay for the next run to write over.
    begin = options.work / f"{options.target}-seeds"
    shutil.rmtree(begin, ignore_errors=True)
    begin.mkdir()
    for number, data in enumerate(seeds(options.target)):
        (begin / f"{number}.bin").write_bytes(data)
    words = options.work / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in INSERTS))
    arguments = [
        sys.argv[0],
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        "-max_len=2048",
        "-timeout=10",
        "-rss_limit_mb=1024",
        f"-dict={words}",
        f"-artifact_prefix={options.work}/failure-{options.target}-",
        str(found),
        str(begin),
    ]
    atheris.Setup(arguments, target)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _keep(options: argparse.Namespace, target: Callable[[bytes], None]) -> int:
    """Take those inputs over, the shortest first, that take a step in the code which no other one takes."""
    from tests.fuzz.seeds import CORPUS, seeds

    known = set().union(*(_steps(target, data) for data in seeds(options.target)))
    corpus = CORPUS / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    found = [path.read_bytes() for path in (options.work / options.target).iterdir()]
    added = 0
    for data in sorted(found, key=lambda data: (len(data), data)):
        steps = _steps(target, data)
        if not steps <= known:
            known |= steps
            added += 1
            (corpus / f"{sha256(data).hexdigest()[:12]}.bin").write_bytes(data)
    print(f"{added} of {len(found)} inputs added")
    return 0


def _steps(target: Callable[[bytes], None], data: bytes) -> set[tuple[str, int, int]]:
    """From which line to which the parsers and the data path went."""
    steps: set[tuple[str, int, int]] = set()

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        name = frame.f_code.co_filename
        if "/balancer/http1/" not in name and "/balancer/proxy/" not in name:
            return None
        last = frame.f_lineno

        def line(frame: FrameType, event: str, _: object) -> TraceFunction:
            nonlocal last
            steps.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(before)
    return steps


if __name__ == "__main__":
    sys.exit(main())
