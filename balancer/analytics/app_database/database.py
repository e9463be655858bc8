"""The app's PostgreSQL: a few connections that can only read, and answers that are kept for a while."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from balancer.analytics.app_database.mapping import Schema, checked
from balancer.analytics.app_database.needs import WHOLE, unknown
from balancer.analytics.app_database.queries import queries, rendered
from balancer.analytics.buckets import bucket_date, following, midnight, starts
from balancer.analytics.source import (
    Asked,
    Interval,
    Row,
    SourceAway,
    SourceError,
    SourceName,
    TimedOut,
    Unavailable,
    columns,
)
from config.postgres_url import PostgresUrl
from config.schema import AppDatabase as Settings

log = structlog.get_logger("balancer.analytics")

CONNECT: Final = 5.0
"""Seconds for a connection."""
QUEUE: Final = 10.0
"""Seconds that a query waits for a connection."""
IDLE: Final = 60.0
"""Seconds after which a connection that nobody uses is closed."""
ASKED: Final = 64
"""Different questions at a time, of which two are with the database."""
KEPT: Final = 500
"""Answers that are kept."""
KEPT_BYTES: Final = 32 * 2**20
"""About what kept answers may take together."""
LARGEST: Final = 5_000
"""Rows of an answer that is kept."""
STALE: Final = 86_400.0
"""Seconds for which an answer is given while the database fails."""
AGAIN: Final = 30.0
"""Seconds after which a database that could not be looked at, or whose tables may have changed, is looked at again."""
SEEN: Final = timedelta(days=1)
"""How old the end of a period may be for `last_seen_at` to tell of it, as in `users.summary`."""
SEEN_LAST: Final = "only the last time that somebody was seen is known, which tells nothing of before"
APPLICATION: Final = "balancer-analytics"
_CATALOGUE: Final = """
    SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = ANY($1::text[]) AND table_name = ANY($2::text[])
    UNION SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, NULL)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind = 'm' AND a.attnum > 0 AND NOT a.attisdropped
      AND n.nspname = ANY($1::text[]) AND c.relname = ANY($2::text[])"""
_WRITES: Final = """
    SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ') FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY($1::text[]) AND c.relname = ANY($2::text[])
      AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE')"""


@dataclass
class _Kept:
    rows: list[Row]
    at: float
    size: int


@dataclass
class AppFigures:
    """How it goes with the database. Counts are since the start."""

    ok: bool | None = None
    """None: it has not been looked at yet."""
    reason: str | None = None
    problems: list[str] = field(default_factory=list)
    """Of the mapping."""
    warnings: list[str] = field(default_factory=list)
    queries: int = 0
    failures: int = 0
    from_cache: int = 0
    seconds: float = 0.0


