"""The files of the local CDN: taken in, given out, removed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from balancer.cdn.errors import Invalid, Unavailable
from balancer.cdn.local import kinds, names
from balancer.cdn.local.catalogue import Catalogue
from balancer.cdn.local.facts import Facts
from balancer.cdn.local.folder import Draft, Folder, Opened
from balancer.cdn.local.index import Row
from balancer.cdn.local.request import as_announced, check_tags, checked
from balancer.cdn.local.room import Limits, Room, disk
from balancer.cdn.local.source import Piece, pieces
from balancer.cdn.local.threads import Threads
from balancer.cdn.types import UploadRequest
from balancer.cdn.uploads import named

Given = ParamSpec("Given")
Result = TypeVar("Result")
PIECE: Final = 1 << 20
"""Bytes that are written at once, and the most that an upload keeps in memory beside what its source does."""

log: FilteringBoundLogger = structlog.get_logger("balancer.cdn")


class Store:
    """Files of one directory. All of its work is done by threads."""

    def __init__(
        self, directory: Path, limits: Limits, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.directory = directory
        self.folder = Folder(directory)
        self.room = Room(self.folder, limits)
        self._threads = Threads()
        self.catalogue = Catalogue(directory, self.folder, self._threads)
        self.changed: Callable[[str], Awaitable[object]] | None = None
        """Told of a path that has other bytes or tags than before, or none any more, before whoever asked for that has
        an answer (owner: the service, which knows who keeps copies)."""
        self._now = now
        self._uploads = 0
        self._closing = False

    async def start(self) -> None:
        """Unavailable: the directory can not be used."""
        with disk(self.folder):
            swept = await self._threads.run(self.folder.prepare)
        if swept:
            log.info("uploads that were cut off are cleared away", count=swept, directory=str(self.directory))
        await self.catalogue.start()

    async def close(self) -> None:
        """Uploads go on to their end, and so does who reads."""
        await self.catalogue.rest()
        self._closing = True
        await self._close_index()

    async def upload(self, request: UploadRequest) -> tuple[Row, bool]:
        """What is stored, and whether it is new. Nobody sees any of it before all of it is on the disk."""
        checked(request)
        self._uploads += 1
        try:
            return await self._upload(request)
        finally:
            self._uploads -= 1
            await self._close_index()

    async def open(self, path: str) -> Opened | None:
        """To read it, in a thread; None: there is no such file. OSError: there may be, and it can not be read."""
        return await self._threads.make(lambda: self.folder.open(path), _close) if names.good(path) else None

    async def known(self, opened: Opened) -> Facts | None:
        """What the index says of a file that does not say it itself."""
        row = await self.catalogue.ask(self.catalogue.index.row, opened.path)
        if row is not None and (row.size, row.modified_ns) == (opened.size, opened.modified_ns):
            return row.facts
        if self.catalogue.problem is None:
            self.catalogue.notice(opened.path)  # somebody has copied it here
        return None

    async def totals(self) -> tuple[int, int] | None:
        """Files, and their bytes; None: not known at the moment."""
        return await self.catalogue.totals()

    async def left(self) -> int | None:
        """Bytes that may still come, by the quota and by the disk; None: the disk does not tell."""
        limits, totals = self.room.limits, await self.totals()
        try:
            free = await self._threads.run(self.folder.free)
        except OSError:
            return None
        below = [free - limits.free]
        if limits.all is not None and totals is not None:
            below.append(limits.all - totals[1])
        return max(min(below), 0)

    async def reading(self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """Do something with a file that is open, in a thread."""
        return await self._threads.run(work, *args, **kwargs)

    def release(self, opened: Opened) -> None:
        """Close it, in a thread where that may take long: what is deleted meanwhile is freed only then."""
        if opened.size > PIECE:
            self._threads.leave(opened.close)
        else:
            opened.close()

    async def delete(self, path: str) -> bool:
        """Whether it was there."""
        if not names.good(path):
            return False
        return await _to_its_end(self._delete(path), path)

    async def _delete(self, path: str) -> bool:
        async with self.catalogue.changing:
            with disk(self.folder):
                there = await self._threads.run(self.folder.remove, path)
            await self.catalogue.ask(self.catalogue.index.remove, [path])
            await self._count()
        await self._tell(path)  # what was taken away by hand may be in a cache still
        return there

    async def _upload(self, request: UploadRequest) -> tuple[Row, bool]:
        size, room = request.size_bytes or 0, self.room
        room.within(size)
        async with self.catalogue.changing:  # whoever names a file counts it once, as coming or as there
            await self._count()
        room.fits(size)
        with disk(self.folder):
            await self._threads.run(room.left, size)
            draft = await self._threads.make(self.folder.draft, Draft.discard)
        try:
            return await self._named(draft, await self._taken(request, draft), over=request.overwrite)
        finally:
            room.give_back(draft)
            await asyncio.shield(self._threads.run(draft.discard))

    async def _taken(self, request: UploadRequest, draft: Draft) -> Row:
        """The draft has all of it, and what is known of it."""
        head = bytearray()
        is_judged = False
        async with aclosing(pieces(request.source, PIECE, self._threads.run)) as coming:
            async for piece in coming:
                self.room.take(draft, len(piece))
                head += piece[: kinds.HEAD - len(head)]
                if not is_judged and len(head) >= kinds.HEAD:  # a wrong one is not read to its end
                    named(request, bytes(head), None, self._now())
                    is_judged = True
                with disk(self.folder):
                    await self._threads.run(self._write, draft, piece)
        sha256 = draft.sha256_hex
        as_announced(request, draft.size, sha256)
        what = named(request, bytes(head), sha256, self._now())
        known = Facts(what.content_type, sha256, what.cache_control, names.shown(request.name), request.tags)
        with disk(self.folder):
            about = await self._threads.run(draft.finish, known)
        return Row(what.path, about.st_size, about.st_mtime_ns, known)

    def _write(self, draft: Draft, piece: Piece) -> None:
        self.room.left(len(piece))
        draft.write(piece)

    async def _named(self, draft: Draft, row: Row, *, over: bool) -> tuple[Row, bool]:
        return await _to_its_end(self._exchange(draft, row) if over else self._add(draft, row), row.path)

    async def _add(self, draft: Draft, row: Row) -> tuple[Row, bool]:
        async with self.catalogue.changing:
            before = await self._same(row)
            if before is None:
                with disk(self.folder):
                    if not await self._threads.run(self.folder.place, draft, row.path, over=False):
                        raise Unavailable(f"{row.path} was being stored by somebody else at the same time; try again")
                await self.catalogue.ask(self.catalogue.index.put, [row])
                await self._settle(draft, row.size)
                return row, True
            tagged = await self._tagged(before, row.facts.tags)
        if tagged != before:
            await self._tell(tagged.path)
        return tagged, False

    async def _exchange(self, draft: Draft, row: Row) -> tuple[Row, bool]:
        async with self.catalogue.changing:
            with disk(self.folder):
                before = await self.catalogue.described(row.path)
                await self._threads.run(self.folder.place, draft, row.path, over=True)
            await self.catalogue.ask(self.catalogue.index.put, [row])
            await self._settle(draft, row.size - (before.size if before is not None else 0))
        if before is None or before.facts != row.facts:
            await self._tell(row.path)
        return row, before is None or before.facts.sha256_hex != row.facts.sha256_hex

    async def _tagged(self, row: Row, more: tuple[str, ...]) -> Row:
        """The file with these tags beside those that it has: whoever else has stored it purges by theirs."""
        tags = tuple(dict.fromkeys((*row.facts.tags, *more)))
        if tags == row.facts.tags:
            return row
        try:
            check_tags(tags)
        except Invalid as error:
            raise Invalid(f"{row.path} is there already and keeps the tags that it has: {error}") from None
        tagged = replace(row, facts=replace(row.facts, tags=tags))
        with disk(self.folder):
            if not await self._threads.run(self.folder.describe, row.path, tagged.facts, row.size, row.modified_ns):
                raise Unavailable(f"{row.path} is there already, and no more tags can be kept with it")
        await self.catalogue.ask(self.catalogue.index.put, [tagged])
        return tagged

    async def _tell(self, path: str) -> None:
        if self.changed is not None:
            await self.changed(path)

    async def _settle(self, draft: Draft, more: int) -> None:
        """It is among those that are there, which have so many bytes more by it, and is not coming any longer."""
        if not await self._count():
            self.room.there += more
        self.room.give_back(draft)

    async def _count(self) -> bool:
        """How much there is. False: the index does not know at the moment, so that what was known last stands."""
        totals = await self.totals()
        if totals is not None:
            self.room.there = totals[1]
        return totals is not None

    async def _same(self, row: Row) -> Row | None:
        """The same content under the same name, stored now or in another month. Invalid: its path is another's."""
        with disk(self.folder):
            before = await self.catalogue.described(row.path)
        if before is not None:
            if before.facts.sha256_hex != row.facts.sha256_hex:
                raise Invalid(
                    f"{row.path} is there, with other content whose SHA-256 begins with the same digits;"
                    " upload it under another name"
                )
            return before
        wanted = names.without_date(row.path)
        for path in await self.catalogue.ask(self.catalogue.index.of_content, row.facts.sha256_hex) or ():
            if names.is_by_content(path) and names.without_date(path) == wanted:
                with disk(self.folder):
                    earlier = await self.catalogue.described(path)
                if earlier is not None and earlier.facts.sha256_hex == row.facts.sha256_hex:
                    return earlier
        return None

    async def _close_index(self) -> None:
        if self._closing and not self._uploads:
            await self.catalogue.close()


async def _to_its_end(change: Coroutine[None, None, Result], path: str) -> Result:
    """Also when whoever asked is gone: what the folder has is to be in the index, too, and copies of it are to go."""
    changing = asyncio.get_running_loop().create_task(change)
    try:
        return await asyncio.shield(changing)
    except asyncio.CancelledError:
        await asyncio.wait([changing])
        if not changing.cancelled() and changing.exception() is not None:
            log.warning(
                "a change of a file that nobody waits for has failed", path=path, reason=str(changing.exception())
            )
        raise


def _close(opened: Opened | None) -> None:
    if opened is not None:
        opened.close()
