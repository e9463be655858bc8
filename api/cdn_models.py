"""What is said of the CDN to callers, and by them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from api.operation import Model
from balancer.cdn.local.request import LONGEST_TAG, MOST_TAGS
from balancer.cdn.purging.orders import LONGEST_WAIT
from balancer.cdn.purging.patterns import MOST
from balancer.cdn.purging.ticket import SCOPES, Scope
from balancer.cdn.types import Fit, Format, Kind

MOST_FILES = 1000
"""Of one page."""
_TAG = re.compile(r"[!-+\--~]+")


def tags_of(text: str) -> tuple[str, ...]:
    """What stands between commas, each once; white space around one is not part of it."""
    return tuple(dict.fromkeys(tag for piece in text.split(",") if (tag := piece.strip())))


def _tags(text: str) -> str:
    found = tags_of(text)
    for tag in found:
        if not _TAG.fullmatch(tag) or len(tag) > LONGEST_TAG:
            raise PydanticCustomError(
                "value_error",
                "must have tags of at most {longest} visible ASCII characters with commas between them, not {tag}",
                {"longest": LONGEST_TAG, "tag": json.dumps(tag[:60])},
            )
    if len(found) > MOST_TAGS:
        raise PydanticCustomError(
            "value_error", "must be at most {most} tags, not {count}", {"most": MOST_TAGS, "count": len(found)}
        )
    return text


class UploadQuery(Model):
    """What is said of a file beside its bytes; in a form, fields before the file may say it as well."""

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    """What the file is called; needed unless a form says it. Only the last part of a path counts."""
    kind: Kind | None = None
    """The first part of its path. Left out: what its bytes are."""
    tags: Annotated[str, Field(max_length=4096, examples=["cats,home"]), AfterValidator(_tags)] | None = None
    """By which it can be purged, with commas between them; white space around one does not count."""
    overwrite: bool = False
    """Store it under its plain name, in the place of what is there, rather than under one made of its content."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """In hex; bytes with another are not stored."""


class FilesQuery(Model):
    """Which files."""

    prefix: Annotated[str, Field(max_length=1024)] = ""
    """What their paths begin with."""
    after: Annotated[str, Field(max_length=4096)] | None = None
    """The `next` of the page before."""
    limit: Annotated[int, Field(ge=1, le=MOST_FILES)] = 100


class FileAnswer(Model):
    """A file that the CDN has."""

    path: str
    """Its name with the provider."""
    url: str
    """Where clients find it."""
    size: int
    content_type: str
    sha256: str | None
    """null where the provider does not tell, as of listed files."""
    etag: str | None
    provider: str
    stored_at: datetime | None
    tags: list[str]
    hits: int | None
    """Requests for it; null where the provider does not count by file."""


class UploadAnswer(FileAnswer):
    """A file that was sent."""

    created: bool
    """false: the same content was there already."""
    ticket: str | None
    """The purge of what it was stored over; null where that is done already, as where the balancer is the CDN, and
    where there is nothing to purge."""


class FilesAnswer(Model):
    """A part of the list of files, by their paths."""

    items: list[FileAnswer]
    next: str | None
    """What to ask for with `after` to have more; null: there are no more."""


class DeletedAnswer(Model):
    """A file that is not there any more."""

    path: str
    existed: bool
    """Whether it was there; true where the provider does not tell."""
    ticket: str | None
    """The purge of it; null where that is done already, as where the balancer is the CDN."""


class CdnProblem(Model):
    """Something about the CDN that needs somebody."""

    code: str
    message: str
    """What was found, and what to do."""


class CdnLimit(Model):
    """A rate limit of the provider's, as it is counted here."""

    left: float
    capacity: float
    refill: float
    """Calls in a second that come back."""
    blocked: float
    """Seconds until calls are made again, by the provider's own word."""


class CdnPictures(Model):
    """Pictures in other sizes."""

    by: str
    """Who makes them: local is the balancer."""
    path: str
    """What the paths of their URLs begin with; empty where they are told apart by something else."""
    signed: bool
    """Only URLs that are signed, and presets."""
    presets: list[str]
    sources: list[str]
    """What URLs of pictures elsewhere may begin with; none: only files of the CDN."""


class CdnDesk(Model):
    """Purges on their way to the provider."""

    tickets: int
    """Not done."""
    calls: int
    """To be made, or looked after."""
    breaker: str
    """closed; open while the provider fails and is left alone; half_open while it is tried."""
    opened: int
    """Times that it was left alone."""
    error: str | None
    """Of the last call that failed; null when the last one did not."""


