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
from balancer.cache.storing import Refused, entry_for, made_at
from balancer.http1.fields import Field, nominated, parse_line
from balancer.http1.head import RequestHead, ResponseHead

MOST_VALIDATED: Final = 16
"""Stored answers of one URL that a server is asked about at once."""
_ETAG: Final = re.compile(rb'[\t ,]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[\t ]*(?=,|\Z)')
_KEPT: Final = frozenset(
    b"content-digest content-encoding content-length content-md5 content-range content-type etag repr-digest".split()
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
    """Whether the client has just this (RFC 9110 sections 13.1.2, 13.1.3 and 13.2.2, RFC 9111 section 4.3.2).

    Conditions are for what would be a success without them (RFC 9110 section 13.2.1).
    """
    if not 200 <= entry.status < 300:
        return False
    wanted = asks.if_none_match
    if wanted is not None:
        etag = entry.etag
        if etag is not None and wanted == etag:
            return True
        if wanted.strip(b"\t ") == b"*":
            return True
        return etag is not None and weakly(etag) in map(weakly, etags(wanted))
    since = asks.if_modified_since
    if since is None:
        return False
    modified = entry.last_modified
    if modified is None:
        modified = made_at(entry.fields)
    return modified is not None and modified <= since


def validators(entries: Sequence[Entry]) -> list[Field]:
    """What to ask a server with, whether one of these is good still (RFC 9111 section 4.3.1)."""
    known = [entry.etag for entry in entries[:MOST_VALIDATED] if entry.etag is not None]
    fields = []
    if known:
        fields.append(parse_line(b"If-None-Match: " + b", ".join(dict.fromkeys(known))))
    if len(entries) == 1 and entries[0].last_modified is not None:
        # As it came: servers compare it as text. One that came twice has not been understood.
        stamps = [field.value for field in entries[0].fields if field.name == b"last-modified"]
        if stamps:
            fields.append(parse_line(b"If-Modified-Since: " + stamps[0]))
    return fields


def selected(entries: Sequence[Entry], response: ResponseHead) -> Entry | None:
    """Which stored answer a 304 is about (RFC 9111 section 4.3.4); None: about something else.

    A strong ETag means the one that has the same. A weak one, or Last-Modified, means the youngest that has it. Without
    any, a 304 is believed when just one was asked about: many servers leave out what they should send (RFC 9110
    section 15.4.5).
    """
    etag = response.value(b"etag")
    if etag is not None:
        if etag[:2] != b"W/":
            same = [entry for entry in entries if entry.etag == etag]
        else:
            same = [entry for entry in entries if entry.etag is not None and weakly(entry.etag) == weakly(etag)]
        if same:
            return _youngest(same)
        if len(entries) != 1 or entries[0].etag is not None:
            return None  # else it was asked about by its date, and has been given an ETag since
    modified = response.value(b"last-modified")
    if modified is not None:
        stamp = parse_date(modified)
        if stamp is None:
            return None
        return _youngest([entry for entry in entries if entry.last_modified == stamp])
    return entries[0] if len(entries) == 1 else None


def _youngest(entries: Sequence[Entry]) -> Entry | None:
    return max(entries, key=lambda entry: entry.born, default=None)


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
    """The entry as a 304 has made it: its fields, its lifetime, and for this request's variant, too.

    Refused: it may not be kept, though it is good for this request. A 304 without Date is of when it came (RFC 9110
    section 6.6.1).
    """
    new = response.fields
    if response.names:
        hop = nominated(response.names)
        new = [field for field in new if field.name not in hop]
    new = [field for field in new if field.name not in _KEPT]
    names = {field.name for field in new}
    names.add(b"date")
    fields = [field for field in entry.fields if field.name not in names]
    fields += new
    merged = ResponseHead(entry.status, entry.line, 1, fields, [field for field in fields if field.kind])
    verdict = entry_for(request, asks, merged, rule, entry.key, entry.lane, asked, now, wall)
    if isinstance(verdict, Refused):
        return verdict
    verdict.body = entry.body
    verdict.encodings = entry.encodings
    verdict.hits = entry.hits
    return verdict
