"""Every metric there is, in a table."""

from __future__ import annotations

from balancer.cache.purges import KINDS
from balancer.telemetry import cdn_report
from balancer.telemetry.database_figures import PostgresFigures
from balancer.telemetry.families import Family, Things
from balancer.telemetry.report import STATES, PoolReport

REPORT = Things((), lambda scrape: [((), scrape.report)])
VITALS = Things((), lambda scrape: [((), scrape.vitals)])
BUILD = Things(
    ("version", "python", "loop"),
    lambda scrape: [((scrape.vitals.version, scrape.vitals.python, scrape.vitals.loop), 1)],
)
LISTENERS = Things(("listener",), lambda scrape: [((name,), it) for name, it in scrape.report.listeners.items()])
ROUTES = Things(("route",), lambda scrape: [((name,), it) for name, it in scrape.report.routes.items()])
POOLS = Things(("pool",), lambda scrape: [((name,), it) for name, it in scrape.report.pools.items()])
SERVERS = Things(("pool", "server"), lambda scrape: scrape.report.servers())
# The prober may be a step ahead of the planes: only what they have is shown.
CHECKS = Things(
    ("pool", "server"),
    lambda scrape: [
        (key, scrape.vitals.checks[key]) for key, _ in scrape.report.servers() if key in scrape.vitals.checks
    ],
)

# One that is there twice is told once, by its earlier end.
CERTIFICATES = Things(
    ("listener", "certificate", "key"),
    lambda scrape: [
        *{
            (it.listener, it.name, it.key_type): it
            for it in sorted(scrape.report.certificates, key=lambda it: it.not_after, reverse=True)
        }.items()
    ],
)

LIMITS = Things(("policy",), lambda scrape: [((name,), it) for name, it in scrape.report.limits.items()])
SHARED_LIMITS = Things(
    ("policy",), lambda scrape: [((name,), it) for name, it in scrape.report.limits.items() if it.mode != "local"]
)
AUTH = Things(("auth",), lambda scrape: [((name,), it) for name, it in scrape.report.auth.items()])
ISSUERS = Things(("auth",), lambda scrape: [((name,), it) for name, it in scrape.report.issuers.items()])
RANGES = Things(("cdn",), lambda scrape: [((name,), it) for name, it in scrape.report.ranges.items()])
REQUIRE_CDN = Things(
    (), lambda scrape: [((), scrape.report.require_cdn)] if scrape.report.require_cdn is not None else []
)
CACHE = Things((), lambda scrape: [((), scrape.report.cache)] if scrape.report.cache is not None else [])
SECOND = Things(
    (),
    lambda scrape: (
        [((), scrape.report.cache.second)]
        if scrape.report.cache is not None and scrape.report.cache.second is not None
        else []
    ),
)
REDIS = Things((), lambda scrape: [((), scrape.report.redis)] if scrape.report.redis is not None else [])

DATABASES = Things(
    ("database", "kind"), lambda scrape: [((name, it.kind), it) for name, it in scrape.vitals.databases.items()]
)
POSTGRES = Things(
    ("database",),
    lambda scrape: [((name,), it.postgres) for name, it in scrape.vitals.databases.items() if it.postgres is not None],
)
POSTGRES_COUNTS = Things(
    ("database",),
    lambda scrape: [
        ((name,), it.postgres.database)
        for name, it in scrape.vitals.databases.items()
        if it.postgres is not None and it.postgres.database is not None
    ],
)
REDIS_SERVERS = Things(
    ("database",),
    lambda scrape: [((name,), it.redis) for name, it in scrape.vitals.databases.items() if it.redis is not None],
)
EVENTS = Things((), lambda scrape: [((), scrape.vitals.events)] if scrape.vitals.events is not None else [])

CDN = Things(
    ("provider",),
    lambda scrape: [((scrape.vitals.cdn.provider,), scrape.vitals.cdn)] if scrape.vitals.cdn is not None else [],
)
PICTURES = Things(
    (),
    lambda scrape: (
        [((), scrape.vitals.cdn.pictures)]
        if scrape.vitals.cdn is not None and scrape.vitals.cdn.pictures is not None
        else []
    ),
)

FAILURES = ("connect", "connect-timeout", "reset", "timeout", "malformed")


def _states(pool: PoolReport) -> dict[str, int]:
    states = [server.state for server in pool.servers]
    return {state: states.count(state) for state in STATES}


