"""Vary: which stored answer of a URL a request selects (RFC 9111 section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from balancer.cache.entry import Entry, Selecting
from balancer.http1.fields import TOKEN, Field
from balancer.http1.head import RequestHead

MOST_VARY: Final = 16
"""Fields that one answer may vary by: each costs every request of its URL a look."""
_OURS: Final = frozenset((b"x-forwarded-for", b"forwarded"))
"""Fields in which servers are told the client's address: what a client itself says in them selects nothing."""
_NAME: Final = re.compile(TOKEN)
_BLANKS: Final = re.compile(rb"[\t ]*,[\t ]*")
_CASELESS: Final = frozenset((b"accept-encoding", b"accept-language", b"accept-charset", b"accept"))
"""Fields whose members are the same in any case, up to parameters that are quoted."""


def vary_names(fields: Sequence[Field]) -> tuple[bytes, ...] | None:
    """The names in an answer's Vary in lower case, each once and in order; None for what no request can match."""
    values = [field[1] for field in fields if field[0] == b"vary"]
    if not values:
        return ()
    return _names(values[0] if len(values) == 1 else b",".join(values))


@lru_cache(512)
def _names(value: bytes) -> tuple[bytes, ...] | None:
    names = {name for part in value.lower().split(b",") if (name := part.strip(b" \t"))}
    if b"*" in names or len(names) > MOST_VARY or not _OURS.isdisjoint(names) or not all(map(_NAME.fullmatch, names)):
        return None
    return tuple(sorted(names))


def normalised(name: bytes, value: bytes | None) -> bytes | None:
    """A value in the form in which values that mean the same are the same, as far as that is sure.

    White space around commas means nothing, nor do empty members of a list; upper and lower case mean nothing in what
    is accepted, unless something is quoted.
    """
    if value is None or (b"," not in value and name not in _CASELESS):
        return value
    if b'"' in value:
        return value
    value = _BLANKS.sub(b",", value.strip(b"\t "))
    if b",," in value or value[:1] == b"," or value[-1:] == b",":
        value = b",".join(part for part in value.split(b",") if part)
    return value.lower() if name in _CASELESS else value


def selecting(names: Iterable[bytes], request: RequestHead) -> Selecting:
    """What a request says in these fields."""
    return tuple((name, normalised(name, _value(name, request))) for name in names)


def matches(entry: Entry, request: RequestHead) -> bool:
    """Whether a request selects this answer."""
    return all(normalised(name, _value(name, request)) == value for name, value in entry.vary)


def _value(name: bytes, request: RequestHead) -> bytes | None:
    return request.host if name == b"host" else request.value(name)
