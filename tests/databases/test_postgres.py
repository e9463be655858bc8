"""A real PostgreSQL as it is told of: what it does, who blocks whom, and what is said while it is away."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from balancer.databases.advice import of_postgres
from balancer.databases.postgres import PostgresWatch
from balancer.databases.service import Databases
from balancer.redis_link import RedisLink
from balancer.telemetry.database_figures import PostgresConnections, PostgresCounts, PostgresFigures, PostgresSession
from config.databases import Database
from config.schema import Redis
from tests.postgres_server import PostgresServer, binaries, postgres
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture

pytestmark = pytest.mark.slow


@pytest.fixture
def database() -> Iterator[str]:
    """A database of the test's own, by its name."""
    server = postgres()
    name = f"watched_{id(object())}"
    server.database(name)
    server.run("CREATE TABLE things (id int PRIMARY KEY, n int); INSERT INTO things VALUES (1, 1), (2, 2)", name)
    yield name
    server.run(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def watch(database: str) -> AsyncIterator[PostgresWatch]:
    found = PostgresWatch(Database(url=postgres().url(database)))
    yield found
    await found.close()


async def test_what_it_does_is_told_with_rates_from_two_looks(watch: PostgresWatch, database: str) -> None:
    await watch.look()
    first = watch.figures
    assert (first.ok, first.reason, first.role, first.visible) == (True, None, "primary", "everything")
    assert first.database is not None
    assert first.database.rates == {}
    assert first.database.rates_reason == "there was only one look so far"
    connection = await asyncpg.connect(postgres().url(database))
    for _ in range(50):
        await connection.execute("UPDATE things SET n = n + 1")
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.close()
    await asyncio.sleep(0.05)  # a server counts a session's work once that is over
    await watch.look()
    second = watch.figures
    assert second.database is not None
    assert second.database.rates["rows_updated_per_s"] > 0
    assert second.database.rates["commits_per_s"] > 0
    assert second.database.size_bytes is not None
    assert second.connections is not None
    assert second.connections.max == 40
    assert second.tables is not None
    assert [table.name for table in second.tables.items] == ["public.things"]


async def test_who_waits_for_whom_is_told_by_name(watch: PostgresWatch, database: str) -> None:
    url = postgres().url(database)
    holder = await asyncpg.connect(url, server_settings={"application_name": "holder"})
    waiter = await asyncpg.connect(url, server_settings={"application_name": "waiter"})
    await holder.execute("BEGIN; UPDATE things SET n = 0 WHERE id = 1")
    waiting = asyncio.ensure_future(waiter.execute("UPDATE things SET n = 5 WHERE id = 1"))
    try:
        async with asyncio.timeout(10):
            while (locks := watch.figures.locks) is None or not locks.blocked:
                await watch.look()
        (blocked,) = locks.blocked
        assert blocked.session.application == "waiter"
        assert [one.application for one in blocked.blocked_by] == ["holder"]
        assert locks.waiting == 1
        connections = watch.figures.connections
        assert connections is not None
        assert (connections.waiting_on_lock, connections.idle_in_transaction) == (1, 1)
    finally:
        await holder.close()
        await waiting
        await waiter.close()


async def test_who_may_not_see_others_is_told_what_to_grant(database: str) -> None:
    server = postgres()
    server.run("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN PASSWORD 'x'")
    watch = PostgresWatch(Database(url=server.url(database, "plain", "x")))
    try:
        await watch.look()
        figures = watch.figures
        assert (figures.ok, figures.visible) == (True, "own sessions only")
        assert "GRANT pg_monitor" in figures.missing["sessions"]
    finally:
        await watch.close()


async def test_a_server_that_is_killed_and_comes_back_is_told_and_nothing_else_waits(tmp_path: Path) -> None:
    found = binaries()
    if found is None:
        pytest.skip("there is no PostgreSQL on this machine")
    with tempfile.TemporaryDirectory(prefix="balancer-postgres-") as name:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o755)
        server = PostgresServer(folder, found)
        await asyncio.to_thread(server.make)
        await asyncio.to_thread(server.start)
        databases = Databases(RedisLink(Redis()))
        await databases.change({"app": Database(url=server.url(user="tester", password="a-planted-password"))})
        try:
            await databases.refresh()
            assert databases.problems() == {"app": (True, None)}
            await asyncio.to_thread(server.kill)
            watch = databases.watches["app"]
            assert isinstance(watch, PostgresWatch)
            await watch.look()
            ok, reason = databases.problems()["app"]
            assert ok is False
            assert reason
            assert "a-planted-password" not in reason
            assert watch.figures.database is not None  # as it was seen last, with its age
            await asyncio.to_thread(server.start)
            await watch.look()
            assert databases.problems() == {"app": (True, None)}
        finally:
            await databases.close()
            await asyncio.to_thread(server.stop)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://u:a-planted-password@127.0.0.1:1/x", "connection refused at 127.0.0.1:1"),
        ("postgresql://nobody-here:a-planted-password@127.0.0.1:{port}/x", "does not exist"),
    ],
)
async def test_what_can_not_be_reached_is_told_without_its_password(url: str, reason: str) -> None:
    watch = PostgresWatch(Database(url=url.format(port=postgres().port)))
    try:
        await watch.look()
        assert watch.figures.ok is False
        assert reason in (watch.figures.reason or "")
        assert "a-planted-password" not in watch.figures.model_dump_json()
    finally:
        await watch.close()


async def test_a_redis_is_told_of_beside_it(redis_server: RedisServer) -> None:
    databases = Databases(RedisLink(Redis()))
    await databases.change({"sessions": Database(url=redis_server.url)})
    try:
        await databases.refresh()
        report = databases.reports()["sessions"]
        assert report.ok
        assert report.redis is not None
        assert (report.redis.role, report.redis.slow_commands is not None) == ("master", True)
        assert report.problems == []
    finally:
        await databases.close()


def figures(**other: object) -> PostgresFigures:
    bare: dict[str, object] = {
        "ok": True,
        "reason": None,
        "server": "h/db",
        "latency": 0.001,
        "checked": None,
        "seen": None,
        "age": 0.0,
    }
    return PostgresFigures.model_validate({**bare, **other})


def session(**other: object) -> PostgresSession:
    bare = dict.fromkeys(PostgresSession.model_fields)
    return PostgresSession.model_validate({**bare, "pid": 7, **other})


def test_what_is_wrong_is_a_sentence_with_what_to_do() -> None:
    assert list(of_postgres(figures(), 0)) == []
    counts = dict.fromkeys(PostgresCounts.model_fields, 0) | {
        "cache_hit_ratio": 0.5,
        "cache_hit_ratio_recent": 0.6,
        "blocks_read": 20_000,
        "rates": {},
        "rates_reason": None,
        "stats_reset": None,
    }
    used = PostgresConnections(
        used=90, max=100, reserved=3, active=1, idle=89, idle_in_transaction=0, waiting_on_lock=0
    )
    ill = figures(
        database=counts,
        connections=used,
        sessions=[session(transaction_s=400.0, state="idle in transaction", application="worker")],
    )
    told = {one.about: one.message for one in of_postgres(ill, 2)}
    assert set(told) == {"cache_hit_ratio", "connections", "transaction", "deadlocks"}
    assert "only 50% of blocks" in told["cache_hit_ratio"]
    assert "90 of 100 connections" in told["connections"]
    assert "pg_terminate_backend(7)" in told["transaction"]
    assert "2 deadlocks" in told["deadlocks"]
