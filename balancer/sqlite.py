"""An embedded database behind one thread: nothing of it ever runs on the loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")
BUSY = 2.0
"""Seconds that a statement waits for another process that writes."""


class Database:
    """One file of SQLite in WAL mode. All work is done by one thread, in the order in which it was asked for.

    `run` raises what the work raises: sqlite3.Error for a full disk, a locked or a broken file.
    """

    def __init__(self, path: Path, migrations: Sequence[str], name: str) -> None:
        """`migrations` are scripts, each from one version to the next; the first makes the tables. Never edit one."""
        self._path = path
        self._migrations = migrations
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or make the file, and bring it up to the last version. OSError, sqlite3.Error: it can not be."""
        await self._in_thread(self._open)

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work` in a transaction of its own, which is undone when it raises."""

        def done() -> Result:
            connection = self._connection
            if connection is None:
                raise sqlite3.ProgrammingError(f"{self._path} is not open")
            with connection:
                return work(connection)

        return await self._in_thread(done)

    async def close(self) -> None:
        """What was asked for before is done first."""
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=BUSY, check_same_thread=False)
        try:
            self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(self._migrations):
                raise sqlite3.DatabaseError(f"{self._path} was written by a newer version of the balancer")
            for number in range(version, len(self._migrations)):
                connection.executescript(
                    f"BEGIN;\n{self._migrations[number]}\nPRAGMA user_version={number + 1};\nCOMMIT;"
                )
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
