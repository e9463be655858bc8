"""HTTP dates, held against the standard library's."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancer.cache.dates import parse_date

LAST = 253402300799  # the end of the year 9999


@given(st.integers(0, LAST))
@example(LAST)
def test_the_date_that_is_printed_is_the_date_that_is_read(seconds: int) -> None:
    """RFC 9110 section 5.6.7: IMF-fixdate, in any letters (RFC 9111 section 4.2)."""
    text = formatdate(seconds, usegmt=True)
    assert parse_date(text.encode()) == seconds
    assert parse_date(text.upper().encode()) == parse_date(text.lower().encode()) == seconds


@given(st.integers(0, LAST))
def test_asctime_is_read(seconds: int) -> None:
    """RFC 9110 section 5.6.7: the obsolete form of C."""
    assert parse_date(datetime.fromtimestamp(seconds, UTC).ctime().encode()) == seconds


@given(now=st.integers(0, 2**33), ahead=st.integers(-49 * 365, 50 * 365))
def test_two_digits_of_a_year_are_of_the_hundred_years_that_end_in_fifty(now: int, ahead: int) -> None:
    """RFC 9110 section 5.6.7: a year that appears to be more than 50 years in the future is past."""
    when = now // 86400 * 86400 + ahead * 86400
    if when >= 0:
        text = datetime.fromtimestamp(when, UTC).strftime("%A, %d-%b-%y %H:%M:%S GMT")
        assert parse_date(text.encode(), now) == when


def test_a_year_over_fifty_years_ahead_is_past() -> None:
    """RFC 9110 section 5.6.7."""
    now = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
    assert parse_date(b"Tuesday, 24-Nov-76 00:00:00 GMT", now) == datetime(2076, 11, 24, tzinfo=UTC).timestamp()
    assert parse_date(b"Tuesday, 24-Nov-77 00:00:00 GMT", now) == datetime(1977, 11, 24, tzinfo=UTC).timestamp()
    assert parse_date(b"Sunday, 06-Nov-94 08:49:37 GMT") == 784111777


def test_a_leap_second_is_no_later_than_it_was() -> None:
    """RFC 9111 section 4.2: the nearest time equal to or earlier than the received value."""
    assert parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1", "now", "784111777", "1994-11-06T08:49:37Z"),
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +00",
        "Sun, 06 Nov 1994 08:49:37 PST",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37  GMT",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Wed, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 2023 08:49:37 GMT",
        "Wed, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06 Noo 1994 08:49:37 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov \u0661994 08:49:37 GMT".replace("\u0661", "\xb9"),
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    """RFC 9111 section 5.3: invalid dates are in the past, so that they must not pass for others."""
    assert parse_date(text.encode("latin-1")) is None


@given(st.binary(max_size=60))
def test_no_bytes_are_too_odd(value: bytes) -> None:
    assert parse_date(value) is None or len(value) <= 33
