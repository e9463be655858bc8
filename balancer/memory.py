"""Where the operator's changes are kept over restarts, and whether they go with the file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from structlog.typing import FilteringBoundLogger

from config import overlay as overlays
from config.amend import based
from config.checks import faults
from config.load import Loaded
from config.overlay import Overlay
from config.problems import ConfigError
from config.state import load_overlay, save_overlay

SOURCE = "the file with the API's changes"
"""Stands for a file's name in problems of a configuration that is in no file."""

log: FilteringBoundLogger = structlog.get_logger("balancer.control")


class Memory:
    """The file of `admin.state`, or none. Disks wait in threads; what was kept never prevents a start."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def keep(self, overlay: Overlay) -> None:
        """StateError when it can not be kept."""
        if self._path is not None:
            await asyncio.to_thread(save_overlay, self._path, overlay)

    async def recall(self, file: Loaded) -> Overlay:
        """What was kept; nothing when it can not be read or does not go with the file."""
        if self._path is None:
            return Overlay()
        overlay, problems = await asyncio.to_thread(load_overlay, self._path)
        for problem in problems:
            log.warning("kept changes", problem=str(problem))
        try:
            await judge(file, overlay)
        except ConfigError as error:
            await self.set_aside(str(error))
            return Overlay()
        return overlay

    async def set_aside(self, reason: str) -> None:
        """Put what was kept where it is in nobody's way, and nothing is lost."""
        if self._path is not None:
            bad = self._path.with_name(f"{self._path.name}.bad")
            log.error("kept changes are set aside", moved_to=str(bad), problems=reason)
            await asyncio.to_thread(self._path.replace, bad)


async def judge(file: Loaded, overlay: Overlay, base: Loaded | None = None) -> Loaded:
    """The file with the overlay's patch applied, or `base` if that is known to be it.

    ConfigError for changes that do not go with the file.
    """
    if overlay.is_empty:
        return file
    if base is None:
        base = await asyncio.to_thread(based, file, overlay)
    merged = overlays.merge(base.config, overlay)
    if merged is not base.config and (problems := await asyncio.to_thread(faults, merged, SOURCE)):
        raise ConfigError(problems)
    return base
