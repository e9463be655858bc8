"""What is said of the cache to callers, and by them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from api.operation import Model
from balancer.telemetry.figures import CacheFigures

MOST = 1000
"""Purges of one request."""
MOST_WIDE = 100
"""Of these, prefixes, patterns and hosts with a star: each is held against whatever is looked for."""
LISTS = ("urls", "prefixes", "patterns", "tags", "hosts")

Items = Annotated[list[Annotated[str, Field(min_length=1, max_length=8192)]], Field(max_length=MOST)]
Kind = Literal["url", "path", "prefix", "pattern", "tag", "group", "host", "everything"]


def _something(schema: JsonDict) -> None:
    """That there is something to purge, for the document."""
    ways: list[JsonDict] = [{"required": [name], "properties": {name: {"minItems": 1}}} for name in LISTS]
    schema["anyOf"] = [*ways, {"required": ["everything"], "properties": {"everything": {"const": True}}}]


class PurgeRequest(Model):
    """What is to be purged: at least one thing, and at most a thousand."""

    model_config = ConfigDict(json_schema_extra=_something)

    urls: Items = Field(default_factory=list)
    """One URL each: "https://example.com/a?b=c", "example.com/a" (by http and https) or "/a" (on every host)."""
    prefixes: Items = Field(default_factory=list)
    """What URLs begin with, in the same forms."""
    patterns: Items = Field(default_factory=list)
    """The same with * for any characters and ? for one: "/posts/*"."""
    tags: Items = Field(default_factory=list)
    """As answers say in Surrogate-Key or Cache-Tag."""
    hosts: Items = Field(default_factory=list)
    """"example.com", "example.com:8080" for that port alone, or "*.example.com"."""
    everything: bool = False
    soft: bool = False
    """What it meets is not gone, but stale: it may still be served while it is fetched anew, or in an error's place."""
    dry_run: bool = False
    """Only say what it would meet in memory; nothing is touched, and Redis is not asked."""

    @model_validator(mode="after")
    def _bounded(self) -> PurgeRequest:
        count = sum(len(getattr(self, name)) for name in LISTS) + self.everything
        if not count:
            raise ValueError(f"must have something in {', '.join(LISTS)}, or `everything: true`")
        if count > MOST:
            raise ValueError(f"must have at most {MOST} things to purge, not {count}")
        return self


class LevelAnswer(Model):
    """What one level of the cache says."""

    level: str
    """memory, or redis."""
    ok: bool
    """It is in force there."""
    entries: int | None
    """Stored answers that it met; null where that cannot be known."""
    seconds: float
    """Until it was in force."""
    reason: str | None
    """Why it is not, or why there is no count."""


class PurgedAnswer(Model):
    """One thing that was to be purged."""

    kind: Kind
    value: str
    """As it was understood; empty for everything."""
    soft: bool
    ok: bool
    """It is in force on every level."""
    levels: list[LevelAnswer]


class WouldMeet(Model):
    """What a purge would meet in memory."""

    entries: int
    """Stored answers; one that several items meet counts once."""
    bytes: int
    urls: list[str]
    """Up to twenty of them."""


class PurgeAnswer(Model):
    """The receipt of a purge."""

    would: WouldMeet | None = None
    """With `dry_run`; the counts of `levels` and `items` are then what would be."""
    ok: bool
    """Everything is in force on every level. If not, the levels tell where; the same may be asked again."""
    levels: list[LevelAnswer]
    """The sum over all items."""
    items: list[PurgedAnswer]


class StatsQuery(Model):
    """How much to tell."""

    top: Annotated[int, Field(ge=1, le=100)] = 10
    """URLs and tags that are told, those with the most first."""


class KeyAnswer(Model):
    """All stored answers of one URL."""

    url: str
    """Values of query parameters that the access log masks are masked here too."""
    variants: int
    hits: int
    bytes: int
    status: int
    """Of the newest answer, as are age and ttl."""
    age: float
    """Seconds since a server made it."""
    ttl: float
    """Seconds for which it is fresh; negative since when it is stale."""


class TagAnswer(Model):
    """One tag."""

    tag: str
    entries: int
    """Stored answers that have it."""


class HitPoint(Model):
    """How it went for ten seconds."""

    at: datetime
    lookups: int
    hits: int


class CacheStats(CacheFigures):
    """The cache at this moment."""

    history: list[HitPoint]
    """The last hour, the oldest first."""

    at: datetime
    enabled: bool
    """Whether there is a route that is cached, or was."""
    top_keys: list[KeyAnswer]
    """The URLs that were asked for most; none that nobody asked for."""
    top_tags: list[TagAnswer]
