"""The tickets on disk: what was ordered outlives the process, and so does how far it has come."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from balancer.cdn.errors import Conflict
from balancer.cdn.purging.sending import Sending
from balancer.cdn.purging.ticket import Ticket
from balancer.sqlite import Database

log = structlog.get_logger("balancer.cdn")
KEPT: Final = 7 * 86400.0
"""Seconds that a ticket which is done can be looked up."""
KEYS_KEPT: Final = 86400.0
"""Seconds for which an idempotency key stands for its ticket."""
MOST: Final = 10_000
"""Tickets, done or not, and idempotency keys."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all tickets together."""
TIDY: Final = 50
"""Tickets between two looks at what has become too old or too much."""

_MIGRATIONS: Final = (
    """
    CREATE TABLE ticket (id TEXT PRIMARY KEY, created REAL NOT NULL, done INTEGER NOT NULL, body BLOB NOT NULL)
    WITHOUT ROWID;
    CREATE INDEX ticket_open ON ticket (done, created);
    CREATE TABLE sending (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE idempotency (key TEXT PRIMARY KEY, digest BLOB NOT NULL, ticket TEXT NOT NULL, until REAL NOT NULL)
    WITHOUT ROWID;
    """,
)
_UNUSABLE: Final = ("file is not a database", "malformed", "newer version")
Result = TypeVar("Result")


class Unfinished(NamedTuple):
    """What a process that has ended left to do."""

    tickets: list[Ticket]
    sendings: list[Sending]


class JournalFailed(Exception):
    """The disk does not keep it; the text says why."""


_TICKET: Final = TypeAdapter(Ticket)
_SENDING: Final = TypeAdapter(Sending)


class Journal:
    """Tickets and calls in one file of SQLite. What is returned from has been written."""

    def __init__(self, path: Path, wall: Callable[[], float], most: int = MOST) -> None:
        self.failure: str | None = "it is not open"
        """Why the last attempt to write or read did not succeed."""
        self._path = path
        self._wall = wall
        self._database = Database(path, _MIGRATIONS, "cdn-journal")
        self._most = most
        self._added = 0
        self._opening = asyncio.Lock()
        self._is_open = self._is_closed = False

    async def open(self) -> None:
        """Never raises: what can not be opened fails later, one ticket at a time, until it can. A file that is none is
        set aside."""
        async with self._opening:
            if not self._is_open:
                await self._open()

    async def _open(self) -> None:
        try:
            try:
                await self._database.open()
            except sqlite3.DatabaseError as error:
                if not any(sign in str(error) for sign in _UNUSABLE):
                    raise
                bad = self._path.with_name(f"{self._path.name}.bad")
                log.error("cdn_journal_set_aside", moved_to=str(bad), reason=str(error))
                self._path.replace(bad)
                for beside in ("-wal", "-shm"):
                    self._path.with_name(f"{self._path.name}{beside}").unlink(missing_ok=True)
                await self._database.open()
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        else:
            self._is_open = True
            self.failure = None

    async def close(self) -> None:
        """What was asked for before is written first."""
        self._is_open, self._is_closed = False, True
        await self._database.close()

    async def add(self, ticket: Ticket, key: str = "", digest: bytes = b"") -> Ticket:
        """Keep a new ticket; with a key that came before, give the ticket that it came with in the place of this one.

        Conflict: it came with another order. JournalFailed: it is not kept.
        """
        now = self._wall()
        self._added += 1
        tidy = self._added % TIDY == 1

        def work(connection: sqlite3.Connection) -> Ticket:
            if key:
                earlier = _of_key(connection, key, digest, now)
                if earlier is not None:
                    return earlier
                connection.execute(
                    "REPLACE INTO idempotency VALUES (?, ?, ?, ?)", (key, digest, ticket.id, now + KEYS_KEPT)
                )
            _put(connection, [ticket])
            if tidy:
                _tidy(connection, now, self._most)
            return ticket

        return await self._run(work)

    async def save(
        self, tickets: Sequence[Ticket] = (), sendings: Sequence[Sending] = (), gone: Iterable[str] = ()
    ) -> None:
        """Keep these as they are now, and forget the calls of these ids, all of it or nothing. JournalFailed."""
        ended = [(one,) for one in gone]

        def work(connection: sqlite3.Connection) -> None:
            _put(connection, tickets)
            rows = [(one.id, _SENDING.dump_json(one)) for one in sendings]
            connection.executemany("REPLACE INTO sending VALUES (?, ?)", rows)
            connection.executemany("DELETE FROM sending WHERE id = ?", ended)

        await self._run(work)

    async def find(self, id_: str) -> Ticket | None:
        """JournalFailed: nobody knows."""

        def work(connection: sqlite3.Connection) -> list[Ticket]:
            return _tickets(connection.execute("SELECT id, body FROM ticket WHERE id = ?", (id_,)))

        return next(iter(await self._run(work)), None)

    async def latest(self, limit: int, before: str | None = None) -> list[Ticket]:
        """The newest first, from the one after `before` on. JournalFailed."""

        def work(connection: sqlite3.Connection) -> list[Ticket]:
            return _tickets(
                connection.execute(
                    "SELECT id, body FROM ticket WHERE id < ? ORDER BY id DESC LIMIT ?", (before or "~", limit)
                )
            )

        return await self._run(work)

    async def unfinished(self) -> Unfinished:
        """In the order in which they were ordered. JournalFailed."""

        def work(connection: sqlite3.Connection) -> Unfinished:
            tickets = _tickets(connection.execute("SELECT id, body FROM ticket WHERE done = 0 ORDER BY id"))
            sendings = []
            for id_, body in connection.execute("SELECT id, body FROM sending ORDER BY id"):
                try:
                    sendings.append(_SENDING.validate_json(body))
                except ValidationError:
                    log.warning("cdn_journal_unread", sending=id_, effect="it is planned anew")
                    connection.execute("DELETE FROM sending WHERE id = ?", (id_,))
            return Unfinished(tickets, sendings)

        return await self._run(work)

    async def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._is_closed:
            raise JournalFailed("it is closed")
        if not self._is_open:
            await self.open()
        try:
            result = await self._database.run(work)
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            raise JournalFailed(str(error)) from error
        self.failure = None
        return result

    def _failed(self, error: Exception) -> None:
        """Tell it once, until something succeeds again."""
        if self.failure != str(error):
            self.failure = str(error)
            log.error("cdn_journal_failed", file=str(self._path), reason=str(error))


