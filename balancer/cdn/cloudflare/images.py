"""Pictures in Cloudflare Images, each under the path of its upload."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, TypeAdapter

from balancer.cdn.cloudflare.answers import StoredImage, inside
from balancer.cdn.errors import CdnError, Invalid, NotFound, ProtocolError, TooLarge
from balancer.cdn.http import Call, Caller
from balancer.cdn.local import names
from balancer.cdn.types import StoredFile
from balancer.cdn.uploads import Upload

NAME: Final = "cloudflare"
LARGEST: Final = 10_000_000
"""Bytes of a picture."""
FORMATS: Final = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "image/heic"))
PATIENCE: Final = 60.0
"""Seconds for an upload: the picture is looked at before there is an answer."""

_IMAGE: Final = TypeAdapter(StoredImage)


class _Count(BaseModel):
    allowed: int
    current: int


class _Usage(BaseModel):
    count: _Count


_USAGE: Final = TypeAdapter(_Usage)


class Images:
    """An account's pictures. To overwrite one, it is deleted and stored anew: for a moment it is not there."""

    def __init__(self, caller: Caller, account_id: str, today: Callable[[], datetime]) -> None:
        self._caller = caller
        self._path = f"/accounts/{quote(account_id, safe='')}/images/v1"
        self._today = today

    async def usage(self) -> tuple[int, int]:
        """How many there are, and how many there may be."""
        count = inside(await self._caller.make(Call("usage", "GET", f"{self._path}/stats")), _USAGE).count
        return count.current, count.allowed

    async def upload(self, upload: Upload) -> StoredFile:
        if upload.content_type not in FORMATS:
            taken = ", ".join(sorted(one.partition("/")[2].partition("+")[0] for one in FORMATS))
            raise Invalid(f"Cloudflare Images takes {taken}, not {upload.content_type}; upload it as another kind")
        if upload.spool.size > LARGEST:
            raise TooLarge(f"Cloudflare Images takes pictures of {LARGEST} bytes, not {upload.spool.size}")
        content = b"".join([piece async for piece in upload.spool.pieces()])
        created = True
        if upload.request.overwrite:
            await self.delete(upload.path)
        try:
            image = await self._store(upload, content)
        except CdnError as error:
            if error.status != 409 or upload.request.overwrite:
                raise
            image, created = await self._there(upload.path), False  # the same content: its name says so
        if not image.variants:
            raise ProtocolError(
                f"cloudflare stored {upload.path} and told no URL of it: it has no variant", provider=NAME
            )
        return StoredFile(
            image.id,
            image.variants[0],
            upload.spool.size,
            upload.content_type,
            upload.spool.sha256_hex,
            None,
            NAME,
            created=created,
            stored_at=self._today() if created else None,
        )

    async def delete(self, path: str) -> bool:
        """Its copies at the edges go with it."""
        try:
            await self._caller.make(Call("delete", "DELETE", self._of(path)))
        except NotFound:
            return False
        return True

    async def _store(self, upload: Upload, content: bytes) -> StoredImage:
        form = aiohttp.FormData()
        form.add_field("id", upload.path)
        form.add_field("file", content, filename=upload.name, content_type=upload.content_type)
        call = Call("upload", "POST", self._path, body=form, timeout=PATIENCE)
        return inside(await self._caller.make(call), _IMAGE)

    async def _there(self, path: str) -> StoredImage:
        return inside(await self._caller.make(Call("look", "GET", self._of(path))), _IMAGE)

    def _of(self, path: str) -> str:
        if not names.good(path):
            raise Invalid(f"expected the path of a file, as its upload was answered, not {path!r}")
        return f"{self._path}/{quote(path, safe='')}"
