"""The body of one answer on its way through a coder, counted and with its share of memory."""

from __future__ import annotations

from balancer.compression.coders import Coder, Room, coder
from balancer.tally import RouteTally

ROOM = Room()
"""What all coders of this process have together."""


class Packing:
    """A body under compression. Pieces go in by `feed`; what any method returns is for the client, in that order."""

    __slots__ = ("_coder", "_coding", "_dirty", "_size", "_tally")

    def __init__(self, made: Coder, coding: bytes, tally: RouteTally, size: int) -> None:
        self._coder = made
        self._coding = coding.decode("ascii")
        self._tally = tally
        self._size = size
        self._dirty = True  # something may be held back: the head of the stream, at first

    def feed(self, pieces: list[bytes]) -> bytes:
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._dirty = True
        self._tally.compression_in[self._coding] += len(data)
        return self._counted(self._coder.feed(data))

    def flush(self) -> bytes:
        """What the client needs to read all that was fed."""
        if not self._dirty:
            return b""
        self._dirty = False
        return self._counted(self._coder.flush())

    def finish(self) -> bytes:
        """The end of the body, all of which has been fed."""
        return self._counted(self._coder.finish())

    def drop(self) -> None:
        """Give the memory back. To be called once, however the body ended."""
        ROOM.give(self._size)

    def _counted(self, data: bytes) -> bytes:
        self._tally.compression_out[self._coding] += len(data)
        return data


def packing(coding: bytes, length: int, tally: RouteTally, *, events: bool) -> Packing | None:
    """For a body of `length` bytes, negative if unknown; None when the memory for coders is all in use."""
    size = ROOM.take(coding, length, events)
    if not size:
        tally.compression_declined += 1
        return None
    return Packing(coder(coding, length, events), coding, tally, size)
