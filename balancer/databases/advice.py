"""What is wrong with a database by its own figures, and what to do: a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from balancer.telemetry.database_figures import DatabaseProblem, PostgresFigures, PostgresSession, RedisDetails

HITS: Final = 0.90
READS: Final = 10_000
"""Blocks: fewer are those of a server that has just begun."""
CONNECTIONS: Final = 0.80
TRANSACTION: Final = 300.0
LAG: Final = 30.0
WAIT: Final = 30.0
DEADLOCKS: Final = 600.0
"""Seconds for which a deadlock is remembered: it is over when it is seen."""
RETAINED: Final = 1024**3
FREEZE: Final = 1_000_000_000
"""Half of the transactions that there are numbers for; by itself the server freezes at 200 million."""
MEMORY: Final = 0.90

About = Literal[
    "cache_hit_ratio",
    "connections",
    "dead_tuples",
    "deadlocks",
    "lag",
    "locks",
    "slots",
    "transaction",
    "transaction_ids",
]


def of_postgres(it: PostgresFigures, deadlocks: int) -> Iterator[DatabaseProblem]:
    """`deadlocks` is how many there were in the last `DEADLOCKS` seconds."""
    for about, message in (
        *_cache(it),
        *_connections(it),
        *_transactions(it),
        *_waiting(it),
        *_lag(it),
        *_dead(it),
        *_slots(it),
        *_ids(it),
    ):
        yield DatabaseProblem(about=about, message=message)
    if deadlocks:
        times = "a deadlock was" if deadlocks == 1 else f"{deadlocks} deadlocks were"
        message = (
            f"{times} ended by the server in the last ten minutes: its log has the statements; lock rows in the same "
            "order everywhere, and keep transactions short"
        )
        yield DatabaseProblem(about="deadlocks", message=message)


Found = Iterator[tuple[About, str]]


def _cache(it: PostgresFigures) -> Found:
    counts = it.database
    if counts is None or counts.cache_hit_ratio is None or counts.blocks_read <= READS:
        return
    recent = counts.cache_hit_ratio_recent
    if counts.cache_hit_ratio < HITS and (recent is None or recent < HITS):
        yield (
            "cache_hit_ratio",
            f"only {counts.cache_hit_ratio:.0%} of blocks were found in the server's memory: raise shared_buffers, or "
            "find what reads whole tables (sequential_scans of tables, hit_ratio of statements)",
        )


def _connections(it: PostgresFigures) -> Found:
    used = it.connections
    if used is not None and used.used > CONNECTIONS * used.max:
        yield (
            "connections",
            f"{used.used} of {used.max} connections are taken: make the pools of the app smaller, put a pooler in "
            "between, or raise max_connections",
        )


def _transactions(it: PostgresFigures) -> Found:
    longest = it.sessions[0] if it.sessions else None
    if longest is not None and (longest.transaction_s or 0) > TRANSACTION:
        idle = (longest.state or "").startswith("idle in transaction")
        advice = "idle_in_transaction_session_timeout ends such by itself" if idle else "statement_timeout bounds such"
        yield (
            "transaction",
            f"a transaction is open for {_time(longest.transaction_s)} ({_who(longest)}), and no dead rows are removed "
            f"meanwhile: end it with SELECT pg_terminate_backend({longest.pid}); {advice}",
        )


def _waiting(it: PostgresFigures) -> Found:
    blocked = it.locks.blocked if it.locks is not None else []
    longest = max(blocked, key=lambda one: one.waiting_s or 0, default=None)
    if longest is not None and (longest.waiting_s or 0) > WAIT:
        by = " and ".join(_who(session) for session in longest.blocked_by[:3]) or "others"
        yield (
            "locks",
            f"{_who(longest.session)} waits for a lock for {_time(longest.waiting_s)}, which {by} has: let that end, "
            f"or end it with pg_terminate_backend",
        )


def _lag(it: PostgresFigures) -> Found:
    behind = max(it.replication, key=lambda one: one.lag_s or 0, default=None)
    if behind is not None and (behind.lag_s or 0) > LAG:
        yield (
            "lag",
            f"the standby {behind.application or behind.address or '?'} is {_time(behind.lag_s)} behind: look at its "
            "load and the network; long queries there hold replay up (max_standby_streaming_delay)",
        )
    replay = it.replay
    if replay is not None and (replay.lag_s or 0) > LAG:
        why = "its replay is paused: SELECT pg_wal_replay_resume()" if replay.paused else None
        why = why or ("look at its load" if replay.streaming else "it is not connected to its primary: see its log")
        yield "lag", f"this standby is {_time(replay.lag_s)} behind: {why}"


def _dead(it: PostgresFigures) -> Found:
    bloated = it.tables.bloated if it.tables is not None else []
    if bloated:
        worst = bloated[0]
        more = f" (and {len(bloated) - 1} more)" if len(bloated) > 1 else ""
        yield (
            "dead_tuples",
            f"{worst.dead_ratio or 0:.0%} of the rows of {worst.name} are dead{more}: VACUUM (ANALYZE) {worst.name}; "
            "or end the old transaction or slot that holds them, or lower its autovacuum_vacuum_scale_factor",
        )


def _slots(it: PostgresFigures) -> Found:
    for slot in it.slots:
        if not slot.active and (slot.retained_bytes or 0) > RETAINED:
            yield (
                "slots",
                f"the slot {slot.name} is not in use and keeps {(slot.retained_bytes or 0) / 1024**3:.1f} GiB of log, "
                f"which fills the disk: start who reads it, or SELECT pg_drop_replication_slot('{slot.name}')",
            )
            return


def _ids(it: PostgresFigures) -> Found:
    age = it.transaction_id_age or 0
    if age > FREEZE:
        yield (
            "transaction_ids",
            f"the oldest transaction that is not frozen is {age:,} ago, and at 2 billion the server stops: "
            "see why autovacuum does not get to it (old transactions, slots), and VACUUM (FREEZE) the oldest tables",
        )


def of_redis(it: RedisDetails) -> Iterator[DatabaseProblem]:
    # With any other policy, full is what it should be.
    full = it.max_memory and it.used_memory is not None and it.used_memory > MEMORY * it.max_memory
    if full and it.memory_policy == "noeviction":
        message = "more than 90% of maxmemory is taken, and nothing is evicted (noeviction): raise it, or store less"
        yield DatabaseProblem(about="memory", message=message)
    if it.rdb_ok is False or (it.aof and it.aof_ok is False):
        what = "the last snapshot" if it.rdb_ok is False else "the log of writes"
        message = f"{what} could not be written: look at its disk and its log, as it may refuse writes meanwhile"
        yield DatabaseProblem(about="persistence", message=message)
    if it.link_up is False:
        message = "this replica is not connected to what it follows: see its log, and whether that is up"
        yield DatabaseProblem(about="lag", message=message)
    behind = max(it.replicas, key=lambda one: one.lag_s or 0, default=None)
    if behind is not None and (behind.lag_s or 0) > LAG:
        message = f"the replica {behind.address} was not heard of for {_time(behind.lag_s)}: look at it and the network"
        yield DatabaseProblem(about="lag", message=message)
    if it.clients is not None and it.max_clients and it.clients > CONNECTIONS * it.max_clients:
        message = f"{it.clients} of {it.max_clients} connections are taken: use pools in the app, or raise maxclients"
        yield DatabaseProblem(about="connections", message=message)


def _who(session: PostgresSession) -> str:
    named = [session.user or "", session.application or "", session.state or ""]
    return ", ".join([f"pid {session.pid}", *(name for name in named if name)])


def _time(seconds: float | None) -> str:
    whole = round(seconds or 0)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
