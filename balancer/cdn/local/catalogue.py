"""The index of files, kept to what the folder has.

The folder is the truth. Where the two disagree (a balancer was killed, somebody copied files, the index broke) the
folder is believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from balancer.cdn.errors import Unavailable
from balancer.cdn.local import kinds, names
from balancer.cdn.local.folder import Folder
from balancer.cdn.local.guess import guess
from balancer.cdn.local.index import Index, Lost, Row
from balancer.cdn.local.threads import Threads

Given = ParamSpec("Given")
Result = TypeVar("Result")
PATIENCE: Final = 5.0
"""Seconds that a list waits for an index that is being made anew."""
_TRIES: Final = 3
"""Times that an index which breaks while it is filled is begun anew."""
_BATCH: Final = 500
"""Files that are compared at once."""
_MADE_ANEW: Final = "the index of files was broken, and is made anew"

log: FilteringBoundLogger = structlog.get_logger("balancer.cdn")


class Catalogue:
    """What is asked of the index. That it can not be used is told once, and stops nobody but who wants a list."""

    def __init__(self, directory: Path, folder: Folder, threads: Threads) -> None:
        self.index = Index(directory / "index.sqlite3")
        self.problem: str | None = None
        """Why the index can not be used; None: it can."""
        self.changing = asyncio.Lock()
        """Held by whoever changes a file and its row together."""
        self._directory = directory
        self._folder = folder
        self._threads = threads
        self._filling: asyncio.Task[None] | None = None
        self._noticing: asyncio.Task[None] | None = None
        self._complete = False  # the index has had all that is there

    async def start(self) -> None:
        self._complete = await self.ask(self.index.is_filled) or False
        if self.index.renewed:
            log.warning(_MADE_ANEW, directory=str(self._directory))
        self._refill()

    async def rest(self) -> None:
        """Compare no further."""
        for task in (self._filling, self._noticing):
            if task is not None:
                task.cancel()
        await self.filled()

    async def close(self) -> None:
        await self.ask(self.index.close)

    async def ask(
        self, question: Callable[Given, Awaitable[Result]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result | None:
        """The index's answer; None when there is none."""
        try:
            answer = await question(*args, **kwargs)
        except Lost as error:
            if self.problem is None:
                log.error("the index of files can not be used", directory=str(self._directory), reason=str(error))
            self.problem = str(error)
            return None
        if self.problem is not None:
            self.problem = None
            log.info("the index of files can be used again", directory=str(self._directory))
            self._complete = False
            self._refill()
        elif self.index.renewed and self._complete:
            self._complete = False
            log.warning(_MADE_ANEW, directory=str(self._directory))
            self._refill()
        return answer

    async def page(self, prefix: str, after: str, limit: int) -> list[Row]:
        """Files in the order of their paths. Unavailable: there is no index at the moment, or not all of it yet."""
        await self.totals()  # by which an index that is broken is found out
        if not await self._has_all() and self.problem is None:
            raise Unavailable("the index of files is being made anew from what is there", retry_after_s=PATIENCE)
        rows = await self.ask(self.index.page, prefix, after, limit)
        if rows is None:
            raise Unavailable(
                f"files can not be listed, since the index {self._directory / 'index.sqlite3'} can not be used:"
                f" {self.problem}; they are served all the same"
            )
        return rows

    async def totals(self) -> tuple[int, int] | None:
        """Files, and their bytes; None: not known at the moment."""
        return await self.ask(self.index.totals)

    async def described(self, path: str) -> Row | None:
        """The file as it is: what it says of itself, and of one that says nothing what the index knows, or what can be
        found out. OSError."""
        return await self._threads.run(self._describe, path, await self.ask(self.index.row, path))

    def notice(self, path: str) -> None:
        """There is a file that the index does not know: take it over, unless another is just being taken over, when
        whoever asks for it next says so again."""
        if self._noticing is None or self._noticing.done():
            self._noticing = asyncio.get_running_loop().create_task(self._notice(path), name="cdn-index-notice")

    async def _notice(self, path: str) -> None:
        try:
            await self._compare([path])
        except (Lost, OSError) as error:
            log.warning("the index of files is not complete", directory=str(self._directory), reason=str(error))

    async def filled(self) -> None:
        """Return once the index has been compared with the folder."""
        if tasks := [task for task in (self._filling, self._noticing) if task is not None]:
            await asyncio.wait(tasks)

    async def _has_all(self) -> bool:
        if not self._complete:
            await asyncio.wait([self._refill()], timeout=PATIENCE)
        return self._complete

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
            log.warning("the index of files is not complete", directory=str(self._directory), reason=str(error))

    async def _filled_once(self) -> bool:
        """False: the index was made anew meanwhile."""
        self.index.renewed = False
        after = ""
        while rows := await self.index.page("", after, _BATCH):
            after = rows[-1].path
            await self._compare(await self._threads.run(self._differing, rows))
        walk = self._folder.walk()
        while found := await self._threads.run(_some, walk):
            known = await self.index.known([path for path, *_ in found])
            await self._compare([path for path, size, modified in found if known.get(path) != (size, modified)])
        if self.index.renewed:
            return False
        await self.index.fill()
        self._complete = not self.index.renewed
        return self._complete

    def _differing(self, rows: list[Row]) -> list[str]:
        return [row.path for row in rows if not self._folder.matches(row.path, row.size, row.modified_ns)]

    async def _compare(self, paths: list[str]) -> None:
        """Put into the index what is there, and take out what is not."""
        for path in filter(names.good, paths):
            try:
                row = await self.described(path)
            except OSError:  # nobody may read it; whoever asks for it is told
                continue
            async with self.changing:
                if row is not None and await self._threads.run(self._folder.matches, path, row.size, row.modified_ns):
                    await self.index.put([row])
                else:
                    await self.index.remove([path])

    def _describe(self, path: str, known: Row | None) -> Row | None:
        opened = self._folder.open(path)
        if opened is None:
            return None
        try:
            found = opened.facts
            if (
                found is None
                and known is not None
                and (known.size, known.modified_ns) == (opened.size, opened.modified_ns)
            ):
                found = known.facts
            found = found or guess(path, opened.read(0, kinds.HEAD), opened.digest())
        finally:
            opened.close()
        return Row(path, opened.size, opened.modified_ns, found)


def _some(walk: Iterator[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    return list(islice(walk, _BATCH))
