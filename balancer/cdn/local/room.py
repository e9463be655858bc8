"""Room for files: how large one may be, how much there may be of all, and what is left free on the disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from balancer.cdn.errors import Full, TooLarge, Unavailable
from balancer.cdn.local.folder import Draft, Folder

_NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken."""

    file: int
    """Bytes of one."""
    all: int | None
    """Bytes of all together; None: what the disk has."""
    free: int
    """Bytes that are left on the disk."""


class Room:
    """Counts what is coming in beside what is there, so that uploads at the same time share what is left."""

    def __init__(self, folder: Folder, limits: Limits) -> None:
        self.limits = limits
        self.there = 0
        """Bytes of files, as last heard (owner: who knows the index)."""
        self._folder = folder
        self._coming = 0  # bytes of drafts that have no name yet

    def within(self, size: int) -> None:
        """TooLarge: a file must not have that many bytes."""
        if size > self.limits.file:
            raise TooLarge(f"expected at most {self.limits.file} bytes (cdn.max_upload), and there are more")

    def fits(self, more: int) -> None:
        """Full: these bytes have no place beside those that are coming in and those that are there."""
        used = self.there + self._coming
        if self.limits.all is not None and used + more > self.limits.all:
            raise Full(f"the files have {used} of {self.limits.all} bytes (cdn.local.quota): delete some")

    def take(self, draft: Draft, more: int) -> None:
        """Give these bytes of it a place. TooLarge, Full."""
        self.within(draft.coming + more)
        self.fits(more)
        draft.coming += more
        self._coming += more

    def give_back(self, draft: Draft) -> None:
        """It has a name now, or is gone."""
        self._coming -= draft.coming
        draft.coming = 0

    def left(self, more: int) -> None:
        """Full: the disk would not have enough left. Asks the disk."""
        free = self._folder.free()
        if free - more < self.limits.free:
            raise Full(
                f"the disk of {self._folder.files} has {free} bytes left, and {self.limits.free} are to stay free"
                " (cdn.local.keep_free): make room there"
            )


@contextmanager
def disk(folder: Folder) -> Iterator[None]:
    """What a disk says, as an error of the CDN."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _NO_ROOM:
            raise Full(f"the disk of {folder.files} takes no more: {reason}") from error
        raise Unavailable(f"{error.filename or folder.files}: {reason}") from error
