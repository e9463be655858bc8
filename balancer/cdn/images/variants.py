"""Pictures that were made before, on disk: the longest unused make room."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog

from balancer.cdn.images.engine import Output
from balancer.cdn.images.opened import Body, OpenPicture, body_of
from balancer.cdn.images.pool import OUTPUTS, Done, is_digest

log = structlog.get_logger("balancer.cdn")

Concerns = Callable[[str, Collection[str]], bool]
"""Whether a purge means what was made of a source (the path of a file, or a URL) and has these tags."""

LONGEST_HEAD: Final = 16 * 1024
"""Bytes of the line above a picture, which tells whose it is."""
OVERHEAD: Final = 4096
"""Bytes that a file takes on disk besides what is in it, about."""
TOUCHED: Final = 600.0
"""Seconds after which a use is noted on disk again: after a restart the order is as fine as this."""
LEFT_BEHIND: Final = 3600.0
"""Seconds after which what was begun and never finished is thrown away."""
_BEGUN: Final = "begun-"


@dataclass(frozen=True, slots=True)
class Variant:
    """One picture that was made."""

    key: str
    source: str
    """What it was made of: the path of a file, or a URL."""
    tags: tuple[str, ...]
    """What it can be purged by."""
    format: Output
    width: int
    height: int
    size: int
    digest: str
    """SHA-256: it is told apart by it without being read."""
    source_size: int
    made_at: float
    """Unix time."""
    path: Path
    skip: int
    """Bytes above the picture."""


@dataclass(slots=True, eq=False)
class Begun:
    """A picture that is being made."""

    key: str
    source: str
    tags: tuple[str, ...]
    path: Path
    """Where it is written until it is kept."""
    is_forgotten: bool = False
    """A purge has meant it: nobody is to have it who asks from now on."""
    kept: Variant | None = None


class Variants:
    """A folder of pictures by key, bounded by bytes.

    What cannot be written is not kept, and what cannot be read is not there: no error of the disk is anybody's but the
    log's. Owner of all state: the loop it is used on. Files are touched in threads.
    """

    def __init__(self, folder: Path, room: int, wall: Callable[[], float]) -> None:
        self.folder = folder.absolute()
        self.room = room
        self.used = 0
        """Bytes, with what files cost besides."""
        self._wall = wall
        self._known: OrderedDict[str, Variant] = OrderedDict()  # the longest unused first
        self._touched: dict[str, float] = {}
        self._begun: set[Begun] = set()

    def __len__(self) -> int:
        return len(self._known)

    async def open(self) -> None:
        """Find what was kept before a restart."""
        try:
            found = await asyncio.to_thread(self._scan)
        except OSError as error:
            log.warning("cdn_variants_unusable", folder=str(self.folder), reason=error.strerror or str(error))
            return
        for used_at, variant in sorted(found, key=lambda pair: pair[0]):
            self._add(variant, used_at)
        await self._make_room()

    def find(self, key: str) -> Variant | None:
        """A picture that was made before. Its file may be gone all the same."""
        variant = self._known.get(key)
        if variant is not None:
            self._known.move_to_end(key)
        return variant

    def begin(self, key: str, source: str, tags: tuple[str, ...]) -> Begun:
        """To be asked before anything of the source is read. It may be kept, and has to be ended."""
        begun = Begun(key, source, tags, self._folder_of(key) / f"{_BEGUN}{secrets.token_hex(8)}")
        self._begun.add(begun)
        return begun

    def end(self, begun: Begun) -> None:
        """It is not being made any more."""
        self._begun.discard(begun)

    async def prepare(self, begun: Begun) -> None:
        """Make the folder of what is begun; that this fails shows when it is written."""
        with suppress(OSError):
            await asyncio.to_thread(begun.path.parent.mkdir, 0o700, True, True)

    async def keep(self, begun: Begun, source_size: int, done: Done) -> Variant | None:
        """Give what was written its name. None: it is not kept: a purge has meant it, or the disk fails."""
        if begun.is_forgotten or done.size + OVERHEAD > self.room:
            await self.abandon(begun)
            return None
        key, place = begun.key, self._folder_of(begun.key) / begun.key
        try:
            skip = await asyncio.to_thread(_rename, begun.path, place, done.size)
        except OSError as error:
            log.warning("cdn_image_not_kept", file=str(place), reason=error.strerror or str(error))
            await self.abandon(begun)
            return None
        now = self._wall()
        variant = Variant(
            key,
            begun.source,
            begun.tags,
            done.format,
            done.width,
            done.height,
            done.size,
            done.digest,
            source_size,
            now,
            place,
            skip,
        )
        if begun.is_forgotten:  # while it was given its name
            self._drop(key)  # which stood for one before, whose file this one has replaced
            await asyncio.to_thread(_unlink, [place])
            return None
        begun.kept = variant
        self._add(variant, now)
        await self._make_room()
        return variant

    async def abandon(self, begun: Begun) -> None:
        await asyncio.to_thread(_unlink, [begun.path])

    async def read(self, variant: Variant) -> Body | None:
        """The picture, whole or to be read in pieces; None where its file is gone or not as it was."""
        await self.note_use(variant)
        try:
            body = await asyncio.to_thread(_read, variant)
        except (OSError, ValueError):
            body = None
        if body is None and self._known.get(variant.key) is variant:
            self._drop(variant.key)
        return body

    async def note_use(self, variant: Variant) -> None:
        """It has been of use, be it that it was read or not."""
        now = self._wall()
        if now - self._touched.get(variant.key, now) > TOUCHED:
            self._touched[variant.key] = now
            with suppress(OSError):
                await asyncio.to_thread(os.utime, variant.path)

    async def forget(self, concerns: Concerns | None = None) -> int:
        """Throw away what is meant, None: all; how many pictures. What of that is being made is not kept."""
        known, begun = list(self._known.values()), list(self._begun)
        if concerns is not None:  # in a thread: there may be thousands of both pictures and targets
            known, begun = await asyncio.to_thread(_meant, known, begun, concerns)
        for making in begun:
            making.is_forgotten = True
            if making.kept is not None:  # while they were looked at
                known.append(making.kept)
        dropped = [one for one in known if self._known.get(one.key) is one and self._drop(one.key) is one]
        await asyncio.to_thread(_unlink, [variant.path for variant in dropped])
        return len(dropped)

    async def discard(self, variant: Variant) -> None:
        """Throw one away."""
        if self._drop(variant.key) is not None:
            await asyncio.to_thread(_unlink, [variant.path])

    def _add(self, variant: Variant, used_at: float) -> None:
        self._drop(variant.key)
        self._known[variant.key] = variant
        self._touched[variant.key] = used_at
        self.used += variant.size + OVERHEAD

    def _drop(self, key: str) -> Variant | None:
        variant = self._known.pop(key, None)
        if variant is None:
            return None
        self._touched.pop(key, None)
        self.used -= variant.size + OVERHEAD
        return variant

    async def _make_room(self) -> None:
        dropped: list[Path] = []
        while self.used > self.room:
            variant = self._drop(next(iter(self._known)))
            assert variant is not None  # what is used is used by somebody
            dropped.append(variant.path)
        if dropped:
            await asyncio.to_thread(_unlink, dropped)

    def _folder_of(self, key: str) -> Path:
        return self.folder / key[:2]

    def _scan(self) -> list[tuple[float, Variant]]:
        self.folder.mkdir(0o700, parents=True, exist_ok=True)
        now = self._wall()
        return [found for path in self.folder.glob("??/*") if (found := _found(path, now)) is not None]


def key_of(identity: str, spelled: str, wanted: str, engine: str) -> str:
    """The name of a picture: of which content, with which options, in which format, by which engine."""
    return sha256("\n".join((identity, spelled, wanted, engine)).encode()).hexdigest()


def _meant(known: list[Variant], begun: list[Begun], concerns: Concerns) -> tuple[list[Variant], list[Begun]]:
    """Those that a purge means; it is asked once for all pictures of a source."""
    found: dict[tuple[str, tuple[str, ...]], bool] = {}

    def is_meant(one: Variant | Begun) -> bool:
        what = one.source, one.tags
        if what not in found:
            found[what] = concerns(*what)
        return found[what]

    return [one for one in known if is_meant(one)], [one for one in begun if is_meant(one)]


def _found(path: Path, now: float) -> tuple[float, Variant] | None:
    """What a file is, by the line above it; what is none of ours and old is thrown away."""
    try:
        status = path.stat()
        if path.name.startswith(_BEGUN):
            if now - status.st_mtime > LEFT_BEHIND:
                path.unlink()
            return None
        with path.open("rb") as file:
            line = file.readline(LONGEST_HEAD)
        said = json.loads(line)
        kind = OUTPUTS[said["format"]]
        variant = Variant(
            path.name,
            str(said["source"]),
            tuple(str(said["tags"]).split()),
            kind,
            int(said["width"]),
            int(said["height"]),
            int(said["size"]),
            _digest(said["digest"]),
            int(said["source_size"]),
            float(said["at"]),
            path,
            len(line),
        )
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        variant = None
    if variant is None or status.st_size != variant.skip + variant.size:
        _unlink([path])
        return None
    return status.st_mtime, variant


def _rename(begun: Path, place: Path, size: int) -> int:
    """Bytes above the picture. OSError: it is not what its worker told."""
    with begun.open("rb") as file:
        skip = len(file.readline(LONGEST_HEAD))
        if os.fstat(file.fileno()).st_size != skip + size:
            raise OSError("what was written is not what was told")
    begun.replace(place)
    return skip


def _digest(said: object) -> str:
    """ValueError: it is none; before there were any, none was written."""
    if not is_digest(said):
        raise ValueError("no digest")
    return said


def _read(variant: Variant) -> Body | None:
    fd = os.open(variant.path, os.O_RDONLY | os.O_CLOEXEC)
    opened = OpenPicture(fd, variant.skip, variant.size)
    if os.fstat(fd).st_size != variant.skip + variant.size:
        return None
    said = json.loads(os.pread(fd, variant.skip, 0))
    if not isinstance(said, dict) or said.get("digest") != variant.digest:  # another has got its name meanwhile
        return None
    return body_of(opened)


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
