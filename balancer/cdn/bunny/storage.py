"""Files in a storage zone at Bunny."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import BaseModel, Field, TypeAdapter

from balancer.cdn.bunny.statistics import moment
from balancer.cdn.errors import Invalid, NotFound, Unsupported
from balancer.cdn.http import Call, Caller
from balancer.cdn.local import kinds, names
from balancer.cdn.types import FilePage, StoredFile, UploadRequest
from balancer.cdn.uploads import prepared

NAME: Final = "bunny"
LARGEST_LIST: Final = 16 * 1024 * 1024
"""Bytes of the list of one folder, which comes in one piece."""
MOST_FOLDERS: Final = 100
"""Folders that are looked into for one page."""
NOWHERE: Final = "balancer-status"
"""A folder that is asked for to see whether the storage can be: there is none of the name, and so little to answer."""

_PREFIX: Final = re.compile(r"[A-Za-z0-9._/-]*")


class Entry(BaseModel):
    """An item of a list, as far as it is looked at."""

    name: str = Field(alias="ObjectName")
    is_folder: bool = Field(False, alias="IsDirectory")
    length: int = Field(0, alias="Length")
    changed: str | None = Field(None, alias="LastChanged")
    checksum: str | None = Field(None, alias="Checksum")
    content_type: str | None = Field(None, alias="ContentType")


_LIST: Final = TypeAdapter(list[Entry])


class Storage:
    """One zone. A file goes up in one call; there are no parts, and nothing of the fields that it is served with."""

    def __init__(
        self,
        caller: Caller,
        zone: str,
        public_url: Callable[[str], str],
        folder: Path,
        most: int,
        today: Callable[[], datetime],
    ) -> None:
        """`folder` is for what is on its way, `most` are the bytes of a file."""
        self._caller = caller
        self._zone = quote(zone, safe="")
        self._public_url = public_url
        self._folder = folder
        self._most = most
        self._today = today

    async def check(self) -> None:
        """The password, and the region. CdnError: what is wrong."""
        await self._list(f"{NOWHERE}/")

    async def upload(self, request: UploadRequest) -> StoredFile:
        if request.tags:
            raise Unsupported(
                "Bunny's storage keeps no tags: upload the file without them, and purge it by its URL", provider=NAME
            )
        now = self._today()
        async with prepared(request, self._folder, self._most, now) as upload:
            spool = upload.spool
            # The length is told, so that the body is sent as it is: in chunks, it counts as encoded.
            headers = {
                "Content-Type": upload.content_type,
                "Content-Length": str(spool.size),
                "Checksum": spool.sha256_hex.upper(),
            }
            body: bytes | AsyncIterator[bytes] = spool.pieces() if spool.size else b""
            await self._caller.make(Call("upload", "PUT", self._path(upload.path), body=body, headers=headers))
            return StoredFile(
                upload.path,
                self._public_url(upload.path),
                spool.size,
                upload.content_type,
                spool.sha256_hex,
                None,
                NAME,
                stored_at=now,
            )

    async def delete(self, path: str) -> bool:
        """Whether it was there. Invalid: it is no path of a file; of a folder all that is in it would go."""
        if not path or path.endswith("/") or not names.good(path):
            raise Invalid(f"expected the path of a file, as its upload was answered, not {path!r}")
        try:
            await self._caller.make(Call("delete", "DELETE", self._path(path)))
        except NotFound:
            return False
        return True

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        """Folder by folder, in the order of paths; the list may end early, with a `next`."""
        if not _PREFIX.fullmatch(prefix) or ".." in prefix or "//" in prefix or prefix.startswith("/"):
            raise Invalid(f"expected the beginning of paths, such as image/2026/, not {prefix!r}")
        limit = max(limit, 1)
        found: list[StoredFile] = []
        waiting = [prefix[: prefix.rfind("/") + 1]]  # paths still to be looked at, the next one last; folders end in /
        known: dict[str, Entry] = {}
        looked = 0
        while waiting:
            path = waiting.pop()
            entry = known.pop(path, None)
            if entry is not None and not entry.is_folder:
                if len(found) == limit:
                    return FilePage(tuple(found), found[-1].path)
                found.append(self._file(path, entry))
                continue
            if looked == MOST_FOLDERS:
                return FilePage(tuple(found), path)  # all that is in it comes behind it
            looked += 1
            inside = {
                path + one.name + ("/" if one.is_folder else ""): one
                for one in await self._list(path)
                if names.good(one.name)
            }
            wanted = {place: one for place, one in inside.items() if _is_wanted(place, one.is_folder, prefix, after)}
            known |= wanted
            waiting += sorted(wanted, reverse=True)
        return FilePage(tuple(found), None)

    async def _list(self, folder: str) -> Sequence[Entry]:
        call = Call("list", "GET", f"/{self._zone}/{quote(folder)}", largest=LARGEST_LIST)
        try:
            return (await self._caller.make(call)).into(_LIST)
        except NotFound:
            return ()

    def _file(self, path: str, entry: Entry) -> StoredFile:
        _, extension = names.split(path)
        said = entry.content_type or kinds.extension_type(extension) or kinds.UNKNOWN
        return StoredFile(
            path,
            self._public_url(path),
            entry.length,
            said,
            entry.checksum.lower() if entry.checksum else None,
            None,
            NAME,
            stored_at=moment(entry.changed) if entry.changed is not None else None,
        )

    def _path(self, path: str) -> str:
        return f"/{self._zone}/{quote(path)}"


def _is_wanted(path: str, is_folder: bool, prefix: str, after: str | None) -> bool:
    """Whether it is, or has in it, something of the prefix and behind `after`."""
    if not (path.startswith(prefix) or (is_folder and prefix.startswith(path))):
        return False
    return after is None or path > after or (is_folder and after.startswith(path))
