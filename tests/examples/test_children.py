"""Children end with their parent, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.children import Children, free_port
from tests.tree import ROOT

PARENT = """
import asyncio, sys
from pathlib import Path
from examples.children import Children

async def main():
    children = Children(Path(sys.argv[1]))
    await children.start("site", *sys.argv[2:])
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def serve(path: Path) -> tuple[str, ...]:
    return ("examples.community", "--port", "0", "--database", str(path / "one.db"))


def until(fact: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def said(log: Path) -> str:
    """What is in a log, once its first line is."""
    until(lambda: log.is_file() and log.read_text().endswith("\n"))
    return log.read_text()


def answers(said: str) -> bool:
    """Whether somebody still listens where a copy said it does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(said.strip().rpartition(":")[2]))) == 0


@pytest.mark.slow
async def test_children_are_stopped_in_order_and_their_output_is_kept(tmp_path):
    children = Children(tmp_path)
    child = await children.start("app-1", *serve(tmp_path))
    assert (await asyncio.to_thread(said, child.log)).startswith("app-1: http://127.0.0.1:")
    assert child.running
    await children.stop_all()
    assert child.fate() == "ended with status 0"
    assert "http://127.0.0.1" in child.tail()


@pytest.mark.slow
async def test_a_child_that_was_killed_is_said_to_be(tmp_path):
    children = Children(tmp_path)
    child = await children.start("app-1", *serve(tmp_path))
    await asyncio.to_thread(said, child.log)
    os.kill(child.pid, signal.SIGKILL)
    await child.process.wait()
    children.ended(child)
    assert child.fate() == "was killed by SIGKILL"
    await children.stop_all()


@pytest.mark.slow
def test_a_parent_that_is_killed_takes_its_children_along(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), *serve(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        place = said(tmp_path / "site.log")
        assert answers(place)
        parent.kill()
    until(lambda: not answers(place))


def test_a_taken_port_is_replaced():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port
