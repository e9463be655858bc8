"""The files of the local CDN: taken in, given out, listed, counted.

The folder is the truth. The index follows it, and where the two disagree (a balancer was killed, somebody copied files)
the folder is believed.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from balancer.cdn.errors import CdnError, Full, Invalid, TooLarge, Unavailable
from balancer.cdn.local import kinds, names
from balancer.cdn.local.facts import Facts
from balancer.cdn.local.folder import Draft, Folder, Opened
from balancer.cdn.local.guess import REVALIDATED, guess
from balancer.cdn.local.index import Index, Lost, Row
from balancer.cdn.local.request import as_announced, checked
from balancer.cdn.local.source import Piece, pieces
from balancer.cdn.types import IMMUTABLE, UploadRequest

Given = ParamSpec("Given")
Result = TypeVar("Result")
THREADS: Final = 8
"""Of their own: a slow disk must not hold up the resolving of names, which has the loop's."""
PIECE: Final = 1 << 20
"""Bytes that are written at once, and the most that an upload keeps in memory beside what its source does."""
_NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
PATIENCE: Final = 5.0
"""Seconds that a list waits for an index that is being made anew."""
_MADE_ANEW: Final = "the index of files was broken, and is made anew"
_TRIES: Final = 3
_BATCH: Final = 500
"""Files that are compared with the index at once."""

