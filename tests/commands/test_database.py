"""`balancer database`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from api.databases import DatabasesAnswer, RedisAnswer
from balancer.commands.outcome import ERROR, OK, USAGE
from balancer.databases.redis import details
from balancer.redis_link import RedisState
from balancer.telemetry.database_figures import (
    DatabaseProblem,
    PostgresBlocked,
    PostgresConnections,
    PostgresCounts,
    PostgresFigures,
    PostgresLocks,
    PostgresSession,
    PostgresStandby,
    PostgresStatement,
    PostgresStatements,
    PostgresTable,
    PostgresTables,
)
from tests.commands.stand_in import Reply, balancer, stand_in

SHOW = "GET /api/monitoring/database?fresh=false&tables=10&statements=10"
NOW = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)


def session(pid: int, application: str) -> PostgresSession:
    named = {"pid": pid, "application": application, "user": "app", "state": "active"}
    return PostgresSession.model_validate(dict.fromkeys(PostgresSession.model_fields) | named)


def postgres(**changes: object) -> PostgresFigures:
    counts = dict.fromkeys(PostgresCounts.model_fields, 0) | {
        "size_bytes": 3 * 2**30,
        "cache_hit_ratio": 0.97,
        "stats_reset": None,
        "rates": {"commits_per_s": 12.0},
        "rates_reason": None,
    }
    table = dict.fromkeys(PostgresTable.model_fields, None) | {
        "name": "public.posts",
        "total_bytes": 2**20,
        "live_rows": 70,
        "dead_rows": 30,
        "dead_ratio": 0.3,
        "sequential_scans": 1,
    }
    statement = PostgresStatement(
        id="1", calls=3, total_ms=3000, mean_ms=1000, rows=1, hit_ratio=None, query="SELECT 1\x1b[2J"
    )
    said: dict[str, object] = {
        "ok": True,
        "reason": None,
        "server": "10.0.0.5:5432/app",
        "latency": 0.0012,
        "checked": NOW,
        "seen": NOW,
        "age": 0.0,
        "version": "17.2",
        "role": "primary",
        "visible": "everything",
        "database": counts,
        "connections": PostgresConnections(
            used=9, max=100, reserved=3, active=2, idle=6, idle_in_transaction=0, waiting_on_lock=1
        ),
        "locks": PostgresLocks(
            waiting=1,
            by_mode={},
            blocked=[PostgresBlocked(session=session(7, "web"), waiting_s=61, blocked_by=[session(8, "worker")])],
        ),
        "replication": [
            PostgresStandby(
                application="b", address=None, state="streaming", sync_state="async", lag_bytes=2048, lag_s=0.5
            )
        ],
        "tables": PostgresTables(at=NOW, items=[PostgresTable.model_validate(table)], bloated=[]),
        "statements": PostgresStatements(available=True, reason=None, at=NOW, top=[statement]),
        "missing": {"io": "PostgreSQL tells it from 16 on"},
    }
    return PostgresFigures.model_validate(said | changes)


def redis(**changes: object) -> RedisAnswer:
    info = {"redis_version": "7.2", "used_memory": str(2**20), "maxmemory": "0", "db0": "keys=5", "role": "master"}
    state = RedisState(True, None, 0.0004, NOW, info=info, at=1.0)
    bare = {"ok": True, "latency": 0.0004, "reason": None, "checked": NOW, "info": {}, "details": details(state, None)}
    return RedisAnswer.model_validate(bare | changes)


def reply(**databases: PostgresFigures | RedisAnswer) -> Reply:
    return Reply(json.loads(DatabasesAnswer(at=NOW, databases=databases).model_dump_json()))


def test_each_is_told_in_short_with_who_waits_for_whom() -> None:
    with stand_in({SHOW: reply(redis=redis(), app=postgres())}) as api:
        said = balancer("database", "--admin", api.url)
    assert said.code == OK
    for line in (
        "redis   up   Redis 7.2   0.4ms",
        "1.0 MiB   5 keys",
        "app   up   PostgreSQL 17.2 primary 10.0.0.5:5432/app   1.2ms",
        "9 of 100 connections (2 active, 6 idle, 1 waiting on lock)",
        "3.0 GiB   12.0 transactions/s",
        "pid 7, app, web, active waits 1m for pid 8, app, worker, active",
        "standby b   streaming   500ms, 2.0 KiB behind",
    ):
        assert line in said.out
    assert "public.posts" not in said.out


def test_one_is_told_with_its_tables_statements_and_what_is_not_known() -> None:
    with stand_in({SHOW: reply(redis=redis(), app=postgres())}) as api:
        said = balancer("database", "app", "--admin", api.url)
        other = balancer("database", "ap", "--admin", api.url)
    assert "Redis" not in said.out
    assert "public.posts" in said.out
    assert "30%" in said.out
    assert "SELECT 1" in said.out
    assert "\x1b" not in said.out
    assert "not known: io: PostgreSQL tells it from 16 on" in said.out
    assert other.code == USAGE
    assert "did you mean app?" in other.messages


def test_what_is_wrong_or_away_is_told_and_is_the_exit_code() -> None:
    problem = DatabaseProblem(
        about="lag", message="the standby b is 40 s behind: look", since=NOW - timedelta(minutes=3)
    )
    away = postgres(ok=False, reason="connection refused at 10.0.0.5:5432", latency=None, seen=NOW - timedelta(hours=2))
    for name, one, told in (
        ("ill", postgres(problems=[problem]), "! the standby b is 40 s behind: look (for 3m)"),
        (
            "away",
            away,
            "away   PostgreSQL 17.2 primary 10.0.0.5:5432/app   connection refused at 10.0.0.5:5432   as of 2h ago:",
        ),
        ("lost", redis(ok=False, details=None, latency=None, reason="no answer"), "lost   away   no answer"),
    ):
        with stand_in({SHOW: reply(**{name: one})}) as api:
            said = balancer("database", "--admin", api.url)
        assert said.code == ERROR
        assert told in said.out


def test_who_may_not_see_others_is_told_instead_of_zeros() -> None:
    with stand_in({SHOW: reply(app=postgres(visible="own sessions only"))}) as api:
        said = balancer("database", "--admin", api.url)
    assert "9 of 100 connections (others can not be seen: GRANT pg_monitor)" in said.out
