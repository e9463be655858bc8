"""What a request's own fields ask of a cache."""

from __future__ import annotations

from typing import Final

from balancer.cache.dates import parse_date
from balancer.cache.directives import NO_WISHES, of_request
from balancer.cache.entry import Selecting
from balancer.http1.fields import nominated
from balancer.http1.head import RequestFields

PASSING: Final = frozenset(
    (b"if-match", b"if-unmodified-since", b"x-http-method-override", b"x-http-method", b"x-method-override")
)
"""With a precondition only a server can judge the request (RFC 9111 section 4.3.2). With another method in a field, a
GET may be answered as if it were none."""
NAMES: Final = PASSING | frozenset(
    b"""
    cache-control pragma if-none-match if-modified-since range if-range authorization accept-encoding balancer-debug
    """.split()
)
NOTHING: Final[frozenset[bytes]] = frozenset()


class Asks:
    """One request's wishes. `plain`: it has none; `passes`: no cache can answer it."""

    __slots__ = (
        "accept_encoding",
        "authorization",
        "if_modified_since",
        "if_none_match",
        "if_range",
        "passes",
        "plain",
        "range",
        "says",
        "selected",
        "wants_key",
        "wishes",
    )

    def __init__(self) -> None:
        self.plain = True
        self.passes = False
        self.wishes = NO_WISHES
        self.if_none_match: bytes | None = None
        self.if_modified_since: int | None = None
        self.range: bytes | None = None
        self.if_range: bytes | None = None
        self.authorization = False
        self.accept_encoding: bytes | None = None
        self.wants_key = False  # Balancer-Debug: key
        # Owner: variants.
        self.says: dict[bytes, bytes | None] | None = None  # values that answers varied by
        self.selected: dict[bytes, Selecting] | None = None  # all of them, by the Vary that named them


def asks_of(common: RequestFields) -> Asks:
    """Read once for all requests with the same fields."""
    asks = Asks()
    if common.authenticated:  # by whatever: what RFC 9111 section 3.5 says of Authorization holds for a cookie as well
        asks.authorization = True
        asks.plain = False
    if common.upgrade:
        asks.passes = True
        asks.plain = False
    dropped = nominated(common.names) if common.names else NOTHING
    if dropped and any(field[0] in dropped and not field[3] for field in common.fields):
        asks.passes = True  # no server is sent that, so that its answer is not the one which the rest would select
        asks.plain = False
    told: dict[bytes, bytes] = {}
    names = NAMES
    for field in common.fields:
        name = field[5]
        if name in names:
            if name == field[0]:
                told[name] = b"%b, %b" % (told[name], field[1]) if name in told else field[1]
            elif name in PASSING:  # for some servers it is the one that it looks like
                told[name] = field[1]
    if not told:
        return asks
    asks.accept_encoding = told.pop(b"accept-encoding", None)
    if not told:
        return asks
    asks.plain = False
    asks.passes = asks.passes or not PASSING.isdisjoint(told)
    if b"cache-control" in told or b"pragma" in told:
        asks.wishes = of_request(told.get(b"cache-control"), told.get(b"pragma", b""))
    asks.if_none_match = told.get(b"if-none-match")
    if asks.if_none_match is None and b"if-modified-since" in told:  # RFC 9110 section 13.1.3
        asks.if_modified_since = parse_date(told[b"if-modified-since"])
    asks.range = told.get(b"range")
    asks.if_range = told.get(b"if-range")
    asks.authorization = asks.authorization or b"authorization" in told
    asks.wants_key = told.get(b"balancer-debug") == b"key"
    return asks
