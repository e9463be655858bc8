"""What figures need of the app's tables: without it they are not known, and the reason is told instead of a 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from balancer.analytics.app_database.mapping import Schema

WHOLE: Final = ""
"""In place of a column: the whole query."""
_ACTIVE: Final = ("posts", "comments", "reactions")


class Needs(NamedTuple):
    """Of one column, or of a whole query. Each need is an entity, or `entity.column`."""

    of: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    """Counted in where the app has them: only those that it should have and has not are in the way."""


def _of(*needs: str) -> Needs:
    return Needs(needs)


NEEDS: Final[Mapping[str, Mapping[str, Needs]]] = {
    "user_growth.series": {
        WHOLE: _of("users"),
        "deleted_users": _of("users.deleted_at"),
        "total_users": _of("users.deleted_at"),
    },
    "user_growth.activation": {WHOLE: Needs(("users",), ("posts", "comments"))},
    "user_growth.retention": {WHOLE: Needs(("users",), _ACTIVE)},
    "post_activity.series": {
        WHOLE: _of("posts"),
        "posts_removed": _of("posts.removed_at"),
        "comments": _of("comments"),
        "comment_authors": _of("comments"),
        "reactions": _of("reactions"),
    },
    "post_activity.first_response": {WHOLE: _of("posts", "comments")},
    "post_activity.heatmap": {WHOLE: _of("posts")},
    "post_activity.top": {
        WHOLE: _of("posts"),
        "title": _of("posts.title"),
        "community_id": _of("posts.community_id"),
        "comments": _of("comments"),
        "reactions": _of("reactions.target_id"),
        "score": Needs((), ("comments", "reactions.target_id")),
    },
    "community_growth.series": {
        WHOLE: _of("communities"),
        "closed_communities": _of("communities.deleted_at"),
        "joins": _of("memberships"),
        "leaves": _of("memberships.left_at"),
        "total_memberships": _of("memberships"),
    },
    "community_growth.fastest": {
        WHOLE: _of("communities", "memberships"),
        "slug": _of("communities.slug"),
        "name": _of("communities.name"),
        "leaves": _of("memberships.left_at"),
    },
    "engagement.active_users": {WHOLE: Needs((), _ACTIVE)},
    "engagement.lifecycle": {WHOLE: Needs((), _ACTIVE)},
    "engagement.depth": {
        WHOLE: Needs((), _ACTIVE),
        "posters": _of("posts"),
        "reacting_only": _of("reactions"),
    },
    "moderation.series": {
        WHOLE: _of("moderation_actions"),
        "automated": _of("moderation_actions.automated"),
    },
    "moderation.moderators": {
        WHOLE: _of("moderation_actions.moderator_id"),
        "username": _of("users.name"),
        "reports_handled": _of("moderation_actions.report_id"),
        "median_response_s": _of("moderation_actions.report_id", "reports"),
    },
    "moderation.quality": {
        WHOLE: _of("moderation_actions"),
        "automated_share": _of("moderation_actions.automated"),
        "removed_share_of_posts": _of("posts.removed_at"),
    },
    "reports.series": {
        WHOLE: _of("reports"),
        "resolved": _of("reports.resolved_at"),
        "open_at_end": _of("reports.resolved_at"),
    },
    "reports.summary": {
        WHOLE: _of("reports"),
        **dict.fromkeys(("upheld", "rejected", "ignored"), _of("reports.status")),
        **dict.fromkeys(
            ("still_open", "resolved_of_opened", "oldest_open_age_s", "median_resolution_s", "p90_resolution_s"),
            _of("reports.resolved_at"),
        ),
    },
    "reports.breakdown": {WHOLE: _of("reports"), "upheld": _of("reports.status")},
    "communities.table": {
        WHOLE: _of("communities"),
        "slug": _of("communities.slug"),
        "name": _of("communities.name"),
        "visibility": _of("communities.visibility"),
        "members": _of("memberships"),
        "new_members": _of("memberships"),
        "posts": _of("posts.community_id"),
        "comments": _of("posts.community_id", "comments"),
        "active_users": Needs(("posts.community_id",), ("comments",)),
        "reports": _of("reports.community_id"),
        "open_reports": _of("reports.community_id", "reports.resolved_at"),
    },
    "users.top": {
        WHOLE: _of("users"),
        "username": _of("users.name"),
        "role": _of("users.role"),
        "trust_level": _of("users.trust_level"),
        "last_seen_at": _of("users.last_seen_at"),
        "posts": _of("posts"),
        "comments": _of("comments"),
        "reactions_given": _of("reactions"),
        "reactions_received": _of("posts", "reactions.target_id"),
        "reports_against": _of("reports.target_user_id"),
        "upheld_against": _of("reports.target_user_id", "reports.status"),
    },
    "users.summary": {
        WHOLE: _of("users"),
        "seen_30d": _of("users.last_seen_at"),
        "suspended": _of("users.suspended_until"),
        "bots": _of("users.is_bot"),
        "by_trust_level": _of("users.trust_level"),
        "by_role": _of("users.role"),
    },
}
_POSTS_OF: Final[Mapping[str, Needs]] = {WHOLE: _of("posts.community_id")}
_ACTIONS_OF: Final[Mapping[str, Needs]] = {WHOLE: _of("moderation_actions.community_id")}
_REPORTS_OF: Final[Mapping[str, Needs]] = {WHOLE: _of("reports.community_id")}
OF_COMMUNITY: Final[Mapping[str, Mapping[str, Needs]]] = {
    "post_activity.series": {**_POSTS_OF, "reactions": _of("reactions.target_id")},
    "post_activity.first_response": _POSTS_OF,
    "post_activity.heatmap": _POSTS_OF,
    "post_activity.top": _POSTS_OF,
    "moderation.series": _ACTIONS_OF,
    "moderation.moderators": _ACTIONS_OF,
    "moderation.quality": {**_ACTIONS_OF, "removed_share_of_posts": _of("posts.community_id")},
    "reports.series": _REPORTS_OF,
    "reports.summary": _REPORTS_OF,
    "reports.breakdown": _REPORTS_OF,
}
"""What is needed besides where one community is asked for."""


def unknown(query: str, schema: Schema, *, of_community: bool) -> Mapping[str, str]:
    """Columns that are not known, or WHOLE, each with the reason."""
    found: dict[str, str] = {}
    for table in (NEEDS, OF_COMMUNITY) if of_community else (NEEDS,):
        for column, needs in table.get(query, {}).items():
            reason = _reason(needs, schema)
            if reason is not None:
                found.setdefault(column, reason)
    return found


def _reason(needs: Needs, schema: Schema) -> str | None:
    """None: it is known."""
    for need in needs.of:
        if (reason := schema.lacks(need)) is not None:
            return reason
    had = [need for need in needs.counted if need.partition(".")[0] not in schema.unmapped]
    if needs.counted and not needs.of and not had:
        return "; ".join(schema.missing[need.partition(".")[0]] for need in needs.counted)
    return next((reason for need in had if (reason := schema.lacks(need)) is not None), None)
