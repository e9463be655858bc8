"""How many come: users and communities."""

from __future__ import annotations

from datetime import date
from typing import Any

from balancer.analytics.reports.base import Asking, Table, last, share, single


async def user_growth(asking: Asking) -> None:
    """Discourse's signups and new contributors, Mastodon's retention: definitions in docs/analytics.md."""
    rows, before = await asking.both("user_growth.series")
    asking.sums("user_growth.series", rows, before, new_users="users", deleted_users="users")
    net, net_before = _net(rows), _net(before)
    asking.figure("net_growth", net, net_before, "users", "user_growth.series", "net")
    asking.figure("total_users", last(rows, "total_users"), last(before, "total_users"), "users", "user_growth.series")
    activation, earlier = await asking.both("user_growth.activation")
    rate = share(single(activation, "activated"), single(activation, "eligible"))
    rate_before = share(single(earlier, "activated"), single(earlier, "eligible"))
    asking.figure("activation_rate", rate, rate_before, "share", "user_growth.activation", "activated")
    asking.figure("activation_eligible", single(activation, "eligible"), None, "users", "user_growth.activation")
    asking.series(rows)
    cohorts = await asking.rows("user_growth.retention")
    asking.table("retention", _cohorts(cohorts) if cohorts is not None else None)


async def community_growth(asking: Asking) -> None:
    query = "community_growth.series"
    rows, before = await asking.both(query)
    asking.sums(query, rows, before, new_communities="communities", closed_communities="communities")
    for column, unit in (("total_communities", "communities"), ("total_memberships", "memberships")):
        asking.figure(column, last(rows, column), last(before, column), unit, query)
    asking.sums(query, rows, before, joins="memberships", leaves="memberships")
    asking.figure("net_memberships", _net_members(rows), _net_members(before), "memberships", query, "joins")
    asking.series(rows)
    asking.table("fastest", await asking.rows("community_growth.fastest"))


def _net(rows: Table | None) -> int | None:
    """Without what is not known: who left is not counted where nothing tells it."""
    if rows is None or any(row["new_users"] is None for row in rows):
        return None
    return sum(_number(row["new_users"]) - _number(row["deleted_users"]) for row in rows)


def _net_members(rows: Table | None) -> int | None:
    if rows is None or any(row["joins"] is None for row in rows):
        return None
    return sum(_number(row["joins"]) - _number(row["leaves"]) for row in rows)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _cohorts(rows: Table) -> Table:
    """One row for each cohort, with its weeks."""
    found: dict[object, dict[str, Any]] = {}
    for row in rows:
        cohort = row["cohort"]
        assert isinstance(cohort, date)
        kept = found.setdefault(cohort, {"cohort": cohort, "size": row["size"], "weeks": []})
        kept["weeks"].append({"week": row["week"], "retained": row["retained"], "rate": row["rate"]})
    return list(found.values())
