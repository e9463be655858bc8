"""The SQLite file that all copies of the site share, kept off the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from examples.community.schema import STATEMENTS, VERSION
from examples.community.seed import sow

T = TypeVar("T")

BUSY = 10.0
"""How long a connection waits for another process's write, in seconds; a write takes about a millisecond."""
READERS = 3


class WrongVersion(Exception):
    """The file was made by another version of this program."""


class Database:
    """The shared file as one process sees it: reads on a few threads, writes on one.

    A single writing thread keeps a process from waiting on itself, which SQLite would do by sleeping. Between
    processes the file's own lock decides, and whoever finds it taken waits up to `BUSY` seconds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []  # each used by one thread, until close()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` returns; it must not change anything."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: query(self._connection()))

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """What `change` returns, once everything it did is in the file; if it raises, nothing is."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, lambda: self._commit(change))

    def close(self) -> None:
        """Finish what is under way, then let go of the file."""
        self._readers.shutdown()
        self._writer.shutdown()
        while self._connections:
            self._connections.pop().close()

    def _commit(self, change: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection()
        with transaction(connection):
            return change(connection)

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = connect(self._path)
            self._connections.append(found)
        return found


def connect(path: Path) -> sqlite3.Connection:
    """A connection that begins no transaction by itself."""
    # close() comes from the main thread after the owner has ended, hence check_same_thread.
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")  # with WAL, a power cut loses the last commits only
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. IMMEDIATE takes the lock first: a read that turns into a write can't wait for it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def prepare(path: Path) -> bool:
    """Make the file ready for use; True when it was this call that filled it.

    Any number of processes may do so at once: the first to take the lock creates and fills the tables in one
    transaction, the others wait for it and find them. Raises WrongVersion.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(connect(path)) as connection:
        _use_wal(connection)
        with transaction(connection):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == VERSION:
                return False
            if version != 0:
                raise WrongVersion(f"expected version {VERSION}, found {version}; delete it to start anew")
            for statement in STATEMENTS:
                connection.execute(statement)
            sow(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            return True


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, in which readers and the writer do not wait for each other.

    The switch needs the whole file for a moment and does not honour the busy timeout when two processes
    attempt it together (one of them is told at once that the file is locked), hence the loop.
    """
    deadline = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
