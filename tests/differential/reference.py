"""Decoders that are plain and slow: what the RFC says, on the whole message at once, in the order it says it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# RFC 9110 section 5.6.2; white space around a value, HTAB and obs-text in it: section 5.5.
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD = re.compile(rb"(%b):[ \t]*(.*?)[ \t]*" % TOKEN.encode(), re.DOTALL)
ALLOWED_IN_VALUES = frozenset((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))

LONGEST_SIZE_LINE = 256
MOST_EXTENSIONS = 16 * 1024
LONGEST_TRAILERS = 8 * 1024
MOST_TRAILERS = 32


class Broken(ValueError):
    """No continuation can make a message of this."""


class Incomplete(ValueError):
    """The message goes on."""


@dataclass
class Chunked:
    """A chunked body, taken apart."""

    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """All that came, those that must not be sent on too; names in lower case."""
    end: int = 0
    """Where the next message begins."""
    lines: bytes = b""
    """The trailers as they came."""
    plain: bytes = b""
    """The same body in chunks without extensions, and without trailers."""


def decode_chunked(data: bytes, at: int = 0, found: Chunked | None = None) -> Chunked:
    """RFC 9112 section 7.1, with our bounds; raises Broken or Incomplete, and has filled `found` as far as it came."""
    found = found if found is not None else Chunked()
    extensions = 0
    while True:
        try:
            line, at = _line(data, at, LONGEST_SIZE_LINE)
        except Incomplete:
            if data[at:]:
                _size(data[at:].removesuffix(b"\r"))  # what cannot become a size is not waited for
            raise
        digits, semicolon, extension = _size(line)
        extensions += len(semicolon + extension)
        if extensions > MOST_EXTENSIONS:
            raise Broken("too many extensions")
        size = int(digits, 16)
        if size == 0:
            break
        piece = data[at : at + size]
        found.body += piece
        if len(piece) < size:
            raise Incomplete
        at += size
        if not b"\r\n".startswith(data[at : at + 2]):
            raise Broken("no CRLF after a chunk")
        if len(data) < at + 2:
            raise Incomplete
        at += 2
        found.plain += b"%x\r\n%b\r\n" % (size, piece)
    start = at
    while True:
        line, at = _line(data, at, LONGEST_TRAILERS - (at - start))
        if not line:
            break
        match = FIELD.fullmatch(line)
        if match is None or not ALLOWED_IN_VALUES.issuperset(match[2]):
            raise Broken("trailer")
        found.trailers.append((match[1].lower(), match[2]))
        if len(found.trailers) > MOST_TRAILERS:
            raise Broken("too many trailers")
    found.end = at
    found.plain += b"0\r\n"
    found.lines = data[start : at - 2]
    return found


def _size(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Digits, semicolon and extension."""
    digits, semicolon, extension = line.partition(b";")
    if not 1 <= len(digits) <= 15 or any(c not in b"0123456789abcdefABCDEF" for c in digits):
        raise Broken("size")
    if not ALLOWED_IN_VALUES.issuperset(extension):
        raise Broken("extension")
    return digits, semicolon, extension


def _line(data: bytes, at: int, longest: int) -> tuple[bytes, int]:
    """The line that begins at `at`, and where the next one begins."""
    end = data.find(b"\r\n", at)
    if end < 0 or end + 2 - at > longest:
        if len(data) - at >= longest:
            raise Broken("line too long")
        if b"\n" in data[at:]:
            raise Broken("bare LF")
        raise Incomplete
    return data[at:end], end + 2


def end_of_request(data: bytes, at: int) -> int | None:
    """Where the request that begins at `at` ends, as a server sees it that believes what it reads; None: not yet."""
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    head = data[at : end + 2].lower()
    at = end + 4
    length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
    if length:
        return at + int(length[1]) if len(data) >= at + int(length[1]) else None
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        try:
            return decode_chunked(data, at).end
        except Incomplete:
            return None
    return at
