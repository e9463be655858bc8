"""What takes a PostgreSQL of its own: passwords, statements, freezing, a standby. With each version that is here."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from balancer.databases.postgres import PostgresWatch
from balancer.telemetry.database_figures import PostgresFigures
from config.databases import Database
from tests.postgres_server import SUPERUSER, PostgresServer, binaries

pytestmark = pytest.mark.slow

SYSTEM = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
HERE = [folder for folder in dict.fromkeys([binaries(), *SYSTEM]) if folder is not None]


FOUND = "SELECT FROM pg_class WHERE relname = 'written_there'"


def made(folder: Path, programs: Path) -> PostgresServer:
    folder.chmod(0o755)
    return PostgresServer(folder, programs)


@pytest.fixture(scope="module", params=HERE, ids=lambda programs: programs.parts[-2])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """With pg_stat_statements, a user `secured` who needs a password, and one who may see everything."""
    with tempfile.TemporaryDirectory(prefix="balancer-postgres-") as name:
        found = made(Path(name), request.param)
        found.make()
        access = found.data / "pg_hba.conf"
        access.write_text("host all secured 127.0.0.1/32 scram-sha-256\n" + access.read_text())
        found.start(shared_preload_libraries="pg_stat_statements", track_io_timing="on")
        try:
            found.run(
                "CREATE EXTENSION pg_stat_statements; CREATE ROLE secured LOGIN PASSWORD 'planted-one';"
                "CREATE ROLE watching LOGIN; GRANT pg_monitor TO watching"
            )
            yield found
        finally:
            found.stop()


@asynccontextmanager
async def watching(url: str, timeout: float = 5.0) -> AsyncIterator[PostgresWatch]:  # noqa: ASYNC109  # of the looks
    watch = PostgresWatch(Database(url=url, timeout=timeout))
    try:
        yield watch
    finally:
        await watch.close()


async def seen(watch: PostgresWatch) -> PostgresFigures:
    await watch.look()
    return watch.figures


async def test_each_version_tells_what_it_has_and_says_what_it_has_not(server: PostgresServer) -> None:
    async with watching(server.url(user="watching")) as watch:
        figures = await seen(watch)
    assert (figures.ok, figures.reason, figures.visible) == (True, None, "everything")
    assert figures.version is not None
    major = int(figures.version.partition(".")[0])
    assert figures.missing.keys() == ({"io"} if major < 16 else set())
    assert (figures.io is None) == (major < 16)
    assert figures.checkpoints is not None
    assert figures.wal_bytes
    assert figures.database is not None
    assert figures.database.block_read_s is not None
    assert figures.statements is not None
    assert figures.statements.available
    texts = [one.query or "" for one in figures.statements.top]
    assert any("CREATE ROLE secured" in text for text in texts)
    assert "planted-one" not in "".join(texts)


async def test_a_look_changes_nothing_and_counts_as_one_transaction(server: PostgresServer) -> None:
    async with watching(server.url()) as watch:
        await seen(watch)
        connection = await asyncpg.connect(server.url())
        try:
            (pid,) = await connection.fetchrow("SELECT pid FROM pg_stat_activity WHERE application_name = 'balancer'")
            state = await connection.fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", pid)
            assert state == "idle"
            assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE pid = $1", pid) == 0
        finally:
            await connection.close()
        await watch._connection.execute("BEGIN READ ONLY")  # type: ignore[union-attr]  # it is connected
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await watch._connection.execute("CREATE TABLE written (id int)")  # type: ignore[union-attr]


async def test_a_wrong_password_is_told_without_it_and_no_statement_of_others_is_seen(server: PostgresServer) -> None:
    async with watching(server.url(user="secured", password="planted-two")) as watch:
        figures = await seen(watch)
        assert (figures.ok, figures.reason) == (False, 'password authentication failed for user "secured"')
        assert "planted" not in figures.model_dump_json()
    async with watching(server.url(user="secured", password="planted-one")) as watch:
        figures = await seen(watch)
    assert (figures.ok, figures.visible) == (True, "own sessions only")
    assert figures.statements is not None
    others = [one for one in figures.statements.top if one.id is None]
    assert {one.query for one in others} == {"<insufficient privilege>"}


async def test_one_that_is_frozen_costs_no_more_than_its_time_and_comes_back(server: PostgresServer) -> None:
    async with watching(server.url(), timeout=0.5) as watch:
        assert (await seen(watch)).ok is True
        connection = await asyncpg.connect(server.url())
        pid = await connection.fetchval("SELECT pid FROM pg_stat_activity WHERE application_name = 'balancer'")
        await connection.close()
        frozen = [pid, server.pid]
        for one in frozen:
            os.kill(one, signal.SIGSTOP)
        try:
            for _ in range(2):
                figures = await seen(watch)
                assert (figures.ok, figures.reason) == (False, "no answer within 0.5 s")
                assert figures.database is not None, "what was seen last is still told"
            assert watch.pause() > 3.0, "it is left alone for longer and longer"
        finally:
            for one in frozen:
                os.kill(one, signal.SIGCONT)
        async with asyncio.timeout(10):
            while not (await seen(watch)).ok:
                pass


async def test_a_table_that_is_locked_as_a_whole_holds_nobody_up(server: PostgresServer) -> None:
    server.run("CREATE TABLE locked (id int)")
    holder = await asyncpg.connect(server.url())
    try:
        await holder.execute("BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        async with watching(server.url()) as watch:
            figures = await seen(watch)
        assert figures.tables is not None
        assert {one.name: one.total_bytes for one in figures.tables.items}["public.locked"] is None
    finally:
        await holder.close()
        server.run("DROP TABLE locked")


async def test_dead_rows_and_a_deadlock_are_told_with_what_to_do(server: PostgresServer) -> None:
    server.run(
        'CREATE TABLE "Odd name" (id int PRIMARY KEY, n int) WITH (autovacuum_enabled = off);'
        'INSERT INTO "Odd name" SELECT g, 0 FROM generate_series(1, 3000) g; UPDATE "Odd name" SET n = 1'
    )
    async with watching(server.url()) as watch:
        await seen(watch)
        one, other = await asyncpg.connect(server.url()), await asyncpg.connect(server.url())
        for connection, first in ((one, 1), (other, 2)):
            await connection.execute("SET deadlock_timeout = '10ms'; BEGIN")
            await connection.execute(f'UPDATE "Odd name" SET n = 2 WHERE id = {first}')
        ends = await asyncio.gather(
            one.execute('UPDATE "Odd name" SET n = 2 WHERE id = 2'),
            other.execute('UPDATE "Odd name" SET n = 2 WHERE id = 1'),
            return_exceptions=True,
        )
        assert [type(end) for end in ends].count(asyncpg.DeadlockDetectedError) == 1
        await one.close()
        await other.close()
        async with asyncio.timeout(10):
            while "deadlocks" not in (told := {it.about: it for it in (await seen(watch)).problems}):
                pass
        since = told["deadlocks"].since
        assert since is not None
        assert {it.about: it.since for it in (await seen(watch)).problems}["deadlocks"] == since
    async with watching(server.url()) as watch:
        told = {it.about: it for it in (await seen(watch)).problems}
    assert 'VACUUM (ANALYZE) public."Odd name"' in told["dead_tuples"].message
    server.run('DROP TABLE "Odd name"')


async def test_counters_that_begin_anew_make_no_rate(server: PostgresServer) -> None:
    async with watching(server.url()) as watch:
        await seen(watch)
        second = await seen(watch)
        assert second.database is not None
        assert second.database.rates["commits_per_s"] >= 0
        server.run("SELECT pg_stat_reset()")
        third = await seen(watch)
    assert third.database is not None
    assert third.database.rates == {}
    assert third.database.rates_reason == "the counters began anew since the last look"


async def test_a_standby_tells_how_far_it_is_and_its_primary_knows_it(server: PostgresServer) -> None:
    with tempfile.TemporaryDirectory(prefix="balancer-postgres-") as name:
        standby = await asyncio.to_thread(made, Path(name), server.bin)
        copy = ["-h", "127.0.0.1", "-p", str(server.port), "-U", SUPERUSER, "-D", str(standby.data)]
        await asyncio.to_thread(
            standby._run, "pg_basebackup", *copy, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", "standby"
        )
        await asyncio.to_thread(standby.start)
        try:
            async with watching(server.url()) as primary, watching(standby.url()) as follower:
                async with asyncio.timeout(20):
                    while True:
                        above, below = await seen(primary), await seen(follower)
                        if above.replication and below.replay is not None and below.replay.streaming:
                            break
                (one,) = above.replication
                assert one.state in ("catchup", "streaming")
                assert [(slot.name, slot.active) for slot in above.slots] == [("standby", True)]
                assert (above.role, below.role) == ("primary", "standby")
                assert below.wal_bytes is None
                server.run("CREATE TABLE written_there (id int)")
                async with asyncio.timeout(20):
                    while (await asyncio.to_thread(standby.run, FOUND)) != "SELECT 1":
                        pass
                await asyncio.to_thread(standby.run, "SELECT pg_wal_replay_pause()")
                server.run("INSERT INTO written_there VALUES (1)")
                async with asyncio.timeout(20):
                    while not (replay := (await seen(follower)).replay) or not replay.lag_bytes:
                        pass
                assert replay.paused
                assert replay.lag_s
                async with asyncio.timeout(20):
                    while not ((behind := (await seen(primary)).replication) and behind[0].lag_bytes):
                        pass
        finally:
            await asyncio.to_thread(standby.kill)
            server.run("SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active")
            server.run("SELECT pg_drop_replication_slot('standby'); DROP TABLE IF EXISTS written_there")
