"""Analytics as an operator may write them: which requests count as what, where that is kept, and the app's database."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from config.pool import Method, Model, Positive
from config.values import Duration, StatusSet

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

    match: EventMatch
    status: StatusSet = StatusSet.of("2xx")
    """Of the answer."""
    take: dict[str, str] = Field(default_factory=dict)
    """Dimension to where it is from: path:NAME, query:NAME, query-length:NAME, request-header:NAME,
    response-header:NAME, "location:/posts/{post}" or "=value"."""
    when: dict[str, str] = Field(default_factory=dict)
    """request-header:NAME or response-header:NAME to its value, or "*" for present."""


class AppDatabase(Model):
    """The app's own PostgreSQL, which is only read."""

    url: str = ""
    """postgresql://user:password@host:port/name; empty: ANALYTICS_DB_URL, else there is none."""


class Analytics(Model):
    """How the site and its community are doing."""

    source: Literal["auto", "traffic", "database"] = "auto"
    """auto: the app's database where it knows an answer, and the traffic for the rest."""
    time_zone: str = "UTC"
    """An IANA name: in whose days users are counted once. What has been counted keeps the days it was counted in."""
    store: str = "analytics.db"
    """A file of SQLite, by its name beside `admin.state`."""
    keep: Positive = 30 * 86400.0
    """How long single events stay."""
    keep_summaries: Positive = 760 * 86400.0
    """How long what reports are made of stays."""
    salt: str = ""
    """What users are hashed with; empty: one that is made once and kept beside `admin.state`."""
    user: tuple[str, ...] = ("response-header:X-User-Id",)
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
