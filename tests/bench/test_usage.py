"""CPU and memory of processes, measured on real ones that do nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
    pytest.mark.slow,
]

if sys.platform.startswith("linux"):
    from bench import usage

# Works for 0.1 s or holds 40 MB, in a child of its own, then says so and waits for its input to end.
FAMILY = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""
BURN = "import time\nwhile time.process_time() < 0.1: pass\n"
HOLD = "held = b'x' * 40_000_000\n"
REPORT = "import sys; print('ready', flush=True); sys.stdin.read()"


@contextmanager
def family(code: str) -> Iterator[int]:
    """A process whose child runs the code; inside the block it has run, and both are alive."""
    command = [sys.executable, "-c", FAMILY, code + REPORT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def test_the_cpu_of_a_living_child_is_its_parents_too() -> None:
    with family(BURN) as pid:
        assert 0.1 <= usage.cpu(pid) < 2.0


def test_the_memory_of_a_child_is_its_parents_too() -> None:
    with family("") as small, family(HOLD) as large:
        difference = usage.resident(large) - usage.resident(small)
        assert difference == pytest.approx(40_000_000, rel=0.1)


def test_what_is_started_on_a_core_stays_there_and_we_do_not() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with usage.on_core(core):
        told = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert told.stdout.strip() == str({core})
    assert os.sched_getaffinity(0) == before
