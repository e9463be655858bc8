"""Validation: what a client has already, and whether what is stored is good still.

RFC 9110 section 13, RFC 9111 section 4.3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from balancer.cache.asks import Asks
from balancer.cache.dates import parse_date
from balancer.cache.entry import Entry
from balancer.cache.rules import Rule
from balancer.cache.storing import Refused, judge
from balancer.http1.fields import Field, parse_line
from balancer.http1.head import RequestHead, ResponseHead, value_of

MOST_VALIDATED: Final = 16
"""Stored answers of one URL that a server is asked about at once."""
_ETAG: Final = re.compile(rb'[\t ,]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[\t ]*(?=,|\Z)')
_KEPT: Final = frozenset(
    b"""
    content-encoding content-type content-range content-length content-md5 etag transfer-encoding
    """.split()
)
"""Fields that describe the body as it is stored: a 304 does not change them (RFC 9111 section 3.2)."""


def etags(value: bytes) -> list[bytes]:
    """The entity tags of a list; what is none ends it."""
    found, at = [], 0
    while (match := _ETAG.match(value, at)) is not None:
        found.append(match[1])
        at = match.end()
    return found


def weakly(etag: bytes) -> bytes:
    """For the weak comparison of RFC 9110 section 8.8.3.2."""
    return etag[2:] if etag[:2] == b"W/" else etag


def not_modified(asks: Asks, entry: Entry) -> bool:
    """Whether the client has just this (RFC 9110 sections 13.1.2, 13.1.3 and 13.2.2)."""
    wanted = asks.if_none_match
    if wanted is not None:
        if wanted.strip(b"\t ") == b"*":
            return True
        return entry.etag is not None and weakly(entry.etag) in map(weakly, etags(wanted))
    since = asks.if_modified_since
    if since is None:
        return False
    modified = entry.last_modified
    if modified is None:
        dated = value_of(list(entry.fields), b"date")
        modified = parse_date(dated) if dated else None
    return modified is not None and modified <= since


def validators(entries: Sequence[Entry]) -> list[Field]:
    """What to ask a server with, whether one of these is good still (RFC 9111 section 4.3.1)."""
    known = [entry.etag for entry in entries[:MOST_VALIDATED] if entry.etag is not None]
    fields = []
    if known:
        fields.append(parse_line(b"If-None-Match: " + b", ".join(dict.fromkeys(known))))
    if len(entries) == 1 and entries[0].last_modified is not None:
        stamp = value_of(list(entries[0].fields), b"last-modified") or b""
        fields.append(parse_line(b"If-Modified-Since: " + stamp))
    return fields


def selected(entries: Sequence[Entry], response: ResponseHead) -> Entry | None:
    """Which stored answer a 304 is about (RFC 9111 section 4.3.4)."""
    etag = response.value(b"etag")
    if etag is not None:
        if etag[:2] != b"W/":
            for entry in entries:
                if entry.etag == etag:
                    return entry
        same = [entry for entry in entries if entry.etag is not None and weakly(entry.etag) == weakly(etag)]
        return same[0] if same else None
    modified = response.value(b"last-modified")
    if modified is not None:
        stamp = parse_date(modified)
        for entry in entries:
            if entry.last_modified is not None and entry.last_modified == stamp:
                return entry
        return None
    return entries[0] if len(entries) == 1 else None


def freshened(
    entry: Entry,
    request: RequestHead,
    asks: Asks,
    response: ResponseHead,
    rule: Rule,
    *,
    asked: float,
    now: float,
    wall: float,
) -> Entry | Refused:
    """The entry as a 304 has made it: its fields, its lifetime, and for this request's variant, too."""
    new = {field.name for field in response.fields} - _KEPT
    fields = [field for field in entry.fields if field.name not in new]
    fields += [field for field in response.fields if field.name in new]
    special = [field for field in fields if field.kind]
    merged = ResponseHead(entry.status, entry.line, 1, fields, special)
    merged.names = response.names
    verdict = judge(request, asks, merged, rule, entry.key, entry.lane, asked=asked, now=now, wall=wall)
    if isinstance(verdict, Refused):
        return verdict
    verdict.body = entry.body
    verdict.encodings = entry.encodings
    verdict.hits = entry.hits
    return verdict
