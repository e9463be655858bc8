"""The event store in a file of SQLite, as an `Engine`: one thread writes, another one reads."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time as wall_time  # noqa: TID251  # when something is too old is a question of the wall clock
from typing import Final, TypeVar

from balancer.analytics.calendar import Calendar, month_of
from balancer.analytics.engine import Page, StoreError, StoreFigures
from balancer.analytics.event import Event
from balancer.analytics.source import Asked, Row, SourceAway
from balancer.analytics.sqlite_store.rows import rows
from balancer.analytics.sqlite_store.schema import MIGRATIONS, QUARTER
from balancer.analytics.sqlite_store.writing import Writer

Result = TypeVar("Result")
BUSY: Final = 2.0
"""Seconds that are waited for another process that has the file."""
_MAGIC: Final = b"SQLite format 3\0"
PRUNED_AT_ONCE: Final = 20_000
"""Events: nothing is written meanwhile."""


class SqliteStore:
    """One file, written by one process. Others may read it."""

    def __init__(self, path: Path, zone: str, keep: float, keep_summaries: float, max_size: int) -> None:
        """`keep` and `keep_summaries` in seconds."""
        self._max_size = max_size
        self._path = path
        self._zone = zone
        self._keep = round(keep * 1000)
        self._keep_summaries = round(keep_summaries * 1000)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="analytics-write")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="analytics-read")
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        self._unclean: int | None = None
        self._failure = f"{path.name} is being opened"
        self._token = secrets.token_hex(8)
        self._file = 0, 0
        self.zone = zone
        """In whose days users are counted: that of the file, once it is open."""

    async def open(self) -> None:
        """Raises StoreError."""
        try:
            await self._in(self._writing, self._open)
        except StoreError as error:
            self._failure = str(error)
            raise

    async def write(self, run: str, batches: Sequence[tuple[int, Sequence[Event]]]) -> None:
        """Store batches, each once: `run` is who numbers them. Raises StoreError."""

        def work() -> None:
            if self._is_another():  # it was moved away or removed: what is written would be nowhere
                self._shut()
            if self._connection is None:
                self._open()
            connection, writer = self._connection, self._writer
            assert connection is not None
            assert writer is not None
            try:
                if _size(connection) > self._max_size:
                    raise StoreError(f"{self._path.name} has reached analytics.max_size: raise it, or keep less")
                with _transaction(connection):
                    last = _last_batch(connection, run)
                    events = [one for number, batch in batches if number > last for one in batch]
                    if not events:
                        return
                    stored = writer.write(events)
                    _keep_meta(connection, "batch", json.dumps([run, batches[-1][0]]))
                    _add_meta(connection, "events", stored)
            except sqlite3.DatabaseError as error:
                writer.forget_ids()
                self._see_to(error)
                raise
            except BaseException:
                writer.forget_ids()
                raise

        await self._in(self._writing, work)

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        """Raises SourceError."""
        try:
            return await self._read(lambda connection: rows(connection, query, asked, self.zone))
        except StoreError as error:
            raise SourceAway(str(error)) from None

    async def page(self, after: int, since: int, until: int, count: int) -> Page:
        def work(connection: sqlite3.Connection) -> Page:
            found = connection.execute(
                """SELECT e.id, at, n.text, user, visitor, status, duration, size, dims
                   FROM event e JOIN name n ON n.id = e.name WHERE e.id > ? AND at >= ? AND at < ?
                   ORDER BY e.id LIMIT ?""",
                (after, since, until, count + 1),
            ).fetchall()
            events = [
                Event(at, name, user, visitor, status, duration, size, json.loads(dims) if dims else {})
                for _, at, name, user, visitor, status, duration, size, dims in found[:count]
            ]
            return Page(events, found[len(events) - 1][0] if events else after, len(found) > count)

        return await self._read(work)

    async def forget(self, user: int) -> int:
        def work() -> int:
            connection = self._connection
            assert connection is not None
            gone = 0
            with _transaction(connection):
                for table, column in (
                    ("event", "user"),
                    ("did_day", "user"),
                    ("did_month", "user"),
                    ("wrote_day", "user"),
                    ("wrote_month", "user"),
                    ("user", "key"),
                ):
                    found = connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (user,)).rowcount
                    if table == "event":
                        _add_meta(connection, "events", -found)
                    gone += found
                for table, column in (
                    ("post", "author"),
                    ("report", "reporter"),
                    ("report", "target_user"),
                    ("report", "resolver"),
                    ("action", "moderator"),
                ):
                    changed = f"UPDATE {table} SET {column} = NULL WHERE {column} = ?"
                    gone += connection.execute(changed, (user,)).rowcount
                shown = f"%{user & (1 << 64) - 1:016x}%"  # where somebody else's event names them
                gone += connection.execute("UPDATE event SET dims = NULL WHERE dims LIKE ?", (shown,)).rowcount
            return gone

        return await self._in(self._writing, work)

    async def prune(self, now: int) -> int:
        """Bit by bit, so that batches come in between."""
        gone = 0
        while some := await self._in(self._writing, lambda: self._prune_events(now - self._keep)):
            gone += some
        await self._in(self._writing, lambda: self._prune_sums(now - self._keep_summaries))
        return gone

    async def figures(self) -> StoreFigures:
        def work(connection: sqlite3.Connection) -> StoreFigures:
            ends = connection.execute(
                """SELECT at FROM event
                   WHERE id IN ((SELECT min(id) FROM event), (SELECT max(id) FROM event)) ORDER BY id"""
            ).fetchall()
            size = sum(path.stat().st_size for path in (self._path, _wal(self._path)) if path.exists())
            return StoreFigures(
                int(str(_meta(connection, "events") or 0)),
                size,
                ends[0][0] if ends else None,
                ends[-1][0] if ends else None,
                self._unclean,
            )

        return await self._read(work)

    async def close(self, *, clean: bool) -> None:
        def work() -> None:
            connection = self._connection
            try:
                if connection is not None and clean:
                    with _transaction(connection):
                        if _meta(connection, "opened") == self._token:  # else another process has it by now
                            _keep_meta(connection, "closed", 1)
            finally:
                self._shut()

        try:
            await self._in(self._writing, work)
        finally:
            self._writing.shutdown(wait=False)
            self._reading.shutdown(wait=False)

    # In the threads.

    def _open(self) -> None:
        self._shut()
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            self._see_to(error)
            raise

    def _shut(self) -> None:
        connection, self._connection = self._connection, None
        reader, self._reader = self._reader, None
        self._writer = None
        if reader is not None:
            reader.interrupt()
            with suppress(TimeoutError):  # the last connection that is closed clears the journal away: let it be ours
                self._reading.submit(reader.close).result(1.0)
        if connection is not None:
            connection.close()

    def _is_another(self) -> bool:
        """Whether what is at the path is not the file that is open."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        return (found.st_dev, found.st_ino) != self._file

    def _see_to(self, error: sqlite3.DatabaseError) -> None:
        """A store that is broken is set aside, so that the next attempt makes a new one; a file that is none is not
        ours to move.
        """
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return
        self._shut()
        with self._path.open("rb") as file:
            ours = file.read(len(_MAGIC)) == _MAGIC
        if not ours:
            return
        bad = self._path.with_name(f"{self._path.name}.bad")
        for side in ("-wal", "-shm", ""):
            old = self._path.with_name(self._path.name + side)
            if old.exists():
                old.replace(self._path.with_name(f"{bad.name}{side}"))
        raise StoreError(f"{self._path.name}: {error}; it is moved to {bad.name}, and a new one begun") from error

    def _connect(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=BUSY, check_same_thread=False)
        try:
            self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")  # a power cut takes no more than a kill does
            connection.execute("PRAGMA cache_size=-65536")
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.execute("PRAGMA secure_delete=ON")  # who is forgotten is not in free pages of the file either
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise sqlite3.DatabaseError("it was written by a newer version of the balancer")
            for number in range(version, len(MIGRATIONS)):
                connection.executescript(f"BEGIN;\n{MIGRATIONS[number]}\nPRAGMA user_version={number + 1};\nCOMMIT;")
            self._begin(connection)
        except BaseException:
            connection.close()
            raise
        found = self._path.stat()
        self._file = found.st_dev, found.st_ino
        self._connection = connection
        self._writer = Writer(connection, Calendar(self.zone))
        self._reader = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=BUSY, check_same_thread=False)
        self._reader.execute("PRAGMA query_only=ON")
        self._reader.execute("PRAGMA cache_size=-65536")
        self._reader.execute("PRAGMA mmap_size=1073741824")

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Whether the run before said that it was done; and that this one has begun."""
        with _transaction(connection):
            if _meta(connection, "closed") == 0:
                last = connection.execute("SELECT at FROM event ORDER BY id DESC LIMIT 1").fetchone()
                self._unclean = last[0] if last is not None else 0
            _keep_meta(connection, "closed", 0)
            _keep_meta(connection, "opened", self._token)
            zone = _meta(connection, "zone")
            if zone is None:
                _keep_meta(connection, "zone", self._zone)
                _keep_meta(connection, "since", round(wall_time() * 1000))
            else:
                self.zone = str(zone)

    def _prune_events(self, before: int) -> int:
        connection = self._connection
        if connection is None:
            return 0
        with _transaction(connection):
            gone = connection.execute(
                "DELETE FROM event WHERE id IN (SELECT id FROM event ORDER BY id LIMIT ?) AND at < ?",
                (PRUNED_AT_ONCE, before),
            ).rowcount
            _add_meta(connection, "events", -gone)
        return gone

    def _prune_sums(self, before: int) -> None:
        connection = self._connection
        if connection is None:
            return
        day = Calendar(self.zone).day(before)
        with _transaction(connection):
            for table in ("total", "place"):
                connection.execute(f"DELETE FROM {table} WHERE quarter < ?", (before // QUARTER,))
            for table in ("did_day", "wrote_day", "excluded"):
                connection.execute(f"DELETE FROM {table} WHERE day < ?", (day,))
            for table in ("did_month", "wrote_month"):
                connection.execute(f"DELETE FROM {table} WHERE month < ?", (month_of(day),))
            connection.execute("DELETE FROM post WHERE at < ?", (before,))
            connection.execute("DELETE FROM report WHERE at < ? AND resolved_at IS NOT NULL", (before,))
            connection.execute("DELETE FROM action WHERE at < ?", (before,))
            connection.execute("DELETE FROM user WHERE last_at < ?", (before,))

    async def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def done() -> Result:
            reader = self._reader
            if reader is None:
                raise StoreError(self._failure)
            return work(reader)

        return await self._in(self._reading, done)

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        with _told(self._path):
            return await asyncio.get_running_loop().run_in_executor(thread, work)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite and the disk have against it, in a sentence."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise StoreError(f"{path.name}: {reason}") from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What is read in it nobody else changes before it is over: the process of the run before may not have ended."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def _last_batch(connection: sqlite3.Connection, run: str) -> int:
    """The number of the last batch that is stored of a run; 0: none is."""
    kept = _meta(connection, "batch")
    if kept is None:
        return 0
    last_run, last = json.loads(str(kept))
    return int(last) if run == last_run else 0


def _size(connection: sqlite3.Connection) -> int:
    """Bytes in use: what was pruned leaves room in the file."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _meta(connection: sqlite3.Connection, key: str) -> object:
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return found[0] if found is not None else None


def _keep_meta(connection: sqlite3.Connection, key: str, value: object) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _add_meta(connection: sqlite3.Connection, key: str, change: int) -> None:
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value", (key, change)
    )
