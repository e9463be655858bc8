"""From what a PostgreSQL has said to what is told of it, with rates from two looks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from balancer.telemetry.database_figures import (
    PostgresBlocked,
    PostgresCheckpoints,
    PostgresConnections,
    PostgresCounts,
    PostgresFigures,
    PostgresIo,
    PostgresLocks,
    PostgresReplay,
    PostgresSession,
    PostgresSlot,
    PostgresStandby,
    PostgresStatement,
    PostgresStatements,
    PostgresTable,
    PostgresTables,
)

if TYPE_CHECKING:
    from balancer.databases.reading import Large, Look, Row

RATES: Final = {
    "commits": "commits_per_s",
    "rollbacks": "rollbacks_per_s",
    "blocks_read": "blocks_read_per_s",
    "blocks_hit": "blocks_hit_per_s",
    "rows_returned": "rows_returned_per_s",
    "rows_fetched": "rows_fetched_per_s",
    "rows_inserted": "rows_inserted_per_s",
    "rows_updated": "rows_updated_per_s",
    "rows_deleted": "rows_deleted_per_s",
    "temp_bytes": "temp_bytes_per_s",
    "deadlocks": "deadlocks_per_s",
}
_PASSWORD: Final = re.compile(r"(\bpassword)\s*(?:=\s*)?(?:E|U&)?'(?:[^']|'')*(?:'|$)", re.IGNORECASE)
FIRST: Final = "there was only one look so far"
RESET: Final = "the counters began anew since the last look"
_COUNTS: Final = (*RATES, "conflicts", "temp_files", "checksum_failures", "stats_reset")


def told(look: Look, before: Look | None, **about: Any) -> PostgresFigures:  # Any: the fields of PostgresFigures
    """All of it. `about` is what is known beside the look itself."""
    server, activity = look.server, look.activity
    return PostgresFigures(
        **about,
        version=str(server["version"]).partition(" ")[0],
        role="standby" if server["standby"] else "primary",
        started=server["started"],
        visible="everything" if server["sees_all"] else "own sessions only",
        database=_counts(look, before),
        connections=_connections(look),
        longest_query_s=activity["longest_query_s"] if activity is not None else None,
        longest_transaction_s=activity["longest_transaction_s"] if activity is not None else None,
        sessions=[_session(row) for row in look.sessions],
        locks=_locks(look) if look.locks is not None else None,
        replication=[_standby(row) for row in look.replication],
        replay=_replay(look.replay) if look.replay is not None else None,
        slots=[PostgresSlot(**row) for row in look.slots],
        transaction_id_age=server["transaction_id_age"],
        checkpoints=PostgresCheckpoints(**look.checkpoints) if look.checkpoints is not None else None,
        io=[PostgresIo(**row) for row in look.io] if look.io is not None else None,
        wal_bytes=look.wal["wal_bytes"] if look.wal is not None else None,
        tables=_tables(look.large) if look.large is not None else None,
        statements=_statements(look),
        missing=_missing(look),
    )


def _missing(look: Look) -> dict[str, str]:
    missing = dict(look.missing)
    if not look.server["sees_all"]:
        missing["sessions"] = "only own sessions may be seen: GRANT pg_monitor TO the user of the URL"
    return missing


def _counts(look: Look, before: Look | None) -> PostgresCounts:
    row = look.database
    rates, reason = _rates(look, before)
    timed = look.server["io_timing"]
    recent = None
    if before is not None and rates:
        hit, read = (
            row["blocks_hit"] - before.database["blocks_hit"],
            row["blocks_read"] - before.database["blocks_read"],
        )
        recent = share(hit, hit + read)
    return PostgresCounts(
        **{name: row[name] for name in _COUNTS},
        size_bytes=look.large.size if look.large is not None else None,
        cache_hit_ratio=share(row["blocks_hit"], row["blocks_hit"] + row["blocks_read"]),
        cache_hit_ratio_recent=recent,
        block_read_s=row["block_read_s"] if timed else None,
        block_write_s=row["block_write_s"] if timed else None,
        rates=rates,
        rates_reason=reason,
    )


def _rates(look: Look, before: Look | None) -> tuple[dict[str, float], str | None]:
    if before is None or look.at <= before.at:
        return {}, FIRST
    since = ("started", look.server, before.server), ("stats_reset", look.database, before.database)
    if any(now[name] != then[name] for name, now, then in since):
        return {}, RESET
    deltas = {name: look.database[name] - before.database[name] for name in RATES}
    if min(deltas.values()) < 0:
        return {}, RESET
    return {RATES[name]: round(delta / (look.at - before.at), 4) for name, delta in deltas.items()}, None


def _connections(look: Look) -> PostgresConnections:
    """By the sessions where all can be seen; else by the counts of the databases, which have a few processes more."""
    activity, sees_all = look.activity, look.server["sees_all"]
    own = activity if sees_all else None
    return PostgresConnections(
        used=own["clients"] if own is not None else look.database["backends"],
        max=look.server["max_connections"],
        reserved=look.server["reserved"],
        active=activity["active"] if activity is not None else None,
        idle=activity["idle"] if activity is not None else None,
        idle_in_transaction=activity["idle_in_transaction"] if activity is not None else None,
        waiting_on_lock=activity["waiting_on_lock"] if activity is not None else None,
    )


def _session(row: Row) -> PostgresSession:
    waits = f"{row['waits']}: {row['waits_for']}" if row["waits"] and row["state"] == "active" else None
    return PostgresSession(
        waits_for=waits,
        **{name: row[name] for name in ("pid", "user", "application", "database", "state")},
        **{name: row[name] for name in ("transaction_s", "query_s")},
        query=shown(row["query"]),
    )


def _locks(look: Look) -> PostgresLocks:
    rows = look.locks or ()
    blockers = {row["pid"]: _session(row) for row in look.blockers}
    return PostgresLocks(
        waiting=len({pid for row in rows for pid in row["waiting"] or ()}),
        by_mode={row["mode"]: row["held"] for row in rows if row["held"]},
        blocked=[
            PostgresBlocked(
                session=_session(row),
                waiting_s=row["waiting_s"],
                blocked_by=[blockers[pid] for pid in dict.fromkeys(row["by"]) if pid in blockers],
            )
            for row in look.blocked
            if row["by"]
        ],
    )


def _standby(row: Row) -> PostgresStandby:
    lag = row["lag_s"]
    if lag is None and row["lag_bytes"] == 0:
        lag = 0.0  # the server has none to tell while there is nothing to replay
    return PostgresStandby(**{**row, "lag_s": lag})


def _replay(row: Row) -> PostgresReplay:
    """Who has replayed all that came is behind only if nothing comes."""
    fresh = row["streaming"] and row["lag_bytes"] == 0
    return PostgresReplay(
        streaming=row["streaming"],
        paused=row["paused"],
        lag_bytes=row["lag_bytes"],
        lag_s=0.0 if fresh else row["replayed_s"],
    )


def _tables(large: Large) -> PostgresTables | None:
    if large.tables is None:
        return None
    items = sorted(large.tables, key=lambda row: -(row["total_bytes"] or 0))
    return PostgresTables(at=large.at, items=_each(items), bloated=_each(large.bloated))


def _each(rows: Sequence[Row]) -> list[PostgresTable]:
    return [
        PostgresTable(
            **row,
            dead_ratio=share(row["dead_rows"], row["live_rows"] + row["dead_rows"]),
            index_scan_ratio=share(row["index_scans"], row["index_scans"] + row["sequential_scans"])
            if row["index_scans"] is not None
            else None,
        )
        for row in rows
    ]


def _statements(look: Look) -> PostgresStatements:
    large = look.large
    if large is None or large.statements is None:
        return PostgresStatements(
            available=False, reason=look.missing.get("statements", "not asked for"), at=None, top=[]
        )
    return PostgresStatements(
        available=True, reason=None, at=large.at, top=[_statement(row) for row in large.statements]
    )


def _statement(row: Mapping[str, Any]) -> PostgresStatement:
    return PostgresStatement(
        **{name: row[name] for name in ("id", "calls", "rows")},
        query=shown(row["query"]),
        total_ms=round(row["total_ms"], 1),
        mean_ms=round(row["mean_ms"], 3),
        hit_ratio=share(row["hit"], row["hit"] + row["read"]),
    )


def shown(query: str | None) -> str | None:
    """The beginning of a statement in one line. Those about roles are kept by the server with the password in them."""
    return _PASSWORD.sub(r"\1 '***'", " ".join(query.split())) if query is not None else None


def share(part: float, whole: float) -> float | None:
    """None of nothing."""
    return round(part / whole, 5) if whole else None


def without_queries(figures: PostgresFigures) -> PostgresFigures:
    """The same for those who may not see what is in statements: it may be anything."""
    hidden = {"query": None}
    locks, statements = figures.locks, figures.statements
    return figures.model_copy(
        update={
            "sessions": [session.model_copy(update=hidden) for session in figures.sessions],
            "locks": locks.model_copy(
                update={
                    "blocked": [
                        PostgresBlocked(
                            session=one.session.model_copy(update=hidden),
                            waiting_s=one.waiting_s,
                            blocked_by=[session.model_copy(update=hidden) for session in one.blocked_by],
                        )
                        for one in locks.blocked
                    ]
                }
            )
            if locks is not None
            else None,
            "statements": statements.model_copy(
                update={"top": [one.model_copy(update=hidden) for one in statements.top]}
            )
            if statements is not None
            else None,
        }
    )


def shortened(figures: PostgresFigures, tables: int, statements: int) -> PostgresFigures:
    """With no more than so many of the largest tables and of the statements."""
    whole, said = figures.tables, figures.statements
    return figures.model_copy(
        update={
            "tables": whole.model_copy(update={"items": whole.items[:tables]}) if whole is not None else None,
            "statements": said.model_copy(update={"top": said.top[:statements]}) if said is not None else None,
        }
    )
