"""What is said between the CDN service, its providers and those who ask: plain values, units in their names."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

Kind = Literal["image", "video", "audio", "document", "font", "archive", "other"]
"""What a file is to its readers; the first part of its path."""
KINDS: Final[tuple[Kind, ...]] = ("image", "video", "audio", "document", "font", "archive", "other")
IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""Cache-Control of what is stored under a name that is made of its content."""
REVALIDATED: Final = "no-cache"
"""Cache-Control of what may be overwritten."""


class Capability(enum.Flag):
    """What a provider can do."""

    UPLOAD = enum.auto()
    DELETE = enum.auto()
    LIST = enum.auto()
    PURGE_URL = enum.auto()
    PURGE_PREFIX = enum.auto()
    PURGE_TAG = enum.auto()
    PURGE_HOST = enum.auto()
    PURGE_ALL = enum.auto()
    SOFT_PURGE = enum.auto()
    PURGE_STATUS = enum.auto()
    """It can be asked how far a purge has come."""
    STATS = enum.auto()
    IMAGES = enum.auto()

    @property
    def names(self) -> list[str]:
        """In words for people: ["upload", "purge_url"]."""
        return [member.name.lower() for member in type(self) if member in self and member.name is not None]


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """A file to be stored. An iterator is read once; its pieces are bytes of any length."""

    source: Path | bytes | AsyncIterator[bytes]
    name: str
    kind: Kind
    content_type: str | None = None
    """None: by what the bytes say, else by the name."""
    tags: tuple[str, ...] = ()
    size_bytes: int | None = None
    """As announced; what really comes is counted."""
    sha256_hex: str | None = None
    """As announced; the upload fails when what comes has another."""
    overwrite: bool = False
    """Store under the plain name, over what is there."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that a provider has."""

    path: str
    """Its name with this provider, without a slash before it: image/2026/11/ab/abcd-cat.png."""
    url: str
    """Where clients find it."""
    size_bytes: int
    content_type: str
    sha256_hex: str | None
    """None where the provider does not tell (of listed files)."""
    etag: str | None
    provider: str
    created: bool = True
    """False: the same content was there already."""
    stored_at: datetime | None = None
    tags: tuple[str, ...] = ()
    hits: int | None = None
    """Requests for it; None where the provider does not count by file."""
    ticket: str | None = None
    """The purge of what was there before (owner: the service)."""


@dataclass(frozen=True, slots=True)
class FilePage:
    """A part of a list of files, in the order of their paths."""

    files: tuple[StoredFile, ...]
    next: str | None
    """What to ask the next page with; None: there is no more."""


CALLS: Final = "calls"
"""Name of a rate limit of all calls of an account together."""


class PurgeKind(enum.StrEnum):
    """What a target names."""

    URL = "url"
    """One path with all of its queries, or one URL."""
    PREFIX = "prefix"
    PATTERN = "pattern"
    """With a star that is not at its end."""
    TAG = "tag"
    HOST = "host"
    ALL = "everything"


@dataclass(frozen=True, slots=True)
class PurgeTarget:
    """One thing to purge, normalised: see `purging.patterns`."""

    kind: PurgeKind
    value: str
    """A path that begins with a slash (URL, PREFIX, PATTERN), a tag, a host, or empty for everything.

    A PREFIX has no star: "/posts/" is what is below, "/posts" all that begins so.
    """
    host: str | None = None
    """Only of this host; None: of all that the CDN serves."""
    query: str | None = None
    """URL only: exactly this query; None: all of them."""

    @property
    def written(self) -> str:
        """As an operator would write it."""
        if self.kind is PurgeKind.ALL:
            return "*"
        if self.kind is PurgeKind.TAG:
            return f"tag:{self.value}"
        if self.kind is PurgeKind.HOST:
            return f"host:{self.value}"
        star = "*" if self.kind is PurgeKind.PREFIX else ""
        place = f"https://{self.host}" if self.host is not None else ""
        query = f"?{self.query}" if self.query is not None else ""
        return f"{place}{self.value}{star}{query}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A target that a provider has no form for."""

    target: PurgeTarget
    reason: str
    nearest: str | None = None
    """What `widen` would purge in its place."""


