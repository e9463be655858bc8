"""Communities that were founded, and who joined them."""

from __future__ import annotations

from balancer.analytics.event import CLOSED, FOUNDED, JOINED, LEFT
from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look


def series(look: Look) -> list[Row]:
    new, closed, joins, leaves = (look.counts(name) for name in (FOUNDED, CLOSED, JOINED, LEFT))
    return [
        {
            "start": start,
            "new_communities": new[index],
            "closed_communities": closed[index],
            "total_communities": None,
            "joins": joins[index],
            "leaves": leaves[index],
            "total_memberships": None,
        }
        for index, start in enumerate(look.starts)
    ]


def fastest(look: Look) -> list[Row]:
    joins, leaves = look.by_community(JOINED), look.by_community(LEFT)
    net = {place: joins.get(place, 0) - leaves.get(place, 0) for place in joins.keys() | leaves.keys()}
    closed = {row[0] for row in look.all("SELECT id FROM community WHERE closed_at IS NOT NULL")}
    places = sorted((place for place in net if place not in closed), key=lambda place: (-net[place], place))
    return [
        {
            "id": look.communities[place],
            "slug": None,
            "name": None,
            "members_start": None,
            "members_end": None,
            "joins": joins.get(place, 0),
            "leaves": leaves.get(place, 0),
            "growth_rate": None,
        }
        for place in places[: look.asked.limit]
    ]
