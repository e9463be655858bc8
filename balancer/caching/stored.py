"""Stored answers as they are sent: the head, in full or of a part, with its age and with what the cache did."""

from __future__ import annotations

from typing import Final, NamedTuple

from balancer.cache.asks import Asks
from balancer.cache.conditions import not_modified
from balancer.cache.entry import Entry
from balancer.cache.ranges import UNSATISFIABLE, wanted
from balancer.http1.edits import Edits
from balancer.http1.fields import REQUEST_ID, SERVER

TOLD_BY_304: Final = frozenset(
    b"cache-control cdn-cache-control content-location date etag expires last-modified vary".split()
)
"""Stored fields that a 304 repeats (RFC 9110 section 15.4.5); Last-Modified, as it is the only validator of some."""
WITHOUT_CONTENT: Final = frozenset((204, 304))
SEPARATE: Final = 16 * 1024
"""Bytes of a body from which on it is not copied behind its head, but handed to the system after it."""
_PARTIAL: Final = b"HTTP/1.1 206 Partial Content\r\n"
_BEYOND: Final = b"HTTP/1.1 416 Range Not Satisfiable\r\n"
_UNCHANGED: Final = b"HTTP/1.1 304 Not Modified\r\n"
_OF_THE_BODY: Final = frozenset(
    (b"content-encoding", b"content-language", b"content-type", b"etag", b"last-modified", b"content-md5")
)


class _Encoded(NamedTuple):
    """The head of a stored answer, for one way of editing it."""

    edits: Edits
    head: bytes
    """From the status line on, without what differs from one answer to the next and without its end."""


class Answer(NamedTuple):
    """What is sent of a stored answer."""

    status: int
    head: bytes
    """Without the line that tells the length, and without its end."""
    body: bytes


def head_of(entry: Entry, edits: Edits) -> bytes:
    """The head for whom these edits are made, worked out once."""
    known = entry.encoded
    if not isinstance(known, _Encoded) or known[0] is not edits:
        known = entry.encoded = _Encoded(edits, entry.line + _lines(entry, edits, frozenset()))
    return known[1]


def _lines(entry: Entry, edits: Edits, only: frozenset[bytes], but: frozenset[bytes] = frozenset()) -> bytes:
    """Its fields, edited. `only` the ones that are named here, if any are; none of `but`."""
    gone = edits.response_drop
    lines = [
        field.line
        for field in entry.fields
        if field.name not in gone
        and (not only or field.name in only)
        and field.name not in but
        and field.kind != REQUEST_ID  # that of another request
        and (field.kind != SERVER or edits.pass_server)
    ]
    lines.append(edits.response_add)
    return b"".join(lines)


def unchanged(entry: Entry, edits: Edits) -> bytes:
    """The head of a 304: the client has it already."""
    return _UNCHANGED + _lines(entry, edits, TOLD_BY_304)


def answer(entry: Entry, edits: Edits, asks: Asks, *, part: bool = True) -> Answer:
    """What a request gets: all of it, a part of it (RFC 9110 section 14), or that it has it already (section 13).

    `part`: whether it may be a part, which only a GET may ask for.
    """
    if not asks.plain and entry.status == 200:
        if not_modified(asks, entry):
            return Answer(304, unchanged(entry, edits), b"")
        size = len(entry.body)
        found = wanted(asks, entry, size) if part else None
        if found is UNSATISFIABLE:
            head = b"%b%bContent-Range: bytes */%d\r\n" % (
                _BEYOND,
                _lines(entry, edits, frozenset(), _OF_THE_BODY),
                size,
            )
            return Answer(416, head, b"")
        if isinstance(found, tuple):
            first, last = found
            head = b"%b%bContent-Range: bytes %d-%d/%d\r\n" % (
                _PARTIAL,
                _lines(entry, edits, frozenset()),
                first,
                last,
                size,
            )
            return Answer(206, head, entry.body[first : last + 1])
    return Answer(entry.status, head_of(entry, edits), entry.body)


def connection_line(minor: int, persistent: bool) -> bytes:
    """What is said of the connection to a client of HTTP/1.`minor`."""
    if not persistent:
        return b"Connection: close\r\n"
    return b"" if minor else b"Connection: keep-alive\r\n"