class AppDatabase:
    """One database, as one configuration names it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.figures = AppFigures()
        self._url = PostgresUrl.of(settings.url)
        self._pool: asyncpg.Pool[Any] | None = None
        self._gate = asyncio.Semaphore(settings.pool)
        self._schema: Schema | None = None
        self._answers: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._asking: dict[tuple[object, ...], asyncio.Task[list[Row]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._looked_at = monotonic()

    def start(self) -> None:
        """Look at the catalogue, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for task in self._asking.values():
            task.cancel()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    def source(self) -> AppSource:
        """For one report."""
        return AppSource(self)

    async def answer(self, query: str, asked: Asked) -> tuple[list[Row], float | None]:
        """The rows, and their age in seconds if they were kept. Raises SourceError."""
        key = (query, *astuple(asked))
        kept = self._answers.get(key)
        now = monotonic()
        if kept is not None and now - kept.at < self.settings.cache:
            self._answers.move_to_end(key)
            self.figures.from_cache += 1
            return _copied(kept.rows), now - kept.at
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= ASKED:
                raise TimedOut("too much is asked of the app's database at a time: ask again in a moment")
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._fetch(query, asked))
            task.add_done_callback(lambda done: self._asking.pop(key, None))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody hears of it
        try:
            rows = await asyncio.shield(task)  # who leaves does not take it from the others
        except Unavailable:
            raise
        except SourceError:
            if kept is not None and now - kept.at < STALE:
                return _copied(kept.rows), now - kept.at
            raise
        return _copied(rows), None

    def missing(self, query: str, asked: Asked) -> Mapping[str, str]:
        """Columns that this app's tables do not tell."""
        return _missing(query, self._schema, asked) if self._schema is not None else {}

    async def _fetch(self, query: str, asked: Asked) -> list[Row]:
        if query not in queries():
            raise Unavailable("the app's database knows nothing of it")
        if asked.active == "seen" and query in OF_ACTIVE:
            raise Unavailable("the app's database tells who contributed, and not who was seen")
        schema = await self._known_schema()
        wanted = queries()[query]
        missing = _missing(query, schema, asked)
        if WHOLE in missing:
            raise Unavailable(missing[WHOLE])
        text, parameters = rendered(wanted, schema, values_of(asked))
        begun = monotonic()
        self.figures.queries += 1
        try:
            found = await self._read(text, parameters)
        except SourceError:
            self.figures.failures += 1
            raise
        self.figures.seconds += monotonic() - begun
        rows: list[Row] = [{name: plain(name, value) for name, value in record.items()} for record in found]
        if query == "engagement.lifecycle":
            rows = lifecycle(rows, asked)
        for column in missing:
            for row in rows:
                row[column] = None
        assert not rows or tuple(rows[0]) == columns(query), (query, tuple(rows[0]))
        if schema is self._schema and len(rows) <= LARGEST:  # else the tables have changed meanwhile
            self._keep((query, *astuple(asked)), rows)
        return rows

    def _keep(self, key: tuple[object, ...], rows: list[Row]) -> None:
        before = self._answers.pop(key, None)
        kept = self._answers[key] = _Kept(rows, monotonic(), len(repr(rows)))
        self._kept_bytes += kept.size - (before.size if before is not None else 0)
        while len(self._answers) > KEPT or self._kept_bytes > KEPT_BYTES:
            _, oldest = self._answers.popitem(last=False)
            self._kept_bytes -= oldest.size

    async def _known_schema(self) -> Schema:
        if self._schema is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT):
                    await self._looked.wait()
        if self._schema is None:
            raise SourceAway(self.figures.reason or "the app's database has not been looked at yet")
        return self._schema

    async def _read(self, text: str, parameters: list[object]) -> list[Any]:
        """Run a query in a transaction that can only read, and not for long."""
        settings = self.settings
        limit = settings.statement_timeout
        try:
            async with asyncio.timeout(QUEUE + limit + 2 * CONNECT), self._gate:
                pool = await self._connected()
                async with pool.acquire(timeout=CONNECT) as connection, connection.transaction(readonly=True):
                    await connection.execute(
                        f"SET LOCAL statement_timeout = {round(limit * 1000)}; "
                        f"SET LOCAL lock_timeout = {round(settings.lock_timeout * 1000)}; "
                        "SET LOCAL idle_in_transaction_session_timeout = 10000; SET LOCAL jit = off; "
                        "SET LOCAL TimeZone = 'UTC'"  # a day added to a moment is 24 hours
                    )
                    found = await connection.fetch(text, *parameters, timeout=limit + CONNECT)
        except asyncpg.QueryCanceledError:
            raise TimedOut(f"the app's database did not answer within {limit:g} s (statement_timeout)") from None
        except asyncpg.LockNotAvailableError:
            raise TimedOut("a table of the app is locked (lock_timeout)") from None
        except asyncpg.TransactionRollbackError:
            raise TimedOut("the app's database ended the query for what it had to do itself: ask again") from None
        except TimeoutError:
            raise TimedOut("the app's database did not answer in time") from None
        except asyncpg.InsufficientPrivilegeError as error:
            raise Unavailable(f"the role may not read it: {error}") from None
        except asyncpg.PostgresError as error:
            if isinstance(error, _NOT_IN):
                raise SourceAway(self._away(error)) from None
            if isinstance(error, asyncpg.SyntaxOrAccessError):  # tables may have changed since they were looked at
                self._look_again()
            raise SourceAway(f"the app's database refused the query: {self._told(error)}") from None
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError) as error:
            raise SourceAway(self._away(error)) from None
        self.figures.ok, self.figures.reason = True, None
        return list(found)

    async def _connected(self) -> asyncpg.Pool[Any]:
        """Parameters of the start are few, as PgBouncer refuses those that it does not know."""
        if self._pool is None:
            url = self._url
            self._pool = asyncpg.create_pool(
                f"postgresql://?{urlencode(url.tls)}" if url.tls else "postgresql://",
                host=[place.host for place in url.places],
                port=[place.port for place in url.places],
                user=url.user,
                password=url.password or "",
                database=url.database,
                ssl=None if "sslmode" in url.tls else "prefer",
                target_session_attrs=url.target_session_attrs,
                min_size=0,
                max_size=self.settings.pool,
                max_inactive_connection_lifetime=IDLE,
                timeout=CONNECT,
                command_timeout=self.settings.statement_timeout + CONNECT,
                statement_cache_size=0,  # a pooler may give the next transaction to another server process
                server_settings={"application_name": APPLICATION},
            )
            await self._pool
        return self._pool

    def _away(self, error: Exception) -> str:
        reason = f"the app's database can not be reached: {self._told(error)}"
        if self.figures.ok is not False:
            log.warning("app database away", reason=reason)
        self.figures.ok, self.figures.reason = False, reason
        return reason

    def _told(self, error: Exception) -> str:
        """One line, without credentials and without what is in tables, which some messages quote."""
        if isinstance(error, asyncpg.DataError) and isinstance(error, asyncpg.PostgresError):
            return f"{type(error).__name__} ({error.sqlstate})"
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        for secret in self._url.secrets:
            text = text.replace(secret, "***")
        return text[:200]

    # The catalogue.

    def _look_again(self) -> None:
        """Soon, but not for each query that fails; what was known is good until then."""
        if (self._task is None or self._task.done()) and monotonic() - self._looked_at >= AGAIN:
            self.start()

    async def _look(self) -> None:
        """Until it has been looked at once."""
        while True:
            self._looked_at = monotonic()
            try:
                await self._look_once()
                return
            except SourceError as error:
                self.figures.ok, self.figures.reason = False, str(error)
                self._looked.set()
            await asyncio.sleep(AGAIN)

    async def _look_once(self) -> None:
        settings = self.settings
        tables = [entity.table for entity in dict(settings.mapping).values() if entity is not None]
        schemas = [table.rpartition(".")[0] or settings.tables_in for table in tables]
        names = [table.rpartition(".")[2] for table in tables]
        rows = await self._read(_CATALOGUE, [schemas, names])
        catalogue: dict[tuple[str, str], dict[str, str]] = {}
        for row in rows:
            catalogue.setdefault((row[0], row[1]), {})[row[2]] = row[3]
        schema = checked(settings.mapping, settings.tables_in, settings.time_zone, catalogue)
        (writable,) = (await self._read(_WRITES, [schemas, names]))[0]
        figures = self.figures
        figures.problems = list(schema.problems)
        figures.warnings = [_MAY_WRITE.format(tables=writable)] if writable else []
        for problem in schema.problems:
            log.warning("app database mapping", problem=problem)
        for warning in figures.warnings:
            log.warning("app database", problem=warning)
        if schema != self._schema:
            self._schema = schema
            self._answers.clear()
            self._kept_bytes = 0
        self._looked.set()


