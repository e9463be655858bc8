"""/api/monitoring/database, and what of it is in metrics and in health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from balancer.databases.service import Databases
from config.databases import Database
from tests.api.desk import Desk
from tests.postgres_server import postgres

DATABASE = "/api/monitoring/database"
METRICS, HEALTH = "/api/monitoring/metrics", "/api/monitoring/health"


@asynccontextmanager
async def watching(desk: Desk, patience: float = 10.0, **databases: Database) -> AsyncIterator[Databases]:
    found = desk.services.databases = Databases(desk.services.redis, patience=patience)
    await found.change(databases)
    try:
        yield found
    finally:
        await found.close()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of a server that takes connections and never says anything."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"postgresql://u:a-planted-password@127.0.0.1:{server.sockets[0].getsockname()[1]}/x?sslmode=disable"
    finally:
        done.set()
        server.close()


async def test_with_none_there_is_the_balancers_own_redis(desk: Desk) -> None:
    answer = await desk.ask("GET", DATABASE, role="viewer")
    assert answer.status == 200
    assert list(answer.at("databases")) == ["redis"]  # type: ignore[arg-type]  # it is an object
    assert answer.at("databases", "redis", "reason") == "not configured: redis.url is empty"
    assert (await desk.ask("GET", DATABASE, role=None)).status == 401


async def test_one_without_a_url_says_so_and_is_no_bad_health(desk: Desk) -> None:
    async with watching(desk, app=Database()):
        answer = await desk.ask("GET", METRICS)
        assert answer.at("databases", "app", "ok") is None
        assert answer.at("databases", "app", "reason") == "not configured: databases.app.url is empty"
        health = await desk.ask("GET", HEALTH)
        assert health.at("status") == "ok"
        assert health.at("checks", "database app", "status") == "unknown"


async def test_nobody_waits_for_one_that_never_answers(desk: Desk) -> None:
    async with silent() as url, watching(desk, 0.05, app=Database(url=url, timeout=600)):
        for path in (METRICS, DATABASE, f"{DATABASE}?fresh=true"):
            answer = await desk.ask("GET", path)
            assert answer.status == 200
            assert answer.at("databases", "app", "ok") is None
            assert answer.at("databases", "app", "reason") == "not asked yet"
        assert (await desk.ask("GET", HEALTH)).at("status") == "ok"
        assert b"balancer_database_up" in (await desk.ask("GET", "/metrics", role=None)).content


async def test_one_that_is_away_is_told_in_its_own_entry_and_without_its_password(desk: Desk) -> None:
    async with silent() as url, watching(desk, app=Database(url=url, timeout=0.05), other=Database()):
        answer = await desk.ask("GET", f"{DATABASE}?fresh=true")
        assert answer.at("databases", "app", "ok") is False
        assert answer.at("databases", "app", "reason") == "no answer within 0.05 s"
        assert answer.at("databases", "other", "ok") is None
        health = await desk.ask("GET", HEALTH)
        assert (health.status, health.at("status")) == (200, "degraded")
        page = await desk.ask("GET", "/metrics", role=None)
        assert b'balancer_database_up{database="app",kind="postgres"} 0' in page.content
        for told in (answer, health, page):
            assert b"planted" not in told.content


@pytest.mark.slow
async def test_texts_of_queries_are_for_admins_alone_and_lists_are_as_long_as_asked(desk: Desk) -> None:
    server = postgres()
    server.run("DROP TABLE IF EXISTS one, other; CREATE TABLE one (id int); CREATE TABLE other (id int)")
    holder, waiter = await asyncpg.connect(server.url()), await asyncpg.connect(server.url())
    await holder.execute("BEGIN; LOCK TABLE one")
    waiting = asyncio.ensure_future(waiter.execute("SELECT 'planted' FROM one"))
    try:
        async with watching(desk, app=Database(url=server.url())) as databases, asyncio.timeout(20):
            while b"planted" not in (await desk.ask("GET", DATABASE)).content:
                await databases.watches["app"].look()
            for path in (DATABASE, METRICS):
                for role in ("admin", "operator", "viewer"):
                    content = (await desk.ask("GET", path, role=role)).content
                    assert (b"planted" in content) == (role == "admin" and path == DATABASE)
            few = await desk.ask("GET", f"{DATABASE}?tables=1")
            assert len(few.at("databases", "app", "tables", "items")) == 1  # type: ignore[arg-type]  # a list
            short = await desk.ask("GET", METRICS)
            assert short.at("databases", "app", "tables", "items") == []
            assert isinstance(short.at("databases", "app", "database", "cache_hit_ratio"), float)
            assert (await desk.ask("GET", f"{DATABASE}?tables=101")).status == 422
    finally:
        await holder.close()
        await waiting
        await waiter.close()
    server.run("DROP TABLE one, other")
