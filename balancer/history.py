"""The last configurations: who made each, when and how, and what it takes to have it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, ValidationError
from structlog.typing import FilteringBoundLogger

from config.diff import Change
from config.overlay import Overlay
from config.pool import Model
from config.state import StateError, write_private
from config.values import WRITTEN

KEPT = 10
"""Revisions that are kept."""
CHANGES = 200
"""Changes of one revision that are told."""
LARGEST = 1024 * 1024
"""Characters of a configuration file that are kept; of a larger one, only what the API changed over it."""

Cause = Literal["start", "reload", "change", "rollback", "undo", "save"]

log: FilteringBoundLogger = structlog.get_logger("balancer.control")


class Said(Model):
    """Who said a setting, and when."""

    by: str
    at: datetime


class Revision(Model):
    """One configuration as it came into force."""

    number: int
    at: datetime
    author: str
    """The id of a key, or what else it was: "the file", "the balancer"."""
    cause: Cause
    changes: tuple[Change, ...] = ()
    """From the one before; credentials are masked."""
    more: int = 0
    """Changes that are not told."""
    digest: str = ""
    """Of the file."""
    overlay: Overlay = Overlay()
    """Without states of servers, which are not of the configuration."""
    provisional: bool = False
    note: str = ""
    """What became of it, such as "undone: nobody confirmed it in time"."""


class Kept(Model):
    """What the file of the history holds. Texts of files are as they were written, with `${...}` in them."""

    revisions: tuple[Revision, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    """By digest."""
    said: dict[str, Said] = Field(default_factory=dict)
    """By the path of a setting that the API has changed over the file."""


class History:
    """The file beside that of the overlay, or none. It never fails a change, and never prevents a start."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.kept = Kept()
        self._writing: asyncio.Task[None] | None = None
        self._dirty = False

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """The last ones, the latest last."""
        return self.kept.revisions

    @property
    def latest(self) -> Revision | None:
        return self.kept.revisions[-1] if self.kept.revisions else None

    def revision(self, number: int) -> Revision | None:
        return next((one for one in self.kept.revisions if one.number == number), None)

    async def recall(self) -> None:
        """What was kept; nothing when it can not be read."""
        if self._path is None:
            return
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
            self.kept = Kept.model_validate_json(content, context=WRITTEN)
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not what was written"
            log.warning("the history of configurations is lost", file=str(self._path), reason=reason)

    def add(self, revision: Revision, text: str) -> None:
        """One more; `text` is the file's."""
        revisions = (*self.kept.revisions, revision)[-KEPT:]
        files = (
            {**self.kept.files, revision.digest: text} if revision.digest and len(text) <= LARGEST else self.kept.files
        )
        used = {one.digest for one in revisions}
        self.kept = self.kept.model_copy(
            update={"revisions": revisions, "files": {key: file for key, file in files.items() if key in used}}
        )

    def mark(self, number: int, **update: object) -> None:
        """Say what became of one."""
        revisions = tuple(one.model_copy(update=update) if one.number == number else one for one in self.kept.revisions)
        self.kept = self.kept.model_copy(update={"revisions": revisions})

    def credit(self, before: Iterable[Change], after: Iterable[Change], said: Said) -> None:
        """Note who said what the API changes over the file, where that is new."""
        known = {change.path: change for change in before}
        said_now: Mapping[str, Said] = {
            change.path: self.kept.said.get(change.path, said) if known.get(change.path) == change else said
            for change in after
        }
        self.kept = self.kept.model_copy(update={"said": dict(said_now)})

    def keep(self) -> None:
        """Write it down soon; nobody waits for the disk. That it fails is told, and no reason to fail anything else."""
        if self._path is None:
            return
        self._dirty = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(self._path), name="history")

    async def _write(self, path: Path) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await asyncio.to_thread(write_private, path, self.kept.model_dump_json(exclude_defaults=True))
            except StateError as error:
                log.warning("the history of configurations is not kept", reason=str(error))

    async def close(self) -> None:
        """Return once everything is written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