class AppSource:
    """The database as the source of one report, which remembers how old what it gave was."""

    name: SourceName = "sql"

    def __init__(self, database: AppDatabase) -> None:
        self._database = database
        self.age: float | None = None

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        """Raises SourceError."""
        rows, age = await self._database.answer(query, asked)
        if age is not None:
            self.age = max(age, self.age or 0.0)
        return rows

    def missing(self, query: str, asked: Asked) -> Mapping[str, str]:
        return self._database.missing(query, asked)


_MAY_WRITE: Final = (
    "the role can write into {tables}; reports only read, so give it a role of its own that can not: docs/analytics.md"
)
_NOT_IN: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.PostgresConnectionError,
    asyncpg.ProtocolViolationError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)
OF_ACTIVE: Final = frozenset(("user_growth.retention", "engagement.active_users", "engagement.lifecycle"))


def _missing(query: str, schema: Schema, asked: Asked) -> Mapping[str, str]:
    found = unknown(query, schema, of_community=asked.community is not None)
    if query == "users.summary" and datetime.now(UTC) - asked.until > SEEN:
        return {"seen_30d": SEEN_LAST, **found}
    return found


def values_of(asked: Asked) -> Mapping[str, object]:
    """Of the parameters of queries, by their names."""
    zone = ZoneInfo(asked.zone)
    first = asked.since.astimezone(zone).date()
    last = (asked.until - timedelta(milliseconds=1)).astimezone(zone).date()
    return {
        "since": asked.since,
        "until": asked.until,
        "starts": starts(asked.since, asked.until, asked.interval, asked.zone),
        "days": [first + timedelta(days=number) for number in range((last - first).days + 1)],
        "interval": _at_least_days(asked.interval),
        "zone": asked.zone,
        "top": asked.limit,
        "community": asked.community,
        "sort": asked.sort,
    }


def _at_least_days(interval: Interval) -> Interval:
    return "day" if interval == "hour" else interval


def lifecycle(rows: list[Row], asked: Asked) -> list[Row]:
    """From buckets that had somebody in them to all buckets, with who was there before and is not now."""
    by_day = {row["day"]: row for row in rows}
    zone = ZoneInfo(asked.zone)
    interval = _at_least_days(asked.interval)
    day = bucket_date(asked.since.astimezone(zone).date(), interval)
    before = by_day.get(bucket_date(day - timedelta(days=1), interval))
    last = int(str(before["n"])) if before is not None else 0
    found: list[Row] = []
    while (start := midnight(day, zone)) < asked.until:
        row = by_day.get(day)
        n, new, again = (int(str(row[name])) for name in ("n", "new", "again")) if row is not None else (0, 0, 0)
        found.append(
            {"start": start, "new": new, "returning": again, "resurrecting": n - new - again, "dormant": last - again}
        )
        last = n
        day = following(day, interval)
    return found


def plain(name: str, value: object) -> Any:
    """A column of a record as rows have it."""
    if isinstance(value, str) and name.startswith("by_"):
        return json.loads(value)
    return value if value is None or isinstance(value, _PLAIN) else str(value)


_PLAIN: Final = (bool, int, float, str, dict, date)


def _copied(rows: list[Row]) -> list[Row]:
    return [dict(row) for row in rows]
