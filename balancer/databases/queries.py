"""What a PostgreSQL is asked about itself, from version 12 on.

Each look is one read-only transaction, so that it counts as one, and what it sees is of one moment. Names are those of
`pg_catalog`, which is all that is searched.
"""

from __future__ import annotations

from typing import Final

OLDEST: Final = 120000
"""`server_version_num` from which on these are known to work."""
TEXT: Final = 200
"""Characters of a statement that are told."""

SERVER: Final = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
       pg_postmaster_start_time() AS started, current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int AS reserved,
       current_setting('track_io_timing')::bool AS io_timing,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
           OR pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       (SELECT max(age(datfrozenxid)) FROM pg_database) AS transaction_id_age,
       (SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE extname = 'pg_stat_statements') AS statements_schema,
       (SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements') AS statements_version
"""

DATABASE: Final = """
SELECT xact_commit AS commits, xact_rollback AS rollbacks, blks_read AS blocks_read, blks_hit AS blocks_hit,
       tup_returned AS rows_returned, tup_fetched AS rows_fetched, tup_inserted AS rows_inserted,
       tup_updated AS rows_updated, tup_deleted AS rows_deleted, conflicts, temp_files, temp_bytes, deadlocks,
       checksum_failures, blk_read_time / 1000 AS block_read_s, blk_write_time / 1000 AS block_write_s, stats_reset,
       (SELECT sum(numbackends) FROM pg_stat_database)::int AS backends
FROM pg_stat_database WHERE datname = current_database()
"""

ACTIVITY: Final = """
SELECT count(*) FILTER (WHERE state = 'active') AS active, count(*) FILTER (WHERE state = 'idle') AS idle,
       count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
       count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting_on_lock, count(*) + 1 AS clients,
       coalesce(max(extract(epoch FROM clock_timestamp() - query_start)) FILTER (WHERE state = 'active'), 0)::float8
           AS longest_query_s,
       coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS longest_transaction_s
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

_SESSION: Final = f"""
pid, usename::text AS "user", application_name AS application, datname::text AS database, state,
wait_event_type AS waits, wait_event AS waits_for,
extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s,
extract(epoch FROM clock_timestamp() - query_start)::float8 AS query_s, left(query, {TEXT}) AS query
"""

SESSIONS: Final = f"""
SELECT {_SESSION} FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '1 s'
ORDER BY xact_start LIMIT 10
"""

# Locks on rows belong to no database, only those who have them do.
LOCKS: Final = """
SELECT mode, count(*) FILTER (WHERE granted) AS held, array_agg(DISTINCT pid) FILTER (WHERE NOT granted) AS waiting
FROM pg_locks WHERE pid IN (SELECT pid FROM pg_stat_activity
                            WHERE datname = current_database() AND pid <> pg_backend_pid()) GROUP BY mode
"""


def blocked(version: int) -> str:
    """Of the sessions $1, who waits since when for whom. `pg_blocking_pids` stops all locking for a moment."""
    since = (
        "(SELECT max(waitstart) FROM pg_locks l WHERE l.pid = a.pid AND NOT granted)" if version >= 140000 else "NULL"
    )
    return f"""
    SELECT {_SESSION}, pg_blocking_pids(pid) AS by,
           extract(epoch FROM clock_timestamp() - coalesce({since}, query_start))::float8 AS waiting_s
    FROM pg_stat_activity a WHERE pid = ANY($1::int[]) ORDER BY query_start LIMIT 20
    """


BLOCKERS: Final = f"SELECT {_SESSION} FROM pg_stat_activity WHERE pid = ANY($1::int[])"

_HERE: Final = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END"

REPLICATION: Final = f"""
SELECT application_name AS application, client_addr::text AS address, state, sync_state,
       pg_wal_lsn_diff({_HERE}, replay_lsn)::int8 AS lag_bytes, extract(epoch FROM replay_lag)::float8 AS lag_s
FROM pg_stat_replication ORDER BY replay_lsn NULLS FIRST LIMIT 50
"""

REPLAY: Final = """
SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL) AS streaming,
       pg_is_wal_replay_paused() AS paused,
       pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::int8 AS lag_bytes,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS replayed_s
"""

SLOTS: Final = f"""
SELECT slot_name::text AS name, slot_type AS kind, active,
       pg_wal_lsn_diff({_HERE}, restart_lsn)::int8 AS retained_bytes
FROM pg_replication_slots ORDER BY restart_lsn NULLS LAST LIMIT 50
"""


def checkpoints(version: int) -> str:
    if version >= 170000:
        return """
        SELECT num_timed AS timed, num_requested AS requested, write_time / 1000 AS write_s, sync_time / 1000 AS sync_s,
               buffers_written AS buffers FROM pg_stat_checkpointer
        """
    return """
    SELECT checkpoints_timed AS timed, checkpoints_req AS requested, checkpoint_write_time / 1000 AS write_s,
           checkpoint_sync_time / 1000 AS sync_s, buffers_checkpoint AS buffers FROM pg_stat_bgwriter
    """


IO_FROM: Final = 160000
IO: Final = """
SELECT backend_type AS process, sum(coalesce(reads, 0))::int8 AS reads, sum(coalesce(writes, 0))::int8 AS writes,
       sum(coalesce(hits, 0))::int8 AS hits, sum(coalesce(evictions, 0))::int8 AS evictions,
       sum(coalesce(fsyncs, 0))::int8 AS fsyncs
FROM pg_stat_io GROUP BY 1 HAVING sum(coalesce(reads, 0) + coalesce(writes, 0) + coalesce(hits, 0)) > 0 ORDER BY 1
"""

WAL_FROM: Final = 140000
WAL: Final = "SELECT wal_bytes::int8 AS wal_bytes FROM pg_stat_wal"

SIZE: Final = "SELECT pg_database_size(current_database()) AS size"

_TABLE: Final = """
format('%I.%I', schemaname, relname) AS name, n_live_tup AS live_rows, n_dead_tup AS dead_rows,
seq_scan AS sequential_scans, idx_scan AS index_scans,
greatest(last_vacuum, last_autovacuum) AS last_vacuum, greatest(last_analyze, last_autoanalyze) AS last_analyze
"""

# The size of a table that is locked as a whole would have to wait for the lock. Which ones are large is known without.
TABLES: Final = f"""
SELECT {_TABLE},
       CASE WHEN NOT EXISTS (SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock'
                             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
            THEN pg_total_relation_size(c.oid) END AS total_bytes
FROM (SELECT m.oid FROM pg_class m LEFT JOIN pg_class t ON t.oid = m.reltoastrelid WHERE m.relkind IN ('r', 'm')
      AND m.oid IN (SELECT relid FROM pg_stat_user_tables)
      ORDER BY m.relpages + coalesce(t.relpages, 0) DESC, m.oid LIMIT $1) c
JOIN pg_stat_user_tables s ON s.relid = c.oid
"""

BLOATED: Final = f"""
SELECT {_TABLE}, NULL::int8 AS total_bytes FROM pg_stat_user_tables
WHERE n_dead_tup >= 1000 AND n_dead_tup > 0.2 * (n_live_tup + n_dead_tup) ORDER BY n_dead_tup DESC LIMIT 10
"""


def statements(schema: str, version: str) -> str:
    """`version` is that of the extension: a server that was upgraded may still have an older one."""
    total, mean = ("total_exec_time", "mean_exec_time") if _number(version) >= (1, 8) else ("total_time", "mean_time")
    return f"""
    SELECT queryid::text AS id, calls, {total}::float8 AS total_ms, {mean}::float8 AS mean_ms, rows,
           shared_blks_hit AS hit, shared_blks_read AS read, left(query, {TEXT}) AS query
    FROM {schema}.pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY {total} DESC LIMIT $1
    """


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
