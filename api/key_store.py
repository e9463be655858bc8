"""The keys that were made over the API, and when and from where each key was used last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from config.key_file import KeptKey, load_keys, save_keys
from config.schema import AdminKey
from config.state import StateError, write_private

MOST = 500
"""Keys that can be made: each is compared with what is presented."""

log = structlog.get_logger("balancer.api")


class KeyStore:
    """The keys of one file. A change is kept first and in force next, so that none that was answered is forgotten."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file, if there is one; without a path, keys live as long as the process."""
        self._path = path
        self._changing = asyncio.Lock()
        self.keys: dict[str, KeptKey] = {}
        if path is not None:
            self.keys, problems = load_keys(path)
            for problem in problems:
                log.error("kept keys", problem=str(problem))

    async def change(self, edit: Callable[[dict[str, KeptKey]], dict[str, KeptKey]]) -> None:
        """Keep and use what `edit` makes of the keys, when its turn has come. StateError: nothing has changed."""
        async with self._changing:
            keys = edit(dict(self.keys))
            if self._path is not None:
                await asyncio.to_thread(save_keys, self._path, keys)
            self.keys = keys


@dataclass(frozen=True, slots=True)
class Use:
    """When a key was used last, and from which address."""

    at: datetime
    address: str


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    at: datetime
    address: str


class _Uses(BaseModel):
    uses: dict[str, _Kept]


class LastUse:
    """The last use of each key: noted in memory, and kept from time to time by whoever owns the loop.

    A key that is made anew under an old id has not been used, so the hash is part of what is noted by.
    """

    def __init__(self, path: Path | None, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._wall = wall
        self._uses: dict[str, Use] = {}
        self._unkept = False
        self._complaint = ""
        if path is not None:
            self._uses = _recalled(path)

    def note(self, key: AdminKey, address: str) -> None:
        self._uses[_name(key)] = Use(self._wall(), address)
        self._unkept = True

    def of(self, key: AdminKey) -> Use | None:
        return self._uses.get(_name(key))

    async def keep(self, known: Collection[AdminKey]) -> None:
        """Write what was noted since the last time, of the keys that there still are. It never raises: a last use
        that a restart forgets is no reason to disturb anybody."""
        names = {_name(key) for key in known}
        self._uses = {name: use for name, use in self._uses.items() if name in names}
        if self._path is None or not self._unkept:
            return
        self._unkept = False
        uses = {name: {"at": use.at.isoformat(), "address": use.address} for name, use in self._uses.items()}
        try:
            await asyncio.to_thread(write_private, self._path, json.dumps({"uses": uses}, indent=1) + "\n")
        except StateError as error:
            if str(error) != self._complaint:
                log.warning("last uses of keys are not kept", problem=str(error))
            self._complaint = str(error)
        else:
            self._complaint = ""


def _name(key: AdminKey) -> str:
    return f"{key.id}:{key.hash.removeprefix('sha256:')[:8]}"


def _recalled(path: Path) -> dict[str, Use]:
    try:
        kept = _Uses.model_validate_json(path.read_bytes()).uses
    except (OSError, ValidationError):
        return {}
    return {name: Use(use.at, use.address) for name, use in kept.items()}
