"""Analytics as an operator may write them: which requests count as what, where that is kept, and the app's database."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from config.pool import Method, Model, Positive
from config.problems import Unfit
from config.values import Duration, StatusSet

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


class AppDatabase(Model):
    """The app's own PostgreSQL, which is only read."""

    url: str = ""
    """postgresql://user:password@host:port/name; empty: ANALYTICS_DB_URL, else there is none."""


class Analytics(Model):
    """How the site and its community are doing."""

    source: Literal["auto", "traffic", "database"] = "auto"
    """auto: the app's database where it knows an answer, and the traffic for the rest."""
    time_zone: Zone = "UTC"
    """An IANA name: in whose days users are counted once. What has been counted keeps the days it was counted in."""
    store: str = "analytics.db"
    """A file of SQLite, by its name beside `admin.state`."""
    keep: Positive = 30 * 86400.0
    """How long single events stay."""
    keep_summaries: Positive = 760 * 86400.0
    """How long what reports are made of stays."""
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
