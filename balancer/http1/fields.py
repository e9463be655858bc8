"""Field lines: a strict grammar, and a bounded memory of the lines seen before.

Browsers and servers send the same lines over and over. A line that was parsed once is found again by its bytes,
which costs a dictionary look-up instead of a match; what is kept is a pure function of the line, so a hit cannot
differ from a parse (tests/http1 holds both against each other). Lines that carry secrets are never kept.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# Kinds of fields. PLAIN ones travel end to end untouched; every other kind means something to a proxy.
PLAIN: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
HOP: Final = 5  # of this hop only: dropped without a look (RFC 9110 section 7.6.1)
UPGRADE: Final = 6
EXPECT: Final = 7
FORWARDED_FOR: Final = 8
FORWARDED_PROTO: Final = 9
FORWARDED_HOST: Final = 10
FORWARDED: Final = 11
VIA: Final = 12
REQUEST_ID: Final = 13
TRACEPARENT: Final = 14
TRACESTATE: Final = 15
DATE: Final = 16
SERVER: Final = 17
TRAILER: Final = 18
FORWARDED_OTHER: Final = 19  # more that only proxies may say of a client

KINDS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"te": HOP,
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
}

SECRET: Final = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key"))

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE: Final = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")

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
    if kind == PLAIN and (lower.startswith(b"x-forwarded") or b"_" in lower):
        kind = _unusual_kind(lower)
    # Half the cost of Field(...), which checks its arguments by name.
    return tuple.__new__(Field, (lower, value, b"" if kind else clean, kind, clean))


def _unusual_kind(name: bytes) -> int:
    """Further X-Forwarded fields; and names that CGI and WSGI servers cannot tell from ones that mean something.

    Such servers write both `-` and `_` as `_`, so that X_Forwarded_For would pass for X-Forwarded-For: it is dropped.
    """
    usual = name.replace(b"_", b"-")
    if usual in KINDS or usual.startswith(b"x-forwarded-"):
        return FORWARDED_OTHER if usual == name else HOP
    return PLAIN


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