def _of_key(connection: sqlite3.Connection, key: str, digest: bytes, now: float) -> Ticket | None:
    row = connection.execute("SELECT digest, ticket, until FROM idempotency WHERE key = ?", (key,)).fetchone()
    if row is None or row[2] <= now:
        return None
    found = _tickets(connection.execute("SELECT id, body FROM ticket WHERE id = ?", (row[1],)))
    if not found:
        return None
    if row[0] != digest:
        raise Conflict(f"this idempotency key came with another order before, that of {row[1]}: use a new one")
    return found[0]


def _put(connection: sqlite3.Connection, tickets: Sequence[Ticket]) -> None:
    rows = [(one.id, one.created.timestamp(), int(one.done), _TICKET.dump_json(one)) for one in tickets]
    connection.executemany("REPLACE INTO ticket VALUES (?, ?, ?, ?)", rows)


def _tickets(rows: Iterable[tuple[str, bytes]]) -> list[Ticket]:
    found = []
    for id_, body in rows:
        try:
            found.append(_TICKET.validate_json(body))
        except ValidationError:
            log.warning("cdn_journal_unread", ticket=id_, effect="it is left out")
    return found


def _tidy(connection: sqlite3.Connection, now: float, most: int) -> None:
    """What is open is never forgotten: of that, the desk takes only so much."""
    connection.execute("DELETE FROM ticket WHERE done = 1 AND created < ?", (now - KEPT,))
    connection.execute("DELETE FROM idempotency WHERE until <= ?", (now,))
    connection.execute(
        "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency ORDER BY until DESC LIMIT -1 OFFSET ?)",
        (most,),
    )
    total = 0
    rows = connection.execute("SELECT id, done, LENGTH(body) FROM ticket ORDER BY id DESC").fetchall()
    for count, (id_, done, size) in enumerate(rows, 1):
        total += size
        if done and (count > most or total > MOST_BYTES):
            connection.execute("DELETE FROM ticket WHERE id = ?", (id_,))
