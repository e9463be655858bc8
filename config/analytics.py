"""Analytics as an operator may write them: which requests count as what, where that is kept, and the app's database."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from config.pool import Method, Model, Positive
from config.postgres_url import BadPostgresUrl, PostgresUrl
from config.problems import Unfit
from config.values import Duration, Size, StatusSet

_FIELD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_TAKEN = re.compile(
    rf"path:{_NAME}|query(-length)?:[^&=\s]+|(request|response)-header:{_FIELD}|=[!-~ ]*"
    r"|location:(/[^/{}?#\s]+)*/\{[A-Za-z_][A-Za-z0-9_-]*\}(/[^/{}?#\s]+)*"
)
_WHEN = re.compile(rf"(request|response)-header:{_FIELD}")
_WHO = re.compile(rf"response-header:{_FIELD}|jwt:[^\s:]+|auth|cookie:{_FIELD}")


def _taken(text: str) -> str:
    if not _TAKEN.fullmatch(text):
        expected = (
            "must be path:NAME, query:NAME, query-length:NAME, request-header:NAME, response-header:NAME, "
            "location:/PATH/{name} or =VALUE"
        )
        raise Unfit(expected, text)
    return text


def _when(text: str) -> str:
    if not _WHEN.fullmatch(text):
        raise Unfit("must be request-header:NAME or response-header:NAME", text)
    return text


def _who(text: str) -> str:
    if not _WHO.fullmatch(text):
        raise Unfit("must be response-header:NAME, jwt:CLAIM, auth or cookie:NAME", text)
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise Unfit("must be the name of a time zone, such as Europe/Berlin or UTC", text) from None
    return text


def _postgres(text: str) -> str:
    try:
        if text:
            PostgresUrl.of(text)
    except BadPostgresUrl as error:
        raise Unfit(str(error), "what is there") from None
    return text


def _store(text: str) -> str:
    if "://" not in text:
        return text
    if not re.match(r"postgres(ql)?://", text):
        raise Unfit("must be a file, or a URL such as postgresql://user:password@host:5432/name", "what is there")
    return _postgres(text)


COLUMN = r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$"
TABLE = r"^([A-Za-z_][A-Za-z0-9_$]{0,62}\.)?[A-Za-z_][A-Za-z0-9_$]{0,62}$"
Column = Annotated[str, Field(pattern=COLUMN)]
OptionalColumn = Annotated[str, Field(pattern=COLUMN)] | None
AppUrl = Annotated[str, AfterValidator(_postgres)]
Taken = Annotated[str, AfterValidator(_taken)]
When = Annotated[str, AfterValidator(_when)]
Who = Annotated[str, AfterValidator(_who)]
Zone = Annotated[str, AfterValidator(_zone)]
Dimension = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", examples=["community"])]
EventName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,62}$", examples=["post_created"])]


class EventMatch(Model):
    """Which requests may count; every condition must hold."""

    method: tuple[Method, ...] = ()
    """None: every method."""
    path: Annotated[str, Field(pattern=r"^/", examples=["/api/communities/{community}/posts"])]
    """As in routes: "/exact", "/prefix/**", "/users/{id}"."""
    host: tuple[str, ...] = ()
    """None: every host."""


class EventRule(Model):
    """When a finished request counts as a product event, and what is taken from it."""

    match: Annotated[tuple[EventMatch, ...], Field(min_length=1)]
    """One of them must fit."""
    status: StatusSet = StatusSet.of("2xx")
    """Of the answer."""
    take: dict[Dimension, Taken] = Field(default_factory=dict)
    """Dimension to where it is from: path:NAME, query:NAME, query-length:NAME, request-header:NAME,
    response-header:NAME, "location:/posts/{post}" or "=value"."""
    when: dict[When, str] = Field(default_factory=dict)
    """request-header:NAME or response-header:NAME to its value, "*" for any, or "" for none."""


class Entity(Model):
    """Where the app keeps one kind of thing. null for a column: the app has none."""

    table: Annotated[str, Field(pattern=TABLE)]
    """A table or a view, with its schema before a dot if that is another one."""
    where: dict[Annotated[str, Field(pattern=COLUMN)], str | int | bool] = Field(default_factory=dict)
    """Only rows with these values."""


class Users(Entity):
    """Who has an account."""

    table: Annotated[str, Field(pattern=TABLE)] = "users"
    id: Column = "id"
    name: OptionalColumn = "username"
    created_at: Column = "created_at"
    last_seen_at: OptionalColumn = "last_seen_at"
    deleted_at: OptionalColumn = "deleted_at"
    suspended_until: OptionalColumn = "suspended_until"
    role: OptionalColumn = "role"
    trust_level: OptionalColumn = "trust_level"
    is_bot: OptionalColumn = "is_bot"


class Communities(Entity):
    """Groups, forums, subreddits."""

    table: Annotated[str, Field(pattern=TABLE)] = "communities"
    id: Column = "id"
    slug: OptionalColumn = "slug"
    name: OptionalColumn = "name"
    visibility: OptionalColumn = "visibility"
    created_at: Column = "created_at"
    deleted_at: OptionalColumn = "deleted_at"


class Memberships(Entity):
    """Who belongs to which."""

    table: Annotated[str, Field(pattern=TABLE)] = "memberships"
    community_id: Column = "community_id"
    user_id: Column = "user_id"
    joined_at: Column = "joined_at"
    left_at: OptionalColumn = "left_at"


class Posts(Entity):
    """What people write."""

    table: Annotated[str, Field(pattern=TABLE)] = "posts"
    id: Column = "id"
    community_id: OptionalColumn = "community_id"
    author_id: Column = "author_id"
    title: OptionalColumn = "title"
    created_at: Column = "created_at"
    deleted_at: OptionalColumn = "deleted_at"
    removed_at: OptionalColumn = "removed_at"


class Comments(Entity):
    """What others answer."""

    table: Annotated[str, Field(pattern=TABLE)] = "comments"
    id: Column = "id"
    post_id: Column = "post_id"
    author_id: Column = "author_id"
    created_at: Column = "created_at"
    deleted_at: OptionalColumn = "deleted_at"


class Reactions(Entity):
    """Likes and the like."""

    table: Annotated[str, Field(pattern=TABLE)] = "reactions"
    user_id: Column = "user_id"
    target_type: OptionalColumn = "target_type"
    """Without it, all are of posts."""
    target_id: OptionalColumn = "target_id"
    created_at: Column = "created_at"


class UserReports(Entity):
    """What people complain of."""

    table: Annotated[str, Field(pattern=TABLE)] = "reports"
    id: Column = "id"
    reporter_id: OptionalColumn = "reporter_id"
    target_type: OptionalColumn = "target_type"
    target_user_id: OptionalColumn = "target_user_id"
    community_id: OptionalColumn = "community_id"
    reason: OptionalColumn = "reason"
    status: OptionalColumn = "status"
    created_at: Column = "created_at"
    resolved_at: OptionalColumn = "resolved_at"
    status_values: dict[Literal["open", "upheld", "rejected", "ignored"], tuple[str, ...]] = Field(default_factory=dict)
    """What the app calls them, where that is something else."""


class ModerationActions(Entity):
    """What moderators do."""

    table: Annotated[str, Field(pattern=TABLE)] = "moderation_actions"
    id: Column = "id"
    moderator_id: OptionalColumn = "moderator_id"
    community_id: OptionalColumn = "community_id"
    action: Column = "action"
    report_id: OptionalColumn = "report_id"
    created_at: Column = "created_at"
    automated: OptionalColumn = "automated"
    action_values: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """remove_post, remove_comment, warn, mute, ban, restore: what the app calls them, where that is something else."""


class Mapping(Model):
    """Where the app keeps what reports know of; null: it has none. Without a word the documented schema is meant."""

    users: Users | None = Users()
    communities: Communities | None = Communities()
    memberships: Memberships | None = Memberships()
    posts: Posts | None = Posts()
    comments: Comments | None = Comments()
    reactions: Reactions | None = Reactions()
    reports: UserReports | None = UserReports()
    moderation_actions: ModerationActions | None = ModerationActions()


class AppDatabase(Model):
    """The app's own PostgreSQL, which is only read."""

    url: AppUrl = ""
    """postgresql://user:password@host:port/name; empty: ANALYTICS_DB_URL, else there is none."""
    tables_in: Column = "public"
    """The schema of tables that do not say theirs."""
    time_zone: Zone = "UTC"
    """Of columns with times that have none."""
    statement_timeout: Annotated[Positive, Field(le=300)] = 5.0
    lock_timeout: Positive = 0.2
    pool: Annotated[int, Field(ge=1, le=2)] = 2
    """Connections at a time."""
    cache: Duration = 300.0
    """How long an answer is given again."""
    mapping: Mapping = Mapping()


