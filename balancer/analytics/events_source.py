"""The events of the traffic as a source: what no rule makes is told as unknown, and not as none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from balancer.analytics import event as known
from balancer.analytics.source import Asked, Row, SourceName, Unavailable
from balancer.events.rules import TAKEN_ALWAYS, captures
from config.schema import Analytics, EventRule

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "user_growth.series": (known.REGISTERED, known.USER_DELETED),
    "user_growth.activation": (known.REGISTERED,),
    "user_growth.retention": (known.REGISTERED,),
    "post_activity.series": (known.POSTED, known.COMMENTED, known.REACTED),
    "post_activity.first_response": (known.POSTED,),
    "post_activity.heatmap": (known.POSTED,),
    "post_activity.top": (known.POSTED,),
    "community_growth.series": (known.FOUNDED, known.CLOSED, known.JOINED, known.LEFT),
    "community_growth.fastest": (known.JOINED, known.LEFT),
    "engagement.depth": (known.POSTED, known.COMMENTED, known.REACTED),
    "moderation.series": (known.MODERATED,),
    "moderation.moderators": (known.MODERATED,),
    "moderation.quality": (known.MODERATED,),
    "reports.series": (known.REPORTED,),
    "reports.summary": (known.REPORTED,),
    "reports.breakdown": (known.REPORTED,),
    "communities.table": (known.POSTED, known.COMMENTED, known.JOINED, known.REPORTED),
    "users.top": (known.POSTED, known.COMMENTED, known.REACTED),
}
"""Events of which there must be one at least for a query to mean anything."""
_BEFORE: Final = "traffic does not tell what there was before the balancer came"
_NAMES: Final = "traffic does not tell names"
NEVER: Final[Mapping[str, Mapping[str, str]]] = {
    "user_growth.series": {"total_users": _BEFORE},
    "post_activity.top": {"title": _NAMES},
    "community_growth.series": {"total_communities": _BEFORE, "total_memberships": _BEFORE},
    "community_growth.fastest": {
        "slug": _NAMES,
        "name": _NAMES,
        "members_start": _BEFORE,
        "members_end": _BEFORE,
        "growth_rate": _BEFORE,
    },
    "moderation.moderators": {"username": _NAMES},
    "communities.table": {"slug": _NAMES, "name": _NAMES, "visibility": _NAMES, "members": _BEFORE},
    "users.top": {"username": _NAMES, "role": _NAMES, "trust_level": _NAMES},
    "users.summary": {
        "total": _BEFORE,
        "suspended": "traffic does not tell who is suspended",
        "bots": "bots are left out of the events; their share is at /api/monitoring/analytics/status",
        "by_trust_level": "traffic does not tell trust levels",
        "by_role": "traffic does not tell roles",
    },
}
"""What no rule can tell."""
OF_EVENTS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "user_growth.series": {
        "new_users": (known.REGISTERED,),
        "deleted_users": (known.USER_DELETED,),
        "net": (known.REGISTERED, known.USER_DELETED),
    },
    "user_growth.activation": {"activated": (known.POSTED, known.COMMENTED)},
    "post_activity.series": {
        "posts": (known.POSTED,),
        "post_authors": (known.POSTED,),
        "posts_removed": (known.MODERATED,),
        "comments": (known.COMMENTED,),
        "comment_authors": (known.COMMENTED,),
        "reactions": (known.REACTED,),
    },
    "post_activity.first_response": dict.fromkeys(
        ("answered", "unanswered", "mean_s", "median_s", "p90_s"), (known.COMMENTED,)
    ),
    "post_activity.top": {"comments": (known.COMMENTED,), "reactions": (known.REACTED,)},
    "community_growth.series": {
        "new_communities": (known.FOUNDED,),
        "closed_communities": (known.CLOSED,),
        "joins": (known.JOINED,),
        "leaves": (known.LEFT,),
    },
    "community_growth.fastest": {"joins": (known.JOINED,), "leaves": (known.LEFT,)},
    "moderation.quality": {"removed_share_of_posts": (known.POSTED,)},
    "reports.series": {"resolved": (known.RESOLVED,), "open_at_end": (known.RESOLVED,)},
    "reports.summary": dict.fromkeys(
        (
            "resolved_of_opened",
            "still_open",
            "upheld",
            "rejected",
            "ignored",
            "median_resolution_s",
            "p90_resolution_s",
            "oldest_open_age_s",
        ),
        (known.RESOLVED,),
    ),
    "reports.breakdown": {"upheld": (known.RESOLVED,)},
    "communities.table": {
        "new_members": (known.JOINED,),
        "posts": (known.POSTED,),
        "comments": (known.COMMENTED,),
        "reports": (known.REPORTED,),
        "open_reports": (known.RESOLVED,),
    },
    "users.top": {
        "posts": (known.POSTED,),
        "comments": (known.COMMENTED,),
        "reactions_given": (known.REACTED,),
        "reactions_received": (known.REACTED,),
        "reports_against": (known.REPORTED,),
        "upheld_against": (known.RESOLVED,),
    },
    "users.summary": {"new": (known.REGISTERED,)},
}
"""Which events a column is made of, any of them; without, it is not known."""
Taken = tuple[str, str]
_OF_POSTS: Final[tuple[Taken, ...]] = ((known.POSTED, known.POST), (known.COMMENTED, known.POST))
_REMOVED: Final[tuple[Taken, ...]] = (
    (known.POSTED, known.POST),
    (known.MODERATED, known.POST),
    (known.MODERATED, known.ACTION),
)
_RESOLVED: Final[tuple[Taken, ...]] = ((known.REPORTED, known.REPORT), (known.RESOLVED, known.REPORT))
_OUTCOME: Final[tuple[Taken, ...]] = (*_RESOLVED, (known.RESOLVED, known.OUTCOME))
_HANDLED: Final[tuple[Taken, ...]] = ((known.REPORTED, known.REPORT), (known.MODERATED, known.REPORT))
_ACTION: Final[tuple[Taken, ...]] = ((known.MODERATED, known.ACTION),)
_AUTOMATED: Final[tuple[Taken, ...]] = ((known.MODERATED, known.AUTOMATED),)
TAKES: Final[Mapping[str, Mapping[str, tuple[Taken, ...]]]] = {
    "post_activity.series": {"posts_removed": _REMOVED},
    "post_activity.first_response": {
        "posts": ((known.POSTED, known.POST),),
        **dict.fromkeys(("answered", "unanswered", "mean_s", "median_s", "p90_s"), _OF_POSTS),
    },
    "post_activity.top": {
        "community_id": ((known.POSTED, known.COMMUNITY),),
        "comments": _OF_POSTS,
        "reactions": ((known.POSTED, known.POST), (known.REACTED, known.POST)),
    },
    "community_growth.fastest": {
        "joins": ((known.JOINED, known.COMMUNITY),),
        "leaves": ((known.LEFT, known.COMMUNITY),),
    },
    "moderation.series": {"automated": _AUTOMATED, "by_action": _ACTION},
    "moderation.moderators": {
        **dict.fromkeys(("removals", "sanctions"), _ACTION),
        "reports_handled": ((known.MODERATED, known.REPORT),),
        "median_response_s": _HANDLED,
    },
    "moderation.quality": {
        **dict.fromkeys(("removals", "reversals", "reversal_rate"), _ACTION),
        "removed_share_of_posts": _REMOVED,
        "automated_share": _AUTOMATED,
    },
    "reports.series": dict.fromkeys(("resolved", "open_at_end"), _RESOLVED),
    "reports.summary": {
        **dict.fromkeys(
            ("resolved_of_opened", "still_open", "median_resolution_s", "p90_resolution_s", "oldest_open_age_s"),
            _RESOLVED,
        ),
        **dict.fromkeys(("upheld", "rejected", "ignored"), _OUTCOME),
    },
    "reports.breakdown": {"upheld": _OUTCOME},
    "communities.table": {
        "new_members": ((known.JOINED, known.COMMUNITY),),
        "posts": ((known.POSTED, known.COMMUNITY),),
        "comments": ((known.COMMENTED, known.COMMUNITY),),
        "active_users": ((known.POSTED, known.COMMUNITY), (known.COMMENTED, known.COMMUNITY)),
        "reports": ((known.REPORTED, known.COMMUNITY),),
        "open_reports": ((known.REPORTED, known.COMMUNITY), *_RESOLVED),
    },
    "users.top": {
        "reactions_received": ((known.POSTED, known.POST), (known.REACTED, known.POST)),
        "reports_against": ((known.REPORTED, known.TARGET_USER),),
        "upheld_against": ((known.REPORTED, known.TARGET_USER), *_OUTCOME),
    },
}
"""What the rules of these events have to take for a column to be right, as far as there are such rules."""


class Rows(Protocol):
    """Whoever has the store."""

    async def rows(self, query: str, asked: Asked) -> list[Row]: ...


class EventsSource:
    """The store of events, as the rules of one configuration fill it."""

    name: SourceName = "events"

    def __init__(self, store: Rows, settings: Analytics) -> None:
        self._store = store
        self._takes = {name: taken(rule) for name, rule in settings.events.items()}
        posts, comments = (self._takes.get(name, frozenset()) for name in (known.POSTED, known.COMMENTED))
        if known.POST in comments and {known.POST, known.COMMUNITY} <= posts:
            self._takes[known.COMMENTED] = comments | {known.COMMUNITY}  # that of its post

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        """Raises SourceError."""
        needed = NEEDS.get(query, ())
        if needed and self._takes.keys().isdisjoint(needed):
            raise Unavailable(_no_rule(needed))
        rows = await self._store.rows(query, asked)
        for column in self.missing(query, asked):
            for row in rows:
                row[column] = None
        return rows

    def missing(self, query: str, asked: Asked) -> Mapping[str, str]:
        told = dict(NEVER.get(query, {}))
        for column, events in OF_EVENTS.get(query, {}).items():
            if self._takes.keys().isdisjoint(events):
                told[column] = _no_rule(events)
        for column, pairs in TAKES.get(query, {}).items():
            for name, dimension in pairs:
                if dimension not in self._takes.get(name, (dimension,)):
                    told.setdefault(column, f"analytics.events.{name} takes no `{dimension}`")
        if asked.community is not None and query == "post_activity.series":
            told |= dict.fromkeys(
                ("post_authors", "comment_authors"), "traffic is not told apart by author and community"
            )
        return told


def taken(rule: EventRule) -> frozenset[str]:
    """The dimensions that events of a rule can have."""
    found = {name for match in rule.match for name in captures(match.path) if name in TAKEN_ALWAYS}
    return frozenset(found | rule.take.keys())


def _no_rule(events: tuple[str, ...]) -> str:
    return f"no rule of analytics.events makes {' or '.join(events)}"
