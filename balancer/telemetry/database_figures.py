"""What is told of databases: how a PostgreSQL or a Redis is, as its own counters have it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from balancer.telemetry.figures import Part


class DatabaseProblem(Part):
    """Something that somebody should look at."""

    about: Literal[
        "cache_hit_ratio",
        "connections",
        "dead_tuples",
        "deadlocks",
        "lag",
        "locks",
        "memory",
        "persistence",
        "slots",
        "transaction",
        "transaction_ids",
    ]
    message: str
    """What it is, and what to do."""
    since: datetime | None = None
    """The first look that has found it."""


class PostgresCounts(Part):
    """The database that the URL names. Counts are since `stats_reset`."""

    size_bytes: int | None
    cache_hit_ratio: float | None
    """Blocks that were found in the server's own memory; null before the first."""
    cache_hit_ratio_recent: float | None
    """The same between the last two looks; null where none was asked for."""
    commits: int
    rollbacks: int
    blocks_read: int
    """That were not in the server's own memory; the system's may have had them."""
    blocks_hit: int
    rows_returned: int
    """That were read; what queries made of them is another matter."""
    rows_fetched: int
    """By indexes."""
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    conflicts: int
    """Queries that were cancelled on a standby, as what they read was to be changed."""
    temp_files: int
    temp_bytes: int
    """Written since `work_mem` was too little."""
    deadlocks: int
    checksum_failures: int | None
    """null where there are no checksums."""
    block_read_s: float | None
    """null unless `track_io_timing` is on."""
    block_write_s: float | None
    stats_reset: datetime | None
    rates: dict[str, float]
    """Per second between the last two looks; the looks themselves are in it. Empty: see `rates_reason`."""
    rates_reason: str | None


class PostgresConnections(Part):
    """Of clients, with all databases of the server. Those by state are without the balancer's own."""

    used: int
    max: int
    reserved: int
    """Of these, for superusers alone."""
    active: int | None
    idle: int | None
    idle_in_transaction: int | None
    waiting_on_lock: int | None


class PostgresSession(Part):
    """What one client is doing."""

    pid: int
    user: str | None
    application: str | None
    database: str | None
    state: str | None
    """null: it may not be seen."""
    waits_for: str | None
    """Such as "Lock: transactionid"; null while it works."""
    transaction_s: float | None
    """Since its transaction has begun."""
    query_s: float | None
    """Since its last statement has begun."""
    query: str | None
    """The beginning of it; only for callers of role admin."""


class PostgresBlocked(Part):
    """A session that waits for a lock."""

    session: PostgresSession
    waiting_s: float | None
    blocked_by: list[PostgresSession]
    """Who has the lock, or was there before."""


class PostgresLocks(Part):
    """In this database."""

    waiting: int
    """Sessions that wait for one."""
    by_mode: dict[str, int]
    """Locks that are held."""
    blocked: list[PostgresBlocked]
    """At most 20."""


class PostgresStandby(Part):
    """One that follows this server."""

    application: str | None
    address: str | None
    state: str | None
    sync_state: str | None
    lag_bytes: int | None
    """Of the log, that it has not replayed."""
    lag_s: float | None


class PostgresReplay(Part):
    """How far this standby is behind."""

    streaming: bool
    """Whether it is connected to a server that it follows."""
    paused: bool
    lag_bytes: int | None
    """That it has received and not replayed."""
    lag_s: float | None
    """0 while it streams and has replayed all that it got; else since the last transaction that it replayed."""


class PostgresSlot(Part):
    """A place in the log that the server keeps for somebody."""

    name: str
    kind: str
    active: bool
    retained_bytes: int | None


class PostgresTable(Part):
    """One table, by what it occupies with its indexes."""

    name: str
    total_bytes: int | None
    """null while it is locked as a whole."""
    live_rows: int
    dead_rows: int
    dead_ratio: float | None
    sequential_scans: int
    index_scans: int | None
    """null without an index."""
    index_scan_ratio: float | None
    last_vacuum: datetime | None
    """By hand or by itself."""
    last_analyze: datetime | None


class PostgresTables(Part):
    """The largest tables."""

    at: datetime | None
    items: list[PostgresTable]
    bloated: list[PostgresTable]
    """With more than 20 % of dead rows, and no fewer than 1000, whatever their size."""


class PostgresStatement(Part):
    """Statements of one form, with their values left out."""

    id: str | None
    """null: it is somebody else's, and may not be seen."""
    calls: int
    total_ms: float
    mean_ms: float
    rows: int
    hit_ratio: float | None
    query: str | None
    """The beginning of it; only for callers of role admin."""


