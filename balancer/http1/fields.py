"""Field lines: a strict grammar, and a bounded memory of the lines seen before.

Browsers and servers send the same lines over and over. A line that was parsed once is found again by its bytes,
which costs a dictionary look-up instead of a match; what is kept is a pure function of the line, so a hit cannot
differ from a parse (tests/http1 holds both against each other). Lines that carry secrets are never kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

# Kinds of fields. PLAIN ones travel end to end untouched; every other kind means something to a proxy.
PLAIN: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
HOP: Final = 5  # of this hop only: dropped without a look (RFC 9110 section 7.6.1)
UPGRADE: Final = 6
TE: Final = 7
EXPECT: Final = 8
FORWARDED_FOR: Final = 9
FORWARDED_PROTO: Final = 10
FORWARDED_HOST: Final = 11
FORWARDED: Final = 12
VIA: Final = 13
REQUEST_ID: Final = 14
TRACEPARENT: Final = 15
TRACESTATE: Final = 16
DATE: Final = 17
SERVER: Final = 18
TRAILER: Final = 19
FORWARDED_OTHER: Final = 20  # more that only proxies may say of a client

KINDS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy": HOP,  # CGI makes HTTP_PROXY of it, which programs take for their own setting (CVE-2016-5385)
    b"te": TE,
    b"http2-settings": HOP,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-host": FORWARDED_HOST,
    b"forwarded": FORWARDED,
    b"via": VIA,
    b"x-request-id": REQUEST_ID,
    b"traceparent": TRACEPARENT,
    b"tracestate": TRACESTATE,
    b"date": DATE,
    b"server": SERVER,
    b"trailer": TRAILER,
    b"x-real-ip": FORWARDED_OTHER,
    b"x-original-url": FORWARDED_OTHER,
    b"x-rewrite-url": FORWARDED_OTHER,
    b"x-client-ip": FORWARDED_OTHER,
    b"x-cluster-client-ip": FORWARDED_OTHER,
    b"true-client-ip": FORWARDED_OTHER,
    b"x-host": FORWARDED_OTHER,
    b"x-original-host": FORWARDED_OTHER,
    b"x-original-method": FORWARDED_OTHER,
    b"x-http-host-override": FORWARDED_OTHER,
    b"x-url-scheme": FORWARDED_OTHER,
    b"front-end-https": FORWARDED_OTHER,
    b"x-forwarded": FORWARDED_OTHER,
    b"x-forward-host": FORWARDED_OTHER,
    b"forwarded-host": FORWARDED_OTHER,
    b"x-original-uri": FORWARDED_OTHER,
    b"x-scheme": FORWARDED_OTHER,
    b"x-script-name": FORWARDED_OTHER,
    b"script-name": FORWARDED_OTHER,  # as SCRIPT_NAME gunicorn takes the first part of a path off by it
    b"path-info": FORWARDED_OTHER,
}

KEPT: Final = frozenset(
    b"""
    age allow authorization cache-control cdn-cache-control content-encoding content-language content-length
    content-location content-range content-security-policy content-type cookie date etag expect expires forwarded
    host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards
    origin pragma proxy-authenticate proxy-authorization range referer retry-after set-cookie
    strict-transport-security te trailer transfer-encoding upgrade vary via www-authenticate x-api-key x-real-ip
    x-request-id
    """.split()
)
"""Names that `Connection` cannot have removed: whoever may strip what frames, addresses, authenticates or describes a
message can talk around whatever relies on it. None of them is ever meant for one connection only (RFC 9110 section
7.6.1); those that are about one are handled by themselves."""
_GROUPS: Final = (b"x-forwarded-", b"sec-", b"access-control-")
_KEPT_GROUPS: Final = (*_GROUPS, b"cf-", b"x-amz-", b"x-client-")

NO_TRAILERS: Final = KEPT | frozenset(
    b"""
    accept accept-charset accept-encoding accept-language accept-ranges cache-status clear-site-data refresh
    content-disposition surrogate-control surrogate-key user-agent warning x-http-method-override x-content-type-options
    x-frame-options
    """.split()
)
"""Fields that may not come after a body, where they would be read too late or by nobody: framing, routing, request
modifiers, authentication, what describes the content and what steers the answer (RFC 9110 section 6.5.1)."""


def nominated(names: Iterable[bytes]) -> frozenset[bytes]:
    """Which of the names in `Connection` are removed with it (RFC 9110 section 7.6.1)."""
    return frozenset(name for name in names if name not in KEPT and not name.startswith(_KEPT_GROUPS))


def may_trail(field: Field) -> bool:
    """Whether a field that came after a body is sent on there."""
    return field.kind == PLAIN and field.name not in NO_TRAILERS and not field.name.startswith(_GROUPS)


SECRET: Final = {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key"}
"""Names of fields that carry secrets; more by `keep_out`, as long as the process lives."""

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE: Final = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")

_UNUSUAL: Final = re.compile(rb"[^0-9a-z-]")

MEMORY_LINES: Final = 4096
MEMORY_LINE_LENGTH: Final = 384  # a browser's longest constant line, with room; 4096 of them stay under 4 MiB


class Field(NamedTuple):
    """One field line as parsed."""

    name: bytes
    """In lower case."""
    value: bytes
    """Without the white space around it."""
    wire: bytes
    """The line to send on as it is: empty for every kind but PLAIN."""
    kind: int
    line: bytes
    """The line with its CRLF, of whatever kind."""
    alike: bytes
    """The name that some servers cannot tell this one from, see `usual`; mostly the name itself."""


_memory: dict[bytes, Field] = {}
recall: Final = _memory.get
"""`recall(line)` is the field of a line seen before, or None."""


class NoField(ValueError):
    """A line that is no field line."""


def parse_line(line: bytes) -> Field:
    """Parse one line without its CRLF; raises NoField when it is no field line (RFC 9112 section 5).

    No white space is allowed before the colon, no line folding and no control character but the tab.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise NoField(line)
    name, value = match.groups()
    value = value.strip(b" \t")
    lower = name.lower()
    clean = b"%b: %b\r\n" % (name, value)
    kind = KINDS.get(lower, PLAIN)
    alike = lower
    if kind == PLAIN:
        if _UNUSUAL.search(lower):
            alike = usual(lower)
            if alike in KINDS or alike.startswith(b"x-forwarded-"):
                kind = HOP  # it would pass for one that means something
        elif lower.startswith(b"x-forwarded-"):
            kind = FORWARDED_OTHER
    # Half the cost of Field(...), which checks its arguments by name.
    return tuple.__new__(Field, (lower, value, b"" if kind else clean, kind, clean, alike))


