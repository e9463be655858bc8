"""Reports from a real PostgreSQL with the documented schema: true, the same under other names, and never in its way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from balancer.analytics.app_database.database import AppDatabase
from balancer.analytics.buckets import starts
from balancer.analytics.source import QUERIES, Asked, Row, SourceAway, TimedOut, Unavailable
from config.schema import AppDatabase as Settings
from tests.analytics import seeded

pytestmark = pytest.mark.slow
BERLIN = ZoneInfo("Europe/Berlin")
SINCE = datetime(2026, 3, 1, tzinfo=BERLIN).astimezone(UTC)
UNTIL = datetime(2026, 3, 31, tzinfo=BERLIN).astimezone(UTC)


def asked(**other: Any) -> Asked:
    wish = {"interval": "day", "zone": "Europe/Berlin", "limit": 500, "active": "contributed", **other}
    return Asked(wish.pop("since", SINCE), wish.pop("until", UNTIL), **wish)


def settings(database: str = "community", **other: Any) -> Settings:
    server = seeded.template()
    url = server.url(database, "reader", "a-secret-of-the-reader")
    return Settings.model_validate({"url": url, "tables_in": "app", **other})


@pytest.fixture
async def app() -> AsyncIterator[AppDatabase]:
    found = AppDatabase(settings())
    found.start()
    yield found
    await found.close()


async def rows(app: AppDatabase, query: str, **other: Any) -> list[Row]:
    return (await app.answer(query, asked(**other)))[0]


async def fetch(sql: str, database: str = "community", *values: object) -> list[Any]:
    connection = await asyncpg.connect(seeded.template().url(database))
    try:
        return [tuple(row) for row in await connection.fetch(sql, *values)]
    finally:
        await connection.close()


def total(found: list[Row], column: str) -> int:
    return sum(int(str(row[column])) for row in found)


async def test_every_query_has_its_columns_and_a_reader_may_ask_it(app):
    for query, columns in QUERIES.items():
        if query != "events.series":
            found = await rows(app, query)
            assert found, query
            assert all(tuple(row) == columns for row in found), query
    assert app.figures.problems == app.figures.warnings == []


@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
async def test_buckets_add_up_to_plain_counts(app, interval):
    until = SINCE + timedelta(days=10) if interval == "hour" else UNTIL
    for query, column, table, moment in (
        ("user_growth.series", "new_users", "users WHERE NOT is_bot AND", "created_at"),
        ("post_activity.series", "posts", "posts WHERE", "created_at"),
        ("post_activity.series", "comments", "comments WHERE", "created_at"),
        ("post_activity.series", "reactions", "reactions WHERE", "created_at"),
        ("community_growth.series", "joins", "memberships WHERE", "joined_at"),
        ("reports.series", "opened", "reports WHERE", "created_at"),
        ("moderation.series", "actions", "moderation_actions WHERE", "created_at"),
    ):
        found = await rows(app, query, interval=interval, until=until)
        assert [row["start"] for row in found] == starts(SINCE, until, interval, "Europe/Berlin")
        ((count,),) = await fetch(
            f"SELECT count(*) FROM app.{table} {moment} >= $1 AND {moment} < $2", "community", SINCE, until
        )
        assert total(found, column) == count, (query, column)


async def test_the_week_in_which_clocks_change_has_no_gap_and_no_double(app):
    since = datetime(2026, 3, 28, tzinfo=BERLIN).astimezone(UTC)
    hours = await rows(app, "post_activity.series", since=since, until=since + timedelta(days=2), interval="hour")
    assert len(hours) == 48
    assert [row["start"] for row in hours] == [since + timedelta(hours=number) for number in range(48)]
    days = await rows(app, "post_activity.series", since=since, until=since + timedelta(hours=71))
    assert [row["start"] for row in days] == [
        datetime(2026, 3, day, tzinfo=BERLIN).astimezone(UTC) for day in (28, 29, 30)
    ]
    assert total(hours, "posts") == total(days, "posts") - await _posts(
        since + timedelta(days=2), since + timedelta(hours=71)
    )


async def _posts(since: datetime, until: datetime) -> int:
    sql = "SELECT count(*) FROM app.posts WHERE created_at >= $1 AND created_at < $2"
    return int((await fetch(sql, "community", since, until))[0][0])


async def test_active_users_are_those_of_a_plain_recount(app):
    sql = """SELECT DISTINCT user_id, (at AT TIME ZONE 'Europe/Berlin')::date FROM (
        SELECT author_id AS user_id, created_at AS at FROM app.posts
        UNION ALL SELECT author_id, created_at FROM app.comments
        UNION ALL SELECT user_id, created_at FROM app.reactions) x"""
    days: dict[int, set[date]] = {}
    for user, day in await fetch(sql):
        days.setdefault(user, set()).add(day)
    found = await rows(app, "engagement.active_users")
    assert [row["day"] for row in found] == [date(2026, 3, 1) + timedelta(days=number) for number in range(30)]
    for row in found:
        day = row["day"]
        assert isinstance(day, date)
        within = [
            sum(any(day - timedelta(days=length) < one <= day for one in own) for own in days.values())
            for length in (1, 7, 30)
        ]
        assert [row["dau"], row["wau"], row["mau"]] == within
        assert within == sorted(within)
    weeks = await rows(app, "engagement.lifecycle", interval="week")
    for row in weeks[1:-1]:
        start = row["start"]
        assert isinstance(start, datetime)
        monday = start.astimezone(BERLIN).date()
        active = sum(any(monday <= one < monday + timedelta(days=7) for one in own) for own in days.values())
        assert int(str(row["new"])) + int(str(row["returning"])) + int(str(row["resurrecting"])) == active


async def test_the_backlog_is_what_was_opened_less_what_was_resolved(app):
    found = await rows(app, "reports.series")
    for row in (found[0], found[10], found[-1]):
        start = row["start"]
        assert isinstance(start, datetime)
        end = (
            start + timedelta(days=1)
            if start.astimezone(BERLIN).date() != date(2026, 3, 29)
            else start + timedelta(hours=23)
        )
        sql = "SELECT count(*) FROM app.reports WHERE created_at < $1 AND (resolved_at IS NULL OR resolved_at >= $1)"
        assert row["open_at_end"] == (await fetch(sql, "community", end))[0][0]


async def test_other_names_give_the_same_answers(app):
    name = seeded.copy()
    server = seeded.template()
    server.run(
        """ALTER SCHEMA app RENAME TO forum; ALTER TABLE forum.users RENAME TO members;
        ALTER TABLE forum.members RENAME created_at TO "joined On"; ALTER TABLE forum.posts RENAME author_id TO who;
        ALTER TABLE forum.posts ADD kind text NOT NULL DEFAULT 'topic';
        INSERT INTO forum.posts (id, community_id, who, title, created_at, kind)
            SELECT id + 1000000, community_id, who, title, created_at, 'draft' FROM forum.posts;
        ALTER TABLE forum.comments ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC';
        ALTER TABLE forum.reactions ALTER created_at TYPE bigint USING 1000 * extract(epoch FROM created_at);
        ALTER TABLE forum.reactions ALTER created_at TYPE double precision USING created_at / 1000.0;
        UPDATE forum.reports SET status = 'accepted' WHERE status = 'upheld';
        ALTER TABLE forum.members RENAME "joined On" TO joined_on""",
        name,
    )
    mapping = {
        "users": {"table": "forum.members", "created_at": "joined_on"},
        "posts": {"author_id": "who", "where": {"kind": "topic"}},
        "reports": {"status_values": {"upheld": ["accepted"]}},
    }
    other = AppDatabase(settings(name, tables_in="forum", mapping=mapping))
    other.start()
    try:
        for query in QUERIES:
            if query not in ("events.series", "post_activity.first_response"):
                assert await rows(other, query) == await rows(app, query), query
        assert other.figures.problems == []
    finally:
        await other.close()


async def test_what_is_not_there_is_unknown_with_the_reason_and_the_rest_goes_on():
    name = seeded.copy()
    seeded.template().run(
        "DROP TABLE app.reports; ALTER TABLE app.posts DROP removed_at; ALTER TABLE app.users DROP created_at", name
    )
    mapping = {"posts": {"title": "headline"}}
    app = AppDatabase(settings(name, mapping=mapping))
    app.start()
    try:
        with pytest.raises(Unavailable, match=re.escape("there is no table app.reports")):
            await rows(app, "reports.series")
        with pytest.raises(Unavailable, match=re.escape("app.users has no column created_at; there is deleted_at, id")):
            await rows(app, "user_growth.series")
        found = await rows(app, "post_activity.series")
        assert {row["posts_removed"] for row in found} == {None}
        assert total(found, "posts") > 0
        assert app.missing("post_activity.series") == {
            "posts_removed": "posts.removed_at is not mapped, or the app has no such column"
        }
        told = [problem.partition(":")[0] for problem in app.figures.problems]
        assert told == [
            "analytics.database.mapping.users.created_at",
            "analytics.database.mapping.posts.title",
            "analytics.database.mapping.reports.table",
        ]
    finally:
        await app.close()


async def test_a_query_that_takes_too_long_is_ended_and_what_is_kept_is_told_meanwhile():
    name = seeded.copy()
    app = AppDatabase(settings(name, statement_timeout=0.3, lock_timeout=0.1, cache=0.0))
    app.start()
    try:
        before = await rows(app, "post_activity.heatmap")
        locker = await asyncpg.connect(seeded.template().url(name))
        await locker.execute("BEGIN; LOCK app.posts IN ACCESS EXCLUSIVE MODE")
        try:
            kept, age = await app.answer("post_activity.heatmap", asked())
            assert (kept, age is not None) == (before, True)
            with pytest.raises(TimedOut, match="lock_timeout"):
                await rows(app, "post_activity.top")
            assert await rows(app, "user_growth.series")  # nothing else waits for it
        finally:
            await locker.close()
        seeded.template().run("CREATE VIEW app.slow AS SELECT p.* FROM app.posts p, pg_sleep(5)", name)
        seeded.template().run("GRANT SELECT ON app.slow TO reader", name)
        slow = AppDatabase(settings(name, statement_timeout=0.2, mapping={"posts": {"table": "slow"}}))
        slow.start()
        try:
            with pytest.raises(TimedOut, match=re.escape("did not answer within 0.2 s")):
                await rows(slow, "post_activity.heatmap")
        finally:
            await slow.close()
    finally:
        await app.close()


async def test_nothing_can_be_written_even_by_a_role_that_could():
    name = seeded.copy()
    app = AppDatabase(Settings(url=seeded.template().url(name), tables_in="app"))
    app.start()
    try:
        await rows(app, "users.summary")
        assert "can write into" in app.figures.warnings[0]
        with pytest.raises(SourceAway, match="read-only transaction"):
            await app._read("DELETE FROM app.posts RETURNING 1", [])
        assert (await fetch("SELECT count(*) > 0 FROM app.posts", name))[0][0]
    finally:
        await app.close()


async def test_who_asks_for_the_same_at_the_same_time_waits_for_one_query(app):
    await rows(app, "users.summary")
    before = app.figures.queries
    found = await asyncio.gather(*(rows(app, "engagement.depth") for _ in range(20)))
    assert all(one == found[0] for one in found)
    assert app.figures.queries == before + 1
    await rows(app, "engagement.depth")
    assert (app.figures.queries, app.figures.from_cache > 0) == (before + 1, True)


async def test_a_database_that_is_away_or_refuses_is_told_without_the_password(caplog):
    for url, reason in (
        ("postgresql://reader:a-planted-password@127.0.0.1:1/x", "can not be reached"),
        (seeded.template().url("nowhere", "reader", "a-planted-password"), "can not be reached"),
    ):
        app = AppDatabase(Settings(url=url))
        app.start()
        try:
            with pytest.raises(SourceAway, match=reason) as told:
                await rows(app, "users.summary")
            assert "a-planted-password" not in str(told.value) + str(app.figures) + caplog.text
        finally:
            await app.close()
