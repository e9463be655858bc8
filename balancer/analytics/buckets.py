"""Buckets of local time: hours, days, weeks from Monday, and months of a zone, without gaps and without doubles."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from balancer.analytics.source import Interval

HOUR = timedelta(hours=1)


def starts(since: datetime, until: datetime, interval: Interval, zone: str) -> list[datetime]:
    """The first instants, in UTC, of all buckets that overlap [since, until), in order.

    The first may begin before `since`. Hours are real ones: when clocks go back there are two of the same name, and
    when they go forward one is left out. Days have 23 or 25 hours then.
    """
    local = ZoneInfo(zone)
    first = since.astimezone(local)
    if interval == "hour":
        # From the local hour's begin, which half of an hour in UTC may be.
        begin = since - timedelta(minutes=first.minute, seconds=first.second, microseconds=first.microsecond)
        count = -((begin - until) // HOUR)
        return [begin + HOUR * number for number in range(count)]
    day = bucket_date(first.date(), interval)
    found = []
    while (start := midnight(day, local)) < until:
        found.append(start)
        day = following(day, interval)
    return found


def bucket_date(day: date, interval: Interval) -> date:
    """The first day of the week or month that a day is in, or the day."""
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def following(day: date, interval: Interval) -> date:
    """The first day of the next bucket; `day` is the first of one."""
    if interval == "month":
        return date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return day + timedelta(days=7 if interval == "week" else 1)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a local day begins, in UTC; where midnight is left out, when clocks have gone forward."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def index_of(bounds: Sequence[float], at: float) -> int:
    """Which bucket a moment is in, by their starts; -1 before the first."""
    return bisect_right(bounds, at) - 1
