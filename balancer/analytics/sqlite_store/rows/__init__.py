"""The figures of reports, read from what the store sums up. One file for each report.

Each query is a plain function of a connection that only reads; see `balancer.analytics.source` for what comes of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from balancer.analytics.source import Asked, Row
from balancer.analytics.sqlite_store.rows import (
    communities,
    community_growth,
    engagement,
    events,
    moderation,
    post_activity,
    reports,
    user_growth,
    users,
)
from balancer.analytics.sqlite_store.rows.look import Look

ROWS: Final[Mapping[str, Callable[[Look], list[Row]]]] = {
    "user_growth.series": user_growth.series,
    "user_growth.activation": user_growth.activation,
    "user_growth.retention": user_growth.retention,
    "post_activity.series": post_activity.series,
    "post_activity.first_response": post_activity.first_response,
    "post_activity.heatmap": post_activity.heatmap,
    "post_activity.top": post_activity.top,
    "community_growth.series": community_growth.series,
    "community_growth.fastest": community_growth.fastest,
    "engagement.active_users": engagement.active_users,
    "engagement.lifecycle": engagement.lifecycle,
    "engagement.depth": engagement.depth,
    "moderation.series": moderation.series,
    "moderation.moderators": moderation.moderators,
    "moderation.quality": moderation.quality,
    "reports.series": reports.series,
    "reports.summary": reports.summary,
    "reports.breakdown": reports.breakdown,
    "communities.table": communities.table,
    "users.top": users.top,
    "users.summary": users.summary,
    "events.series": events.series,
}


def rows(connection: sqlite3.Connection, query: str, asked: Asked, zone: str) -> list[Row]:
    """The rows of a query; `zone` is the one in whose days the store counts users."""
    return ROWS[query](Look(connection, asked, zone))