class CdnDay(Model):
    """Traffic of the last 24 hours, as it was asked lately; null is what the provider does not tell."""

    requests: int | None
    bytes_out: int | None
    """To clients."""
    hits: int | None
    hit_ratio: float | None
    status_5xx: int | None


class CdnStatus(Model):
    """The CDN at this moment; never a credential."""

    at: datetime
    enabled: bool
    """Whether there is one."""
    provider: str | None
    ok: bool
    """It is there, and its provider takes our credential. Without a CDN: false."""
    checked_at: datetime | None
    """When its credential was checked last; that is not done more than once a minute."""
    latency: float | None
    """Seconds that it took."""
    account: str | None
    capabilities: list[str]
    problems: list[CdnProblem]
    url: str | None
    """Where clients reach it; empty: where they reach the balancer."""
    hosts: list[str]
    max_upload: int | None
    """Bytes of a file."""
    limits: dict[str, CdnLimit]
    """By the kind of call."""
    purges: CdnDesk | None
    """null where there is no CDN but the balancer."""
    journal: str | None
    """Why purges would not outlive a restart; null: they do."""
    pictures: CdnPictures | None
    details: dict[str, str | int | float | bool | None]
    """What else the provider tells."""
    last_day: CdnDay | None
    """null where the provider has no statistics, or has not told them in time."""


# Purges.

PURGE_FIELDS = ("paths", "urls", "tags", "hosts")
"""Of an order, beside its patterns."""
_LONGEST = 8192

Written = Annotated[list[Annotated[str, Field(min_length=1, max_length=_LONGEST)]], Field(max_length=MOST)]


class CdnPurgeRequest(Model):
    """What is to be purged; a bare list stands for `patterns`.

    In words: "/posts/7" with all of its queries, "/posts/*" with all that is below, "https://example.com/a.png" on that
    host only, "tag:post-42", "host:img.example.com".
    """

    patterns: Written = Field(default_factory=list)
    """In any of these words."""
    paths: Written = Field(default_factory=list)
    urls: Written = Field(default_factory=list)
    tags: Written = Field(default_factory=list)
    """Without "tag:"."""
    hosts: Written = Field(default_factory=list)
    """Without "host:"."""
    everything: bool = False
    """All there is; nothing else ever means that."""
    soft: bool = False
    """Stale instead of gone, where there is such a thing."""
    widen: bool = False
    """What the CDN has no form for is purged there by the nearest folder."""
    scope: Annotated[list[Scope], Field(min_length=1, max_length=2)] = Field(default_factory=lambda: list(SCOPES))
    """own: the balancer's cache, on all of its levels and machines; cdn: what is beyond it."""
    wait: bool = False
    """Answer when the CDN is done, or after `timeout`."""
    timeout: Annotated[float, Field(ge=0, le=LONGEST_WAIT)] = 30.0
    """Seconds."""

    _listed: bool = PrivateAttr(default=False)

    @property
    def listed(self) -> bool:
        """Whether it came as a bare list."""
        return self._listed

    @model_validator(mode="wrap")
    @classmethod
    def _of_list(cls, given: object, handler: ModelWrapValidatorHandler[CdnPurgeRequest]) -> CdnPurgeRequest:
        if not isinstance(given, list):
            return handler(given)
        try:
            found = handler({"patterns": given})
        except ValidationError as error:
            # The places are told as they are in what came.
            faults = [
                InitErrorDetails(
                    type=fault["type"], loc=fault["loc"][1:], input=fault["input"], ctx=fault.get("ctx", {})
                )
                for fault in error.errors(include_url=False)
            ]
            raise ValidationError.from_exception_data(error.title, faults) from None
        found._listed = True
        return found

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        own = handler.resolve_ref_schema(handler(core))
        ways: list[JsonSchemaValue] = [
            {"required": [name], "properties": {name: {"minItems": 1}}} for name in ("patterns", *PURGE_FIELDS)
        ]
        own["anyOf"] = [*ways, {"required": ["everything"], "properties": {"everything": {"const": True}}}]
        listed = {**own["properties"]["patterns"], "minItems": 1}
        listed.pop("description", None)
        listed.pop("title", None)
        return {"anyOf": [listed, own]}


class TicketLevel(Model):
    """What one level of the balancer's own cache says."""

    level: str
    """memory, redis; or pictures, for those kept on disk."""
    ok: bool
    """It is in force there."""
    entries: int | None
    """Stored answers that it met; null where that cannot be known."""
    reason: str | None
    """Why it is not in force there, or why there is no count."""


