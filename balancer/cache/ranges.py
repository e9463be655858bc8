"""Parts of a stored answer (RFC 9110 section 14)."""

from __future__ import annotations

import re
from typing import Final

from balancer.cache.asks import Asks
from balancer.cache.dates import parse_date
from balancer.cache.entry import Entry
from balancer.http1.head import value_of

_RANGE: Final = re.compile(rb"(?i:bytes)=[\t ]*([0-9]{0,18})-([0-9]{0,18})[\t ]*")


class Unsatisfiable:
    """Nothing of the range is there."""


UNSATISFIABLE: Final = Unsatisfiable()


def wanted(asks: Asks, entry: Entry, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """First and last byte; None for the whole answer, which is also what several ranges get (section 14.2)."""
    if asks.range is None or (asks.if_range is not None and not _same(asks.if_range, entry)):
        return None
    match = _RANGE.fullmatch(asks.range)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = int(match[2])
        if not length or not size:
            return UNSATISFIABLE
        return max(size - length, 0), size - 1
    first = int(match[1])
    if match[2] and int(match[2]) < first:
        return None
    if first >= size:
        return UNSATISFIABLE
    return first, min(int(match[2]), size - 1) if match[2] else size - 1


def _same(condition: bytes, entry: Entry) -> bool:
    """Whether the client's part is of this very answer, by the strong comparison (section 13.1.5)."""
    if condition[:1] == b'"':
        return condition == entry.etag
    if condition[:2] == b"W/":
        return False
    stamp = parse_date(condition)
    if stamp is None or entry.last_modified != stamp:
        return False
    date = value_of(list(entry.fields), b"date")
    made = parse_date(date) if date else None
    return made is not None and made - stamp >= 1  # else it may have changed within the same second (8.8.2.2)
