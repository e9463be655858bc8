"""The eight reports, and one of all events, put together from rows of whichever source has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from balancer.analytics.reports.activity import engagement, post_activity
from balancer.analytics.reports.base import Asking, Figure, Report, Wish
from balancer.analytics.reports.growth import community_growth, user_growth
from balancer.analytics.reports.lists import communities, events, users
from balancer.analytics.reports.order import moderation, reports

EIGHT: Final[Mapping[str, Callable[[Asking], Awaitable[None]]]] = {
    "user-growth": user_growth,
    "post-activity": post_activity,
    "community-growth": community_growth,
    "engagement": engagement,
    "moderation": moderation,
    "reports": reports,
    "communities": communities,
    "users": users,
}
REPORTS: Final[Mapping[str, Callable[[Asking], Awaitable[None]]]] = {**EIGHT, "events": events}

__all__ = ["EIGHT", "REPORTS", "Asking", "Figure", "Report", "Wish"]
