"""Which answers are compressed for whom, and what their heads then say."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from balancer.compression.accept_encoding import choice
from balancer.compression.entity_tags import answering, coded, original
from balancer.compression.packages import AVAILABLE
from balancer.http1.fields import Field, parse_line
from balancer.http1.head import NO_LENGTH, RequestFields, RequestHead, ResponseHead
from balancer.http1.octets import TILDE
from config.cache import Compress

EVENTS: Final = b"text/event-stream"
REMEMBERED: Final = 256
"""Values of Accept-Encoding, and of Content-Type, that are read once. There are a handful in use."""
LONGEST: Final = 256
"""Bytes of such a value; longer ones are read each time."""
DESCRIBING: Final = frozenset((b"content-md5", b"content-digest", b"repr-digest", b"digest"))
"""What is said of the bytes of a body, and of others it is not true (RFC 9530)."""
_GONE: Final = DESCRIBING | {b"content-length", b"etag", b"accept-ranges"}
_NEVER: Final = frozenset((204, 205, 206, 304, 416))  # without a body, or about a part of it
_NO_TRANSFORM: Final = re.compile(rb"(?i)(?:\A|[\t ,])no-transform(?=[\t ,]|\Z)")
_ACCEPT_ENCODING: Final = re.compile(rb"(?i)(?:\A|[\t ,])(?:accept-encoding|\*)(?=[\t ,]|\Z)")
_VARY: Final = parse_line(b"Vary: Accept-Encoding")
_NO_RANGES: Final = parse_line(b"Accept-Ranges: none")


class Prepared(NamedTuple):
    """An answer as the client is to get it."""

    response: ResponseHead
    coding: bytes | None
    """What its body must be compressed with."""
    events: bool = False
    """It is a stream of events, which stays open."""


class Compression:
    """The compiled `compress` of a route."""

    __slots__ = ("_choices", "_least", "_offered", "_suiting", "_types")

    def __init__(self, settings: Compress) -> None:
        offered = tuple(coding.encode("ascii") for coding in settings.codings)
        self._offered = tuple(coding for coding in dict.fromkeys(offered) if coding in AVAILABLE)
        self._least = max(settings.min_size, 1)
        patterns = [b".*".join(map(re.escape, kind.lower().encode("ascii").split(b"*"))) for kind in settings.types]
        self._types = re.compile(b"|".join(patterns) if patterns else rb"(?!)")
        self._choices: dict[bytes, bytes | None] = {}
        self._suiting: dict[bytes, bool] = {}

    def choose(self, accept_encoding: bytes | None) -> bytes | None:
        """The coding for a client that sent this; None: as it is."""
        if accept_encoding is None:
            return None
        try:
            return self._choices[accept_encoding]
        except KeyError:
            coding = choice(accept_encoding, self._offered)
            if len(accept_encoding) <= LONGEST:
                if len(self._choices) >= REMEMBERED:
                    self._choices.clear()
                self._choices[accept_encoding] = coding
            return coding

    def takes(self, request: RequestHead) -> bytes | None:
        """The coding for the answer to this request; None: as it is.

        An answer to a request for a range is left alone, whether or not the server makes use of the range; so is what
        the client does not want transformed (RFC 9111 section 5.2.1.6). Clients of HTTP/1.0 would have to be sent a
        body that only the connection's end ends, and hardly any of them read codings.
        """
        coding = self.choose(request.value(b"accept-encoding"))
        if coding is None or request.minor == 0 or request.value(b"range") is not None:
            return None
        control = request.value(b"cache-control")
        return None if control is not None and _NO_TRANSFORM.search(control) else coding

    def suits(self, response: ResponseHead, length: int) -> bool:
        """Whether an answer with a body of `length` bytes, negative if unknown, is one to compress."""
        status = response.status
        if status < 200 or status in _NEVER or 0 <= length < self._least:
            return False
        return self._is_plain(response)

    def _is_plain(self, response: ResponseHead) -> bool:
        """Whether it is of a type to compress, not compressed, and may be."""
        kind: bytes | None = None
        for field in response.fields:
            name = field[0]
            if name == b"content-type":
                if kind is not None:
                    return False  # two of them: nobody knows which one holds
                kind = field[1]
            elif name == b"content-encoding" or (name == b"cache-control" and _NO_TRANSFORM.search(field[1])):
                return False
        return kind is not None and self._fits(kind)

    def _fits(self, kind: bytes) -> bool:
        try:
            return self._suiting[kind]
        except KeyError:
            fits = self._types.fullmatch(media_type(kind)) is not None
            if len(kind) <= LONGEST:
                if len(self._suiting) >= REMEMBERED:
                    self._suiting.clear()
                self._suiting[kind] = fits
            return fits

    def prepared(self, request: RequestHead, response: ResponseHead, length: int) -> Prepared:
        """An answer that has come from a server or a store, with what this client is to be told of it.

        `length` is the body's, as `framing.response_length` gives it. The answer to a HEAD gets the head that a GET
        would have had.
        """
        status = response.status
        if status == 304:
            return Prepared(self.confirmed(request, response), None)
        if status == 206:
            # It must say what a 200 would have said of who gets what (RFC 9110 section 15.3.7).
            return Prepared(varying(response) if self._is_plain(response) else response, None)
        if request.method == b"HEAD":
            length = response.length  # NO_LENGTH is negative
        if not self.suits(response, length):
            return Prepared(response, None)
        coding = self.takes(request)
        if coding is None:
            return Prepared(varying(response), None)
        events = media_type(response.value(b"content-type") or b"") == EVENTS
        return Prepared(self.edited(response, coding), coding, events)

    def edited(self, response: ResponseHead, coding: bytes | None) -> ResponseHead:
        """The head of an answer that suits, sent in this coding; None: as it is, which other clients may not get."""
        if coding is None:
            return varying(response)
        fields: list[Field] = []
        ranges = False
        for field in response.fields:
            name = field[0]
            if name not in _GONE:
                fields.append(field)
            elif name == b"etag":
                tag = field[1]
                fields.append(_line(field, coded(tag, coding)) if tag[:1] == b'"' else field)
            elif name == b"accept-ranges":
                ranges = True
        fields.append(_made(b"Content-Encoding: " + coding))
        if ranges:
            fields.append(_NO_RANGES)
        return varying(_with_fields(response, fields, NO_LENGTH))

    def restored(self, request: RequestHead) -> RequestHead:
        """The request with the entity tags that the server, or the store, knows: see `entity_tags`."""
        fields = request.common.fields
        for field in fields:
            if field[0] in _CONDITIONS and TILDE in field[1] and original(field[1]) != field[1]:
                return _asking(request)
        return request

    def confirmed(self, request: RequestHead, response: ResponseHead) -> ResponseHead:
        """A 304 for a client whose conditions were `restored`; `request` is as it came."""
        condition = request.value(b"if-none-match")
        tag = response.value(b"etag")
        if condition is None or tag is None:
            return response
        told = answering(condition, tag, self.takes(request))
        if told == tag:
            return response
        fields = [_line(field, told) if field[0] == b"etag" else field for field in response.fields]
        return varying(_with_fields(response, fields, NO_LENGTH))


_CONDITIONS: Final = frozenset((b"if-match", b"if-none-match"))


def media_type(value: bytes) -> bytes:
    """A Content-Type without its parameters, in lower case."""
    return value.partition(b";")[0].strip(b"\t ").lower()


def varying(response: ResponseHead) -> ResponseHead:
    """The same with `Vary: Accept-Encoding`, unless it says so already."""
    for field in response.fields:
        if field[0] == b"vary" and _ACCEPT_ENCODING.search(field[1]):
            return response
    return _with_fields(response, [*response.fields, _VARY], response.length)


def _with_fields(response: ResponseHead, fields: list[Field], length: int) -> ResponseHead:
    special = [field for field in fields if field[3]]
    changed = ResponseHead(response.status, response.line, response.minor, fields, special)
    changed.length = length
    changed.chunked = response.chunked
    changed.persistent = response.persistent
    changed.upgrade = response.upgrade
    changed.names = response.names
    return changed


_lines: dict[bytes, Field] = {}


def _made(line: bytes) -> Field:
    """One of the few lines that are written here."""
    field = _lines.get(line)
    if field is None:
        field = _lines[line] = parse_line(line)
    return field


def _line(field: Field, value: bytes) -> Field:
    return parse_line(b"%b: %b" % (field[4].partition(b":")[0], value))


def _asking(request: RequestHead) -> RequestHead:
    """A copy whose conditions name the server's tags, with nothing remembered of how it was sent on."""
    old = request.common
    fields = [_line(f, original(f[1])) if f[0] in _CONDITIONS else f for f in old.fields]
    new = RequestFields(old.block, old.minor, fields, old.special)
    for name in RequestFields.__slots__:
        if name not in _OWN:
            setattr(new, name, getattr(old, name))
    copy = RequestHead(request.method, request.target, request.minor, new)
    copy.host = request.host
    return copy


_OWN: Final = frozenset(("block", "minor", "fields", "special", "encoded", "asks"))
