"""A stored answer as bytes for Redis, and back.

One byte of version and one that says how the rest is packed; the marks of whoever keeps the record, always readable;
then the answer, compressed when that pays. Times in it are wall-clock: monotonic ones mean nothing to another machine.

Whatever can write to Redis could write records, so nothing in one is believed: a record is taken only when it is what
`pack` could have made of an answer that may be stored, and reading one is bounded in memory whatever it claims.
"""

from __future__ import annotations

import math
import re
import sys
import zlib
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from balancer.cache.entry import NEVER, Entry, Selecting
from balancer.cache.storing import LONGEST_GROUP, LONGEST_TAG, MOST_GROUPS, MOST_TAGS
from balancer.cache.variants import MOST_VARY
from balancer.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOP,
    HOST,
    TE,
    TOKEN,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    Field,
    NoField,
    learn,
    recall,
)

VERSION: Final = 1
MOST: Final = 64 * 1024 * 1024
"""Bytes that a record may unpack to where the caller does not say."""

PLAIN: Final = 0
ZLIB: Final = 1
ZSTD: Final = 2
_WORTH_IT: Final = 512  # bytes; below, compression saves less than it costs
_SAMPLE: Final = 4096  # what is looked at before all of it is compressed
_LEVEL: Final = 1  # the loop waits for it
_MOST_PACKED: Final = {ZLIB: 128 * 1024, ZSTD: 512 * 1024}  # bytes; text takes 1 to 2 ms

_TOP: Final = Struct("<BBHI")  # version, packing, length of the marks, length of what is packed
_HEAD: Final = Struct("<HBddddq")  # status, flags, born, fresh, revalidate, error, last modified
_COUNT: Final = Struct("<H")
_SIZE: Final = Struct("<I")
_STRICT: Final = 1
_ETAG: Final = 2
_MODIFIED: Final = 4
_ABSENT: Final = 0xFFFFFFFF
_LATEST: Final = 253402300799  # the end of the year 9999
_EARLIEST: Final = -62135596800
_LONGEST: Final = 1e11  # seconds: no time is further away from the epoch

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_NAME: Final = re.compile(TOKEN)
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_TAG: Final = re.compile(rb"[!-~\x80-\xff]+")
_GROUP: Final = re.compile(rb"[ -~]*")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_REFUSED: Final = frozenset((HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, HOP, UPGRADE, TE, EXPECT, TRAILER))
_WITHOUT_BODY: Final = (204, 205)
_NEVER_STORED: Final = (206, 304, 416)


class BadRecord(ValueError):
    """Bytes that are no record of ours, and why."""


class Record(NamedTuple):
    """What is in a record."""

    entry: Entry
    marks: bytes


def pack(entry: Entry, *, now: float, wall: float, marks: bytes = b"", packing: int | None = None) -> bytes:
    """The entry as bytes, without its encodings; compressed by `packing`, or the best there is, where that pays."""
    ahead = wall - now
    flags = _STRICT * entry.strict | _ETAG * (entry.etag is not None) | _MODIFIED * (entry.last_modified is not None)
    times = (entry.born, entry.fresh_until, entry.revalidate_until, entry.error_until)
    parts = [
        _HEAD.pack(entry.status, flags, *(_wall(time, ahead) for time in times), entry.last_modified or 0),
        *_listed((entry.key, entry.line, entry.etag or b"")),
        *_listed(entry.lane),
        *_listed([part for pair in entry.vary for part in pair]),
        *_listed([field.line for field in entry.fields]),
        *_listed(entry.tags),
        *_listed(entry.groups),
        entry.body,
    ]
    content = b"".join(parts)
    packing, packed = _compressed(content, BEST if packing is None else packing)
    return b"".join((_TOP.pack(VERSION, packing, len(marks), len(content)), marks, packed))


