"""Stored answers as they are sent: the head, in full or of a part, with its age and with what the cache did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from balancer.cache.asks import Asks
from balancer.cache.conditions import not_modified
from balancer.cache.entry import Entry
from balancer.cache.ranges import wanted as wanted_part
from balancer.compression import Compression
from balancer.http1.edits import Edits
from balancer.http1.fields import SERVER, Field
from balancer.http1.head import RequestHead, ResponseHead

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


MOST_ENCODED: Final = 6
"""Heads that are kept of one entry: one for each coding, of each route that leads to it."""


class Encoded(NamedTuple):
    """The head of a stored answer for one way of editing it, and for clients that would have it in one coding."""

    edits: Edits
    wanted: bytes | None
    """The coding that such clients would rather have."""
    head: bytes
    """From the status line on, without what differs from one answer to the next and without its end."""
    coding: bytes | None
    """The coding they get, if a body in it is there."""
    plain: bytes
    """The head for the body as it is, where the one in a coding is not there."""


class Answer(NamedTuple):
    """What is sent of a stored answer."""

    status: int
    head: bytes
    """Without the line that tells the length, and without its end."""
    body: bytes


def encoded(
    entry: Entry, edits: Edits, compress: Compression | None, wanted: bytes | None, length: int | None = None
) -> Encoded:
    """The heads for whom these edits are made and who would have this coding, worked out once.

    `length` is that of the body where it is not there yet; negative: nobody knows it.
    """
    known = entry.encoded
    if isinstance(known, Encoded) and known[0] is edits and known[1] == wanted:  # mostly there is one
        return known
    others: tuple[Encoded, ...] = known if type(known) is tuple else (known,) if isinstance(known, Encoded) else ()
    for one in others:
        if one[0] is edits and one[1] == wanted:
            return one
    made = _encode(entry, edits, compress, wanted, len(entry.body) if length is None else length)
    entry.encoded = (made, *others[: MOST_ENCODED - 1]) if others else made
    return made


def _encode(entry: Entry, edits: Edits, compress: Compression | None, wanted: bytes | None, length: int) -> Encoded:
    fields = entry.fields
    secure = _is_secure(entry)
    if compress is None or entry.status in WITHOUT_CONTENT:
        head = entry.line + _edited(fields, edits, secure)
        return Encoded(edits, None, head, None, head)
    response = _response(entry.status, entry.line, fields)
    suits = compress.suits(response, length)
    plain = entry.line + _edited(compress.edited(response, None).fields if suits else fields, edits, secure)
    if wanted is None or not suits:
        return Encoded(edits, wanted, plain, None, plain)
    head = entry.line + _edited(compress.edited(response, wanted).fields, edits, secure)
    return Encoded(edits, wanted, head, wanted, plain)


def _response(status: int, line: bytes, fields: Iterable[Field]) -> ResponseHead:
    held = list(fields)
    return ResponseHead(status, line, 1, held, [field for field in held if field.kind])


def _edited(fields: Iterable[Field], edits: Edits, secure: bool | None = None) -> bytes:
    """The lines of these fields, as the operator wants them, and if `secure` is told, with those that make careful."""
    gone = edits.response_drop
    fields = list(fields)
    lines = [field.line for field in fields if field.name not in gone and (field.kind != SERVER or edits.pass_server)]
    lines.append(edits.response_add)
    if edits.tags is not None:
        lines.append(edits.tag_line(fields))
    if edits.careful is not None and secure is not None:
        lines.append(edits.careful.lines(fields, secure=secure))
    return b"".join(lines)


def _is_secure(entry: Entry) -> bool:
    """Whether it is stored for clients that came by https: its key begins so."""
    return entry.key.startswith(b"https:")


def unchanged(entry: Entry, edits: Edits, compress: Compression | None, request: RequestHead) -> bytes:
    """The head of a 304: the client has it already. `request` is as it came."""
    told = TOLD_BY_304 if edits.tags is None else TOLD_BY_304 | edits.tags.names
    fields: Iterable[Field] = [field for field in entry.fields if field.name in told]
    if compress is not None:
        fields = compress.confirmed(request, _response(304, _UNCHANGED, fields)).fields
    return _UNCHANGED + _edited(fields, edits)


def answer(entry: Entry, edits: Edits, compress: Compression | None, asks: Asks, request: RequestHead) -> Answer:
    """What a request gets: all of it, a part of it (RFC 9110 section 14), or that it has it already (section 13).

    A body in the client's coding only if that is there.
    """
    if not asks.plain and entry.status == 200:
        if not_modified(asks, entry):
            return Answer(304, unchanged(entry, edits, compress, request), b"")
        secure = _is_secure(entry)
        size = len(entry.body)
        found = wanted_part(asks, entry, size) if request.method == b"GET" else None
        if found is not None:
            fields: Iterable[Field] = entry.fields
            if compress is not None:
                # It must say what a 200 would have said of who gets what (RFC 9110 section 15.3.7).
                fields = compress.prepared(request, _response(206, _PARTIAL, fields), size).response.fields
            if isinstance(found, tuple):
                first, last = found
                lines = _edited(fields, edits, secure)
                head = b"%b%bContent-Range: bytes %d-%d/%d\r\n" % (_PARTIAL, lines, first, last, size)
                return Answer(206, head, entry.body[first : last + 1])
            lines = _edited([field for field in fields if field.name not in _OF_THE_BODY], edits, secure)
            return Answer(416, b"%b%bContent-Range: bytes */%d\r\n" % (_BEYOND, lines, size), b"")
    told = encoded(entry, edits, compress, compress.takes(request) if compress is not None else None)
    body = coded_body(entry, told.coding)
    if body is not None:
        return Answer(entry.status, told.head, body)
    return Answer(entry.status, told.plain, entry.body)


def coded_body(entry: Entry, coding: bytes | None) -> bytes | None:
    """The body in a coding, if it is there and worth it."""
    if coding is None or entry.encodings is None:
        return None
    return entry.encodings.get(coding) or None


def connection_line(minor: int, persistent: bool) -> bytes:
    """What is said of the connection to a client of HTTP/1.`minor`."""
    if not persistent:
        return b"Connection: close\r\n"
    return b"" if minor else b"Connection: keep-alive\r\n"
