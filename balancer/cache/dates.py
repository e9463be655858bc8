"""HTTP dates, read strictly: one that is none makes an answer stale, so lenience would keep what should not be kept."""

from __future__ import annotations

import re
from calendar import monthrange, timegm
from functools import lru_cache
from typing import Final

_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_LONG_DAYS: Final = (b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_TIME: Final = rb"([0-9]{2}):([0-9]{2}):([0-9]{2})"
_IMF: Final = re.compile(rb"([A-Z][a-z]{2}), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) " + _TIME + rb" GMT")
_RFC850: Final = re.compile(rb"([A-Z][a-z]{5,8}), ([0-9]{2})-([A-Z][a-z]{2})-([0-9]{2}) " + _TIME + rb" GMT")
_ASCTIME: Final = re.compile(rb"([A-Z][a-z]{2}) ([A-Z][a-z]{2}) ([ 0-9][0-9]) " + _TIME + rb" ([0-9]{4})")
_THIS_CENTURY: Final = 70
"""Two digits of a year below this are of the years from 2000 on; the rule of RFC 9110 section 5.6.7, "fifty years from
now", needs a clock, and until the year 2020 plus fifty comes out the same for dates that are in use."""


@lru_cache(4096)
def parse_date(value: bytes) -> int | None:
    """Unix seconds of an HTTP date in any of its three forms (RFC 9110 section 5.6.7); None for anything else."""
    if (match := _IMF.fullmatch(value)) is not None:
        weekday, day, month, year, *time = match.groups()
        return _seconds(_DAYS, weekday, int(year), month, int(day), time)
    if (match := _RFC850.fullmatch(value)) is not None:
        weekday, day, month, year, *time = match.groups()
        whole = int(year) + (2000 if int(year) < _THIS_CENTURY else 1900)
        return _seconds(_LONG_DAYS, weekday, whole, month, int(day), time)
    if (match := _ASCTIME.fullmatch(value)) is not None:
        weekday, month, day, hour, minute, second, year = match.groups()
        return _seconds(_DAYS, weekday, int(year), month, int(day), [hour, minute, second])
    return None


def _seconds(
    days: tuple[bytes, ...], weekday: bytes, year: int, month: bytes, day: int, time: list[bytes]
) -> int | None:
    if month not in _MONTHS or weekday not in days or year < 1:
        return None
    number = _MONTHS.index(month) + 1
    hour, minute, second = map(int, time)
    if not 1 <= day <= monthrange(year, number)[1] or hour > 23 or minute > 59 or second > 60:
        return None
    # The day of the week is not held against the date: some servers are wrong about it, and it adds nothing.
    return timegm((year, number, day, hour, minute, min(second, 59)))
