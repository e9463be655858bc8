"""Periods of reports: local days, buckets without gaps or doubles, and the period before."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.analytics.buckets import starts
from balancer.analytics.periods import BadParameter, period

NOW = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)
ZONES = st.sampled_from(
    ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
)


def test_without_a_word_it_is_thirty_local_days_and_today_is_the_last():
    found = period(None, None, None, "Europe/Berlin", NOW, 366)
    assert (found.since, found.until) == (
        datetime(2026, 3, 11, 23, tzinfo=UTC),
        datetime(2026, 4, 10, 22, tzinfo=UTC),  # summer time by then
    )
    assert (found.interval, len(found.starts)) == ("day", 30)


def test_a_date_is_a_local_day_and_the_last_one_is_in_it():
    found = period("2026-03-01", "2026-03-30", None, "Europe/Berlin", NOW, 366)
    assert (found.since, found.until) == (datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 30, 22, tzinfo=UTC))
    before = found.before()
    assert (before.since, before.until) == (datetime(2026, 1, 29, 23, tzinfo=UTC), found.since)
    assert len(before.starts) == len(found.starts) == 30


@pytest.mark.parametrize(
    ("days", "interval"), [(1, "hour"), (2, "hour"), (3, "day"), (92, "day"), (93, "week"), (366, "week")]
)
def test_the_interval_is_by_the_length_of_the_period(days, interval):
    since = date(2025, 1, 1)
    found = period(str(since), str(since + timedelta(days=days - 1)), None, "UTC", NOW, 366)
    assert found.interval == interval


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (("2026-03-02", "2026-03-01", None, None), "to"),
        (("2020-01-01", "2026-01-01", None, None), "from"),
        (("yesterday", None, None, None), "from"),
        (("2026-03-01T00:00:00", None, None, None), "from"),
        (("0001-01-01", None, None, None), "from"),
        ((None, "2026-02-30", None, None), "to"),
        ((None, None, "decade", None), "interval"),
        ((None, None, "hour", None), "interval"),
        ((None, None, None, "Mars/Olympus"), "timezone"),
        ((None, None, None, "../../etc/passwd"), "timezone"),
        ((None, None, None, "x" * 300), "timezone"),
    ],
)
def test_what_is_no_period_is_refused_with_the_name_of_the_parameter(parameters, name):
    with pytest.raises(BadParameter) as told:
        period(*parameters, NOW, 366)
    assert told.value.name == name


@given(
    st.dates(date(2015, 1, 1), date(2035, 1, 1)),
    st.integers(1, 40),
    ZONES,
    st.sampled_from(("hour", "day", "week", "month")),
)
def test_buckets_follow_each_other_and_hold_every_moment_once(first, length, zone, interval):
    local = ZoneInfo(zone)
    since = datetime(first.year, first.month, first.day, tzinfo=local).astimezone(UTC)
    until = since + timedelta(days=length)
    found = starts(since, until, interval, zone)
    assert found == sorted(set(found))
    assert found[0] <= since
    assert found[-1] < until
    if interval == "hour":
        assert all(after - before == timedelta(hours=1) for before, after in pairwise(found))
    else:
        days = [start.astimezone(local).date() for start in found]
        assert days == sorted(set(days))
        longest = {"day": 27, "week": 8 * 24, "month": 32 * 24}[interval]
        assert all(after - before <= timedelta(hours=longest + 24) for before, after in pairwise(found))


def test_a_bucket_is_partial_where_it_is_cut_or_not_over():
    found = period("2026-04-01", "2026-04-10", "week", "UTC", NOW, 366)
    after = [*found.starts[1:], None]
    told = [found.is_partial(start, end, NOW) for start, end in zip(found.starts, after, strict=True)]
    assert told == [True, True]  # from Monday the 30th, and to Friday the 10th
    days = period("2026-04-08", "2026-04-10", "day", "UTC", NOW, 366)
    after = [*days.starts[1:], None]
    assert [days.is_partial(a, b, NOW) for a, b in zip(days.starts, after, strict=True)] == [False, False, True]
