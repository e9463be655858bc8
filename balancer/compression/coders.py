"""The codings themselves, with the settings that suit a proxy, and how much memory they may have together.

Settings were chosen so that 64 KiB, the most that is compressed in one turn of the loop, take about a millisecond
(figures in docs/compression.md). Higher levels win some per cent of size for a multiple of that.
"""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from balancer.compression.packages import brotli, zstd

SLICE: Final = 64 * 1024
"""Bytes that are compressed before other connections get their turn."""
MOST_MEMORY: Final = 256 * 1024 * 1024
"""Bytes of all coders that are open at once: several hundred bodies to slow clients. Further answers go as they are."""
SMALL: Final = 64 * 1024
"""A body that is known to be no longer needs less memory."""
_KIB: Final = 1024
GZIP: Final = zlib.MAX_WBITS + 16  # with the head and the checksum of RFC 1952
EVENTS_GZIP: Final = 12 + 16  # a window of 4 KiB


class Coder(Protocol):
    """A body under compression. All of it fed and finished is one whole stream of its coding."""

    def feed(self, data: bytes) -> bytes:
        """What can be sent of it already, which may be nothing."""

    def flush(self) -> bytes:
        """What is still missing, so that all that was fed can be read by the client now."""

    def finish(self) -> bytes: ...


class Gzip:
    """RFC 1952."""

    __slots__ = ("_made",)

    def __init__(self, events: bool = False) -> None:
        self._made = zlib.compressobj(4, zlib.DEFLATED, EVENTS_GZIP if events else GZIP, 5 if events else 8)

    def feed(self, data: bytes) -> bytes:
        return self._made.compress(data)

    def flush(self) -> bytes:
        return self._made.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._made.flush()


class Brotli:
    """RFC 7932."""

    __slots__ = ("_made",)

    def __init__(self, events: bool = False) -> None:
        # With the window of 4 MiB that is the default a client that reads slowly costs as much.
        self._made = brotli.Compressor(quality=2, lgwin=14) if events else brotli.Compressor(quality=4, lgwin=19)

    def feed(self, data: bytes) -> bytes:
        return bytes(self._made.process(data))

    def flush(self) -> bytes:
        return bytes(self._made.flush())

    def finish(self) -> bytes:
        return bytes(self._made.finish())


class Zstd:
    """RFC 8878, with windows far below the 8 MiB that clients must take (RFC 9659)."""

    __slots__ = ("_made",)

    def __init__(self, events: bool = False, length: int = -1) -> None:
        """`length` is the whole body's if it is known; exactly as much must then be fed."""
        option = zstd.CompressionParameter
        settings: dict[int, int] = {option.compression_level: 3, option.window_log: 15 if events else 19}
        if length < 0:  # its tables are made for the largest body, unless they are told
            settings[option.hash_log] = settings[option.chain_log] = 13 if events else 15
        self._made = zstd.ZstdCompressor(options=settings)
        if length >= 0:
            self._made.set_pledged_input_size(length)

    def feed(self, data: bytes) -> bytes:
        return self._made.compress(data)

    def flush(self) -> bytes:
        return self._made.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._made.flush()


def coder(coding: bytes, length: int = -1, events: bool = False) -> Coder:
    """One for a body of `length` bytes, negative when that is not known; `events`: for a stream that stays open long.

    Raises KeyError for what is no coding, and for one whose package is not there.
    """
    if coding == b"gzip":
        return Gzip(events)
    if coding == b"br" and brotli is not None:
        return Brotli(events)
    if coding == b"zstd" and zstd is not None:
        return Zstd(events, length)
    raise KeyError(coding)


def compress(coding: bytes, body: bytes) -> bytes | None:
    """A whole body; None when it does not become smaller by a tenth at least, which is not worth a client's work.

    Takes as long as the body is large: see `SLICE`.
    """
    made = coder(coding, len(body))
    whole = made.feed(body) + made.finish()
    return whole if len(whole) * 10 <= len(body) * 9 else None


class Room:
    """The memory that the coders of one plane take together, by their measured sizes."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0

    def take(self, coding: bytes, length: int, events: bool) -> int:
        """Bytes that a coder is counted with, to be given back when it is dropped; 0: there is no room for it."""
        size = weight(coding, length, events)
        if self.held + size > MOST_MEMORY:
            return 0
        self.held += size
        return size

    def give(self, size: int) -> None:
        self.held -= size


def weight(coding: bytes, length: int, events: bool) -> int:
    """Bytes of memory, rounded up from what was measured."""
    if events:
        return {b"gzip": 64 * _KIB, b"br": 448 * _KIB}.get(coding, 256 * _KIB)
    if 0 <= length <= SMALL:
        return {b"gzip": 256 * _KIB, b"br": 128 * _KIB}.get(coding, 512 * _KIB)
    return {b"gzip": 288 * _KIB, b"br": 1600 * _KIB}.get(coding, 1440 * _KIB)
