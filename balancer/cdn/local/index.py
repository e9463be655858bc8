"""What files there are, for lists, quotas and figures. Nothing is served by it, so it may be lost and made anew."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from balancer.cdn.local.facts import Facts
from balancer.sqlite import Database

Result = TypeVar("Result")
HOUR: Final = 3600
KEPT: Final = 400 * 24 * HOUR
"""Seconds for which traffic is remembered: a year, and the month that is compared with it."""
_COPIES: Final = 100
"""Files with the same content that are looked through for one with the same name."""
_SIDES: Final = ("", "-wal", "-shm")

_MIGRATIONS: Final = (
    """
    CREATE TABLE file (
      path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, content_type TEXT NOT NULL,
      sha256 TEXT NOT NULL, cache_control TEXT NOT NULL, name TEXT NOT NULL, tags TEXT NOT NULL,
      hits INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE total (files INTEGER NOT NULL, bytes INTEGER NOT NULL);
    INSERT INTO total VALUES (0, 0);
    CREATE TRIGGER file_added AFTER INSERT ON file BEGIN
      UPDATE total SET files = files + 1, bytes = bytes + NEW.size;
    END;
    CREATE TRIGGER file_changed AFTER UPDATE OF size ON file BEGIN
      UPDATE total SET bytes = bytes - OLD.size + NEW.size;
    END;
    CREATE TRIGGER file_removed AFTER DELETE ON file BEGIN
      UPDATE total SET files = files - 1, bytes = bytes - OLD.size;
    END;
    CREATE TABLE hour (
      at INTEGER PRIMARY KEY, requests INTEGER NOT NULL, hits INTEGER, bytes_out INTEGER,
      status_4xx INTEGER NOT NULL, status_5xx INTEGER NOT NULL, reads INTEGER NOT NULL, bytes_read INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    "CREATE INDEX file_by_content ON file (sha256);",
    "CREATE TABLE filled (once INTEGER PRIMARY KEY);",
)

_PUT: Final = """
INSERT INTO file (path, size, modified_ns, content_type, sha256, cache_control, name, tags)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET size = excluded.size, modified_ns = excluded.modified_ns,
  content_type = excluded.content_type, sha256 = excluded.sha256, cache_control = excluded.cache_control,
  name = excluded.name, tags = excluded.tags
"""
_ADD_HOUR: Final = """
INSERT INTO hour (at, requests, hits, bytes_out, status_4xx, status_5xx, reads, bytes_read)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (at) DO UPDATE SET requests = requests + excluded.requests, hits = hits + excluded.hits,
  bytes_out = bytes_out + excluded.bytes_out, status_4xx = status_4xx + excluded.status_4xx,
  status_5xx = status_5xx + excluded.status_5xx, reads = reads + excluded.reads,
  bytes_read = bytes_read + excluded.bytes_read
"""


class Lost(Exception):
    """The index can not be asked or told at the moment; says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A file, as it was when it was stored."""

    path: str
    size: int
    modified_ns: int
    facts: Facts
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Sums over some time."""

    requests: int = 0
    """That clients were answered."""
    hits: int | None = 0
    """Of them those that the folder was not asked for; None: not known."""
    bytes_out: int = 0
    """To clients."""
    status_4xx: int = 0
    status_5xx: int = 0
    reads: int = 0
    """Requests that came to the folder."""
    bytes_read: int = 0
    """Of bodies that came from the folder."""


class Index:
    """A database beside the files. Every method may raise Lost.

    One that is broken is set aside as `.bad`, and begun anew: `renewed` then says that it has to be filled.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database = Database(file, _MIGRATIONS, "cdn-index")
        self._opening = asyncio.Lock()
        self._opened = False
        self._closed = False
        self._broken = False
        self.renewed = False
        """Begun anew since this was last set to False (owner: who fills it)."""

    async def open(self) -> None:
        """Done by the first question, too: an index that could not be opened is tried again with each."""
        with _told():
            await self._ready()

    async def close(self) -> None:
        """What was asked for before is done first; whoever asks later is told that it is lost."""
        async with self._opening:
            if not self._closed:
                self._closed, self._opened = True, False
                with _told():
                    await self._database.close()

    async def put(self, rows: Sequence[Row]) -> None:
        values = [
            (
                row.path,
                row.size,
                row.modified_ns,
                row.facts.content_type,
                row.facts.sha256_hex,
                row.facts.cache_control,
                row.facts.name,
                " ".join(row.facts.tags),
            )
            for row in rows
        ]
        await self._do(lambda connection: connection.executemany(_PUT, values))

    async def remove(self, paths: Sequence[str]) -> None:
        values = [(path,) for path in paths]
        await self._do(lambda connection: connection.executemany("DELETE FROM file WHERE path = ?", values))

    async def row(self, path: str) -> Row | None:
        rows = await self._do(
            lambda connection: connection.execute("SELECT * FROM file WHERE path = ?", (path,)).fetchall()
        )
        return _row(rows[0]) if rows else None

    async def of_content(self, sha256_hex: str) -> list[str]:
        """Paths of some files with this content."""
        rows = await self._do(
            lambda connection: connection.execute(
                "SELECT path FROM file WHERE sha256 = ? ORDER BY path LIMIT ?", (sha256_hex, _COPIES)
            ).fetchall()
        )
        return [path for (path,) in rows]

    async def page(self, prefix: str, after: str, limit: int) -> list[Row]:
        """Rows in the order of their paths."""
        end = prefix + "\x7f"  # paths are ASCII without it
        rows = await self._do(
            lambda connection: connection.execute(
                "SELECT * FROM file WHERE path >= ? AND path < ? AND path > ? ORDER BY path LIMIT ?",
                (prefix, end, after, limit),
            ).fetchall()
        )
        return [_row(row) for row in rows]

    async def known(self, paths: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Size and time of those among these that are in it."""
        marks = ",".join("?" * len(paths))
        rows = await self._do(
            lambda connection: connection.execute(
                f"SELECT path, size, modified_ns FROM file WHERE path IN ({marks})", tuple(paths)
            ).fetchall()
        )
        return {path: (size, modified) for path, size, modified in rows}

    async def is_filled(self) -> bool:
        """Whether it once had all that was there: one that is new, or was made anew, has not."""
        return await self._do(lambda connection: connection.execute("SELECT * FROM filled").fetchone() is not None)

    async def fill(self) -> None:
        """Now it has."""
        await self._do(lambda connection: connection.execute("INSERT OR IGNORE INTO filled VALUES (1)"))

    async def totals(self) -> tuple[int, int]:
        """Files, and their bytes."""
        files, size = await self._do(lambda connection: connection.execute("SELECT files, bytes FROM total").fetchone())
        return files, size

    async def count(self, at: int, traffic: Traffic, reads: Mapping[str, int]) -> None:
        """Add what was counted to the hour that begins then (Unix seconds), and to the files."""

        def add(connection: sqlite3.Connection) -> None:
            values = (traffic.requests, traffic.hits, traffic.bytes_out, traffic.status_4xx, traffic.status_5xx)
            connection.execute(_ADD_HOUR, (at, *values, traffic.reads, traffic.bytes_read))
            connection.execute("DELETE FROM hour WHERE at < ?", (at - KEPT,))
            connection.executemany(
                "UPDATE file SET hits = hits + ? WHERE path = ?", [(count, path) for path, count in reads.items()]
            )

        await self._do(add)

    async def hours(self, start: int, end: int) -> list[tuple[int, Traffic]]:
        """By the beginnings of the hours that have any; `end` is not included."""
        rows = await self._do(
            lambda connection: connection.execute(
                "SELECT * FROM hour WHERE at >= ? AND at < ? ORDER BY at", (start, end)
            ).fetchall()
        )
        return [(at, Traffic(*sums)) for at, *sums in rows]

    async def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with _told():
            database = await self._ready()
            try:
                return await database.run(work)
            except (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
                raise  # a full disk, a lock: not the file's fault
            except sqlite3.DatabaseError:
                if database is self._database:
                    self._opened, self._broken = False, True
            return await (await self._ready()).run(work)

    async def _ready(self) -> Database:
        async with self._opening:
            if self._closed:
                raise Lost("it is closed")
            if not self._opened:
                if self._broken:
                    await self._begin_anew()
                try:
                    await self._database.open()
                except sqlite3.OperationalError:
                    raise
                except sqlite3.DatabaseError:
                    await self._begin_anew()
                    await self._database.open()
                self._opened = True
            return self._database

    async def _begin_anew(self) -> None:
        await self._database.close()
        await asyncio.to_thread(self._set_aside)
        self._database = Database(self._file, _MIGRATIONS, "cdn-index")
        self._broken, self.renewed = False, True

    def _set_aside(self) -> None:
        for side in _SIDES:
            old = self._file.with_name(self._file.name + side)
            if old.exists():
                old.replace(self._file.with_name(f"{self._file.name}.bad{side}"))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise Lost(str(error)) from error


def _row(row: Iterable[str | int]) -> Row:
    path, size, modified, mime, sha256, cache, name, tags, hits = row
    facts = Facts(str(mime), str(sha256), str(cache), str(name), tuple(str(tags).split()))
    return Row(str(path), int(size), int(modified), facts, int(hits))
