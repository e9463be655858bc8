"""One row for each community."""

from __future__ import annotations

from balancer.analytics.event import COMMENTED, JOINED, POSTED
from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look, moment

SORTS = ("active_users", "new_members", "posts", "reports", "members")


def table(look: Look) -> list[Row]:
    """Of those that anything is known of."""
    posts, comments, joins = (look.by_community(name) for name in (POSTED, COMMENTED, JOINED))
    writers = look.writers()
    filed = dict(
        look.all("SELECT community, count(*) FROM report WHERE at >= ? AND at < ? GROUP BY 1", look.since, look.until)
    )
    waiting = dict(
        look.all(
            """SELECT community, count(*) FROM report WHERE at < ? AND (resolved_at IS NULL OR resolved_at >= ?)
               GROUP BY 1""",
            look.until,
            look.until,
        )
    )
    rows: list[Row] = [
        {
            "id": key,
            "slug": None,
            "name": None,
            "visibility": None,
            "created_at": moment(created),
            "members": None,
            "new_members": joins.get(place, 0),
            "posts": posts.get(place, 0),
            "comments": comments.get(place, 0),
            "active_users": writers.get(place, 0),
            "reports": filed.get(place, 0),
            "open_reports": waiting.get(place, 0),
        }
        for place, key, created in look.all(
            "SELECT id, key, created_at FROM community WHERE closed_at IS NULL OR closed_at >= ?", look.until
        )
        if look.community is None or place == look.community
    ]
    sort = look.asked.sort if look.asked.sort in SORTS and look.asked.sort != "members" else "active_users"
    rows.sort(key=lambda row: (-int(row[sort] or 0), str(row["id"])))  # type: ignore[arg-type]
    return rows[: look.asked.limit]
