"""Parts of a stored answer (RFC 9110 section 14)."""

from __future__ import annotations

import re
from typing import Final

from balancer.cache.asks import Asks
from balancer.cache.dates import parse_date
from balancer.cache.entry import Entry
from balancer.cache.storing import made_at

_RANGE: Final = re.compile(rb"(?i:bytes)=[\t ,]*([0-9]*)-([0-9]*)[\t ,]*")
_DIGITS: Final = 18
"""Positions with more of them are beyond the end of anything."""


class Unsatisfiable:
    """Nothing of the range is there."""


UNSATISFIABLE: Final = Unsatisfiable()


def wanted(asks: Asks, entry: Entry, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """First and last byte; None for the whole answer, which is also what several ranges get (section 14.2).

    So does what is no range, and a range of anything but a 200. `size` is that of the body as it is sent.
    """
    if asks.range is None or entry.status != 200 or (asks.if_range is not None and not _same(asks.if_range, entry)):
        return None
    return span(asks.range, size)


def span(value: bytes, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """First and last byte that a Range asks for; None where it is to be ignored."""
    match = _RANGE.fullmatch(value)
    if match is None or not (match[1] or match[2]):
        return None
    last = _position(match[2])
    if not match[1]:
        if not last:
            return UNSATISFIABLE
        return (max(size - last, 0), size - 1) if size else None  # the last bytes of nothing: no 206 could say it
    first = _position(match[1])
    if match[2] and last < first:
        return None
    if first >= size:
        return UNSATISFIABLE
    return first, min(last, size - 1) if match[2] else size - 1


def _position(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _DIGITS else 10**_DIGITS + len(digits)


def _same(condition: bytes, entry: Entry) -> bool:
    """Whether the client's part is of this very answer, by the strong comparison (section 13.1.5)."""
    if condition[:1] == b'"':
        return condition == entry.etag
    if condition[:2] == b"W/":
        return False
    stamp = parse_date(condition)
    if stamp is None or entry.last_modified != stamp:
        return False
    made = made_at(entry.fields)
    return made is not None and made - stamp >= 1  # else it may have changed within the same second (8.8.2.2)
