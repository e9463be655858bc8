"""The balancer's side of the event store: hands events to its process, asks it, and starts it anew when it dies."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from balancer.analytics.engine import Page, StoreError, StoreFigures
from balancer.analytics.frames import Answer, Ask, Done, Failed, Open, Opened, Refused, Write, Written, packed, read
from balancer.analytics.source import Asked, Row, SourceAway, TimedOut

log = structlog.get_logger("balancer.analytics")

IN_FLIGHT: Final = 64
"""Batches that the process has and has not stored."""
LARGEST: Final = 200
"""Events of a batch: a tenth of a millisecond of packing, after which others have their turn."""
LARGE: Final = 10 * 2**30
ASKED: Final = 32
"""Questions at a time."""
PATIENCE: Final = 20.0
"""Seconds for an answer."""
FAREWELL: Final = 5.0
"""Seconds that a process has to store what it was given, at the end."""
BACK_OFF: Final = (0.2, 1.0, 3.0, 10.0)
"""Seconds before a process that died is started again."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_KEPT: Final = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "TZDIR")
"""What of the environment it is given: no secret is under these names."""


@dataclass
class DeskFigures:
    """How it goes with the store. Counts are since the start."""

    ok: bool | None = None
    """None: it is being opened."""
    reason: str | None = None
    since: float = field(default_factory=monotonic)
    """When `ok` became what it is, monotonic."""
    stored: int = 0
    lost: int = 0
    """Events that the process had when it was ended for good, and those that it could not store ever."""
    batches: int = 0
    seconds: float = 0.0
    """Spent storing."""
    restarts: int = 0
    unclean: int | None = None
    """As `StoreFigures.unclean`."""