def unpack(data: bytes, key: bytes, *, now: float, wall: float, most: int = MOST) -> Record:
    """Read a record of this URL that unpacks to `most` bytes at most; raises BadRecord."""
    packing, length, marks = _opened(data)
    if length > most:
        raise BadRecord(f"it would be {length} bytes, more than {most}")
    content = _decompressed(packing, memoryview(data)[_TOP.size + len(marks) :], length)
    reader = _Reader(content)
    return Record(_entry(reader, key, now - wall, now), marks)


def _opened(data: bytes) -> tuple[int, int, bytes]:
    if len(data) < _TOP.size:
        raise BadRecord("it ends too early")
    version, packing, marks, length = _TOP.unpack_from(data)
    if version != VERSION:
        raise BadRecord(f"version {version}, not {VERSION}")
    if len(data) < _TOP.size + marks:
        raise BadRecord("it ends too early")
    return packing, length, data[_TOP.size : _TOP.size + marks]


def _entry(reader: _Reader, key: bytes, behind: float, now: float) -> Entry:
    status, flags, *times, last_modified = _HEAD.unpack(reader.take(_HEAD.size))
    own = reader.present()
    if len(own) != 3:
        raise BadRecord("it is not made of a key, a line and an etag")
    if own[0] != key:
        raise BadRecord("it is of another URL")
    line, etag = own[1:]
    match = _STATUS_LINE.fullmatch(line)
    if match is None or int(match[1]) != status:
        raise BadRecord("its status line is none")
    lane = tuple(reader.listed())
    vary = _vary(reader.listed())
    fields = tuple(_field(line) for line in reader.present())
    entry = Entry(key, lane, vary, status, line, fields)
    entry.tags = _labels(reader.present(), _TAG, MOST_TAGS, LONGEST_TAG)
    entry.groups = _labels(reader.present(), _GROUP, MOST_GROUPS, LONGEST_GROUP)
    entry.body = reader.rest()
    if status in _NEVER_STORED or (entry.body and status in _WITHOUT_BODY):
        raise BadRecord(f"a {status} is not stored, or has no body")
    if flags & _ETAG and _ENTITY_TAG.fullmatch(etag) is None:
        raise BadRecord("its etag is none")
    if not _EARLIEST <= last_modified <= _LATEST:
        raise BadRecord("its last modification is in no year")
    entry.strict = bool(flags & _STRICT)
    entry.etag = etag if flags & _ETAG else None
    entry.last_modified = last_modified if flags & _MODIFIED else None
    born, fresh, revalidate, error = (_monotonic(time, behind) for time in times)
    if born == NEVER:
        raise BadRecord("it was never made")
    # A clock that is ahead of ours makes no answer live longer.
    early = max(born - now, 0.0)
    entry.born = born - early
    entry.fresh_until = fresh - early
    entry.revalidate_until = revalidate - early
    entry.error_until = error - early
    return entry


def _vary(parts: list[bytes | None]) -> Selecting:
    names, values = parts[::2], parts[1::2]
    if len(names) != len(values) or len(names) > MOST_VARY:
        raise BadRecord("a selecting field has no value, or there are too many")
    pairs = []
    for name, value in zip(names, values, strict=True):
        if name is None or not _NAME.fullmatch(name) or (value is not None and not _VALUE.fullmatch(value)):
            raise BadRecord("a selecting field is none")
        pairs.append((name, value))
    return tuple(pairs)


def _labels(labels: list[bytes], form: re.Pattern[bytes], most: int, longest: int) -> tuple[bytes, ...]:
    if len(labels) > most or not all(len(label) <= longest and form.fullmatch(label) for label in labels):
        raise BadRecord("its tags or groups are none")
    return tuple(labels)


def _field(line: bytes) -> Field:
    line = line[:-2] if line.endswith(b"\r\n") else line + b"\n"
    try:
        field = recall(line) or learn(line)
    except NoField:
        raise BadRecord("a field line is none") from None
    if field.kind in _REFUSED:
        raise BadRecord(f"{field.name.decode()} is never stored")
    return field


