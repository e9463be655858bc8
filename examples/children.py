"""Child processes of a demonstration: started with a log each, stopped in order, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GRACE = 15.0
"""Seconds that a child gets to finish after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running program and where its output goes."""

    name: str
    process: Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def fate(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode
        if code is None:
            return "is running"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


class Children:
    """Starts Python modules as children and answers for their end.

    Each is in a session of its own, so that Ctrl-C reaches only the parent, who then stops them in order.
    Should the parent be killed outright, a guard process sees its pipe close and stops them instead.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[Child] = []
        self._guard: Process | None = None

    async def start(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Child:
        """Run `python -m` with these arguments; what it prints goes to a log of its name, begun anew."""
        if self._guard is None:
            self._guard = await _python("examples.guard", stdin=PIPE)
        log = self._logs / f"{name}.log"
        with log.open("wb") as out:
            process = await _python(*arguments, out=out.fileno(), environment=environment)
        child = Child(name, process, log)
        self._running.append(child)
        self._tell(f"+{child.pid}")
        return child

    def ended(self, child: Child) -> None:
        """Must be called when a child has ended by itself: its pid may soon be somebody else's."""
        self._running.remove(child)
        self._tell(f"-{child.pid}")

    async def stop(self, child: Child) -> None:
        """SIGTERM, and SIGKILL to one that does not go."""
        if child.running:
            child.process.terminate()
            try:
                async with asyncio.timeout(GRACE):
                    await child.process.wait()
            except TimeoutError:
                child.process.kill()
                await child.process.wait()
        self.ended(child)

    async def stop_all(self) -> None:
        """The latest first: traffic before the balancer, the balancer before its servers."""
        while self._running:
            await self.stop(self._running[-1])
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await self._guard.wait()

    def _tell(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{line}\n".encode())


async def _python(
    *arguments: str,
    stdin: int = DEVNULL,
    out: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdin=stdin,
        stdout=out,
        stderr=out,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        start_new_session=True,
    )


def free_port(wanted: int) -> int:
    """The wanted port of 127.0.0.1 if nobody listens there, else one that the system chooses."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            # As servers do: a port that only remembers old connections is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port of 127.0.0.1 is free")
