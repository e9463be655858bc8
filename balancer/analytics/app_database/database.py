"""The app's PostgreSQL: a few connections that can only read, and answers that are kept for a while."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from datetime import date, timedelta
from time import monotonic
from typing import Any, Final
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from balancer.analytics.app_database.mapping import Schema, checked
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
LARGEST: Final = 20_000
"""Rows of an answer that is kept."""
STALE: Final = 86_400.0
"""Seconds for which an answer is given while the database fails."""
AGAIN: Final = 30.0
"""Seconds after which a database that could not be looked at is looked at again."""
APPLICATION: Final = "balancer-analytics"
OPTIONAL_REASON: Final = "{entity}.{column} is not mapped, or the app has no such column"
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
        self._pool: asyncpg.Pool[Any] | None = None
        self._gate = asyncio.Semaphore(settings.pool)
        self._schema: Schema | None = None
        self._answers: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
        self._asking: dict[tuple[object, ...], asyncio.Task[list[Row]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()

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
        if len(rows) <= LARGEST:
            self._answers[key] = _Kept(rows, monotonic())
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
        return _copied(rows), None

    def missing(self, query: str) -> Mapping[str, str]:
        """Columns that this app's tables do not have."""
        schema = self._schema
        if schema is None:
            return {}
        found = {}
        for column, entity, logical in _MADE_OF.get(query, ()):
            part = schema.parts.get(entity)
            if part is not None and logical in part.absent:
                found[column] = OPTIONAL_REASON.format(entity=entity, column=logical)
        return found

    async def _fetch(self, query: str, asked: Asked) -> list[Row]:
        if query not in queries():
            raise Unavailable("the app's database knows nothing of it")
        if asked.active == "seen" and query in OF_ACTIVE:
            raise Unavailable("the app's database tells who contributed, and not who was seen")
        schema = await self._known_schema()
        wanted = queries()[query]
        for entity in wanted.entities:
            if entity in schema.missing:
                raise Unavailable(schema.missing[entity])
        text, parameters = rendered(wanted, schema, values_of(asked))
        begun = monotonic()
        self.figures.queries += 1
        try:
            found = await self._read(text, parameters)
        except SourceError:
            self.figures.failures += 1
            raise
        self.figures.seconds += monotonic() - begun
        rows: list[Row] = [{name: plain(value) for name, value in record.items()} for record in found]
        if query == "engagement.lifecycle":
            rows = lifecycle(rows, asked)
        for column in self.missing(query):
            for row in rows:
                row[column] = None
        assert not rows or tuple(rows[0]) == columns(query), (query, tuple(rows[0]))
        return rows

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
                        f"SET LOCAL idle_in_transaction_session_timeout = 10000; SET LOCAL jit = off"
                    )
                    found = await connection.fetch(text, *parameters, timeout=limit + CONNECT)
        except asyncpg.QueryCanceledError:
            raise TimedOut(f"the app's database did not answer within {limit:g} s (statement_timeout)") from None
        except asyncpg.LockNotAvailableError:
            raise TimedOut("a table of the app is locked (lock_timeout)") from None
        except TimeoutError:
            raise TimedOut("the app's database did not answer in time") from None
        except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, OSError) as error:
            reason = self._away(error)
            raise SourceAway(reason) from None
        except asyncpg.InsufficientPrivilegeError as error:
            raise Unavailable(f"the role may not read it: {error}") from None
        except asyncpg.PostgresError as error:
            if isinstance(error, _NOT_IN):
                raise SourceAway(self._away(error)) from None
            self._schema = None  # it may have changed since it was looked at
            self._look_again()
            raise SourceAway(f"the app's database refused the query: {_told(error)}") from None
        self.figures.ok, self.figures.reason = True, None
        return list(found)

    async def _connected(self) -> asyncpg.Pool[Any]:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self.settings.url,
                min_size=0,
                max_size=self.settings.pool,
                max_inactive_connection_lifetime=IDLE,
                timeout=CONNECT,
                command_timeout=self.settings.statement_timeout + CONNECT,
                statement_cache_size=0,  # behind PgBouncer, too
                server_settings={"application_name": APPLICATION, "default_transaction_read_only": "on"},
            )
            await self._pool
        return self._pool

    def _away(self, error: Exception) -> str:
        reason = f"the app's database can not be reached: {_told(error)}"
        if self.figures.ok is not False:
            log.warning("app database away", reason=reason)
        self.figures.ok, self.figures.reason = False, reason
        return reason

    # The catalogue.

    def _look_again(self) -> None:
        if self._task is None or self._task.done():
            self.start()

    async def _look(self) -> None:
        """Until it has been looked at once."""
        while True:
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
        self._schema = schema
        self._answers.clear()
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
        return self._database.missing(query)


