"""What the analytics operations are asked and answer."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.operation import Model

Cell = None | bool | int | float | str | datetime | date | dict[str, int] | list[dict[str, Any]]
Row = dict[str, Cell]


class ReportQuery(Model):
    """What a report is to be about."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=False)

    since: Annotated[str | None, Field(alias="from", max_length=40)] = None
    """A date (local midnight) or a moment (RFC 3339); without it, 30 days up to `to`."""
    to: Annotated[str | None, Field(max_length=40)] = None
    """A date, which is the last day, or a moment that is after the last; without it, today."""
    interval: Annotated[str | None, Field(max_length=10)] = None
    """hour, day, week or month; by the length of the period without it."""
    timezone: Annotated[str | None, Field(max_length=64)] = None
    """An IANA name; `analytics.time_zone` without it."""
    limit: Annotated[int, Field(ge=1, le=500)] = 20
    """Rows of tables."""
    compare: Literal["previous", "none"] = "previous"
    active: Literal["seen", "contributed"] | None = None
    """What makes a user active: any event, or a post, a comment or a reaction."""
    community: Annotated[str | None, Field(max_length=200)] = None
    """Only what happened in it; its id."""
    sort: Literal["active_users", "members", "new_members", "posts", "reports"] | None = None
    """Of the table of communities."""
    source: Literal["auto", "traffic", "database"] | None = None
    """Where figures are to come from; as `analytics.source` says without it."""
    format: Literal["json", "csv"] = "json"
    table: Annotated[str | None, Field(max_length=40)] = None
    """Which table the CSV is of; the series without it."""


class SummaryQuery(Model):
    """What all summaries are to be about."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=False)

    since: Annotated[str | None, Field(alias="from", max_length=40)] = None
    to: Annotated[str | None, Field(max_length=40)] = None
    timezone: Annotated[str | None, Field(max_length=64)] = None
    compare: Literal["previous", "none"] = "previous"
    source: Literal["auto", "traffic", "database"] | None = None


class MetricAnswer(Model):
    """One number of a summary."""

    value: Cell
    """null: it is not known, never 0; `reason` says why."""
    previous: Cell
    """Of the period before."""
    change: float | None
    """(value - previous) / previous; null where previous is 0 or not known."""
    unit: str
    """users, posts, seconds, share (0 to 1)..."""
    reason: str | None


class Availability(Model):
    """Why something is not in the answer."""

    available: Literal[False] = False
    reason: str


class ReportAnswer(Model):
    """A report. Counts are integers, shares 0 to 1, what ends in _s seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, serialize_by_alias=True)

    name: str
    source: Literal["sql", "events", "mixed"] | None
    """sql: the app's own database; events: the traffic; null: nothing of it is known."""
    since: Annotated[datetime, Field(alias="from")]
    to: datetime
    interval: Literal["hour", "day", "week", "month"]
    timezone: str
    generated_at: datetime
    cached: bool
    age_s: float
    """Seconds since the oldest of what it is made of was read."""
    active_definition: str | None
    """What an active user is, where that matters."""
    summary: dict[str, MetricAnswer]
    series: list[Row]
    """Buckets of local time; `start` is the first instant in UTC, `partial` whether it is cut or not over."""
    tables: dict[str, list[Row]]
    metrics: dict[str, Availability]
    """What is not known, by query or column, with the reason."""
    warnings: list[str]


class SummaryAnswer(Model):
    """The summaries of the eight reports."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, serialize_by_alias=True)

    since: Annotated[datetime, Field(alias="from")]
    to: datetime
    timezone: str
    generated_at: datetime
    reports: dict[str, SummaryPart]


class SummaryPart(Model):
    """The summary of one report."""

    source: Literal["sql", "events", "mixed"] | None
    summary: dict[str, MetricAnswer]
    reason: str | None
    """Why there is none; null where there is one."""


class QueueFigures(Model):
    """Events on their way to the store. Counts are since the start."""

    waiting: int
    counted: int
    dropped: int
    """For want of room: the store was away or too slow."""
    lost: int
    """The store's process had them when it was ended."""


class StoredFigures(Model):
    """What the store has."""

    ok: bool | None
    """null: it is being opened."""
    reason: str | None
    since: datetime
    """When it became so."""
    written: int
    """Events, since the start."""
    events: int | None
    """Single events that are kept; null while they can not be asked for."""
    bytes: int | None
    oldest: datetime | None
    newest: datetime | None
    restarts: int
    """Of its process."""
    unclean: datetime | None
    """The run before was not ended in order: events of the second after this moment may be missing."""
    time_zone: str
    """In whose days users are counted."""


class StatusAnswer(Model):
    """How it goes with analytics."""

    configured: bool
    sources: list[Literal["traffic", "database"]]
    """Where reports can come from; none: there are no reports."""
    events: list[str]
    """Names that rules make."""
    excluded: dict[str, int]
    """Requests that count for nothing, since the start, by why: bot, opt-out, duplicate."""
    bot_share: float | None
    """Of requests that rules fit."""
    queue: QueueFigures | None
    stored: StoredFigures | None


class ExportQuery(Model):
    """Which events, and as what."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=False)

    since: Annotated[str | None, Field(alias="from", max_length=40)] = None
    to: Annotated[str | None, Field(max_length=40)] = None
    timezone: Annotated[str | None, Field(max_length=64)] = None
    """Whose days `from` and `to` are."""
    format: Literal["jsonl", "csv", "parquet"] = "jsonl"


class SuggestionAnswer(Model):
    """A rule that might be written."""

    event: str
    method: str
    path: str
    count: int
    why: str
    rule: str
    """YAML, for below `analytics.events`."""


class SuggestionsAnswer(Model):
    """What the traffic suggests."""

    suggestions: list[SuggestionAnswer]
    left_out: int
    """Requests of shapes for which there was no room."""


class Forgotten(Model):
    """What it took to forget a user."""

    rows: int
