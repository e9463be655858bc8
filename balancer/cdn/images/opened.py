"""A picture on disk that is being sent."""

from __future__ import annotations

import os
from typing import Final
from weakref import finalize

PIECE: Final = 256 * 1024
"""Bytes of a picture that are held for one reader; smaller ones are read whole."""


class OpenPicture:
    """A file with a picture in it, for any number of readers. What is read are these very bytes, whatever becomes of
    the name.

    It is closed with its last reader: nobody has to, so that a reader may leave in the middle of anything.
    """

    def __init__(self, fd: int, skip: int, size: int) -> None:
        """`skip` bytes above the picture. The descriptor is this one's from now on."""
        self.size = size
        self._fd = fd
        self._skip = skip
        finalize(self, os.close, fd).atexit = False

    def read(self, at: int, most: int) -> bytes:
        """Fewer than `most` at the end; for a thread."""
        return os.pread(self._fd, min(most, self.size - at), self._skip + at)


Body = bytes | OpenPicture


def body_of(opened: OpenPicture) -> Body | None:
    """What there is to send; None: it is shorter than it should be. For a thread."""
    if opened.size > PIECE:
        return opened
    data = opened.read(0, opened.size)
    return data if len(data) == opened.size else None
