"""The shared cache, and compression, as an operator may write them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from config.pool import Cookie, Model
from config.values import Duration, Network, Share, Size, Unfit

FieldName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", examples=["Accept-Language"])]
Coding = Literal["gzip", "br", "zstd"]


def _chosen(value: object) -> object:
    """Inside of braces a variable has to be in quotes, and is a switch all the same."""
    if not isinstance(value, (bool, str)):
        raise Unfit("must be true, false or the name of one of `cache.rules`", value)
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _room(value: int) -> int:
    if value < 1024 * 1024:
        raise Unfit("must be at least 1MiB", value)
    return value


def _error_status(value: str) -> str:
    if not re.fullmatch(r"[45](xx|[0-9]{2})", value):
        raise Unfit("must be a status such as 404, or 4xx or 5xx", value)
    return value


_ErrorStatus = Annotated[
    str,
    AfterValidator(_error_status),
    WithJsonSchema({"type": "string", "pattern": "^[45]([0-9]{2}|xx)$", "examples": ["404", "5xx"]}),
]
RouteCache = Annotated[bool | str, BeforeValidator(_chosen)]


class CacheKey(Model):
    """What tells stored answers of one URL apart, beside what they say in `Vary`."""

    headers: tuple[FieldName, ...] = ()
    """Request fields."""
    cookies: tuple[Cookie, ...] = ()
    """Cookies."""
    images: bool = False
    """Which of AVIF and WebP `Accept` names, in the place of what else it says: for servers that choose a picture's
    format by that alone, whose answers would be stored once for each browser."""


class Bypass(Model):
    """Requests that go past the cache: neither answered from it nor stored. One of these is enough."""

    headers: tuple[FieldName, ...] = ()
    """Request fields that are there, whatever they say."""
    cookies: tuple[Cookie, ...] = ()
    """Cookies that are there, such as that of a session."""


class Heuristic(Model):
    """How long an answer without a lifetime is fresh (RFC 9111 section 4.2.2)."""

    share: Share = 0.1
    """Of the time since it was last modified; 0: never."""
    longest: Duration = 86400.0


class CacheRule(Model):
    """How one kind of content is cached. Whatever is not said here is as the answers say."""

    ttl: Duration | None = None
    """Answers that may be stored, errors apart, are fresh for this long, whatever they say; null: as they say."""
    heuristic: Heuristic = Heuristic()
    stale_while_revalidate: Duration | None = None
    """Where an answer does not say: how long a stale one is served while a new one is fetched (RFC 5861)."""
    stale_if_error: Duration | None = None
    """Where an answer does not say: how long a stale one is served in the place of a 500, 502, 503 or 504."""
    ignore_query: tuple[Annotated[str, Field(min_length=1, examples=["utm_*", "fbclid"])], ...] = ()
    """Query parameters that make no other page; * stands for any characters."""
    key: CacheKey = CacheKey()
    bypass: Bypass = Bypass()
    negative: dict[_ErrorStatus, Duration] = Field(default_factory=dict)
    """Errors that say nothing of caching are kept for this long: {404: 10s, 5xx: 2s}. 4xx does not stand for what is
    wrong with one request or client, such as 400, 401, 413, 429 and 431: nobody is to bring that about for all."""
    store_set_cookie: Literal["explicit", "never"] = "explicit"
    """Answers that set a cookie are stored when they say how long they are fresh, or never."""


class Cache(Model):
    """The shared cache for answers, by RFC 9111."""

    enabled: bool = False
    """Whether routes are cached that do not say; `cache: true` is short for it."""
    memory: Annotated[Size, AfterValidator(_room)] = 64 * 1024 * 1024
    """Bytes, with what it takes to find them."""
    max_object: Size = 8 * 1024 * 1024
    """Bytes of a body; larger ones are not stored."""
    redis: bool = True
    """Share answers with other balancers, when `redis.url` is set."""
    redis_max_object: Size = 1024 * 1024
    collapse: bool = True
    """Requests for what is being fetched wait for it."""
    status_header: bool = True
    """Say in Cache-Status what the cache did (RFC 9211)."""
    tags: tuple[FieldName, ...] = ("Surrogate-Key", "Cache-Tag")
    """Response fields that name what an answer can be purged by."""
    purge_from: tuple[Network, ...] = ()
    """Clients that may use the method PURGE, and see the key of an answer."""
    rules: dict[str, CacheRule] = Field(default_factory=dict)
    """Named, and chosen by a route: `cache: NAME`."""


class Compress(Model):
    """Answers that are compressed on the way to clients that take it (RFC 9110 section 12.5.3)."""

    codings: tuple[Coding, ...] = ("zstd", "br", "gzip")
    """Those offered, the best first. br and zstd need the extra `balancer[compression]`."""
    min_size: Size = 1024
    """Bytes of a body; smaller ones are sent as they are."""
    types: tuple[Annotated[str, Field(pattern=r"^[!-~]+/[!-~]+$", examples=["text/*"])], ...] = (
        "text/*",
        "application/javascript",
        "application/json",
        "application/*+json",
        "application/xml",
        "application/*+xml",
        "application/wasm",
        "application/manifest+json",
        "application/vnd.ms-fontobject",
        "font/ttf",
        "font/otf",
        "image/svg+xml",
        "image/x-icon",
        "image/bmp",
    )
    """Media types; * stands for any characters."""
