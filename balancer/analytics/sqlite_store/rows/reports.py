"""What users reported, and how long it took."""

from __future__ import annotations

from time import time as wall_time  # noqa: TID251  # how old the oldest one is now

from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look, quantile, whole


def series(look: Look) -> list[Row]:
    where = _in(look)
    opened = look.spread(look.all(f"SELECT at, 1 FROM report WHERE at >= ? AND at < ?{where}", look.since, look.until))
    resolved = look.spread(
        look.all(
            f"SELECT resolved_at, 1 FROM report WHERE resolved_at >= ? AND resolved_at < ?{where}",
            look.since,
            look.until,
        )
    )
    (backlog,) = look.one(
        f"SELECT count(*) FROM report WHERE at < ? AND (resolved_at IS NULL OR resolved_at >= ?){where}",
        look.since,
        look.since,
    )
    rows: list[Row] = []
    for index, start in enumerate(look.starts):
        backlog += opened[index] - resolved[index]
        rows.append({"start": start, "opened": opened[index], "resolved": resolved[index], "open_at_end": backlog})
    return rows


def summary(look: Look) -> list[Row]:
    """Of those that were opened in the period, as they are now."""
    found = look.all(
        f"SELECT at, resolved_at, outcome FROM report WHERE at >= ? AND at < ?{_in(look)}", look.since, look.until
    )
    outcomes = [outcome for _, _, outcome in found]
    took = sorted((end - at) / 1000 for at, end, _ in found if end is not None)
    waiting = [at for at, end, _ in found if end is None]
    told = all(outcome is not None for _, end, outcome in found if end is not None)
    return [
        {
            "opened": len(found),
            "resolved_of_opened": len(took),
            "still_open": len(waiting),
            "upheld": outcomes.count("upheld") if told else None,
            "rejected": outcomes.count("rejected") if told else None,
            "ignored": outcomes.count("ignored") if told else None,
            "median_resolution_s": whole(quantile(took, 0.5)),
            "p90_resolution_s": whole(quantile(took, 0.9)),
            "oldest_open_age_s": whole(wall_time() - min(waiting) / 1000) if waiting else None,
        }
    ]


def breakdown(look: Look) -> list[Row]:
    rows: list[Row] = []
    for dimension, column, limit in (("reason", "reason", -1), ("target_type", "target_type", -1)):
        rows += _broken(look, dimension, column, limit)
    for row in _broken(look, "community", "community", look.asked.limit):
        rows.append({**row, "key": look.communities.get(row["key"])})  # type: ignore[arg-type]
    return rows


def _broken(look: Look, dimension: str, column: str, limit: int) -> list[Row]:
    found = look.all(
        f"""SELECT {column}, count(*), coalesce(sum(outcome = 'upheld'), 0) FROM report
            WHERE at >= ? AND at < ?{_in(look)} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?""",
        look.since,
        look.until,
        limit,
    )
    return [{"dimension": dimension, "key": key, "opened": n, "upheld": upheld} for key, n, upheld in found]


def _in(look: Look) -> str:
    return "" if look.community is None else f" AND community = {look.community}"
