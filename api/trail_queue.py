"""Lines of the audit trail on their way into a file."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

import structlog

from api.trail_file import TrailFile

WAITING: Final = 1000
"""Lines that wait for the disk; none of them is about a change that is not made yet."""

log = structlog.get_logger("balancer.api")


class TrailQueue:
    """One file, and what waits for it. Whether the disk takes it is counted, and said once."""

    def __init__(self, file: TrailFile, counts: Counter[str], failure: str) -> None:
        """`failure` is what to tell the log when the file can not be written."""
        self.file = file
        self.failing: str | None = None
        """Why the file can not be written; None while it can."""
        self._counts = counts
        self._failure = failure
        self._waiting: deque[bytes] = deque()
        self._writing = asyncio.Lock()
        self._reopen = False

    def wait(self, line: bytes) -> None:
        """Have it written with the next ones."""
        if len(self._waiting) >= WAITING:
            self._counts["failed"] += 1
        else:
            self._waiting.append(line)

    async def write(self, line: bytes, *, lasting: bool) -> None:
        """Write what waits, and then `line`. OSError: what waited still does, and `line` is not written.

        It goes on to its end when whoever waits is cancelled: so does the thread, and what it wrote has to be known.
        """
        await asyncio.shield(self._write(line, lasting))

    async def _write(self, line: bytes, lasting: bool) -> None:
        async with self._writing:
            waiting = list(self._waiting)
            if not waiting and not line:
                return
            try:
                await asyncio.to_thread(self._append, b"".join((*waiting, line)), lasting)
            except OSError as error:
                self._complain(error.strerror or str(error))
                raise
            for _ in waiting:
                self._waiting.popleft()
            self._counts["written"] += len(waiting) + bool(line)
        if self.failing is not None:
            self.failing = None
            log.info("the audit trail is written again", file=str(self.file.path))

    async def flush(self) -> None:
        """Write what waits; it never raises."""
        if self._waiting:
            try:
                await self.write(b"", lasting=False)
            except OSError:
                pass  # it has been said, and counted

    def reopen(self) -> None:
        """Go on in a new file of the same name; the old one was moved away."""
        self._reopen = True

    async def close(self) -> None:
        await self.flush()
        async with self._writing:
            self.file.close()

    def _append(self, lines: bytes, lasting: bool) -> None:
        """In a thread of its own."""
        if self._reopen:
            self._reopen = False
            self.file.close()
        self.file.write(lines, lasting=lasting)

    def _complain(self, why: str) -> None:
        self._counts["failed"] += 1
        if self.failing != why:
            self.failing = why
            log.error(self._failure, file=str(self.file.path), reason=why)