def _sessions(it: PostgresFigures) -> dict[str, int]:
    connections = it.connections
    if connections is None or it.visible != "everything":
        return {}
    counts = {
        "active": connections.active,
        "idle": connections.idle,
        "idle_in_transaction": connections.idle_in_transaction,
    }
    return {state: count for state, count in counts.items() if count is not None}


# In the order in which series are kept when there are too many: first what says that something is wrong, last
# what is largest.
CATALOGUE: tuple[Family, ...] = (
    BUILD.info("balancer_build", "What is running."),
    REPORT.gauge(
        "balancer_config_generation",
        lambda it: it.generation,
        "Number of the state in force: it rises with each reload, operator's change and check's verdict.",
    ),
    VITALS.counters(
        "balancer_config_reloads",
        ("result",),
        lambda it: it.reloads,
        "Configurations taken (success) and refused (failure) since the start.",
        always=("success", "failure"),
    ),
    VITALS.gauge(
        "balancer_config_last_reload_successful",
        lambda it: int(it.last_reload_ok),
        "1 when the last configuration was taken, 0 when it was refused and an older one is in force.",
    ),
    VITALS.gauge(
        "balancer_config_last_reload_success_timestamp_seconds",
        lambda it: it.last_reload_success,
        "When the configuration in force was taken, in Unix time.",
    ),
    VITALS.gauge(
        "balancer_config_revision",
        lambda it: it.config_revision,
        "Number of the configuration in force in the history: it rises with each other configuration.",
    ),
    VITALS.gauge(
        "balancer_config_trial_remaining_seconds",
        lambda it: it.config_trial_left,
        "Until a change undoes itself unless it is confirmed; absent while none is on trial.",
    ),
    VITALS.counters(
        "balancer_config_changes",
        ("result",),
        lambda it: it.config_changes,
        "Changes over the API: settled at once, begun on trial (provisional), confirmed, undone.",
        always=("settled", "provisional", "confirmed", "undone"),
    ),
    VITALS.gauge(
        "balancer_event_loop_lag_seconds",
        lambda it: it.loop_lag,
        "How late the event loop was, at worst, in the last minute: so long everything waited.",
    ),
    VITALS.gauge(
        "balancer_redis_up",
        lambda it: None if it.redis_up is None else int(it.redis_up),
        "1 when Redis answers; absent when none is configured.",
    ),
    REDIS.gauges(
        "balancer_redis_nodes",
        ("state",),
        lambda it: it.by_state(),
        "Servers of Redis that are asked (up), or left alone since they failed (open, half-open).",
    ),
    REDIS.gauge("balancer_redis_commands_waiting", lambda it: it.waiting, "Commands to Redis without an answer yet."),
    REDIS.counters(
        "balancer_redis_commands",
        ("result",),
        lambda it: it.commands,
        "Commands to Redis, of whatever uses it: ok, or why there was no answer.",
        always=("ok", "timeout", "open"),
    ),
    REDIS.counter("balancer_redis_connects", lambda it: it.connects, "Connections opened to servers of Redis."),
    REDIS.counter(
        "balancer_redis_breaker_openings", lambda it: it.opened, "Times a server of Redis failed and was left alone."
    ),
    REDIS.counter(
        "balancer_redis_redirections",
        lambda it: it.redirected,
        "Commands that were sent on to another node of a cluster, which has the key.",
    ),
    DATABASES.gauge("balancer_database_up", lambda it: int(it.ok), "1 when the database answers."),
    DATABASES.gauge("balancer_database_latency_seconds", lambda it: it.latency, "From a command to its answer."),
    DATABASES.gauge(
        "balancer_database_problems",
        lambda it: len(it.problems),
        "What somebody should look at; the API says what.",
    ),
    DATABASES.gauge("balancer_database_age_seconds", lambda it: it.age, "Since the look that the figures are from."),
    POSTGRES_COUNTS.gauge(
        "balancer_database_size_bytes", lambda it: it.size_bytes, "Of the database that the URL names."
    ),
    POSTGRES.gauge(
        "balancer_database_connections",
        lambda it: it.connections.used if it.connections is not None else None,
        "Connections of clients.",
    ),
    POSTGRES.gauge(
        "balancer_database_max_connections",
        lambda it: it.connections.max if it.connections is not None else None,
        "As many as there can be.",
    ),
    POSTGRES.gauges(
        "balancer_database_sessions",
        ("state",),
        _sessions,
        "Connections by what they do, the balancer's own left out; absent where others can not be seen.",
    ),
    POSTGRES.gauge(
        "balancer_database_locks_waiting",
        lambda it: it.locks.waiting if it.locks is not None else None,
        "Sessions that wait for a lock of another one.",
    ),
    POSTGRES_COUNTS.gauge(
        "balancer_database_cache_hit_ratio",
        lambda it: it.cache_hit_ratio,
        "Blocks that were found in the server's memory.",
    ),
    POSTGRES_COUNTS.counter("balancer_database_commits", lambda it: it.commits, "Transactions that were committed."),
    POSTGRES_COUNTS.counter(
        "balancer_database_rollbacks", lambda it: it.rollbacks, "Transactions that were rolled back."
    ),
    POSTGRES_COUNTS.counters(
        "balancer_database_blocks",
        ("from",),
        lambda it: {"memory": it.blocks_hit, "disk": it.blocks_read},
        "Blocks that were asked for, by where they were: the server's memory, or else.",
    ),
    POSTGRES_COUNTS.counters(
        "balancer_database_rows",
        ("operation",),
        lambda it: {
            "fetched": it.rows_fetched,
            "inserted": it.rows_inserted,
            "updated": it.rows_updated,
            "deleted": it.rows_deleted,
        },
        "Rows that were found by indexes, and written.",
    ),
    POSTGRES_COUNTS.counter(
        "balancer_database_temp_bytes", lambda it: it.temp_bytes, "Written to temporary files for want of memory."
    ),
    POSTGRES_COUNTS.counter("balancer_database_deadlocks", lambda it: it.deadlocks, "Deadlocks that the server ended."),
    POSTGRES.gauge(
        "balancer_database_longest_transaction_seconds",
        lambda it: it.longest_transaction_s,
        "Since the transaction has begun that is open for longest.",
    ),
    POSTGRES.gauge("balancer_database_standbys", lambda it: len(it.replication), "Servers that follow it."),
    POSTGRES.gauge(
        "balancer_database_lag_seconds",
        lambda it: max(
            [one.lag_s for one in it.replication if one.lag_s is not None]
            + ([it.replay.lag_s] if it.replay is not None and it.replay.lag_s is not None else []),
            default=None,
        ),
        "How far the last standby is behind, or this one.",
    ),
    REDIS_SERVERS.gauge("balancer_database_memory_bytes", lambda it: it.used_memory, "That a Redis has taken."),
    REDIS_SERVERS.gauge(
        "balancer_database_max_memory_bytes", lambda it: it.max_memory, "That a Redis may take; 0: as much as there is."
    ),
    REDIS_SERVERS.gauge("balancer_database_clients", lambda it: it.clients, "Connections to a Redis."),
    REDIS_SERVERS.counters(
        "balancer_database_lookups",
        ("result",),
        lambda it: {} if it.hits is None or it.misses is None else {"hit": it.hits, "miss": it.misses},
        "Keys that a Redis was asked for.",
    ),
    REDIS_SERVERS.counter(
        "balancer_database_evicted_keys", lambda it: it.evicted_keys, "Keys that a Redis gave up for want of memory."
    ),
    REDIS_SERVERS.gauge("balancer_database_replicas", lambda it: len(it.replicas), "Servers that follow a Redis."),
    REDIS_SERVERS.gauge(
        "balancer_database_lag_bytes",
        lambda it: it.lag_bytes,
        "Of writes that the last replica of a Redis has not had, or this one not carried out.",
    ),
    EVENTS.gauge("balancer_events_store_up", lambda it: int(it.up), "1 when the store of product events takes them."),
    EVENTS.counter("balancer_events_counted", lambda it: it.counted, "Product events of the traffic."),
    EVENTS.counters(
        "balancer_events_excluded",
        ("reason",),
        lambda it: it.excluded,
        "Requests that count for nothing: of bots, of those who opted out, or the same once more.",
        always=("bot", "opt-out", "duplicate"),
    ),
    EVENTS.counter(
        "balancer_events_dropped", lambda it: it.dropped, "Events lost as the store was away or too slow for long."
    ),
    EVENTS.gauge("balancer_events_waiting", lambda it: it.waiting, "Events on their way to the store."),
    EVENTS.counter("balancer_events_stored", lambda it: it.stored, "Events that the store has taken."),
    EVENTS.counter("balancer_events_store_restarts", lambda it: it.restarts, "Times the store's process had ended."),
    VITALS.gauge("balancer_error_groups", lambda it: it.error_groups, "Kinds of failed requests that are remembered."),
    VITALS.counter("balancer_failed_requests", lambda it: it.failed_requests, "Requests that went wrong."),
    VITALS.gauges(
        "balancer_alerts",
        ("state",),
        lambda it: it.alerts,
        "Rules of `alerts` by state: ok, pending, firing; absent without any.",
    ),
    VITALS.counters(
        "balancer_alert_notifications",
        ("result",),
        lambda it: it.notifications,
        "Messages to webhooks: sent, or why not.",
        always=("sent", "failed", "dropped"),
    ),
    VITALS.counters("balancer_admin_requests", ("code",), lambda it: it.admin_requests, "Requests to the admin API."),
    VITALS.gauge(
        "balancer_admin_streams", lambda it: it.streams, "Streams of events that are open, one for a dashboard."
    ),
    VITALS.counter(
        "balancer_admin_streams_cut_off", lambda it: it.streams_cut_off, "Streams ended as their reader was too slow."
    ),
    VITALS.counters(
        "balancer_admin_audit_lines",
        ("result",),
        lambda it: it.audit_lines,
        "Lines of the audit trail: written, failed (the disk did not take them), unnoted (denials beyond the bound).",
        always=("written", "failed", "unnoted"),
    ),
    VITALS.counters(
        "balancer_log_lines_dropped",
        ("log",),
        lambda it: it.log_lines_dropped,
        "Log lines given up because the log could not be written in time.",
        always=("access", "program"),
    ),
    # Pools.
    POOLS.gauge(
        "balancer_pool_panic",
        lambda it: int(it.panic),
        "1 while so few servers are well that verdicts are not believed and traffic goes to all.",
    ),
    POOLS.gauges("balancer_pool_servers", ("state",), _states, "Servers by state."),
    POOLS.gauge("balancer_pool_queue_length", lambda it: it.queue, "Requests that wait for a server now."),
    POOLS.counter("balancer_pool_queued", lambda it: it.tally.queued, "Requests that had to wait for a server."),
    POOLS.counter(
        "balancer_pool_queue_timeouts",
        lambda it: it.tally.queue_timeouts,
        "Requests that waited in vain.",
    ),
    POOLS.counters(
        "balancer_pool_requests",
        ("code",),
        lambda it: it.codes(),
        "Answers: of its servers, those put aside for a retry included, and those that no server gave.",
    ),
    POOLS.counters(
        "balancer_pool_unserved",
        ("code",),
        lambda it: it.tally.unserved,
        "Answers that no server gave.",
    ),
    POOLS.counters(
        "balancer_pool_retries",
        ("reason",),
        lambda it: it.retries(),
        "Requests taken from one server to another.",
    ),
    POOLS.counter(
        "balancer_pool_retry_budget_exhausted",
        lambda it: it.tally.budget_exhausted,
        "Retries that the budget refused.",
    ),
    POOLS.counter("balancer_pool_panics", lambda it: it.tally.panics, "Times panic began."),
    POOLS.counter(
        "balancer_pool_plugin_errors",
        lambda it: it.tally.plugin_errors,
        "Exceptions of a strategy plug-in.",
    ),
    # Listeners.
    LISTENERS.gauge("balancer_listener_connections", lambda it: it.open, "Client connections open now."),
    LISTENERS.gauge("balancer_listener_tunnels", lambda it: it.tunnels, "Of these, upgraded ones such as WebSockets."),
    LISTENERS.counter("balancer_listener_connections_accepted", lambda it: it.connections, "Client connections."),
    LISTENERS.counters(
        "balancer_listener_rejected",
        ("reason",),
        lambda it: it.rejected,
        "Connections closed and requests refused before there was a route.",
    ),
    LISTENERS.counter(
        "balancer_listener_tls_handshakes",
        lambda it: it.handshakes,
        "TLS handshakes that were completed.",
    ),
    LISTENERS.counters(
        "balancer_listener_tls_handshake_errors",
        ("reason",),
        lambda it: it.handshake_errors,
        "TLS handshakes that were not: malformed, unsupported, client-certificate, refused-by-client, closed, timeout.",
    ),
    CERTIFICATES.gauge(
        "balancer_tls_certificate_not_after_timestamp_seconds",
        lambda it: it.not_after.timestamp(),
        "When the certificate in use expires, in Unix time.",
    ),
    LISTENERS.counter("balancer_listener_received_bytes", lambda it: it.bytes_in, "Request bodies."),
    LISTENERS.counter("balancer_listener_sent_bytes", lambda it: it.bytes_out, "Response bodies."),
    LISTENERS.counters("balancer_listener_requests", ("method", "code"), lambda it: it.requests, "Requests answered."),
    # Guards.
    LIMITS.counters(
        "balancer_ratelimit_decisions",
        ("decision",),
        lambda it: it.decisions,
        "Requests by what a policy decided.",
        always=("allowed", "limited"),
    ),
    LIMITS.gauge("balancer_ratelimit_keys", lambda it: it.keys, "Keys that a policy remembers."),
    LIMITS.gauge(
        "balancer_ratelimit_requests_in_flight", lambda it: it.under_way, "Requests that count for its concurrency now."
    ),
    SHARED_LIMITS.gauge(
        "balancer_ratelimit_shared",
        lambda it: int(it.mode != "fallback"),
        "1 while balancers count together in Redis, 0 while this one holds its share alone.",
    ),
    SHARED_LIMITS.gauge(
        "balancer_ratelimit_instances",
        lambda it: it.instances,
        "Balancers known to share the limit, this one included.",
    ),
    SHARED_LIMITS.counter("balancer_ratelimit_questions", lambda it: it.questions, "Times Redis was asked for tokens."),
    ROUTES.counters(
        "balancer_route_guarded",
        ("reason",),
        lambda it: it.guarded,
        "Requests that something before the route refused.",
    ),
    AUTH.counters(
        "balancer_auth_requests",
        ("result",),
        lambda it: it.results,
        "Requests by what one of `auth` said of them.",
        always=("passed", "missing", "wrong"),
    ),
    ISSUERS.gauge(
        "balancer_auth_issuer_keys", lambda it: it.keys, "Public keys of an issuer of tokens that are in use."
    ),
    ISSUERS.counters(
        "balancer_auth_issuer_fetches",
        ("result",),
        lambda it: {"fetched": it.fetched, "failed": it.failures},
        "Times that an issuer of tokens was asked for its keys.",
    ),
    REQUIRE_CDN.counters(
        "balancer_require_cdn_requests",
        ("result",),
        lambda it: it.results,
        "Requests by whether they came through the CDN.",
        always=("through", "address", "secret", "allowed"),
    ),
    RANGES.gauge(
        "balancer_trusted_ranges_networks",
        lambda it: it.networks,
        "Networks of a CDN that trusted_proxies names; 0: none are known, and it is not trusted.",
    ),
    RANGES.gauge(
        "balancer_trusted_ranges_timestamp_seconds",
        lambda it: it.at or None,
        "When these networks were published or fetched, in Unix time.",
    ),
    RANGES.counters(
        "balancer_trusted_ranges_fetches",
        ("result",),
        lambda it: {"fetched": it.tally.fetched, "failed": it.tally.failures},
        "Times that a CDN was asked for its networks; failed: what came was not taken, either.",
    ),
    # The cache.
    SECOND.gauge(
        "balancer_cache_redis_up",
        lambda it: int(it.state == "up"),
        "1 when the cache's level in Redis is in use, and purges of other balancers are heard.",
    ),
    SECOND.gauge("balancer_cache_redis_purges_owed", lambda it: it.owed, "Purges that Redis has yet to be told of."),
    CACHE.gauge("balancer_cache_bytes", lambda it: it.memory.bytes, "Memory that stored answers take."),
    CACHE.gauge("balancer_cache_limit_bytes", lambda it: it.memory.limit, "Memory that they may take."),
    CACHE.gauge("balancer_cache_entries", lambda it: it.memory.entries, "Stored answers."),
    ROUTES.counters(
        "balancer_cache_requests",
        ("result",),
        lambda it: it.cache,
        "Requests of cached routes by what the cache did.",
    ),
    CACHE.counter("balancer_cache_stored", lambda it: it.memory.stored, "Answers stored."),
    CACHE.counter(
        "balancer_cache_evictions", lambda it: it.memory.evicted, "Stored answers that others took the place of."
    ),
    CACHE.counters(
        "balancer_cache_refused",
        ("reason",),
        lambda it: it.tally.refused,
        "Answers to requests of cached routes that might not be stored.",
    ),
    CACHE.counter(
        "balancer_cache_store_refused",
        lambda it: it.memory.refused,
        "Answers that the store did not take: too large for it, or purged while they were fetched.",
    ),
    CACHE.gauge("balancer_cache_fills_under_way", lambda it: it.fills, "Answers being fetched for the cache now."),
    CACHE.gauge("balancer_cache_waiting_requests", lambda it: it.followers, "Requests that wait for them now."),
    CACHE.counter("balancer_cache_fills", lambda it: it.tally.fills, "Answers that were fetched for the cache."),
    CACHE.counter("balancer_cache_collapsed", lambda it: it.tally.collapsed, "Requests that waited for one of them."),
    CACHE.counter(
        "balancer_cache_refreshes",
        lambda it: it.tally.refreshes,
        "Answers fetched in the background, as a stale one was served meanwhile.",
    ),
    CACHE.counters("balancer_cache_purges", ("kind",), lambda it: it.tally.purges, "Purges.", always=KINDS),
    CACHE.counter(
        "balancer_cache_purged_entries",
        lambda it: it.memory.purged,
        "Stored answers given back of those that purges met.",
    ),
    CACHE.counter(
        "balancer_cache_purge_overflows",
        lambda it: it.memory.overflows,
        "Times that everything was purged, as more purges came at once than can be kept in mind.",
    ),
    CACHE.counter(
        "balancer_cache_invalidated",
        lambda it: it.tally.invalidated,
        "Stored answers that were dropped since a request had changed what they tell.",
    ),
    SECOND.counters(
        "balancer_cache_redis_results",
        ("result",),
        lambda it: it.lookups,
        "What came of answers that were looked for in Redis, or stored there.",
    ),
    SECOND.counter(
        "balancer_cache_redis_gaps",
        lambda it: it.gaps,
        "Times that purges of others may have been missed, and all of memory was dropped.",
    ),
    # The CDN.
    CDN.gauge(
        "balancer_cdn_up",
        lambda it: int(it.up) if it.up is not None else None,
        "1 when its last check found nothing wrong with it; absent before the first.",
    ),
    CDN.gauge(
        "balancer_cdn_breaker_open",
        lambda it: int(it.breaker != "closed") if it.breaker is not None else None,
        "1 while the provider fails and is left alone.",
    ),
    CDN.counter(
        "balancer_cdn_breaker_openings", lambda it: it.breaker_opened, "Times that the provider was left alone."
    ),
    CDN.gauge("balancer_cdn_purges_in_progress", lambda it: it.tickets, "Purges that are not done."),
    CDN.gauge(
        "balancer_cdn_purge_calls_waiting",
        lambda it: it.purge_calls,
        "Calls to the provider that are to be made for purges, or looked after.",
    ),
    CDN.counters(
        "balancer_cdn_purges",
        ("state",),
        lambda it: it.purges,
        "Purges by the state that they ended in.",
        always=cdn_report.STATES,
    ),
    CDN.counter("balancer_cdn_purge_retries", lambda it: it.purge_retries, "Calls for purges that were made again."),
    CDN.counters(
        "balancer_cdn_calls",
        ("operation", "result"),
        lambda it: it.calls,
        "Calls to the provider: ok, or what was wrong.",
    ),
    CDN.counters("balancer_cdn_call_seconds", ("operation",), lambda it: it.seconds, "Spent in calls to the provider."),
    CDN.counters(
        "balancer_cdn_uploads",
        ("result",),
        lambda it: it.uploads,
        "Files that were sent: created, there (the same content was there already), failed.",
        always=cdn_report.UPLOADS,
    ),
    CDN.counter("balancer_cdn_upload_bytes", lambda it: it.upload_bytes, "Of files that were taken."),
    CDN.gauge("balancer_cdn_files", lambda it: it.files, "Files that are kept; absent where nobody tells."),
    CDN.gauge("balancer_cdn_file_bytes", lambda it: it.file_bytes, "Bytes of these files."),
    CDN.gauge(
        "balancer_cdn_room_bytes", lambda it: it.room, "Bytes that may still be uploaded; absent where nobody tells."
    ),
    PICTURES.counters(
        "balancer_cdn_pictures",
        ("result",),
        lambda it: it.results,
        "Pictures: made, kept (made before), joined (waited for one that was being made).",
        always=cdn_report.PICTURES,
    ),
    PICTURES.counters(
        "balancer_cdn_picture_failures", ("reason",), lambda it: it.failures, "Pictures that were not made."
    ),
    PICTURES.counter("balancer_cdn_picture_seconds", lambda it: it.seconds, "Spent by workers on pictures."),
    PICTURES.gauge(
        "balancer_cdn_pictures_in_progress", lambda it: it.inside, "Pictures being made, or waiting for a worker."
    ),
    PICTURES.counter(
        "balancer_cdn_picture_workers_died", lambda it: it.died, "Workers that ended in the middle of a picture."
    ),
    PICTURES.gauge("balancer_cdn_pictures_kept", lambda it: it.variants, "Pictures on disk."),
    # Servers.
    SERVERS.gauge("balancer_server_up", lambda it: int(it.state == "up"), "1 when nothing keeps it out of rotation."),
    SERVERS.gauge(
        "balancer_server_in_rotation",
        lambda it: int(it.in_rotation),
        "1 when it has traffic: also when down, during panic; not when it is a backup without need.",
    ),
    SERVERS.gauges(
        "balancer_server_state",
        ("state",),
        lambda it: {state: int(state == it.state) for state in STATES},
        "1 for the state it is in.",
    ),
    SERVERS.gauge("balancer_server_weight", lambda it: it.weight, "As configured."),
    SERVERS.gauge(
        "balancer_server_effective_weight",
        lambda it: it.effective_weight,
        "As used now: less during slow start, 0 out of rotation.",
    ),
    SERVERS.gauge("balancer_server_requests_in_flight", lambda it: it.inflight, "Requests it is working on."),
    SERVERS.gauge("balancer_server_idle_connections", lambda it: it.idle, "Connections kept for the next request."),
    SERVERS.gauge("balancer_server_tunnels", lambda it: it.tunnels, "Upgraded connections such as WebSockets."),
    SERVERS.gauge(
        "balancer_server_latency_average_seconds",
        lambda it: it.latency,
        "Moving average of the time to its first byte; absent before its first answer.",
    ),
    SERVERS.counter("balancer_server_ejections", lambda it: it.tally.ejections, "Times live traffic took it out."),
    SERVERS.counters(
        "balancer_server_failures",
        ("kind",),
        lambda it: it.tally.failures,
        "Attempts that brought no whole answer.",
        always=FAILURES,
    ),
    CHECKS.counters(
        "balancer_server_health_checks",
        ("result",),
        lambda check: {"passed": check.passed, "failed": check.failed},
        "Active health checks.",
    ),
    SERVERS.counter("balancer_server_connects", lambda it: it.tally.connects, "Connections opened to it."),
    SERVERS.counter("balancer_server_received_bytes", lambda it: it.tally.bytes_in, "Bytes from it, heads included."),
    SERVERS.counter("balancer_server_sent_bytes", lambda it: it.tally.bytes_out, "Bytes to it, heads included."),
    SERVERS.counters("balancer_server_requests", ("code",), lambda it: it.tally.codes, "Answers it gave."),
    # Routes, and the histograms.
    ROUTES.counters("balancer_route_requests", ("code",), lambda it: it.codes, "Requests answered."),
    ROUTES.counter("balancer_route_sent_bytes", lambda it: it.bytes_out, "Response bodies."),
    ROUTES.counters(
        "balancer_route_compression_input_bytes",
        ("coding",),
        lambda it: it.compression_in,
        "Response bodies that were compressed, as servers sent them.",
    ),
    ROUTES.counters(
        "balancer_route_compression_output_bytes",
        ("coding",),
        lambda it: it.compression_out,
        "The same bodies, as clients got them.",
    ),
    ROUTES.counter(
        "balancer_route_compression_declined",
        lambda it: it.compression_declined,
        "Responses sent as they were, since too many were being compressed.",
    ),
    ROUTES.counter(
        "balancer_route_cdn_tags_left_out",
        lambda it: it.tags_left_out,
        "Tags of responses that the CDN's field had no room for: a purge of them does not reach it.",
    ),
    ROUTES.histogram(
        "balancer_route_request_duration_seconds",
        lambda it: it.latency,
        "From a request's complete head to its response's last byte.",
    ),
    REDIS.histogram(
        "balancer_redis_command_duration_seconds",
        lambda it: it.seconds,
        "Commands to Redis that were answered.",
    ),
    SERVERS.histogram(
        "balancer_server_response_duration_seconds",
        lambda it: it.tally.latency,
        "From a request's last byte to its response's first one, by attempt.",
    ),
)