def _wall(time: float, ahead: float) -> float:
    return NEVER if time == NEVER else max(-_LONGEST, min(time + ahead, _LONGEST))


def _monotonic(time: float, behind: float) -> float:
    if time == NEVER:
        return NEVER
    if not math.isfinite(time) or abs(time) > _LONGEST:
        raise BadRecord("a time is none")
    return time + behind


def _listed(parts: tuple[bytes | None, ...] | list[bytes] | list[bytes | None]) -> list[bytes]:
    packed = [_COUNT.pack(len(parts))]
    for part in parts:
        if part is None:
            packed.append(_SIZE.pack(_ABSENT))
        else:
            packed += (_SIZE.pack(len(part)), part)
    return packed


class _Reader:
    """Takes pieces off a record; raises BadRecord where it ends too early."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._content):
            raise BadRecord("it ends too early")
        piece = self._content[self._at : end]
        self._at = end
        return piece

    def listed(self) -> list[bytes | None]:
        (count,) = _COUNT.unpack(self.take(_COUNT.size))
        return [self._part() for _ in range(count)]

    def present(self) -> list[bytes]:
        parts = self.listed()
        if None in parts:
            raise BadRecord("something is missing")
        return [part for part in parts if part is not None]

    def rest(self) -> bytes:
        return self.take(len(self._content) - self._at)

    def _part(self) -> bytes | None:
        (size,) = _SIZE.unpack(self.take(_SIZE.size))
        return None if size == _ABSENT else self.take(size)


def _compressed(content: bytes, packing: int) -> tuple[int, bytes]:
    """How it is packed in the end, and what it became."""
    compress = _COMPRESS.get(packing)
    if compress is None or not _WORTH_IT <= len(content) <= _MOST_PACKED[packing]:
        return PLAIN, content
    if _saves(content[:_SAMPLE], compress(content[:_SAMPLE])):
        packed = compress(content)
        if _saves(content, packed):
            return packing, packed
    return PLAIN, content


def _saves(content: bytes, packed: bytes) -> bool:
    return len(packed) * 8 < len(content) * 7


def _decompressed(packing: int, packed: memoryview, length: int) -> bytes:
    if packing == PLAIN:
        content = bytes(packed)
    elif packing in _DECOMPRESS:
        content = _DECOMPRESS[packing](packed, length)
    else:
        raise BadRecord(f"packing {packing} is not known here")
    if len(content) != length:
        raise BadRecord(f"it is {len(content)} bytes, not {length}")
    return content


def _zlib(content: bytes) -> bytes:
    return zlib.compress(content, _LEVEL)


def _unzlib(packed: memoryview, length: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(packed, length + 1)
    except zlib.error:
        raise BadRecord("it does not decompress") from None
    if not inflater.eof or inflater.unused_data:
        raise BadRecord("it does not decompress to its end")
    return content


_COMPRESS: Final[dict[int, Callable[[bytes], bytes]]] = {ZLIB: _zlib}
_DECOMPRESS: Final[dict[int, Callable[[memoryview, int], bytes]]] = {ZLIB: _unzlib}
try:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
except ImportError:  # the extra is not installed
    pass
else:
    _LARGEST_WINDOW: Final = 23  # 8 MiB: what a decoder is to support (RFC 8878 section 3.1.1.1.2)

    def _zstd(content: bytes) -> bytes:
        return zstd.compress(content, _LEVEL)

    def _unzstd(packed: memoryview, length: int) -> bytes:
        inflater = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW})
        try:
            content = inflater.decompress(packed, length + 1)
        except zstd.ZstdError:
            raise BadRecord("it does not decompress") from None
        if not inflater.eof or inflater.unused_data:
            raise BadRecord("it does not decompress to its end")
        return content

    _COMPRESS[ZSTD] = _zstd
    _DECOMPRESS[ZSTD] = _unzstd
BEST: Final = max(_COMPRESS)
"""The packing that records are written with where nothing else is said."""
