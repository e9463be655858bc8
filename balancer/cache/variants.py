"""Vary: which stored answer of a URL a request selects (RFC 9111 section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from balancer.cache.asks import Asks
from balancer.cache.directives import LONGEST_REMEMBERED
from balancer.cache.entry import Entry, Selecting
from balancer.http1.fields import TOKEN, apart, usual
from balancer.http1.head import RequestHead

MOST_VARY: Final = 16
"""Fields that one answer may vary by: each costs every request of its URL a look."""
MOST_REMEMBERED: Final = 64
"""Values that are remembered of one request's fields."""
_NAME: Final = re.compile(TOKEN)
_WRITTEN_HERE: Final = frozenset((b"x-forwarded-for", b"forwarded", b"x-request-id", b"traceparent", b"tracestate"))
"""Fields that each client's requests are given here: what a server was sent of them is not what the client sent, and
answers that differ by them are for one client, or for one request."""
_SINGLE: Final = frozenset(
    b"""
    authorization cookie date from host if-modified-since if-range if-unmodified-since origin proxy-authorization
    referer user-agent
    """.split()
)
"""Fields that are no lists: a comma is a part of what they say."""
_WEIGHTED: Final = frozenset((b"accept-encoding", b"accept-language", b"accept-charset", b"accept"))
"""Lists whose members may have parameters: white space around a semicolon means nothing."""
_CASELESS: Final = frozenset((b"accept-encoding", b"accept-language", b"accept-charset"))
"""Lists whose members are the same in any case (RFC 9110 sections 8.3.2, 8.4.1 and 8.5.1)."""
_COMMA: Final = re.compile(rb"[\t ]*,[\t ]*")
_COMMA_OR_SEMICOLON: Final = re.compile(rb"[\t ]*([,;])[\t ]*")


def names_of(value: bytes) -> tuple[bytes, ...] | None:
    """The names in lower case, each once and in order; None for what no request can be known to match."""
    return _names(value) if len(value) <= LONGEST_REMEMBERED else _names.__wrapped__(value)


def without(vary: bytes, name: bytes) -> bytes:
    """The same names but this one."""
    return b",".join([part for part in vary.split(b",") if part.strip(b" \t").lower() != name])


@lru_cache(512)
def _names(value: bytes) -> tuple[bytes, ...] | None:
    names = {name for part in value.lower().split(b",") if (name := part.strip(b" \t"))}
    if b"*" in names or len(names) > MOST_VARY or not all(map(_NAME.fullmatch, names)):
        return None
    if not _WRITTEN_HERE.isdisjoint(names):
        return None
    return tuple(sorted(names))


def normalised(name: bytes, value: bytes | None) -> bytes | None:
    """A value in the form in which values that mean the same are the same, as far as that is sure.

    White space around commas means nothing, nor do empty members of a list; upper and lower case mean nothing in
    codings, charsets and languages. Where something is quoted nothing is touched.
    """
    if value is None or name in _SINGLE or b'"' in value:
        return value
    if name in _WEIGHTED:
        value = _COMMA_OR_SEMICOLON.sub(rb"\1", value.strip(b"\t "))
        if name in _CASELESS:
            value = value.lower()
    elif b"," in value:
        value = _COMMA.sub(b",", value.strip(b"\t "))
    else:
        return value
    if b",," in value or value[:1] == b"," or value[-1:] == b",":
        value = b",".join([part for part in value.split(b",") if part])
    return value


def selection(vary: bytes, request: RequestHead) -> Selecting | None:
    """What a request says in the fields that a Vary names; None where no request can be known to match."""
    asks = request.common.asks
    known: dict[bytes, Selecting] | None = None
    if isinstance(asks, Asks):
        known = asks.selected
        if known is None:
            known = asks.selected = {}
        elif vary in known:
            return known[vary]
    names = names_of(vary)
    if names is None:
        return None
    selected = selecting(names, request)
    if known is not None and len(vary) <= LONGEST_REMEMBERED and b"host" not in names:
        if len(known) >= MOST_REMEMBERED:
            known.clear()
        known[vary] = selected
    return selected


def selecting(names: Iterable[bytes], request: RequestHead) -> Selecting:
    """What a request says in these fields."""
    return tuple([(name, _value(name, request)) for name in names])


def matches(entry: Entry, request: RequestHead) -> bool:
    """Whether a request selects this answer."""
    for name, value in entry.vary:  # noqa: SIM110  # a generator would cost more than what it goes through
        if _value(name, request) != value:
            return False
    return True


def _value(name: bytes, request: RequestHead) -> bytes | None:
    """What a request says in a field, normalised; remembered where what it asks is, as it comes again with that."""
    if name == b"host":
        return request.host
    asks = request.common.asks
    if not isinstance(asks, Asks):
        return _read(name, request)
    known = asks.says
    if known is None:
        known = asks.says = {}
    elif name in known:
        return known[name]
    elif len(known) >= MOST_REMEMBERED:
        known.clear()
    value = known[name] = _read(name, request)
    return value


def _read(name: bytes, request: RequestHead) -> bytes | None:
    """Fields that some servers cannot tell from this one count, too: their answers may vary by those.

    Others can, and of two lines of what is no list they take one: what such lines say is not what a plain line says.
    """
    known = usual(name)
    found = [field for field in request.common.fields if field[5] == known]
    if not found:
        return None
    if len(found) == 1 and found[0][0] == name:
        return normalised(name, found[0][1])
    if name in _SINGLE or any(field[0] != name for field in found):
        return apart(found)
    return normalised(name, b", ".join([field[1] for field in found]))