class TicketRefusal(Model):
    """A target that the CDN has no form for. The own cache has purged it all the same."""

    target: str
    reason: str
    nearest: str | None
    """What `widen` would purge in its place."""


class TicketCdn(Model):
    """What the CDN says."""

    provider: str
    batches: int
    """Calls that it takes; targets of several tickets may share one."""
    accepted: list[str]
    """Targets that the provider has taken."""
    rejected: list[TicketRefusal]
    failed: list[str]
    """Targets that did not get through; they can be tried again."""
    verified: bool
    """The provider was seen to be done with all that it has accepted."""
    provider_ids: list[str]
    attempts: int
    """Of the call that was tried most often."""
    next_try: datetime | None
    error: str | None
    """Of the last call that failed."""


class TicketAnswer(Model):
    """One purge, and what has become of it so far."""

    ticket: str
    state: Literal["queued", "submitted", "in_progress", "completed", "partial", "failed"]
    """submitted: the provider has said yes, and tells no more; partial: some targets were refused."""
    created: datetime
    completed: datetime | None
    targets: list[str]
    """As they were understood; those that another one covers are left out."""
    soft: bool
    scope: list[Scope]
    own: list[TicketLevel]
    """By level of the own cache, the nearest first."""
    cdn: TicketCdn | None
    """null where no CDN is beyond the own cache, or in the scope."""
    verified: bool
    """It was seen that all of it is gone; false where somebody has merely said yes."""
    notes: list[str]
    """What was done otherwise than ordered."""
    warnings: list[str]
    author: str


class TicketsQuery(Model):
    """Which purges."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    before: Annotated[str, Field(max_length=64, pattern=r"^pg_[0-9A-Z]+$")] | None = None
    """Only older ones than this ticket."""


class TicketsAnswer(Model):
    """Purges, the latest first."""

    at: datetime
    items: list[TicketAnswer]
    next: str | None
    """What to ask for with `before` to have older ones; null: there are none."""


# Figures.

Moment = Annotated[str, Field(min_length=1, max_length=64, examples=["24h", "2026-11-30T12:00:00Z"])]


class TrafficQuery(Model):
    """Which period."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[Moment, Field(alias="from")] = "24h"
    """Its beginning: a time (RFC 3339), or how long ago that is: 24h."""
    to: Moment | None = None
    """Its end, in the same forms; left out: now."""
    interval: Annotated[str, Field(max_length=16, examples=["1h"])] = "1h"
    """Of the series."""


class TrafficPoint(Model):
    """One interval; null is what the provider does not know."""

    at: datetime
    """Its beginning."""
    requests: int | None
    bytes_out: int | None
    hits: int | None


class TrafficAnswer(Model):
    """Traffic through the CDN in a period; `missing` tells why something is null."""

    provider: str
    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    interval: float
    requests: int | None
    bytes_out: int | None
    """To clients."""
    bytes_origin: int | None
    """From the balancer to the CDN."""
    hits: int | None
    hit_ratio: float | None
    status_4xx: int | None
    status_5xx: int | None
    sampled: bool
    """An estimate of the provider's, from a sample of its traffic."""
    missing: dict[str, str]
    series: list[TrafficPoint]

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


# Pictures.


class PictureRequest(Model):
    """Which picture, and how it is wanted."""

    url: Annotated[str, Field(min_length=1, max_length=4096, examples=["image/2026/11/ab/abcd-cat.jpg"])]
    """A URL, or the path of a file that the CDN has."""
    width: Annotated[int, Field(ge=1, le=16_383)] | None = None
    """Pixels. With one of width and height the other follows."""
    height: Annotated[int, Field(ge=1, le=16_383)] | None = None
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    format: Format = "auto"
    """auto: the best that the client takes."""
    fit: Fit = "contain"
    """contain: within the box; cover: fills it and is cropped; fill: stretched; pad: contained, with a border."""
    render: bool = False
    """Make it now, once, and tell what it became."""


class Rendered(Model):
    """What a picture became."""

    format: str
    width: int
    height: int
    size: int
    """Bytes."""
    source_size: int
    seconds: float
    cached: bool
    """It had been made before."""


class PictureAnswer(Model):
    """Where a changed picture is."""

    url: str
    provider: str
    """Who makes it; a provider that makes none leaves it to local, the balancer."""
    expires_at: datetime | None
    """Until when the URL works; null: for ever."""
    notes: list[str]
    """What differs from what was asked for."""
    rendered: Rendered | None
    """null unless that was asked for."""