class PostgresStatements(Part):
    """By pg_stat_statements."""

    available: bool
    reason: str | None
    """Why there are none."""
    at: datetime | None
    top: list[PostgresStatement]
    """By all the time that they took."""


class PostgresCheckpoints(Part):
    """Since the counters of the server were reset."""

    timed: int
    requested: int
    """Before their time, as the log grew: many of them ask for a larger max_wal_size."""
    write_s: float
    sync_s: float
    buffers: int


class PostgresIo(Part):
    """What one kind of process reads and writes (pg_stat_io, from 16 on)."""

    process: str
    reads: int
    writes: int
    hits: int
    evictions: int
    fsyncs: int


class PostgresFigures(Part):
    """A PostgreSQL."""

    kind: Literal["postgres"] = "postgres"
    ok: bool | None
    """null: not configured, or not asked yet."""
    reason: str | None
    """Why not ok; null when it is."""
    server: str | None
    """Where it is, and the name of the database."""
    latency: float | None
    """Seconds from a command to its answer; null unless ok."""
    checked: datetime | None
    """The last look, whatever came of it."""
    seen: datetime | None
    """The look that the figures below are from."""
    age: float | None
    """Seconds since then."""
    version: str | None = None
    role: Literal["primary", "standby"] | None = None
    started: datetime | None = None
    visible: Literal["everything", "own sessions only"] | None = None
    """What the user of the URL may see of others' sessions: `GRANT pg_monitor TO` it for everything."""
    database: PostgresCounts | None = None
    connections: PostgresConnections | None = None
    longest_query_s: float | None = None
    longest_transaction_s: float | None = None
    sessions: list[PostgresSession] = Field(default_factory=list)
    """Transactions that are open for more than a second, the longest first; at most 10."""
    locks: PostgresLocks | None = None
    replication: list[PostgresStandby] = Field(default_factory=list)
    """Who follows this server."""
    replay: PostgresReplay | None = None
    """null on a primary."""
    slots: list[PostgresSlot] = Field(default_factory=list)
    transaction_id_age: int | None = None
    """Transactions since the oldest that is not frozen; at 2 billion the server stops."""
    checkpoints: PostgresCheckpoints | None = None
    io: list[PostgresIo] | None = None
    wal_bytes: int | None = None
    """Written since the server's counters were reset; null before 14, and on a standby."""
    tables: PostgresTables | None = None
    statements: PostgresStatements | None = None
    problems: list[DatabaseProblem] = Field(default_factory=list)
    missing: dict[str, str] = Field(default_factory=dict)
    """What could not be told, and why."""


class RedisReplica(Part):
    """One that follows this server."""

    address: str
    state: str | None
    lag_bytes: int | None
    lag_s: float | None
    """Since it was heard of last."""


class RedisKeyspace(Part):
    keys: int
    expires: int | None
    """Of these, with an end."""


class RedisDetails(Part):
    """A Redis or Valkey by its INFO. What a server does not say is null."""

    version: str | None
    role: str | None
    uptime: int | None
    clients: int | None
    max_clients: int | None
    blocked_clients: int | None
    used_memory: int | None
    used_memory_rss: int | None
    max_memory: int | None
    """0: as much as there is."""
    memory_policy: str | None
    """What happens when it is full."""
    fragmentation_ratio: float | None
    hits: int | None
    misses: int | None
    hit_ratio: float | None
    """Of keys that were asked for, since the start."""
    hit_ratio_recent: float | None
    """The same between the last two looks."""
    operations_per_second: float | None
    expired_keys: int | None
    evicted_keys: int | None
    rejected_connections: int | None
    network_input_bytes: int | None
    network_output_bytes: int | None
    rdb_ok: bool | None
    """Whether the last snapshot was written."""
    rdb_changes: int | None
    """Since the last snapshot."""
    aof: bool | None
    """Whether each write is logged."""
    aof_ok: bool | None
    replicas: list[RedisReplica]
    link_up: bool | None
    """Of a replica: whether it is connected to what it follows."""
    link_heard_s: float | None
    """Of a replica: since it heard of it."""
    lag_bytes: int | None
    """Of a replica, to what it has heard of; else of the one that is furthest behind."""
    slow_commands: int | None
    """In its SLOWLOG; null where the user may not ask."""
    keyspace: dict[str, RedisKeyspace]
    rates: dict[str, float]
    """Per second between the last two looks."""


class DatabaseReport(Part):
    """One database, for metrics."""

    kind: Literal["postgres", "redis"]
    ok: bool
    latency: float | None
    age: float | None
    postgres: PostgresFigures | None = None
    """As they were seen last; null while it is away."""
    redis: RedisDetails | None = None
    problems: list[DatabaseProblem] = Field(default_factory=list)
