"""What is said of the CDN to callers, and by them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.operation import Model
from balancer.cdn.types import Kind

MOST_FILES = 1000
"""Of one page."""
TAG = r"[!-+\--~]{1,256}"


class UploadQuery(Model):
    """What is said of a file beside its bytes; in a form, fields before the file may say it as well."""

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    """What the file is called; needed unless a form says it. Only the last part of a path counts."""
    kind: Kind | None = None
    """The first part of its path. Left out: by its type, else by its name."""
    tags: Annotated[str, Field(max_length=4096, pattern=rf"^{TAG}(,{TAG})*$")] | None = None
    """By which it can be purged, with commas between them."""
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
    """What the paths of their URLs begin with."""
    signed: bool
    """Only URLs that the balancer has signed, and presets."""
    presets: list[str]
    sources: list[str]
    """What URLs of pictures elsewhere may begin with; none: only files of the CDN."""


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
    pictures: CdnPictures | None
    details: dict[str, str | int | float | bool | None]
    """What else the provider tells."""