def keep_out(names: Iterable[bytes]) -> None:
    """Remember no lines with these lower-cased names any more, and forget those there are: they carry secrets, too."""
    if not SECRET.issuperset(names):
        SECRET.update(names)
        _memory.clear()


def usual(name: bytes) -> bytes:
    """The lower-cased name that CGI and WSGI servers cannot tell this one from.

    They write `-` as `_`, and some of them everything but letters and digits, so that X_Forwarded_For and
    X.Forwarded.For pass for X-Forwarded-For.
    """
    return _UNUSUAL.sub(b"-", name)


def apart(fields: Iterable[Field]) -> bytes:
    """What several lines say, or oddly spelt ones, as no line by itself can say it: none begins with a tab."""
    return b"".join([b"\t%d %b:%b" % (len(field[1]), field[0], field[1]) for field in fields])


def learn(line: bytes) -> Field:
    """Parse one line and remember it when it is short and no secret; raises NoField."""
    field = parse_line(line)
    if len(line) <= MEMORY_LINE_LENGTH and field[0] not in SECRET:
        if len(_memory) >= MEMORY_LINES:
            _memory.clear()
        _memory[line] = field
    return field


def parse_fields(lines: list[bytes]) -> tuple[list[Field], list[Field]]:
    """The fields of these lines, and those among them that are not PLAIN; raises NoField."""
    fields = [recall(line) or learn(line) for line in lines]
    return fields, [field for field in fields if field[3]]