class Analytics(Model):
    """How the site and its community are doing."""

    source: Literal["auto", "traffic", "database"] = "auto"
    """auto: the app's database where it knows an answer, and the traffic for the rest."""
    time_zone: Zone = "UTC"
    """An IANA name: in whose days users are counted once. What has been counted keeps the days it was counted in."""
    store: Annotated[str, AfterValidator(_store)] = "analytics.db"
    """A file of SQLite (a name without a slash is beside `admin.state`), or postgresql://user:password@host:5432/name."""
    keep: Positive = 30 * 86400.0
    """How long single events stay."""
    keep_summaries: Positive = 760 * 86400.0
    """How long what reports are made of stays."""
    max_size: Annotated[Size, Field(ge=2**20)] = 10 * 2**30
    """Bytes of the store; when it is full, further events wait, and are dropped in the end."""
    salt: str = ""
    """What users are hashed with; empty: one that is made once and kept beside `admin.state`."""
    user: tuple[Who, ...] = ("response-header:X-User-Id",)
    """Who a request is from, the first that is there: response-header:NAME, jwt:CLAIM, auth, cookie:NAME."""
    honor_opt_out: bool = False
    """Whether requests with DNT: 1 or Sec-GPC: 1 count for nothing."""
    duplicates: Duration = 2.0
    """The same by the same user within this time is one event, unless it made two different things."""
    queue: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000
    """Events that may wait for the store; further ones are dropped, and counted."""
    events: dict[EventName, EventRule] = Field(default_factory=dict)
    """By name. Reports understand user_registered, post_created, comment_created and others (docs/analytics.md)."""
    database: AppDatabase | None = None
