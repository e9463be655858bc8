"""The process that holds the event store: `python -m balancer.analytics.worker FD`, started by the balancer alone.

It has nothing else to do, so nothing that a disk or a database needs ever holds up a request. It goes when the balancer
goes: what it has been given is stored before that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from time import time as wall_time  # noqa: TID251  # what is too old is a question of the wall clock
from typing import Final

from balancer.analytics.engine import Engine, StoreError
from balancer.analytics.event import Event
from balancer.analytics.frames import Answer, Ask, Done, Failed, Open, Opened, Refused, Write, Written, packed, read

NICE: Final = 5
TOGETHER: Final = 5000
"""Events of one transaction, roughly."""
GATHERED: Final = 0.2
"""Seconds between two transactions: many small ones cost more, and each waits for the disk."""
AGAIN: Final = 1.0
"""Seconds after which a store that has failed is tried again."""
PRUNED: Final = 3600.0
"""Seconds between two looks at what is too old."""


class Worker:
    """One store at the other end of a pair of sockets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._asked: set[asyncio.Task[None]] = set()
        self._writes: asyncio.Queue[Write | None] = asyncio.Queue()
        self._given_up = False
        """Some of what was given is not stored."""

    async def run(self) -> None:
        """Until the other end has gone."""
        first = await read(self._reader)
        assert isinstance(first, Open)
        engine = make_engine(first)
        opening = asyncio.get_running_loop().create_task(self._serve(engine, first))
        opening.add_done_callback(
            lambda done: self._writer.close()
        )  # should it fail, this process ends, and is seen to
        done = False
        try:
            while not done:
                message = await read(self._reader)
                if isinstance(message, Done):
                    done = True
                elif isinstance(message, Write):
                    self._writes.put_nowait(message)
                elif isinstance(message, Ask):
                    task = asyncio.get_running_loop().create_task(self._answer(engine, message))
                    self._asked.add(task)
                    task.add_done_callback(self._asked.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the balancer has gone, or is done with this store
        self._writes.put_nowait(None)
        await opening
        with suppress(StoreError):
            await engine.close(clean=done and not self._given_up)

    async def _serve(self, engine: Engine, first: Open) -> None:
        """Open the store, for as long as that takes, and then write what comes."""
        while True:
            try:
                await engine.open()
                opened = await engine.figures()
                break
            except StoreError as error:
                self._say(Failed(0, str(error)))
                if self._is_over():
                    self._given_up = True
                    return
                await asyncio.sleep(AGAIN)
        self._say(Opened(engine.zone, opened.unclean))
        pruning = asyncio.get_running_loop().create_task(_prune(engine))
        due = monotonic()
        while together := await self._gathered(due):
            await self._write(engine, first.run, together)
            due = monotonic() + GATHERED
        pruning.cancel()

    async def _gathered(self, due: float) -> list[Write]:
        """What comes up to a moment, or is there already, for one transaction. Empty: nothing will come."""
        together: list[Write] = []
        size = 0
        while size < TOGETHER:
            try:
                async with asyncio.timeout(max(0.0, due - monotonic()) if together and self._writes.empty() else None):
                    message = await self._writes.get()
            except TimeoutError:
                break
            if message is None:
                self._writes.put_nowait(None)  # for the next time
                break
            together.append(message)
            size += len(message.events)
        return together

    async def _write(self, engine: Engine, run: str, messages: Sequence[Write]) -> None:
        """One transaction for what has come meanwhile."""
        batches = [(one.batch, [Event._make(event) for event in one.events]) for one in messages]
        while True:
            begun = monotonic()
            try:
                await engine.write(run, batches)
            except StoreError as error:
                self._say(Failed(messages[0].batch, str(error)))
                if self._is_over():
                    self._given_up = True
                    return
                await asyncio.sleep(AGAIN)
            except Exception as error:  # no store's fault: it is of these events, and would be of them again
                if len(messages) == 1:
                    self._given_up = True
                    self._say(Refused(messages[0].batch, f"{type(error).__name__}: {error}"))
                    return
                for one in messages:
                    await self._write(engine, run, (one,))
                return
            else:
                share = (monotonic() - begun) / len(messages)
                for one in messages:
                    self._say(Written(one.batch, share))
                return

    def _is_over(self) -> bool:
        """Whether nobody would learn of it any more."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def _answer(self, engine: Engine, asked: Ask) -> None:
        try:
            result = await getattr(engine, asked.method)(*asked.arguments)
        except Exception as error:  # whatever it is, whoever asked is told and decides
            self._say(Answer(asked.number, None, _plain(error)))
        else:
            self._say(Answer(asked.number, result))

    def _say(self, message: object) -> None:
        if not self._writer.is_closing():
            self._writer.write(packed(message))


def make_engine(opened: Open) -> Engine:
    """What keeps the events, by its URL or path."""
    if opened.store.startswith(("postgresql://", "postgres://")):
        from balancer.analytics.postgres_store.store import PostgresStore  # each has imports of its own

        return PostgresStore(opened.store, opened.zone, opened.keep_summaries)
    from balancer.analytics.sqlite_store.store import SqliteStore

    return SqliteStore(Path(opened.store), opened.zone, opened.keep, opened.keep_summaries, opened.max_size)


async def _prune(engine: Engine) -> None:
    while True:
        with suppress(StoreError):  # the next write tells of it
            await engine.prune(round(wall_time() * 1000))
        await asyncio.sleep(PRUNED)


def _plain(error: Exception) -> BaseException:
    """One that both ends know."""
    known = type(error).__module__.startswith("balancer.")
    return type(error)(*error.args) if known else StoreError(f"{type(error).__name__}: {error}")


async def main(descriptor: int) -> None:
    """Serve the socket of this descriptor."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))
    await Worker(reader, writer).run()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # meant for the balancer, which tells when it is over
    with suppress(OSError):
        os.nice(NICE)
    asyncio.run(main(int(sys.argv[1])))
