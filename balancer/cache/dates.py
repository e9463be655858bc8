"""HTTP dates, read strictly: one that is none makes an answer stale, so lenience would keep what should not be kept."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

_DAYS: Final = (b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun")
_LONG_DAYS: Final = (b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday")
_MONTHS: Final = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_NAMES: Final = b"|".join(_MONTHS)
_TIME: Final = rb"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"
_IMF: Final = re.compile(
    rb"(?i)((?:%b), ([0-9]{2}) (%b) ([0-9]{4})) %b GMT" % (b"|".join(_DAYS), _NAMES, _TIME),
)
_RFC850: Final = re.compile(
    rb"(?i)(?:%b), ([0-9]{2})-(%b)-([0-9]{2}) %b GMT" % (b"|".join(_LONG_DAYS), _NAMES, _TIME),
)
_ASCTIME: Final = re.compile(
    rb"(?i)(?:%b) (%b) ([ 0-9][0-9]) %b ([0-9]{4})" % (b"|".join(_DAYS), _NAMES, _TIME),
)
_LONGEST: Final = len(b"Wednesday, 06-Nov-94 08:49:37 GMT")
_EPOCH: Final = date(1970, 1, 1).toordinal()
WRITTEN: Final = 1.8e9
"""Unix seconds of about the time when this was written: where there is no clock, what two digits of a year mean."""


def parse_date(value: bytes, wall: float = WRITTEN) -> int | None:
    """Unix seconds of an HTTP date in any of its three forms (RFC 9110 section 5.6.7); None for anything else.

    Letters are the same in both cases (RFC 9111 section 4.2). The day of the week has to be one, and is not held
    against the date. A leap second is the one before it. `wall` is the time now, for years of two digits.
    """
    if len(value) == 29:  # which no date of the other two forms has
        return _parse_imf(value)
    return _parse_obsolete(value, wall) if len(value) <= _LONGEST else None


@lru_cache(4096)
def _parse_imf(value: bytes) -> int | None:
    match = _IMF.fullmatch(value)
    if match is None:
        return None
    whole, day, month, year, hour, minute, second = match.groups()
    days = _days(whole, day, month, year)
    return None if days is None else days + int(hour) * 3600 + int(minute) * 60 + min(int(second), 59)


@lru_cache(1024)
def _days(whole: bytes, day: bytes, month: bytes, year: bytes) -> int | None:
    """Seconds up to midnight; many dates are of the same few days. `whole` is what they are remembered by."""
    return _midnight(int(year), month, int(day))


def _midnight(year: int, month: bytes, day: int) -> int | None:
    try:
        return (date(year, _MONTHS.index(month.lower()) + 1, day).toordinal() - _EPOCH) * 86400
    except ValueError:  # there is no such day
        return None


def _parse_obsolete(value: bytes, wall: float) -> int | None:
    if (match := _RFC850.fullmatch(value)) is not None:
        day, month, digits, *time = match.groups()
        return _with_century(int(digits), month, int(day), _seconds(time), wall)
    if (match := _ASCTIME.fullmatch(value)) is not None:
        month, day, *time, year = match.groups()
        midnight = _midnight(int(year), month, int(day))
        return None if midnight is None else midnight + _seconds(time)
    return None


def _seconds(time: list[bytes]) -> int:
    hour, minute, second = map(int, time)
    return hour * 3600 + minute * 60 + min(second, 59)


def _with_century(digits: int, month: bytes, day: int, seconds: int, wall: float) -> int | None:
    """The last year with these two digits that is not more than fifty years ahead (RFC 9110 section 5.6.7)."""
    today = date.fromordinal(_EPOCH + int(wall // 86400))
    leap = today.month == 2 and today.day == 29
    latest = date(today.year + 50, today.month, 28 if leap else today.day).toordinal()
    century = (today.year + 50) // 100 * 100
    for year in (century + digits, century + digits - 100):
        midnight = _midnight(year, month, day)
        if midnight is not None and midnight // 86400 + _EPOCH <= latest:
            return midnight + seconds
    return None
