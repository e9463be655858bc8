"""A file on its way to a provider: what it is, what it is called there, and its bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from balancer.cdn.local import kinds, names
from balancer.cdn.local.request import as_announced, checked
from balancer.cdn.spool import Spool, spooled
from balancer.cdn.types import IMMUTABLE, REVALIDATED, UploadRequest


@dataclass(frozen=True, slots=True)
class Named:
    """As what it is stored."""

    path: str
    content_type: str
    cache_control: str

    @property
    def name(self) -> str:
        return names.name_of(self.path)


@dataclass(frozen=True, slots=True)
class Upload(Named):
    """The same, known as a whole."""

    request: UploadRequest
    spool: Spool


def named(request: UploadRequest, head: bytes, sha256_hex: str | None, now: datetime) -> Named:
    """By its first bytes, and its content, which need not be known for a file that may be overwritten. Invalid: it is
    not of its kind."""
    verdict = kinds.judge(request.kind, names.split(request.name)[1], head, request.content_type)
    name = names.clean(request.name, verdict.extension)
    if request.overwrite or sha256_hex is None:
        path = names.plain(request.kind, name)
    else:
        path = names.by_content(request.kind, name, sha256_hex.lower(), now)
    return Named(path, verdict.content_type, REVALIDATED if request.overwrite else IMMUTABLE)


@asynccontextmanager
async def prepared(request: UploadRequest, folder: Path, most: int, now: datetime) -> AsyncGenerator[Upload]:
    """Its bytes read to their end, for as long as it is open. Invalid, TooLarge: it is not stored."""
    checked(request)
    async with spooled(request.source, folder, most) as spool:
        as_announced(request, spool.size, spool.sha256_hex)
        known = named(request, spool.head, spool.sha256_hex, now)
        yield Upload(known.path, known.content_type, known.cache_control, request, spool)
