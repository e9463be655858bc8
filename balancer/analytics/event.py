"""What one request meant for the product: the record that the traffic leaves for analytics."""

from __future__ import annotations

from typing import NamedTuple

REGISTERED = "user_registered"
USER_DELETED = "user_deleted"
LOGIN = "user_login"
POSTED = "post_created"
POST_DELETED = "post_deleted"
VIEWED = "post_viewed"
COMMENTED = "comment_created"
COMMENT_DELETED = "comment_deleted"
REACTED = "reaction_added"
FOUNDED = "community_created"
CLOSED = "community_closed"
JOINED = "community_joined"
LEFT = "community_left"
REPORTED = "report_filed"
RESOLVED = "report_resolved"
MODERATED = "moderation_action"
SEARCHED = "search"

CONTRIBUTIONS = frozenset((POSTED, COMMENTED, REACTED))
"""What makes whoever did it an active user in the stricter sense."""
KNOWN = (
    REGISTERED,
    USER_DELETED,
    LOGIN,
    POSTED,
    POST_DELETED,
    VIEWED,
    COMMENTED,
    COMMENT_DELETED,
    REACTED,
    FOUNDED,
    CLOSED,
    JOINED,
    LEFT,
    REPORTED,
    RESOLVED,
    MODERATED,
    SEARCHED,
)
"""Names that reports understand; any other is counted and no more."""

COMMUNITY = "community"
POST = "post"
COMMENT = "comment"
REPORT = "report"
TARGET_TYPE = "target_type"
REASON = "reason"
OUTCOME = "outcome"
ACTION = "action"
TARGET_USER = "target_user"
AUTOMATED = "automated"


class Event(NamedTuple):
    """One product event. Nothing in it says who somebody is to one who does not have the secret.

    `user` and `visitor` are keyed hashes, signed integers of 64 bits: `user` stays the same for as long as the
    secret does, `visitor`, of those who did not say who they are, for a day.
    """

    at: int
    """When the request was over: milliseconds since 1970, UTC."""
    name: str
    user: int | None
    visitor: int | None
    status: int
    duration: int
    """Microseconds."""
    size: int
    """Bytes of the answer's body."""
    dims: dict[str, str]
    """What the rule takes, such as `community`. Those that reports read are named above."""
