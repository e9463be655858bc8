"""One look at a PostgreSQL: every question in one read-only transaction, and none that fails takes others with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from asyncpg import exceptions

from balancer.databases import queries

if TYPE_CHECKING:
    from asyncpg import Connection

LOCK: Final = 0.1
"""Seconds that a look waits for a lock: whoever asks how things are must not stand in a queue."""

_LARGE: Final = ("size", "tables", "statements")

Row = Mapping[str, Any]  # Any: as the server has typed them


class TooOld(Exception):
    """A server that is older than what is known to work."""


@dataclass(slots=True)
class Large:
    """What takes long on a large database, and is asked less often."""

    at: datetime
    size: int | None = None
    tables: Sequence[Row] | None = None
    bloated: Sequence[Row] = ()
    statements: Sequence[Row] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    """What of it could not be told, and why."""


@dataclass(slots=True)
class Look:
    """What one look has found, as the rows that came."""

    at: float
    """By the monotonic clock: what rates are made with."""
    version: int
    latency: float
    server: Row
    database: Row
    activity: Row | None = None
    sessions: Sequence[Row] = ()
    locks: Sequence[Row] | None = None
    blocked: Sequence[Row] = ()
    blockers: Sequence[Row] = ()
    replication: Sequence[Row] = ()
    replay: Row | None = None
    slots: Sequence[Row] = ()
    checkpoints: Row | None = None
    io: Sequence[Row] | None = None
    wal: Row | None = None
    large: Large | None = None
    missing: dict[str, str] = field(default_factory=dict)


class Reading:
    """The questions of one look."""

    def __init__(self, connection: Connection[Any], timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._missing: dict[str, str] = {}

    async def look(self, at: float, large: Large | None, tables: int, statements: int, wall: datetime) -> Look:
        """`large` is what is known of before and need not be asked again. Raises TooOld, and what asyncpg raises."""
        said = self._connection.get_server_version()
        version = said.major * 10000 + said.minor
        if version < queries.OLDEST:
            raise TooOld(
                f"PostgreSQL {said.major} is older than {queries.OLDEST // 10000}, the oldest that is looked at"
            )
        latency = await self._begin()
        found = Look(at, version, latency, await self._row(queries.SERVER), await self._row(queries.DATABASE))
        found.missing = self._missing
        await self._activity(found)
        await self._replication(found)
        await self._counters(found)
        found.large = large or await self._large(found, tables, statements, wall)
        found.missing |= found.large.missing
        await self._connection.execute("COMMIT")  # where something is raised, the connection is given up
        return found

    async def _begin(self) -> float:
        """Begin; seconds that it took to be answered.

        Set for this transaction alone, as others may use the same connection to the server after it: a pooler's.
        """
        began = perf_counter()
        await self._connection.execute("BEGIN READ ONLY")
        latency = perf_counter() - began
        await self._connection.execute(
            f"SET LOCAL statement_timeout = {max(1, round(self._timeout * 1000))}; "
            f"SET LOCAL lock_timeout = {round(LOCK * 1000)}; "
            "SET LOCAL search_path = pg_catalog; SET LOCAL jit = off"
        )
        return latency

    async def _activity(self, found: Look) -> None:
        rows = await self._part("sessions", queries.ACTIVITY)
        found.activity = rows[0] if rows else None
        found.sessions = await self._part("sessions", queries.SESSIONS) or ()
        found.locks = await self._part("locks", queries.LOCKS)
        waiting = sorted({pid for row in found.locks or () for pid in row["waiting"] or ()})
        if waiting:
            found.blocked = await self._part("locks", queries.blocked(found.version), waiting[:20]) or ()
            others = sorted({pid for row in found.blocked for pid in row["by"]})
            found.blockers = await self._part("locks", queries.BLOCKERS, others[:100]) or ()

    async def _replication(self, found: Look) -> None:
        found.replication = await self._part("replication", queries.REPLICATION) or ()
        found.slots = await self._part("slots", queries.SLOTS) or ()
        if found.server["standby"]:
            rows = await self._part("replay", queries.REPLAY)
            found.replay = rows[0] if rows else None

    async def _counters(self, found: Look) -> None:
        rows = await self._part("checkpoints", queries.checkpoints(found.version))
        found.checkpoints = rows[0] if rows else None
        if found.version >= queries.IO_FROM:
            found.io = await self._part("io", queries.IO)
        else:
            found.missing["io"] = "PostgreSQL tells it from 16 on"
        if found.version < queries.WAL_FROM:
            found.missing["wal_bytes"] = "PostgreSQL tells it from 14 on"
        elif not found.server["standby"]:
            rows = await self._part("wal_bytes", queries.WAL)
            found.wal = rows[0] if rows else None

    async def _large(self, found: Look, tables: int, statements: int, wall: datetime) -> Large:
        large = Large(wall)
        sizes = await self._part("size", queries.SIZE)
        large.size = sizes[0]["size"] if sizes else None
        if tables:
            large.tables = await self._part("tables", queries.TABLES, tables)
            large.bloated = await self._part("tables", queries.BLOATED) or ()
        schema, version = found.server["statements_schema"], found.server["statements_version"]
        if statements and schema is not None:
            large.statements = await self._part("statements", queries.statements(schema, version), statements)
        elif statements:
            self._missing["statements"] = (
                "pg_stat_statements is not there: add it to shared_preload_libraries, start the server anew and "
                "CREATE EXTENSION pg_stat_statements in this database"
            )
        large.missing = {name: why for name, why in self._missing.items() if name in _LARGE}
        return large

    async def _row(self, query: str) -> Row:
        row = await self._connection.fetchrow(query)
        assert row is not None, "they are of one row"
        return cast("Row", row)

    async def _part(self, name: str, query: str, *values: object) -> Sequence[Row] | None:
        """The rows; None where the server refuses, which is told of under the name."""
        await self._connection.execute("SAVEPOINT part")
        try:
            rows = await self._connection.fetch(query, *values)
        except exceptions.PostgresError as error:
            if isinstance(error, (exceptions.PostgresConnectionError, exceptions.OperatorInterventionError)) and not (
                isinstance(error, exceptions.QueryCanceledError)
            ):
                raise
            self._missing[name] = " ".join(str(error).split())[:200]
            await self._connection.execute("ROLLBACK TO SAVEPOINT part")
            return None
        await self._connection.execute("RELEASE SAVEPOINT part")
        return cast("Sequence[Row]", rows)
