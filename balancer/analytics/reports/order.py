"""Order in the house: what moderators do, and what users report."""

from __future__ import annotations

from balancer.analytics.reports.base import Asking, Table, last, share, single
from balancer.analytics.source import Row


async def moderation(asking: Asking) -> None:
    query = "moderation.series"
    rows, before = await asking.both(query)
    asking.sums(query, rows, before, actions="actions", automated="actions")
    quality, earlier = await asking.both("moderation.quality")
    asking.singles(
        "moderation.quality",
        quality,
        earlier,
        removals="actions",
        reversals="actions",
        reversal_rate="share",
        automated_share="share",
        removed_share_of_posts="share",
    )
    asking.series(rows)
    asking.table("moderators", await asking.rows("moderation.moderators"))


async def reports(asking: Asking) -> None:
    query = "reports.series"
    rows, before = await asking.both(query)
    asking.sums(query, rows, before, opened="reports", resolved="reports")
    asking.figure("open_at_end", last(rows, "open_at_end"), last(before, "open_at_end"), "reports", query)
    summary = "reports.summary"
    now, earlier = await asking.both(summary)
    asking.figure(
        "still_open_of_opened",
        single(now, "still_open"),
        single(earlier, "still_open"),
        "reports",
        summary,
        "still_open",
    )
    asking.singles(
        summary,
        now,
        earlier,
        upheld="reports",
        rejected="reports",
        ignored="reports",
        median_resolution_s="seconds",
        p90_resolution_s="seconds",
    )
    asking.figure("oldest_open_age_s", single(now, "oldest_open_age_s"), None, "seconds", summary)
    asking.series(rows)
    broken = await asking.rows("reports.breakdown")
    for dimension in ("reason", "target_type", "community"):
        asking.table(f"by_{dimension}", _of(broken, dimension) if broken is not None else None)


def _of(rows: Table, dimension: str) -> Table:
    return [_with_share(row) for row in rows if row["dimension"] == dimension]


def _with_share(row: Row) -> Row:
    upheld = row["upheld"]
    return {
        "key": row["key"],
        "opened": row["opened"],
        "upheld": upheld,
        "upheld_share": share(upheld, row["opened"]),
    }
