"""Communities, users and events, one by one."""

from __future__ import annotations

from collections import Counter

from balancer.analytics.reports.base import Asking, Table, single


async def communities(asking: Asking) -> None:
    rows = await asking.rows("communities.table")
    asking.figure("communities", len(rows) if rows is not None else None, None, "communities", "communities.table")
    asking.table("communities", rows)


async def users(asking: Asking) -> None:
    query = "users.summary"
    now, before = await asking.both(query)
    asking.singles(query, now, before, new="users", seen_30d="users")
    # As they are now, whatever period is asked for.
    for column in ("total", "suspended", "bots", "by_trust_level", "by_role"):
        asking.figure(f"current_{column}", single(now, column), None, "users", query, column)
    asking.table("top", await asking.rows("users.top"))


async def events(asking: Asking) -> None:
    """Every rule's events."""
    query = "events.series"
    rows, before = await asking.both(query)
    now_by, before_by = _by_name(rows), _by_name(before)
    for name in sorted(now_by | before_by):
        asking.figure(
            name, now_by.get(name, 0), before_by.get(name, 0) if before is not None else None, "events", query
        )
    asking.table("events", rows)


def _by_name(rows: Table | None) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows or ():
        n = row["n"]
        found[str(row["name"])] += n if isinstance(n, int) else 0
    return found
