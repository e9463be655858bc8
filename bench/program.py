"""Programs that are started for a measurement, and stopped after it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom

from bench import usage
from bench.request import LARGE, LARGE_SIZE, SMALL, SMALL_BODY, ask

_RNG = SystemRandom()
_ROOT = Path(__file__).parent.parent
_PATIENCE = 20.0  # seconds to the first good answers; the balancer checks its server before using it
# These would change what is measured behind its configuration's back.
_UNWANTED = ("LOAD_BALANCER_SERVERS", "REDIS_URL", "DATABASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")


class NotStarted(Exception):
    """A program ended or never gave the expected answer; the text says which and quotes its last words."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a program is started and where it will listen."""

    name: str
    command: tuple[str, ...]
    port: int
    folder: Path
    """Its working directory, where its configuration is."""
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    """Its access log, if it writes one."""


class Program:
    """A running program; its figures include its children's."""

    def __init__(self, recipe: Recipe, process: subprocess.Popen[bytes]) -> None:
        self.name = recipe.name
        self.port = recipe.port
        self.log = recipe.log
        self.pid = process.pid
        self._process = process

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        return usage.cpu(self._process.pid)

    def resident(self) -> int:
        """Bytes of memory held."""
        return usage.resident(self._process.pid)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None


_given: set[int] = set()


def free_port() -> int:
    """A port that nothing listens on now, and that no outgoing connection will have before something does.

    Those that the system chooses are also what it gives connections, of which a benchmark makes thousands: they come
    from 32768 upwards. Tests that run side by side choose from ranges of their own, as a port that is free now may be
    another's before somebody listens there; and none is given twice.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    ports = range(20000 + int(worker[2:]) % 8 * 1596, 32768)[:1596] if worker else range(20000, 32768)
    if len(_given) > len(ports) // 2:
        _given.clear()
    for _ in range(100):
        port = _RNG.choice(ports)
        if port in _given:
            continue
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _given.add(port)
            return port
    raise OSError("no port from 20000 to 32767 is free")


@contextmanager
def running(recipe: Recipe, core: int) -> Iterator[Program]:
    """Start a program on one core; inside the block it answers. Raises NotStarted."""
    words = recipe.folder / "output.txt"
    environment = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    environment |= {"PYTHONPATH": str(_ROOT), **recipe.environment}
    with usage.on_core(core), words.open("wb") as output:
        process = subprocess.Popen(
            recipe.command,
            cwd=recipe.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        program = Program(recipe, process)
        _await_answer(program, words)
        yield program
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(program: Program, words: Path) -> None:
    """Return once both answers come through whole."""
    deadline = time.monotonic() + _PATIENCE
    problem = "no answer"
    while time.monotonic() < deadline and not program.ended:
        try:
            with socket.create_connection(("127.0.0.1", program.port), 10) as connection:
                small = ask(connection, program.port, SMALL)
                status, large = ask(connection, program.port, LARGE)
            if small == (200, SMALL_BODY) and (status, len(large)) == (200, LARGE_SIZE):
                return
            problem = f"the last: {small[0]} with {small[1][:60]!r}, {status} with {len(large)} bytes"
        except (OSError, ValueError) as error:
            problem = str(error)
        time.sleep(0.05)
    what = "ended at once" if program.ended else f"gave no right answers in {_PATIENCE:g} s ({problem})"
    said = words.read_text(errors="replace").strip().splitlines()[-6:]
    raise NotStarted("\n  ".join([f"{program.name} {what}; it said:", *(said or ["nothing"])]))
