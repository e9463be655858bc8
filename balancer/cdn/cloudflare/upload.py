"""A file on its way up: known as a whole, and with a name of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from balancer.cdn.errors import Unsupported
from balancer.cdn.local import kinds, names
from balancer.cdn.local.request import as_announced, checked
from balancer.cdn.spool import Spool, spooled
from balancer.cdn.types import IMMUTABLE, UploadRequest

REVALIDATED: Final = "no-cache"
"""Cache-Control of what may be overwritten."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is stored, and as what."""

    request: UploadRequest
    spool: Spool
    path: str
    content_type: str

    @property
    def cache_control(self) -> str:
        return self.request.cache_control or (REVALIDATED if self.request.overwrite else IMMUTABLE)

    @property
    def name(self) -> str:
        return names.name_of(self.path)


@asynccontextmanager
async def prepared(request: UploadRequest, folder: Path, most: int, now: datetime) -> AsyncGenerator[Upload]:
    """Its bytes read to their end, for as long as it is open. Invalid, TooLarge: it is not stored."""
    checked(request)
    if request.tags:
        raise Unsupported("Cloudflare's storage gives files no tags: upload them without, and purge by their URLs")
    async with spooled(request.source, folder, most) as spool:
        as_announced(request, spool.size, spool.sha256_hex)
        verdict = kinds.judge(request.kind, names.split(request.name)[1], spool.head, request.content_type)
        name = names.clean(request.name, verdict.extension)
        if request.overwrite:
            path = names.plain(request.kind, name)
        else:
            path = names.by_content(request.kind, name, spool.sha256_hex, now)
        yield Upload(request, spool, path, verdict.content_type)