@dataclass(frozen=True, slots=True)
class PurgeBatch:
    """What goes to a provider in one call."""

    kind: str
    """The provider's own word for the call: files, prefixes, tags..."""
    items: tuple[str, ...]
    """As the provider spells them."""
    targets: tuple[PurgeTarget, ...]
    cost: int = 1
    """What it takes of the rate limit."""
    soft: bool = False
    limit: str = ""
    """Name of the rate limit among the provider's; empty: the kind. Where there is one named `CALLS`, each call takes
    one of that as well."""


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """Targets as calls. Pure: the same targets make the same plan."""

    batches: tuple[PurgeBatch, ...]
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
    """What was widened, hashed, or made hard instead of soft."""


class PurgeState(enum.StrEnum):
    """How far a purge has come."""

    QUEUED = "queued"
    SUBMITTED = "submitted"
    """Accepted by a provider that tells no more."""
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    PARTIAL = "partial"
    """Some targets were refused."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What a provider said to one batch."""

    state: PurgeState
    provider_id: str | None = None
    left: float | None = None
    """Of the limit `CALLS`, where the answer said it."""
    reset_s: float | None = None
    """Seconds until there are more of them, where it said so."""


@dataclass(frozen=True, slots=True)
class StatPoint:
    """One interval of a series; None where the provider does not know."""

    at: datetime
    """Its beginning."""
    requests: int | None = None
    bytes_out: int | None = None
    hits: int | None = None


@dataclass(frozen=True, slots=True)
class CdnStats:
    """Traffic of a period, `from_` included and `to` not."""

    from_: datetime
    to: datetime
    interval_s: int
    requests: int | None = None
    bytes_out: int | None = None
    """To clients."""
    bytes_origin: int | None = None
    """From the balancer to the CDN."""
    hits: int | None = None
    hit_ratio: float | None = None
    """0 to 1."""
    status_4xx: int | None = None
    status_5xx: int | None = None
    sampled: bool = False
    """An estimate of the provider's, from a sample of its traffic."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Field to why it is None."""
    series: tuple[StatPoint, ...] = ()


Format = Literal["auto", "jpeg", "png", "webp", "avif", "gif"]
Fit = Literal["contain", "cover", "fill", "pad"]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What is to be made of a picture. `images.options` validates and spells them."""

    width: int | None = None
    """Pixels, before `dpr`."""
    height: int | None = None
    quality: int | None = None
    """1 to 100; None: as configured."""
    format: Format = "auto"
    fit: Fit = "contain"
    """contain: inside the box, with its proportions; cover: fills the box and is cropped; fill: stretched;
    pad: contained, with `background` around it."""
    enlarge: bool = False
    dpr: float = 1.0
    background: str | None = None
    """Hex digits: ffffff."""


@dataclass(frozen=True, slots=True)
class OptimizedImage:
    """Where a changed picture is."""

    url: str
    options: ImageOptions
    provider: str
    """Who makes it: a provider without pictures leaves it to "local"."""
    expires_at: datetime | None = None
    notes: tuple[str, ...] = ()
    """What differs from what was asked: "format png: the provider has none, the source's is kept"."""


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """What a picture became when it was made once."""

    format: str
    width: int
    height: int
    size_bytes: int
    source_bytes: int
    seconds: float
    cached: bool
    """It had been made before."""


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """Something about a provider that needs somebody."""

    code: str
    message: str
    """What was found, and what to do."""


@dataclass(frozen=True, slots=True)
class LimitState:
    """A rate limit of a provider's, as it is counted here."""

    left: float
    capacity: float
    refill_per_s: float
    blocked_s: float = 0.0
    """Until calls are made again, by the provider's own word."""


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How a provider is; never a secret, and of key ids the last four characters at most."""

    provider: str
    ok: bool
    checked_at: datetime
    latency_s: float
    capabilities: Capability
    account: str | None = None
    problems: tuple[StatusProblem, ...] = ()
    details: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
