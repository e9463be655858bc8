"""Message heads: what one is, and everything that is refused because it is not one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Final

from balancer.http1.faults import ClientFault, UpstreamFault
from balancer.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    TOKEN,
    TRANSFER_ENCODING,
    UPGRADE,
    VIA,
    Field,
    NoField,
    parse_fields,
)

END: Final = b"\r\n\r\n"

_METHOD: Final = re.compile(TOKEN)
_KNOWN_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_TARGET: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#@]+)(/[^#]*|\?[^#]*)?")
# RFC 3986 section 3.2.2, without user information, and without "%" and ",", which no name has and some read otherwise.
_AUTHORITY: Final = re.compile(rb"(?P<host>[A-Za-z0-9._~!$&'()*+;=-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")  # 18 digits stay below 2**63
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")  # a CR that ends what has come may yet get its LF
_REQUEST_LINE: Final = re.compile(TOKEN + rb" [^\x00-\x20\x7f-\xff]+ HTTP/[0-9]\.[0-9]\r\n")
_ANSWERS: Final = b"HTTP/1."
_BEGINNING: Final = re.compile(TOKEN + rb"(?: |\Z)")

NO_LENGTH: Final = -1
ALLOW: Final = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
"""What a 405 has to say (RFC 9110 section 15.5.6); what else a site takes is its servers' affair."""


class RequestFields:
    """The fields of a request's head, as parsed and as they were understood.

    A client tends to repeat them to the byte: a page's images, an API's calls. So each connection remembers the last
    ones, by `block`, and neither parses nor encodes them again. A value, but for `encoded`: it belongs to one
    connection, since what is sent on says who the client is.

    `fields` are corrected once by that connection, where a client may not speak in all of them.
    `length` is the declared size of the body, `NO_LENGTH` without one; `chunked` excludes it. `names` are those that
    `Connection` nominates for removal.
    """

    __slots__ = (
        "asks",
        "authenticated",
        "block",
        "chunked",
        "encoded",
        "expects_continue",
        "fields",
        "has_body",
        "host",
        "length",
        "minor",
        "names",
        "persistent",
        "proof",
        "special",
        "substituted",
        "upgrade",
        "user_agent",
        "via",
    )

    def __init__(self, block: bytes, minor: int, fields: list[Field], special: list[Field]) -> None:
        self.block = block
        self.minor = minor
        self.fields = fields
        self.special = special
        self.host = b""
        self.length = NO_LENGTH
        self.chunked = False
        self.has_body = False
        self.persistent = minor == 1
        self.expects_continue = False
        self.upgrade = b""
        self.names: Sequence[bytes] = ()
        self.user_agent = b""
        self.via: tuple[bytes, ...] = ()  # names of the proxies it came through
        self.encoded: object = None  # owner: http1.outgoing
        self.asks: object = None  # owner: balancer.cache.asks
        self.authenticated = False  # a guard knows who it is from: to a cache it is as if it had Authorization
        self.proof: object = None  # owner: balancer.guards.auth
        self.substituted: object = None  # owner: http1.substitution

    def value(self, name: bytes) -> bytes | None:
        """See `value_of`."""
        return value_of(self.fields, name)


class RequestHead:
    """A request's head as parsed: what is not in here was not in the message.

    `target` is in origin form ("/path?query", or "*" of OPTIONS); `host` is what it is for, which an absolute target
    takes from there and not from the Host field.
    """

    __slots__ = ("common", "host", "method", "minor", "target")

    def __init__(self, method: bytes, target: bytes, minor: int, common: RequestFields) -> None:
        self.method = method
        self.target = target
        self.minor = minor  # HTTP/1.minor
        self.common = common
        self.host = common.host

    def value(self, name: bytes) -> bytes | None:
        """See `value_of`."""
        return value_of(self.common.fields, name)


class ResponseHead:
    """A response's head as parsed; see `RequestHead` for the shared names."""

    __slots__ = ("chunked", "fields", "length", "line", "minor", "names", "persistent", "special", "status", "upgrade")

    def __init__(self, status: int, line: bytes, minor: int, fields: list[Field], special: list[Field]) -> None:
        self.status = status
        self.line = line  # as it is sent on, with its CRLF
        self.minor = minor
        self.fields = fields
        self.special = special
        self.length = NO_LENGTH
        self.chunked = False
        self.persistent = minor == 1
        self.upgrade = b""
        self.names: Sequence[bytes] = ()

    def value(self, name: bytes) -> bytes | None:
        """See `value_of`."""
        return value_of(self.fields, name)