log: FilteringBoundLogger = structlog.get_logger("balancer.cdn")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken."""

    file: int
    """Bytes of one."""
    all: int | None
    """Bytes of all together; None: what the disk has."""
    free: int
    """Bytes that are left on the disk."""


class Store:
    """Files of one directory. All of its work is done by threads."""

    def __init__(
        self, directory: Path, limits: Limits, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.directory = directory
        self.limits = limits
        self.folder = Folder(directory)
        self.index = Index(directory / "index.sqlite3")
        self.index_problem: str | None = None
        """Why the index can not be used; None: it can."""
        self._now = now
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cdn-files")
        self._changing = asyncio.Lock()
        self._there = 0  # bytes of files, as last heard
        self._uploads = 0
        self._closing = False
        self._coming = 0  # bytes of uploads that have no name yet
        self._filling: asyncio.Task[None] | None = None
        self._complete = False  # the index has had all that is there

    async def start(self) -> None:
        """Unavailable: the directory can not be used."""
        with self._disk():
            swept = await self._in_thread(self.folder.prepare)
        if swept:
            log.info("uploads that were cut off are cleared away", count=swept, directory=str(self.directory))
        self._complete = await self._indexed(self.index.is_filled) or False
        if self.index.renewed:
            log.warning(_MADE_ANEW, directory=str(self.directory))
        self._refill()

    async def close(self) -> None:
        """Uploads go on to their end, and reading, too: the threads go with the last one who needs them."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.wait([self._filling])
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

    async def _upload(self, request: UploadRequest) -> tuple[Row, bool]:
        self._within(request.size_bytes or 0)
        await self._used()
        self._fits(request.size_bytes or 0)
        with self._disk():
            await self._in_thread(self._has_room, request.size_bytes or 0)
            draft = await self._made(self.folder.draft, Draft.discard)
        try:
            return await self._taken(request, draft)
        finally:
            self._coming -= draft.coming
            await asyncio.shield(self._in_thread(draft.discard))

    async def open(self, path: str) -> Opened | None:
        """To read it, in a thread; None: there is no such file. OSError: there may be, and it can not be read."""
        return await self._made(lambda: self.folder.open(path), _close) if names.good(path) else None

    async def known(self, opened: Opened) -> Facts | None:
        """What the index says of a file that does not say it itself."""
        row = await self._indexed(self.index.row, opened.path)
        if row is not None and (row.size, row.modified_ns) == (opened.size, opened.modified_ns):
            return row.facts
        return None

    async def delete(self, path: str) -> bool:
        """Whether it was there."""
        if not names.good(path):
            return False
        async with self._changing:
            with self._disk():
                there = await self._in_thread(self.folder.remove, path)
            await self._indexed(self.index.remove, [path])
        return there

    async def page(self, prefix: str, after: str, limit: int) -> list[Row]:
        """Files in the order of their paths. Unavailable: there is no index at the moment, or not all of it yet."""
        await self.totals()  # by which an index that is broken is found out
        if not await self._has_all() and self.index_problem is None:
            raise Unavailable("the index of files is being made anew from what is there", retry_after_s=PATIENCE)
        rows = await self._indexed(self.index.page, prefix, after, limit)
        if rows is None:
            raise Unavailable(
                f"files can not be listed, since the index {self.directory / 'index.sqlite3'} can not be used:"
                f" {self.index_problem}; they are served all the same"
            )
        return rows

    async def _has_all(self) -> bool:
        if not self._complete:
            await asyncio.wait([self._refill()], timeout=PATIENCE)
        return self._complete

    async def totals(self) -> tuple[int, int] | None:
        """Files, and their bytes; None: not known at the moment."""
        return await self._indexed(self.index.totals)

    async def reading(self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """Do something with a file that is open, in a thread."""
        return await self._in_thread(work, *args, **kwargs)

    def release(self, opened: Opened) -> None:
        """Close it, in a thread where that may take long: what is deleted meanwhile is freed only then."""
        if opened.size > PIECE:
            self._threads.submit(opened.close)
        else:
            opened.close()

    async def filled(self) -> None:
        """Return once the index has been compared with the folder."""
        if self._filling is not None:
            await asyncio.wait([self._filling])

    async def _close_index(self) -> None:
        if self._closing and not self._uploads:
            await self._indexed(self.index.close)

    async def _taken(self, request: UploadRequest, draft: Draft) -> tuple[Row, bool]:
        head = bytearray()
        verdict = None
        async with aclosing(pieces(request.source, PIECE, self._in_thread)) as coming:
            async for piece in coming:
                self._within(draft.size + len(piece))
                self._fits(len(piece))
                draft.coming += len(piece)
                self._coming += len(piece)
                head += piece[: kinds.HEAD - len(head)]
                if verdict is None and len(head) >= kinds.HEAD:  # a wrong one is not read to its end
                    verdict = _verdict(request, head)
                with self._disk():
                    await self._in_thread(self._write, draft, piece)
        verdict = verdict or _verdict(request, head)
        sha256 = draft.sha256_hex
        as_announced(request, draft.size, sha256)
        name = names.clean(request.name, verdict.extension)
        if request.overwrite:
            path = names.plain(request.kind, name)
        else:
            path = names.by_content(request.kind, name, sha256, self._now())
        cache_control = request.cache_control or (REVALIDATED if request.overwrite else IMMUTABLE)
        known = Facts(verdict.content_type, sha256, cache_control, names.shown(request.name), request.tags)
        with self._disk():
            about = await self._in_thread(draft.finish, known)
        row = Row(path, about.st_size, about.st_mtime_ns, known)
        naming = asyncio.get_running_loop().create_task(self._named(draft, row, over=request.overwrite))
        try:
            return await asyncio.shield(naming)
        except asyncio.CancelledError:  # whoever asked is gone: what has its name has to be in the index, too
            await asyncio.wait([naming])
            raise

    async def _named(self, draft: Draft, row: Row, *, over: bool) -> tuple[Row, bool]:
        async with self._changing:
            before = await self._before(row.path) if over else await self._same(row)
            if before is not None and not over:
                return before, False
            with self._disk():
                if not await self._in_thread(self.folder.place, draft, row.path, over=over):
                    raise Unavailable(f"{row.path} was being stored by somebody else at the same time; try again")
            await self._indexed(self.index.put, [row])
        return row, before is None or before.facts.sha256_hex != row.facts.sha256_hex

    async def _same(self, row: Row) -> Row | None:
        """The same content under the same name, stored now or in another month. Invalid: its path is another's."""
        before = await self._before(row.path)
        if before is not None and before.facts.sha256_hex != row.facts.sha256_hex:
            raise Invalid(
                f"{row.path} is there, with other content whose SHA-256 begins with the same digits;"
                " upload it under another name"
            )
        if before is not None:
            return before
        wanted = names.without_date(row.path)
        for path in await self._indexed(self.index.of_content, row.facts.sha256_hex) or ():
            if names.is_by_content(path) and names.without_date(path) == wanted:
                earlier = await self._before(path)
                if earlier is not None and earlier.facts.sha256_hex == row.facts.sha256_hex:
                    return earlier
        return None

    async def _before(self, path: str) -> Row | None:
        with self._disk():
            opened = await self._in_thread(self.folder.open, path)
            return await self._in_thread(self._described, opened) if opened is not None else None

    def _described(self, opened: Opened) -> Row:
        """In a thread. What a file says of itself; of one that says nothing, what can be found out."""
        try:
            found = opened.facts or guess(opened.path, opened.read(0, kinds.HEAD), opened.digest())
        finally:
            opened.close()
        return Row(opened.path, opened.size, opened.modified_ns, found)

    def _write(self, draft: Draft, piece: Piece) -> None:
        self._has_room(len(piece))
        draft.write(piece)

    def _within(self, size: int) -> None:
        if size > self.limits.file:
            raise TooLarge(f"expected at most {self.limits.file} bytes (cdn.max_upload), and there are more")

    async def _used(self) -> None:
        totals = await self.totals()
        if totals is not None:
            self._there = totals[1]

    def _fits(self, more: int) -> None:
        """Full: these bytes have no place beside those that are coming in and those that are there."""
        used = self._there + self._coming
        if self.limits.all is not None and used + more > self.limits.all:
            raise Full(f"the files have {used} of {self.limits.all} bytes (cdn.local.quota): delete some")

    def _has_room(self, more: int) -> None:
        """In a thread."""
        free = self.folder.free()
        if free - more < self.limits.free:
            raise Full(
                f"the disk of {self.directory} has {free} bytes left, and {self.limits.free} are to stay free"
                " (cdn.local.keep_free): make room there"
            )

    def _refill(self) -> asyncio.Task[None]:
        if self._filling is None or self._filling.done():
            self._filling = asyncio.get_running_loop().create_task(self._fill(), name="cdn-index")
        return self._filling

    async def _fill(self) -> None:
        """Make the index say what is there, in batches, so that it never holds up anybody."""
        try:
            for _ in range(_TRIES):
                if await self._filled_once():
                    return
        except (Lost, OSError) as error:
            log.warning("the index of files is not complete", directory=str(self.directory), reason=str(error))

    async def _filled_once(self) -> bool:
        """False: the index was made anew meanwhile."""
        self.index.renewed = False
        after = ""
        while rows := await self.index.page("", after, _BATCH):
            after = rows[-1].path
            await self._compare(await self._in_thread(self._differing, rows))
        walk = self.folder.walk()
        while found := await self._in_thread(_some, walk):
            known = await self.index.known([path for path, *_ in found])
            await self._compare([path for path, size, modified in found if known.get(path) != (size, modified)])
        if self.index.renewed:
            return False
        await self.index.fill()
        self._complete = not self.index.renewed
        await self._used()
        return self._complete

    def _differing(self, rows: list[Row]) -> list[str]:
        return [row.path for row in rows if not self.folder.matches(row.path, row.size, row.modified_ns)]

    async def _compare(self, paths: list[str]) -> None:
        """Put into the index what is there, and take out what is not."""
        for path in filter(names.good, paths):
            try:
                row = await self._before(path)
            except CdnError:  # nobody may read it; whoever asks for it is told
                continue
            async with self._changing:
                if row is None or not await self._in_thread(self.folder.matches, path, row.size, row.modified_ns):
                    await self.index.remove([path])
                else:
                    await self.index.put([row])

    async def _indexed(
        self, ask: Callable[Given, Awaitable[Result]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result | None:
        """Its answer; None when there is none, which is told once."""
        try:
            answer = await ask(*args, **kwargs)
        except Lost as error:
            if self.index_problem is None:
                log.error("the index of files can not be used", directory=str(self.directory), reason=str(error))
            self.index_problem = str(error)
            return None
        if self.index_problem is not None:
            self.index_problem = None
            log.info("the index of files can be used again", directory=str(self.directory))
            self._complete = False
            self._refill()
        elif self.index.renewed and self._complete:
            self._complete = False
            log.warning(_MADE_ANEW, directory=str(self.directory))
            self._refill()
        return answer

    async def _in_thread(self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    async def _made(self, work: Callable[[], Result], undo: Callable[[Result], None]) -> Result:
        """Something that has to be closed, also when nobody waits for it any more."""
        making = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(lambda made: None if made.exception() is not None else undo(made.result()))
            raise

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in _NO_ROOM:
                raise Full(f"the disk of {self.directory} takes no more: {reason}") from error
            raise Unavailable(f"{error.filename or self.directory}: {reason}") from error


def _verdict(request: UploadRequest, head: bytearray) -> kinds.Verdict:
    return kinds.judge(request.kind, names.split(request.name)[1], bytes(head), request.content_type)


def _some(walk: Iterator[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    return list(islice(walk, _BATCH))


def _close(opened: Opened | None) -> None:
    if opened is not None:
        opened.close()
