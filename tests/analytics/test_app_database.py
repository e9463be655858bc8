"""Reports from a real PostgreSQL with the documented schema: true, the same under other names, and never in its way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from balancer.analytics.app_database import database
from balancer.analytics.app_database.database import AppDatabase
from balancer.analytics.app_database.needs import NEEDS, OF_COMMUNITY, WHOLE
from balancer.analytics.buckets import starts
from balancer.analytics.periods import Period
from balancer.analytics.reports import EIGHT, Asking, Wish
from balancer.analytics.source import QUERIES, Asked, Row, SourceAway, TimedOut, Unavailable
from config.load import load
from config.problems import ConfigError
from config.schema import AppDatabase as Settings
from tests.analytics import seeded
from tests.fault_proxy import fault_proxy

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


@asynccontextmanager
async def opened(name: str = "community", **other: Any) -> AsyncIterator[AppDatabase]:
    found = AppDatabase(settings(name, **other))
    found.start()
    try:
        yield found
    finally:
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
        assert app.missing("post_activity.series", asked()) == {
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


async def test_a_query_that_the_database_refuses_takes_nothing_from_the_others():
    name = seeded.copy()
    seeded.template().run(
        """CREATE VIEW app.broken AS SELECT id, community_id, author_id, title,
             created_at + (id / (id - id)) * interval '1 second' AS created_at FROM app.posts;
        CREATE VIEW app.quoting AS SELECT *, ('about-' || username)::int > 0 AS automatic FROM app.users;
        GRANT SELECT ON app.broken, app.quoting TO reader""",
        name,
    )
    mapping = {"posts": {"table": "broken"}, "users": {"table": "quoting", "is_bot": "automatic"}}
    async with opened(name, mapping=mapping) as app:
        before = await rows(app, "reports.summary")
        with pytest.raises(SourceAway, match="refused the query: DivisionByZeroError"):
            await rows(app, "post_activity.heatmap")
        asked_so_far = app.figures.queries
        assert await rows(app, "reports.summary") == before
        assert app.figures.queries == asked_so_far  # it was kept
        assert await rows(app, "community_growth.series")
        with pytest.raises(SourceAway) as told:
            await rows(app, "user_growth.series")
        assert "about-" not in str(told.value)  # nothing of what is in tables


async def test_tables_that_change_are_looked_at_again(monkeypatch):
    monkeypatch.setattr(database, "AGAIN", 0.0)
    name = seeded.copy()
    async with opened(name, cache=0.0) as app:
        assert total(await rows(app, "post_activity.series"), "posts_removed") > 0
        seeded.template().run("ALTER TABLE app.posts DROP removed_at", name)
        kept, age = await app.answer("post_activity.series", asked())
        assert (total(kept, "posts_removed") > 0, age is not None) == (True, True)
        looking = app._task
        assert looking is not None
        await looking
        assert {row["posts_removed"] for row in await rows(app, "post_activity.series")} == {None}


async def test_what_people_write_is_text_whatever_it_looks_like():
    name = seeded.copy()
    seeded.template().run("""UPDATE app.posts SET title = '{}'; UPDATE app.users SET username = '{"a": 1}'""", name)
    async with opened(name) as app:
        assert {row["title"] for row in await rows(app, "post_activity.top")} == {"{}"}
        assert {row["username"] for row in await rows(app, "users.top")} == {'{"a": 1}'}


async def test_what_a_column_would_have_told_is_unknown_and_never_0():
    name = seeded.copy()
    seeded.template().run(
        """ALTER TABLE app.reactions DROP target_id; ALTER TABLE app.posts DROP community_id;
        ALTER TABLE app.reports DROP community_id, DROP status, DROP resolved_at;
        ALTER TABLE app.moderation_actions DROP moderator_id, DROP report_id, DROP community_id""",
        name,
    )
    async with opened(name) as app:
        for query, unknown in (
            ("post_activity.top", {"community_id", "reactions", "score"}),
            ("users.top", {"reactions_received", "upheld_against"}),
            ("communities.table", {"posts", "comments", "active_users", "reports", "open_reports"}),
            (
                "reports.summary",
                {"upheld", "rejected", "ignored", "still_open", "resolved_of_opened"}
                | {"median_resolution_s", "p90_resolution_s", "oldest_open_age_s"},
            ),
        ):
            found = await rows(app, query)
            assert set(app.missing(query, asked())) == unknown
            assert all(row[column] is None for row in found for column in unknown)
            assert any(value for row in found for column, value in row.items() if column not in unknown)
        with pytest.raises(Unavailable, match=re.escape("moderation_actions.moderator_id is not mapped")):
            await rows(app, "moderation.moderators")
        for query in OF_COMMUNITY:
            if query != "moderation.moderators":
                assert await rows(app, query)
                with pytest.raises(Unavailable, match="community_id is not mapped"):
                    await rows(app, query, community="1")


@pytest.mark.parametrize("entity", ["users", "communities", "memberships", "posts", "comments", "reactions", "reports"])
async def test_an_app_that_has_none_of_something_has_all_reports_of_the_rest(entity):
    without = {query for query, needs in NEEDS.items() if entity in {n.partition(".")[0] for n in needs[WHOLE].of}}
    async with opened(mapping={entity: None}) as app:
        for query in set(QUERIES) - {"events.series"} - without:
            assert await rows(app, query), query
        for query in without:
            with pytest.raises(Unavailable, match=f"{entity} are not mapped"):
                await rows(app, query)
        for name, report in EIGHT.items():
            asking = Asking(name, Wish(Period(SINCE, UNTIL, "day", "Europe/Berlin")), [app.source()], str)
            await report(asking)
            done = asking.done()
            assert all(figure.reason for figure in done.summary.values() if figure.value is None), done.summary


async def test_who_was_seen_lately_is_known_of_now_alone(app):
    query, reason = "users.summary", "only the last time that somebody was seen is known, which tells nothing of before"
    assert (await rows(app, query))[0]["seen_30d"] is None
    assert app.missing(query, asked()) == {"seen_30d": reason}
    now = {"since": SINCE, "until": datetime.now(UTC)}
    assert (await rows(app, query, **now))[0]["seen_30d"] is not None
    assert app.missing(query, asked(**now)) == {}


async def test_who_is_active_is_counted_by_what_the_app_has_and_not_at_all_where_something_is_lost():
    ((plain,),) = await fetch(
        """SELECT count(DISTINCT author_id) FROM (SELECT author_id, created_at FROM app.posts
           UNION ALL SELECT author_id, created_at FROM app.comments) x WHERE created_at >= $1 AND created_at < $2""",
        "community",
        SINCE,
        UNTIL,
    )
    async with opened(mapping={"reactions": None}) as app:
        (row,) = await rows(app, "engagement.depth")
        assert (row["active_users"], row["reacting_only"]) == (plain, None)
    async with opened(mapping={"reactions": {"table": "likes"}}) as app:
        with pytest.raises(Unavailable, match=re.escape("there is no table app.likes")):
            await rows(app, "engagement.depth")
        found = await rows(app, "post_activity.series")
        assert {row["reactions"] for row in found} == {None}
    async with opened(mapping={"posts": None, "comments": None, "reactions": None}) as app:
        with pytest.raises(Unavailable, match="posts are not mapped; comments are not mapped; reactions are not"):
            await rows(app, "engagement.active_users")


async def test_ids_of_any_type_are_compared_with_those_that_are_not_there():
    name = seeded.copy()
    seeded.template().run(
        """DO $$ DECLARE f record; BEGIN
             FOR f IN SELECT conrelid::regclass AS t, conname FROM pg_constraint WHERE contype = 'f' LOOP
               EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', f.t, f.conname); END LOOP; END $$;
        ALTER TABLE app.communities ALTER id TYPE uuid USING lpad(to_hex(id), 32, '0')::uuid;
        ALTER TABLE app.memberships ALTER community_id TYPE uuid USING lpad(to_hex(community_id), 32, '0')::uuid;
        ALTER TABLE app.posts DROP community_id; DROP TABLE app.comments""",
        name,
    )
    async with opened(name, mapping={"comments": None}) as app:
        for row in await rows(app, "communities.table"):
            assert (row["posts"], row["comments"], row["active_users"]) == (None, None, None)
            assert isinstance(row["id"], str)
        assert await rows(app, "post_activity.top")


async def test_a_database_that_is_killed_is_away_until_it_is_back(app):
    before = await rows(app, "users.summary")
    server = seeded.template()
    server.kill()
    try:
        with pytest.raises(SourceAway, match="can not be reached"):
            await rows(app, "reports.summary")
        assert app.figures.ok is False
        assert await rows(app, "users.summary") == before  # which is kept
    finally:
        server.start()
    assert await rows(app, "reports.summary")
    assert app.figures.ok is True


async def test_a_network_that_says_nothing_is_waited_for_no_longer_than_that(monkeypatch):
    monkeypatch.setattr(database, "CONNECT", 0.3)
    async with fault_proxy(seeded.template().port) as network:
        url = f"postgresql://reader:a-secret-of-the-reader@127.0.0.1:{network.port}/community"
        app = AppDatabase(Settings.model_validate({"url": url, "tables_in": "app", "statement_timeout": 0.3}))
        app.start()
        try:
            before = await rows(app, "users.summary")
            network.silent = True
            for query in ("reports.summary", "reports.series", "moderation.quality"):
                with pytest.raises(TimedOut):
                    await rows(app, query)
            assert await rows(app, "users.summary") == before
            network.silent = False
            assert await rows(app, "reports.summary")
        finally:
            await app.close()


async def test_a_server_without_tls_is_not_talked_to_where_tls_is_demanded(caplog):
    app = AppDatabase(Settings(url=settings().url + "?sslmode=require"))
    app.start()
    try:
        with pytest.raises(SourceAway, match="rejected SSL upgrade") as told:
            await rows(app, "users.summary")
        assert "a-secret-of-the-reader" not in str(told.value) + str(app.figures) + caplog.text
    finally:
        await app.close()


@pytest.mark.parametrize("parameter", ["schema=public", "pool_size=5&default_transaction_read_only=off"])
async def test_what_other_libraries_have_in_a_url_is_passed_over(parameter):
    url = settings().url.replace("postgresql://", "postgresql+asyncpg://") + f"?{parameter}"
    app = AppDatabase(Settings.model_validate({"url": url, "tables_in": "app"}))
    app.start()
    try:
        ((name, zone, read_only),) = await app._read(
            """SELECT current_setting('application_name'), current_setting('TimeZone'),
                      current_setting('transaction_read_only')""",
            [],
        )
        assert (name, zone, read_only) == ("balancer-analytics", "UTC", "on")
    finally:
        await app.close()


@pytest.mark.parametrize(
    "url", ["postgresql://reader:p/lanted@127.0.0.1/x", "postgresql://reader:pl@anted/planted@127.0.0.1/x"]
)
def test_a_url_that_can_not_be_read_is_refused_with_nothing_of_it(tmp_path, url):
    file = tmp_path / "balancer.yaml"
    file.write_text(f"pools:\n  app: [127.0.0.1:3000]\nanalytics:\n  database:\n    url: {url}\n")
    with pytest.raises(ConfigError) as told:
        load(file, {})
    assert f"{file}:5" in str(told.value)
    assert "lanted" not in str(told.value)


async def test_kept_answers_take_no_more_room_than_they_may(app, monkeypatch):
    monkeypatch.setattr(database, "KEPT_BYTES", 40_000)
    for day in range(12):
        await rows(app, "post_activity.series", until=UNTIL - timedelta(days=day))
    assert 0 < len(app._answers) < 12
    assert app._kept_bytes == sum(len(repr(kept.rows)) for kept in app._answers.values()) <= 40_000


def test_needs_are_of_columns_that_queries_have():
    assert set(NEEDS) == set(QUERIES) - {"events.series"}
    for table in (NEEDS, OF_COMMUNITY):
        for query, needs in table.items():
            assert WHOLE in needs
            assert set(needs) - {WHOLE} <= set(QUERIES[query])
