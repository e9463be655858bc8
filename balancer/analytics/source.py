"""Where figures of reports come from, whichever it is: the app's own database, or the events of the traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, Protocol

from config.problems import listed

Interval = Literal["hour", "day", "week", "month"]
Active = Literal["seen", "contributed"]
SourceName = Literal["sql", "events"]
Value = None | bool | int | float | str | date | datetime | Mapping[str, int] | Sequence[object]
Row = dict[str, Value]

QUERIES: Final[Mapping[str, tuple[str, ...]]] = {
    "user_growth.series": ("start", "new_users", "deleted_users", "net", "total_users"),
    "user_growth.activation": ("eligible", "activated"),
    "user_growth.retention": ("cohort", "size", "week", "retained", "rate"),
    "post_activity.series": (
        "start",
        "posts",
        "post_authors",
        "posts_removed",
        "comments",
        "comment_authors",
        "reactions",
    ),
    "post_activity.first_response": ("posts", "answered", "unanswered", "mean_s", "median_s", "p90_s"),
    "post_activity.heatmap": ("isodow", "hour", "posts"),
    "post_activity.top": (
        "id",
        "title",
        "community_id",
        "author_id",
        "created_at",
        "comments",
        "reactions",
        "score",
    ),
    "community_growth.series": (
        "start",
        "new_communities",
        "closed_communities",
        "total_communities",
        "joins",
        "leaves",
        "total_memberships",
    ),
    "community_growth.fastest": (
        "id",
        "slug",
        "name",
        "members_start",
        "members_end",
        "joins",
        "leaves",
        "growth_rate",
    ),
    "engagement.active_users": ("day", "dau", "wau", "mau", "stickiness"),
    "engagement.lifecycle": ("start", "new", "returning", "resurrecting", "dormant"),
    "engagement.depth": (
        "active_users",
        "contributors",
        "posters",
        "reacting_only",
        "actions_per_active_user",
        "median_actions",
        "top1pct_share_of_content",
    ),
    "moderation.series": ("start", "actions", "automated", "by_action"),
    "moderation.moderators": (
        "moderator_id",
        "username",
        "actions",
        "removals",
        "sanctions",
        "reports_handled",
        "median_response_s",
    ),
    "moderation.quality": (
        "removals",
        "reversals",
        "reversal_rate",
        "removed_share_of_posts",
        "automated_share",
    ),
    "reports.series": ("start", "opened", "resolved", "open_at_end"),
    "reports.summary": (
        "opened",
        "resolved_of_opened",
        "still_open",
        "upheld",
        "rejected",
        "ignored",
        "median_resolution_s",
        "p90_resolution_s",
        "oldest_open_age_s",
    ),
    "reports.breakdown": ("dimension", "key", "opened", "upheld"),
    "communities.table": (
        "id",
        "slug",
        "name",
        "visibility",
        "created_at",
        "members",
        "new_members",
        "posts",
        "comments",
        "active_users",
        "reports",
        "open_reports",
    ),
    "users.top": (
        "id",
        "username",
        "role",
        "trust_level",
        "created_at",
        "last_seen_at",
        "posts",
        "comments",
        "reactions_given",
        "reactions_received",
        "reports_against",
        "upheld_against",
    ),
    "users.summary": ("total", "new", "seen_30d", "suspended", "bots", "by_trust_level", "by_role"),
    "events.series": ("start", "name", "n"),
}
"""Every query and the columns of its rows, the same from each source. Series have a row for each bucket, without gaps
(`events.series`: one for each bucket and name that occurred). `start` is the bucket's first instant, in UTC, `day` and
`cohort` are local dates; counts are integers, shares 0..1, `_s` seconds; what begins with `by_` maps to counts."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is about."""

    since: datetime
    """The first instant, aware, in UTC."""
    until: datetime
    """The instant after the last one."""
    interval: Interval = "day"
    zone: str = "UTC"
    """An IANA name: buckets begin at local times."""
    limit: int = 20
    """Rows of a table."""
    active: Active | None = None
    """What makes a user active; None: what the source can tell best."""
    community: str | None = None
    """Only what happened in it; its id."""
    sort: str | None = None


class SourceError(Exception):
    """Figures that are not to be had. The message is for whoever asked."""


class Unavailable(SourceError):
    """This source does not know it: an entity that is not mapped, an event that no rule makes."""


class TimedOut(SourceError):
    """The database took longer than it may."""


class SourceAway(SourceError):
    """The database or the store can not be reached."""


class Source(Protocol):
    """Rows by query."""

    @property
    def name(self) -> SourceName: ...

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        """Raises SourceError. `query` is one of QUERIES."""
        ...

    def missing(self, query: str, asked: Asked) -> Mapping[str, str]:
        """Columns that this source can not know, which are None in its rows, each with the reason."""
        ...


def columns(query: str) -> tuple[str, ...]:
    """Of a query's rows."""
    try:
        return QUERIES[query]
    except KeyError:
        raise ValueError(f"a query must be {listed(list(QUERIES))}, not {query}") from None
