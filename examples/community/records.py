"""What the site knows, as values: the rows that handlers and pages pass around."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class User:
    """A member of the site. `role` is member, moderator or admin."""

    id: int
    username: str
    role: str
    trust_level: int
    created_at: str
    last_seen_at: str | None

    @property
    def moderates(self) -> bool:
        return self.role in ("moderator", "admin")


@dataclass(frozen=True, slots=True)
class Community:
    """A place for posts, with how many members and visible posts it has."""

    id: int
    slug: str
    name: str
    about: str
    creator_id: int
    created_at: str
    members: int
    posts: int


@dataclass(frozen=True, slots=True)
class Post:
    """A visible post, with the names and counts that a page shows beside it."""

    id: int
    community_id: int
    community: str
    author_id: int
    author: str
    title: str
    body: str
    created_at: str
    comments: int
    reactions: int


@dataclass(frozen=True, slots=True)
class Comment:
    """A visible comment; `parent_id` is the comment it answers, if any."""

    id: int
    post_id: int
    author_id: int
    author: str
    parent_id: int | None
    body: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Report:
    """A complaint about a post, a comment or a user. `status` is open, upheld, rejected or ignored."""

    id: int
    reporter_id: int
    target_type: str
    target_id: int
    target_user_id: int | None
    community_id: int | None
    reason: str
    status: str
    created_at: str
    resolved_at: str | None
    resolved_by: int | None


class Refusal(Exception):
    """A request that the site will not do; the status and the message go to whoever asked."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field


def timestamp(at: datetime | None = None) -> str:
    """A moment, or now, as the tables keep it: UTC text that sorts by time."""
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
