"""A provider at work, with the pictures and files that are served beside it: all that one configuration makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from balancer.cdn.checkup import Checkup
from balancer.cdn.edge.app import Handler
from balancer.cdn.edge.files import Files
from balancer.cdn.edge.pictures import PictureHandler
from balancer.cdn.images.originals import LocalOriginals
from balancer.cdn.images.studio import Studio
from balancer.cdn.last_day import LastDay
from balancer.cdn.local.figures import Front
from balancer.cdn.local.provider import LocalProvider
from balancer.cdn.local.store import Store
from balancer.cdn.provider import CdnProvider
from config.cdn import Cdn

log = structlog.get_logger("balancer.cdn")
COUNTED = 0.2
"""Seconds that whoever asks for figures waits for a count of the files; then it is told the last one."""


class Around(NamedTuple):
    """What outlives a configuration."""

    state: Path
    """The folder for what has to survive a restart."""
    common: bytes
    """What balancers that share clients all know; empty: nothing."""
    front: Callable[[], Front | None] | None
    """Tells what the balancer counted on the way to the local files."""
    trusts: Callable[[str], bool]
    """Knows the trusted proxies."""


class Installation:
    """What is built whole before it takes over from the one before, and closed as a whole."""

    def __init__(self, settings: Cdn, provider: CdnProvider, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.provider = provider
        self.checkup = Checkup(provider, clock)
        self.last_day = LastDay(provider, clock)
        self.studio: Studio | None = None
        self._files: Files | None = None
        self._pictures: PictureHandler | None = None
        self._totals: tuple[int, int, int | None] | None = None
        self._counting: asyncio.Task[tuple[int, int, int | None] | None] | None = None

    @property
    def local(self) -> LocalProvider | None:
        """The provider, if the balancer is it itself."""
        return self.provider if isinstance(self.provider, LocalProvider) else None

    async def open(self, around: Around) -> None:
        """Start everything, or nothing. Raises what that raises."""
        local = self.local
        if local is not None:
            local.ledger.front = around.front
            self._files = Files(local.store, self.settings.local.path, local.counts)
        try:
            await self.provider.start()
            await self._open_studio(around)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End what was opened. What fails at that is logged, and keeps the rest from nothing."""
        self.checkup.close()
        self.last_day.close()
        if self._counting is not None:
            self._counting.cancel()
        for part in (self.studio, self.provider):
            try:
                if part is not None:
                    await part.close()
            except Exception:  # a library's surprise at the end is nobody's concern but the log's
                log.exception("cdn_not_closed", provider=self.settings.provider)

    def handler(self, path: str) -> Handler | None:
        """Who answers below a raw path."""
        pictures, files = self._pictures, self._files
        if pictures is not None and pictures.covers(path):
            return pictures.handle
        return files.handle if files is not None and files.covers(path) else None

    async def totals(self) -> tuple[int, int, int | None] | None:
        """Files, their bytes, and those that may still come, as they were counted last: a disk that hangs keeps nobody
        waiting. None: not here."""
        local = self.local
        if local is None:
            return None
        if self._counting is None or self._counting.done():
            self._counting = asyncio.get_running_loop().create_task(_counted(local.store), name="cdn-totals")
        counting = self._counting
        await asyncio.wait([counting], timeout=COUNTED)
        if counting.done() and not counting.cancelled():
            error = counting.exception()
            if error is None:
                self._totals = counting.result()
            else:
                log.warning("cdn_files_not_counted", reason=str(error))
        return self._totals

    async def _open_studio(self, around: Around) -> None:
        """Pictures are made here for every provider; whose URLs are given out is the provider's affair."""
        images, local = self.settings.images, self.local
        if images is None:
            return
        originals = LocalOriginals(local.store) if local is not None else None
        self.studio = studio = Studio(self.settings, images, around.state, originals, common=around.common)
        if local is not None:
            local.pictures = studio.url
        await studio.start()
        self._pictures = PictureHandler(studio.path, studio.links, studio.pictures, trusts=around.trusts)


async def _counted(store: Store) -> tuple[int, int, int | None] | None:
    totals = await store.totals()
    return None if totals is None else (*totals, await store.left())
