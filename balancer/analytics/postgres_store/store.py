"""The event store in PostgreSQL, as an `Engine`: COPY into partitions by month, and the app database's queries."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any, Final

import asyncpg

from balancer.analytics.app_database.database import OF_ACTIVE, lifecycle, plain, values_of
from balancer.analytics.app_database.mapping import ENTITIES, OPTIONAL, Part, Schema
from balancer.analytics.app_database.queries import queries, rendered
from balancer.analytics.buckets import following, starts
from balancer.analytics.engine import Page, StoreError, StoreFigures
from balancer.analytics.event import Event
from balancer.analytics.source import Asked, Row, SourceAway, TimedOut, Unavailable

PATIENCE: Final = 15.0
"""Seconds for a report."""
CONNECT: Final = 5.0
LOCK: Final = 735_182_094
"""Of who makes the tables, or a partition: several balancers may."""
_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "users": ("id", "created_at", "last_seen_at", "deleted_at"),
    "communities": ("id", "created_at", "deleted_at"),
    "memberships": ("community_id", "user_id", "joined_at", "left_at"),
    "posts": ("id", "community_id", "author_id", "created_at", "deleted_at", "removed_at"),
    "comments": ("id", "post_id", "author_id", "created_at"),
    "reactions": ("user_id", "target_id", "created_at"),
    "reports": (
        "id",
        "reporter_id",
        "target_type",
        "target_user_id",
        "community_id",
        "reason",
        "status",
        "created_at",
        "resolved_at",
    ),
    "moderation_actions": (
        "id",
        "moderator_id",
        "community_id",
        "action",
        "report_id",
        "created_at",
        "automated",
    ),
}
"""What the views have; other columns of an entity are NULL."""
_NULLS: Final = {"trust_level": "NULL::bigint", "is_bot": "false", "suspended_until": "NULL::timestamptz"}


def _part(entity: str, table: str | None = None, where: str = "") -> Part:
    there = _COLUMNS[entity]
    columns = {name: name for name in there}
    for name in OPTIONAL[entity] - set(there):
        at = "NULL::timestamptz" if name.endswith("_at") else "NULL::text"
        columns[name] = _NULLS.get(name, at)
    return Part(f"balancer_events.{table or entity}{where}", columns)


SCHEMA: Final = Schema({entity: _part(entity) for entity in ENTITIES})
SEEN: Final = Schema(
    {
        **SCHEMA.parts,
        "posts": Part(
            "balancer_events.seen",
            {
                **_part("posts").columns,
                **dict.fromkeys(("deleted_at", "removed_at"), "NULL::timestamptz"),
            },
        ),
        "comments": _part("comments", where=" WHERE false"),
        "reactions": _part("reactions", where=" WHERE false"),
    }
)
"""The same where being seen is what counts: every event is a post, and nothing else there is."""


class PostgresStore:
    """One database, which several balancers may share."""

    def __init__(self, url: str, zone: str, keep_summaries: float) -> None:
        """Single events are what reports are made of here, so they stay as long: `keep_summaries` seconds."""
        self._url = url
        self._keep = timedelta(seconds=keep_summaries)
        self._pool: asyncpg.Pool[Any] | None = None
        self._months: set[date] = set()
        self.zone = zone
        """In whose days users are counted: any, as nothing is summed up."""

    async def open(self) -> None:
        """Raises StoreError."""
        async with _told():
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=4,
                    timeout=CONNECT,
                    statement_cache_size=0,
                    server_settings={"application_name": "balancer-events", "timezone": "UTC"},
                )
            script = files(__package__).joinpath("schema.sql").read_text("utf-8")
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                await connection.execute(script)
            today = datetime.now(UTC).date().replace(day=1)
            await self._partitions({today, following(today, "month")})

    async def write(self, run: str, batches: Sequence[tuple[int, Sequence[Event]]]) -> None:
        """Raises StoreError."""
        async with _told():
            kept = [one for _, batch in batches for one in batch if one.name[:1] != "~"]
            await self._partitions({_moment(one.at).date().replace(day=1) for one in kept})
            async with self._connection() as connection, connection.transaction():
                key = f"batch {run}"
                last = int(await connection.fetchval("SELECT value FROM balancer_events.meta WHERE key = $1", key) or 0)
                events = [one for number, batch in batches if number > last for one in batch]
                rows = [
                    (
                        _moment(one.at),
                        one.name,
                        one.user,
                        one.visitor,
                        one.status,
                        one.duration,
                        one.size,
                        json.dumps(one.dims, ensure_ascii=False).replace("\\u0000", ""),
                    )
                    for one in events
                    if one.name[:1] != "~"
                ]
                if rows:
                    await connection.copy_records_to_table(
                        "event",
                        schema_name="balancer_events",
                        records=rows,
                        columns=("at", "name", "usr", "visitor", "status", "duration", "size", "dims"),
                    )
                left = Counter[tuple[date, str]]()
                for one in events:
                    if one.name[:1] == "~":
                        left[_moment(one.at).date(), one.name[1:]] += one.size
                await connection.executemany(
                    """INSERT INTO balancer_events.excluded AS kept VALUES ($1, $2, $3)
                       ON CONFLICT (day, why) DO UPDATE SET n = kept.n + EXCLUDED.n""",
                    [(day, why, n) for (day, why), n in left.items()],
                )
                await connection.execute(
                    """INSERT INTO balancer_events.meta VALUES ($1, $2)
                       ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value""",
                    key,
                    str(batches[-1][0]),
                )

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        """Raises SourceError."""
        if query == "events.series":
            return await self._series(asked)
        if query not in queries():
            raise Unavailable("the store knows nothing of it")
        seen = query in OF_ACTIVE and asked.active != "contributed"
        text, parameters = rendered(queries()[query], SEEN if seen else SCHEMA, values_of(asked))
        rows = [{name: plain(name, value) for name, value in row.items()} for row in await self._read(text, parameters)]
        return lifecycle(rows, asked) if query == "engagement.lifecycle" else rows

    async def _series(self, asked: Asked) -> list[Row]:
        bounds = starts(asked.since, asked.until, asked.interval, asked.zone)
        where = "AND ($4::text IS NULL OR dims->>'community' = $4)"
        found = await self._read(
            f"""SELECT width_bucket(at, $3::timestamptz[]) AS k, name, count(*) AS n FROM balancer_events.event
                WHERE at >= $1 AND at < $2 {where} GROUP BY 1, 2 ORDER BY 1, 2""",
            [asked.since, asked.until, bounds, asked.community],
        )
        return [{"start": bounds[max(row["k"] - 1, 0)], "name": row["name"], "n": row["n"]} for row in found]

    async def page(self, after: int, since: int, until: int, count: int) -> Page:
        """Raises StoreError."""
        async with _told(), self._connection() as connection:
            found = await connection.fetch(
                """SELECT id, at, name, usr, visitor, status, duration, size, dims FROM balancer_events.event
                   WHERE id > $1 AND at >= $2 AND at < $3 ORDER BY id LIMIT $4""",
                after,
                _moment(since),
                _moment(min(until, 4_102_444_800_000)),
                count + 1,
            )
        events = [
            Event(
                round(row["at"].timestamp() * 1000),
                row["name"],
                row["usr"],
                row["visitor"],
                row["status"],
                row["duration"],
                row["size"],
                json.loads(row["dims"]),
            )
            for row in found[:count]
        ]
        return Page(events, found[len(events) - 1]["id"] if events else after, len(found) > count)

    async def forget(self, user: int) -> int:
        """Their events go, and with them what they are in reports."""
        shown = f"~{user & (1 << 64) - 1:016x}"
        async with _told(), self._connection() as connection, connection.transaction():
            gone = await connection.execute("DELETE FROM balancer_events.event WHERE usr = $1", user)
            changed = await connection.execute(
                """UPDATE balancer_events.event e SET dims = (SELECT coalesce(jsonb_object_agg(key, value), '{}')
                     FROM jsonb_each_text(e.dims) WHERE value <> $1) WHERE dims::text LIKE '%' || $1 || '%'""",
                shown,
            )
        return int(gone.split()[-1]) + int(changed.split()[-1])

    async def prune(self, now: int) -> int:
        """Whole months go at a time."""
        before = _moment(now) - self._keep
        async with _told(), self._connection() as connection:
            names = await connection.fetch(
                """SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n ON n.oid = p.relnamespace
                   WHERE n.nspname = 'balancer_events' AND p.relname = 'event'"""
            )
            gone = 0
            for row in names:
                year, month = int(row["name"][6:10]), int(row["name"][11:13])
                if following(date(year, month, 1), "month") <= before.date():
                    gone += int(await connection.fetchval(f'SELECT count(*) FROM balancer_events."{row["name"]}"'))
                    await connection.execute(f'DROP TABLE balancer_events."{row["name"]}"')
            return gone

    async def figures(self) -> StoreFigures:
        """The number of events is PostgreSQL's own estimate."""
        async with _told(), self._connection() as connection:
            row = await connection.fetchrow(
                """SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint AS events,
                          coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes
                   FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   WHERE i.inhparent = 'balancer_events.event'::regclass"""
            )
            ends = await connection.fetchrow("SELECT min(at) AS oldest, max(at) AS newest FROM balancer_events.event")
        assert row is not None
        assert ends is not None
        times = [None if at is None else round(at.timestamp() * 1000) for at in (ends["oldest"], ends["newest"])]
        return StoreFigures(row["events"], row["bytes"], times[0], times[1], None)

    async def close(self, *, clean: bool) -> None:
        """Several balancers write here: nothing is kept of how one of them ended."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _read(self, text: str, parameters: list[object]) -> list[Any]:
        try:
            async with (
                asyncio.timeout(PATIENCE + CONNECT),
                self._connection() as connection,
                connection.transaction(readonly=True),
            ):
                await connection.execute(f"SET LOCAL statement_timeout = {round(PATIENCE * 1000)}; SET LOCAL jit = off")
                return list(await connection.fetch(text, *parameters))
        except (asyncpg.QueryCanceledError, TimeoutError):
            raise TimedOut(f"the event store did not answer within {PATIENCE:g} s") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError) as error:
            raise SourceAway(_sentence(error)) from None

    async def _partitions(self, months: Iterable[date]) -> None:
        for month in sorted(set(months) - self._months):
            end = following(month, "month")
            async with self._connection() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                await connection.execute(
                    f"""CREATE TABLE IF NOT EXISTS balancer_events."event_{month:%Y_%m}"
                        PARTITION OF balancer_events.event FOR VALUES FROM ('{month}') TO ('{end}')"""
                )
            self._months.add(month)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise StoreError("PostgreSQL is being reached")
        async with self._pool.acquire(timeout=CONNECT) as connection:
            yield connection


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What PostgreSQL or the way to it has against it, in a sentence."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StoreError(_sentence(error)) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, StoreError):
        return str(error)
    text = str(error).strip().splitlines()
    return f"PostgreSQL: {text[0][:200] if text else type(error).__name__}"


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