_MAY_WRITE: Final = (
    "the role can write into {tables}; reports only read, so give it a role of its own that can not: docs/analytics.md"
)
_NOT_IN: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
)
OF_ACTIVE: Final = frozenset(("user_growth.retention", "engagement.active_users", "engagement.lifecycle"))
_MADE_OF: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "user_growth.series": (("deleted_users", "users", "deleted_at"), ("total_users", "users", "deleted_at")),
    "post_activity.series": (("posts_removed", "posts", "removed_at"),),
    "post_activity.top": (("title", "posts", "title"), ("community_id", "posts", "community_id")),
    "community_growth.series": (
        ("closed_communities", "communities", "deleted_at"),
        ("leaves", "memberships", "left_at"),
    ),
    "community_growth.fastest": (
        ("slug", "communities", "slug"),
        ("name", "communities", "name"),
        ("leaves", "memberships", "left_at"),
    ),
    "moderation.series": (("automated", "moderation_actions", "automated"),),
    "moderation.moderators": (("username", "users", "name"),),
    "moderation.quality": (
        ("automated_share", "moderation_actions", "automated"),
        ("removed_share_of_posts", "posts", "removed_at"),
    ),
    "reports.series": (("resolved", "reports", "resolved_at"), ("open_at_end", "reports", "resolved_at")),
    "reports.summary": (
        ("upheld", "reports", "status"),
        ("rejected", "reports", "status"),
        ("ignored", "reports", "status"),
        ("still_open", "reports", "resolved_at"),
        ("resolved_of_opened", "reports", "resolved_at"),
        ("oldest_open_age_s", "reports", "resolved_at"),
    ),
    "reports.breakdown": (("upheld", "reports", "status"),),
    "communities.table": (
        ("slug", "communities", "slug"),
        ("name", "communities", "name"),
        ("visibility", "communities", "visibility"),
        ("open_reports", "reports", "resolved_at"),
    ),
    "users.top": (
        ("username", "users", "name"),
        ("role", "users", "role"),
        ("trust_level", "users", "trust_level"),
        ("last_seen_at", "users", "last_seen_at"),
        ("reports_against", "reports", "target_user_id"),
        ("upheld_against", "reports", "target_user_id"),
    ),
    "users.summary": (
        ("seen_30d", "users", "last_seen_at"),
        ("suspended", "users", "suspended_until"),
        ("bots", "users", "is_bot"),
        ("by_trust_level", "users", "trust_level"),
        ("by_role", "users", "role"),
    ),
}
"""(column, entity, logical column) where an optional one is needed."""


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


def plain(value: object) -> Any:
    """A value of a record as rows have it."""
    if isinstance(value, str) and value[:1] == "{":
        with suppress(ValueError):
            return json.loads(value)
    return value if value is None or isinstance(value, _PLAIN) else str(value)


_PLAIN: Final = (bool, int, float, str, dict, date)


def _copied(rows: list[Row]) -> list[Row]:
    return [dict(row) for row in rows]


def _told(error: Exception) -> str:
    """What went wrong, without anything of the URL: messages of PostgreSQL name roles and databases, not passwords."""
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
