"""How long a body is: RFC 9112 section 6.3 as numbered steps, and the incremental reader of chunked bodies."""

from __future__ import annotations

import re
from typing import Final

from balancer.http1.fields import Field, NoField, may_trail, parse_line
from balancer.http1.head import NO_LENGTH, ResponseHead

UNTIL_CLOSE: Final = -2
CHUNKED: Final = -3

LONGEST_SIZE_LINE: Final = 256  # fifteen digits, and extensions nobody uses in earnest
MOST_EXTENSIONS: Final = 16 * 1024  # bytes of them in one body: they are read and dropped, which must have an end
LONGEST_TRAILERS: Final = 8 * 1024
MOST_TRAILERS: Final = 32
# The grammar allows blanks before the semicolon as a bad habit of old (RFC 9112 section 7.1.1). Nobody has it, and
# parsers differ in what they take "5 " or "5 x" for, so there are none here.
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_SIZE_BEGINNING: Final = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?|")

LAST_CHUNK: Final = b"0\r\n\r\n"


def response_length(method: bytes, response: ResponseHead) -> int:
    """Bytes of a response's body, or UNTIL_CLOSE or CHUNKED."""
    # 1. These never have a body, whatever they declare.
    if method == b"HEAD" or response.status in (204, 304) or response.status < 200:
        return 0
    # 2. CONNECT does not get here: it is refused.
    # 3. and 4. Transfer-Encoding; together with Content-Length it was refused while parsing.
    if response.chunked:
        return CHUNKED
    # 5. and 6. Content-Length.
    if response.length != NO_LENGTH:
        return response.length
    # 8. Otherwise the body goes on until the connection closes.
    return UNTIL_CLOSE


class BadChunk(ValueError):
    """A chunked body broke its framing; nothing after it can be understood."""


class CountedReader:
    """Takes a body of known length as it arrives; the same interface as `ChunkedReader`."""

    __slots__ = ("_left", "done", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = False
        self.rest = b""
        self.trailers: list[Field] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and give those that belong to the body."""
        left = self._left - len(data)
        self._left = left
        if left > 0:
            return [data]
        self.done = True
        if left < 0:
            data, self.rest = data[:left], data[left:]
        return [data]


class ChunkedReader:
    """Takes a chunked body apart as it arrives (RFC 9112 section 7.1).

    Feed it until `done`; what belongs to the next message is left in `rest`. Extensions are dropped, and so are trailer
    fields that must not be trailers (`fields.may_trail`).
    """

    __slots__ = ("_buffer", "_extensions", "_left", "_lines", "_state", "_trailer_bytes", "done", "rest", "trailers")

    def __init__(self) -> None:
        self._buffer = b""  # an incomplete line, bounded by the longest one allowed
        self._left = 0  # bytes of the current chunk still to come
        self._state = ChunkedReader._size  # a plain function: a bound method would make a cycle
        self._extensions = 0  # bytes
        self._lines = 0  # of trailers, those that are dropped too
        self._trailer_bytes = 0
        self.done = False
        self.rest = b""
        self.trailers: list[Field] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and give the pieces of body in them; raises BadChunk."""
        pieces: list[bytes] = []
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        position = 0
        while position >= 0 and not self.done:
            position = self._state(self, data, position, pieces)
        return pieces

    def _size(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        end = data.find(b"\r\n", at, at + LONGEST_SIZE_LINE)
        if end < 0:
            if _SIZE_BEGINNING.fullmatch(data, at) is None:
                raise BadChunk("a chunk's size must be hexadecimal digits")
            return self._wait(data, at, LONGEST_SIZE_LINE)
        match = _SIZE_LINE.fullmatch(data, at, end)
        if match is None:
            raise BadChunk("a chunk's size must be hexadecimal digits")
        if match.end(1) != end:
            self._extensions += end - match.end(1)
            if self._extensions > MOST_EXTENSIONS:
                raise BadChunk(f"there are more than {MOST_EXTENSIONS} bytes of chunk extensions")
        self._left = int(match[1], 16)
        self._state = ChunkedReader._data if self._left else ChunkedReader._trailer
        return end + 2

    def _data(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        available = len(data) - at
        if available <= 0:
            return -1
        if available < self._left:
            self._left -= available
            pieces.append(data[at:] if at else data)
            return -1
        end = at + self._left
        pieces.append(data[at:end])
        self._left = 0
        self._state = ChunkedReader._data_end
        return end

    def _data_end(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        if data[at : at + 2] == b"\r\n":
            self._state = ChunkedReader._size
            return at + 2
        if b"\r\n".startswith(data[at : at + 2]):
            return self._wait(data, at, 2)
        raise BadChunk("a chunk must end with CRLF after as many bytes as it announced")

    def _trailer(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        room = LONGEST_TRAILERS - self._trailer_bytes
        end = data.find(b"\r\n", at, at + room)
        if end < 0:
            return self._wait(data, at, room)
        if end == at:
            self.done = True
            self.rest = data[at + 2 :]
            return -1
        self._trailer_bytes += end + 2 - at
        try:
            field = parse_line(data[at:end])
        except NoField:
            raise BadChunk("a trailer is not a field line") from None
        self._lines += 1
        if self._lines > MOST_TRAILERS:
            raise BadChunk(f"there are more than {MOST_TRAILERS} trailers")
        if may_trail(field):
            self.trailers.append(field)
        return end + 2

    def _wait(self, data: bytes, at: int, longest: int) -> int:
        """Keep an incomplete line for the next call."""
        self._buffer = data[at:]
        if len(self._buffer) >= longest:
            raise BadChunk(f"a line of the chunked framing is longer than {longest} bytes")
        if b"\n" in self._buffer:
            raise BadChunk("a line of the chunked framing must end with CRLF")
        return -1


def chunk(pieces: list[bytes]) -> bytes:
    """One chunk that holds all pieces; none for no bytes, since an empty chunk would end the body."""
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


def last_chunk(trailers: list[Field]) -> bytes:
    """The end of a chunked body."""
    return b"0\r\n%b\r\n" % b"".join([field.line for field in trailers]) if trailers else LAST_CHUNK