def parse_request(
    head: bytes, most_fields: int, longest_target: int, remembered: RequestFields | None = None
) -> RequestHead:
    """Parse a request's head, without the empty line that ends it; raises ClientFault for whatever is not one.

    `remembered` are the fields of an earlier request of the same connection: found again, they are used again.
    """
    line, _, block = head.partition(b"\r\n")
    parts = line.split(b" ")
    if (
        len(parts) != 3
        or (parts[0] not in _KNOWN_METHODS and _METHOD.fullmatch(parts[0]) is None)
        or _TARGET.fullmatch(parts[1]) is None
        or (parts[2] != b"HTTP/1.1" and _VERSION.fullmatch(parts[2]) is None)
    ):
        raise ClientFault(400, "the request line is not METHOD SP target SP HTTP/1.1")
    method, target, version = parts
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    else:
        raise ClientFault(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if method == b"CONNECT":  # whatever its target: no tunnel, and an answer to it would have no body
        raise ClientFault(405, "CONNECT is not offered here", ALLOW)
    if len(target) > longest_target:
        raise ClientFault(414, f"the request target is longer than {longest_target} bytes")
    if remembered is None or remembered.block != block or remembered.minor != minor:
        remembered = _parse_request_fields(block, minor, most_fields)
    request = RequestHead(method, target, minor, remembered)
    if target[:1] != b"/":
        _normalise_target(request)
    return request


def refuse_early(data: bytes, seen: int = 0) -> None:
    """Refuse the beginning of a head that no rest can make right; raises ClientFault.

    Who sends such bytes is not waited for: a line of another protocol, HTTP/0.9, lines that end in a bare LF. The
    first `seen` bytes have been here before: a head that drips must not be looked at anew with every byte.
    """
    if _BARE.search(data, max(seen - 1, 0)) is not None:
        raise ClientFault(400, "lines must end with CR LF")
    if data.find(b"\r\n", 0, seen) >= 0:
        return
    if b"\r\n" in data:
        if _REQUEST_LINE.match(data) is None:
            raise ClientFault(400, "the request line is not METHOD SP target SP HTTP/1.1")
    elif data[:1] == b"\x16":
        raise ClientFault(400, "this port speaks plain HTTP, and TLS was tried: use http://")
    elif _BEGINNING.match(data) is None:
        raise ClientFault(400, "a request begins with a method and a space")


def refuse_answer_early(data: bytes, seen: int = 0) -> None:
    """The same for the beginning of an answer; raises UpstreamFault."""
    if _BARE.search(data, max(seen - 1, 0)) is not None:
        raise UpstreamFault("its lines do not end with CR LF")
    if not (_ANSWERS[: len(data)] == data[: len(_ANSWERS)]):
        raise UpstreamFault("what it sent does not begin with HTTP/1.")


def _parse_request_fields(block: bytes, minor: int, most_fields: int) -> RequestFields:
    lines = block.split(b"\r\n") if block else []
    if len(lines) > most_fields:
        raise ClientFault(431, f"more than {most_fields} header fields")
    try:
        fields, special = parse_fields(lines)
    except NoField as wrong:
        raise ClientFault(400, f"header line {lines.index(wrong.args[0]) + 1} is not a field line") from None
    common = RequestFields(block, minor, fields, special)
    common.user_agent = value_of(fields, b"user-agent") or b""
    _interpret(common)
    return common


def _interpret(request: RequestFields) -> None:
    """Read the fields that decide framing and persistence, refusing what is ambiguous (RFC 9112 sections 3.2, 6.3)."""
    hosts = 0
    codings = 0
    expected = False
    for field in request.special:
        kind = field[3]
        if kind == HOST:
            hosts += 1
            request.host = field[1]
        elif kind == CONNECTION:
            _read_connection(request, field[1])
        elif kind == CONTENT_LENGTH:
            # Identical duplicates and lists could be collapsed (RFC 9112 section 6.3); refusing is simpler and safer.
            if request.length != NO_LENGTH or _DIGITS.fullmatch(field[1]) is None:
                raise ClientFault(400, "Content-Length must be one number")
            request.length = int(field[1])
        elif kind == TRANSFER_ENCODING:
            codings += 1
            if field[1].lower() != b"chunked":
                raise ClientFault(501, "the only transfer coding understood here is chunked")
            request.chunked = True
        elif kind == UPGRADE:
            request.upgrade = field[1] if not request.upgrade else request.upgrade + b", " + field[1]
        elif kind == VIA:
            request.via += via_names(field[1])
        elif kind == EXPECT:
            if field[1].lower() != b"100-continue" or expected:
                raise ClientFault(417, "the only expectation understood here is 100-continue")
            expected = True
            request.expects_continue = request.minor == 1
    if codings and (codings > 1 or request.length != NO_LENGTH or request.minor == 0):
        raise ClientFault(400, "Transfer-Encoding must come once, alone and with HTTP/1.1")
    if hosts != 1 and (hosts > 1 or request.minor == 1):
        raise ClientFault(400, "exactly one Host field is required")
    if request.host and not is_authority(request.host):
        raise ClientFault(400, "the Host field is not a host")
    if request.upgrade and (b"upgrade" not in request.names or request.minor == 0):
        request.upgrade = b""
    request.has_body = request.chunked or request.length > 0
    if request.has_body:
        request.upgrade = b""  # where the body ends and the other protocol begins would be anybody's guess


def is_authority(host: bytes) -> bool:
    """Whether this is a host with or without a port (RFC 3986 section 3.2), and not more than that."""
    match = _AUTHORITY.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    if host[:1] == b"[":
        try:
            IPv6Address(match["host"][1:-1].decode("ascii"))
        except ValueError:
            return False
    return True


def via_names(value: bytes) -> tuple[bytes, ...]:
    """Who the proxies say they are in a Via field, in lower case: the second word of each member."""
    return tuple(words[1].lower() for part in value.split(b",") if len(words := part.split()) > 1)


def _normalise_target(request: RequestHead) -> None:
    """Bring a target that does not begin with a slash into origin form, or refuse it (RFC 9112 section 3.2)."""
    if request.target == b"*":
        if request.method != b"OPTIONS":
            raise ClientFault(400, "the target * is for OPTIONS only")
        return
    match = _ABSOLUTE.fullmatch(request.target)
    if match is None or not is_authority(match[1]):
        raise ClientFault(400, "the request target must begin with a slash or be an http URL")
    # The absolute form overrides Host (RFC 9112 section 3.2.2).
    request.host = match[1]
    path = match[2]
    if path is None:
        # Of OPTIONS it is the server as a whole that is asked (RFC 9112 section 3.2.4).
        request.target = b"*" if request.method == b"OPTIONS" else b"/"
    else:
        request.target = path if path[:1] == b"/" else b"/" + path


def _read_connection(head: RequestFields | ResponseHead, value: bytes) -> None:
    lower = value.lower()
    if lower == b"keep-alive":  # what nearly every client says
        head.persistent = b"close" not in head.names
        return
    names = [name for part in lower.split(b",") if (name := part.strip(b" \t"))]
    head.names = (*head.names, *names)
    if b"close" in head.names:
        head.persistent = False
    elif b"keep-alive" in head.names:
        head.persistent = True


_status_memory: dict[bytes, tuple[int, int, bytes]] = {}


def parse_response(head: bytes, most_fields: int) -> ResponseHead:
    """Parse a response's head, without the empty line that ends it; raises UpstreamFault for whatever is not one."""
    lines = head.split(b"\r\n")
    first = lines.pop(0)
    known = _status_memory.get(first)
    if known is None:
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise UpstreamFault("the status line is not HTTP/1.1 SP status SP reason")
        known = int(match[2]), int(match[1]), b"HTTP/1.1 %b %b\r\n" % (match[2], match[3] or b"")
        if len(_status_memory) < 256 and len(first) < 64:
            _status_memory[first] = known
    if len(lines) > most_fields:
        raise UpstreamFault(f"more than {most_fields} header fields")
    try:
        fields, special = parse_fields(lines)
    except NoField as wrong:
        raise UpstreamFault(f"header line {lines.index(wrong.args[0]) + 1} is not a field line") from None
    response = ResponseHead(known[0], known[2], known[1], fields, special)
    codings = 0
    length: bytes | None = None
    for field in special:
        kind = field[3]
        if kind == CONTENT_LENGTH:
            # A second one that says the same is common among servers; "5" and "05" are not the same to everybody.
            if _DIGITS.fullmatch(field[1]) is None or (length is not None and field[1] != length):
                raise UpstreamFault("Content-Length must be one number")
            length = field[1]
            response.length = int(field[1])
        elif kind == CONNECTION:
            _read_connection(response, field[1])
        elif kind == TRANSFER_ENCODING:
            codings += 1
            if field[1].lower() != b"chunked":
                raise UpstreamFault("the only transfer coding understood here is chunked")
            response.chunked = True
        elif kind == UPGRADE:
            response.upgrade = field[1]
    if codings and (codings > 1 or response.length != NO_LENGTH or response.minor == 0):
        raise UpstreamFault("Transfer-Encoding must come once, alone and with HTTP/1.1")
    return response


def value_of(fields: list[Field], name: bytes) -> bytes | None:
    """The value of a field by lower-cased name; several lines are joined (RFC 9110 section 5.3); None without any."""
    values = [field[1] for field in fields if field[0] == name]
    if not values:
        return None
    return values[0] if len(values) == 1 else b", ".join(values)


def without(fields: list[Field], names: Sequence[bytes] | frozenset[bytes]) -> list[Field]:
    """The fields whose names are not among these lower-cased ones."""
    return [field for field in fields if field[0] not in names]


def without_alike(fields: list[Field], names: frozenset[bytes]) -> list[Field]:
    """The same, and without those that some servers cannot tell from the names."""
    return [field for field in fields if field[0] not in names and field[5] not in names]