class Desk:
    """One store, as one configuration names it. To be made on the loop; `start` begins."""

    def __init__(self, store: str, zone: str, keep: float, keep_summaries: float, max_size: int = LARGE) -> None:
        self.figures = DeskFigures()
        self.zone = zone
        self._run = secrets.token_hex(8)
        self._opening = Open(store, zone, keep, keep_summaries, max_size, self._run)
        self._batch = 0
        self._flying: deque[Write] = deque()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self.opened = asyncio.Event()
        """Once the store has been opened for the first time."""
        self._landed = asyncio.Event()  # once it is closing: all that was sent is stored

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_running())

    @property
    def waiting(self) -> int:
        """Events that the process has been given and has not stored."""
        return sum(len(write.events) for write in self._flying)

    @property
    def has_room(self) -> bool:
        return len(self._flying) < IN_FLIGHT and not self._closing

    def send(self, events: list[tuple[Any, ...]]) -> None:
        """Hand over a batch of at most LARGEST; only while there is room."""
        self._batch += 1
        write = Write(self._batch, events)
        self._flying.append(write)
        if self._writer is not None:
            self._writer.write(packed(write))

    # As a source, and for what else is asked of the engine.

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        """Raises SourceError."""
        found: list[Row] = await self._source("rows", query, asked)
        return found

    async def page(self, after: int, since: int, until: int, count: int) -> Page:
        """Raises StoreError."""
        page: Page = await self.ask("page", after, since, until, count)
        return page

    async def forget(self, user: int) -> int:
        """Raises StoreError."""
        count: int = await self.ask("forget", user)
        return count

    async def store_figures(self) -> StoreFigures:
        """Raises StoreError."""
        figures: StoreFigures = await self.ask("figures")
        return figures

    async def _source(self, method: str, *arguments: object) -> Any:
        try:
            return await self.ask(method, *arguments)
        except StoreError as error:
            raise SourceAway(str(error)) from None
        except TimeoutError:
            raise TimedOut(f"the event store did not answer within {PATIENCE:.0f} s") from None

    async def ask(self, method: str, *arguments: object) -> Any:
        """Raises StoreError, TimeoutError, and what the engine raises."""
        if self._writer is None:
            raise StoreError(self.figures.reason or "the event store is being opened")
        if len(self._asked) >= ASKED:
            raise StoreError("too much is asked of the event store at a time: ask again in a moment")
        self._number += 1
        number = self._number
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._writer.write(packed(Ask(number, method, arguments)))
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        finally:
            self._asked.pop(number, None)

    async def close(self) -> None:
        """Wait a moment for what is on its way, and end the process."""
        self._closing = True
        if self._flying and self.figures.ok is not False:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await self._landed.wait()
        if self._writer is not None:
            self._writer.write(packed(Done()))
            self._writer.close()
        process = self._process
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, FAREWELL)
            except subprocess.TimeoutExpired:
                process.kill()
                await _ended(process)
        if self._flying:
            self.figures.lost += self.waiting
            log.warning("events may not be stored", events=self.waiting, reason=self.figures.reason)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # The process.

    async def _keep_running(self) -> None:
        failures = 0
        while not self._closing:
            begun = monotonic()
            try:
                await self._serve()
                reason = "its process has ended"
            except OSError as error:
                reason = f"its process can not be started: {error.strerror or error}"
            finally:
                gone = self._gone()
                if gone is not None:
                    await _ended(gone)
            if self._closing:
                return
            self._tell(ok=False, reason=reason)
            failures = 0 if monotonic() - begun > 60 else failures + 1
            self.figures.restarts += 1
            await asyncio.sleep(BACK_OFF[min(failures, len(BACK_OFF)) - 1 if failures else 0])

    async def _serve(self) -> None:
        """One process, until it ends."""
        ours, theirs = socket.socketpair()
        try:
            self._process = _started(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._writer.write(packed(self._opening))
        for write in self._flying:  # some of it may be stored already, and is then not stored again
            self._writer.write(packed(write))
        try:
            while True:
                self._hear(await read(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    def _hear(self, message: object) -> None:
        if isinstance(message, Written):
            write = self._flying.popleft()
            assert write.batch == message.batch
            self.figures.stored += len(write.events)
            self.figures.batches += 1
            self.figures.seconds += message.seconds
            self._tell(ok=True, reason=None)
            if self._closing and not self._flying:
                self._landed.set()
        elif isinstance(message, Refused):
            write = self._flying.popleft()
            assert write.batch == message.batch
            self.figures.lost += len(write.events)
            log.error("events can not be stored", events=len(write.events), reason=message.reason)
            if self._closing and not self._flying:
                self._landed.set()
        elif isinstance(message, Failed):
            self._tell(ok=False, reason=message.reason)
        elif isinstance(message, Opened):
            self.zone = message.zone
            self.opened.set()
            if message.unclean is not None and not self.figures.restarts:
                self.figures.unclean = message.unclean
                log.warning("the event store was not closed", detail=_after(message.unclean))
            self._tell(ok=True, reason=None)
        elif isinstance(message, Answer):
            future = self._asked.get(message.number)
            if future is not None and not future.done():
                if message.error is not None:
                    future.set_exception(message.error)
                else:
                    future.set_result(message.result)

    def _gone(self) -> subprocess.Popen[bytes] | None:
        """Let go of the process; itself, when its end is to be waited for."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        process = self._process
        if process is not None and not self._closing:  # else it is given time, by `close`
            self._process = None
            if process.poll() is None:
                process.kill()
        else:
            process = None
        for future in self._asked.values():
            if not future.done():
                future.set_exception(StoreError("the process of the event store has ended"))
        return process

    def _tell(self, *, ok: bool, reason: str | None) -> None:
        figures = self.figures
        if figures.ok == ok:
            figures.reason = reason
            return
        if ok:
            log.info("event store ready", store=_shown(self._opening.store))
        else:
            log.warning("event store failed", reason=reason, events="they wait; too many are dropped")
        figures.ok, figures.reason, figures.since = ok, reason, monotonic()


def _started(theirs: socket.socket) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = str(_ROOT)
    return subprocess.Popen(
        [sys.executable, "-m", "balancer.analytics.worker", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for one that was killed, which takes as long as a disk that it is in the middle of; not for ever."""
    with suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(process.wait, FAREWELL)


def _after(moment: int) -> str:
    if not moment:
        return "it is empty"
    last = datetime.fromtimestamp(moment / 1000, UTC)
    return f"what came after {last:%Y-%m-%d %H:%M:%S} UTC may be missing: at most the last second before the end"


def _shown(store: str) -> str:
    return store.rpartition("@")[2]
