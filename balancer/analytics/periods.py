"""The period that a report is about: from parameters to instants, its buckets, and the period before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, get_args
from zoneinfo import ZoneInfo

from balancer.analytics.buckets import midnight, starts
from balancer.analytics.source import Interval
from config.problems import listed

DAYS: Final = 30
"""Days that a report is about if nothing else is asked for; today is the last of them."""
MOST_BUCKETS: Final = 1000
HOURS: Final = 14
"""Days at most of which hours are told."""
YEARS: Final = 1990, 2190
"""Of moments that are looked at: before there were such sites, and while all zones are known to have midnights."""
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class BadParameter(ValueError):
    """A parameter that is not one: its name, and what it must be."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Period:
    """From a first instant to the one after the last, both in UTC."""

    since: datetime
    until: datetime
    interval: Interval
    zone: str

    @property
    def local(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @property
    def starts(self) -> list[datetime]:
        """The begins of its buckets, in UTC."""
        return starts(self.since, self.until, self.interval, self.zone)

    def is_partial(self, start: datetime, after: datetime | None, now: datetime) -> bool:
        """Whether a bucket is cut by the period's ends, or not over yet; `after` is the begin of the next one."""
        end = after if after is not None else self._end_of(start)
        return start < self.since or end > self.until or end > now

    def _end_of(self, start: datetime) -> datetime:
        """Where a bucket ends that is the last one."""
        if self.interval == "hour":
            return start + timedelta(hours=1)
        longest = {"day": 2, "week": 8, "month": 33}[self.interval]
        return starts(start, start + timedelta(days=longest), self.interval, self.zone)[1]

    def before(self) -> Period:
        """The period of the same length that ends where this one begins: as many local days, else as much time."""
        zone = ZoneInfo(self.zone)
        first, last = self.since.astimezone(zone), self.until.astimezone(zone)
        if first.time() == time() and last.time() == time():
            days = last.date() - first.date()
            return Period(midnight(first.date() - days, zone), self.since, self.interval, self.zone)
        return Period(self.since - (self.until - self.since), self.since, self.interval, self.zone)


def period(
    since: str | None, until: str | None, interval: str | None, zone: str | None, now: datetime, longest: int
) -> Period:
    """From what was written: dates are local days (`until` is the last one), or instants (RFC 3339).

    `longest` in days. Raises BadParameter.
    """
    name = zone or "UTC"
    try:
        local = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BadParameter(
            "timezone", f"must be the name of a time zone, such as Europe/Berlin, not {name[:60]!r}"
        ) from None
    today = now.astimezone(local).date()
    end = midnight(today + timedelta(days=1), local) if until is None else _moment("to", until, local, last=True)
    if since is None:
        begin = midnight(end.astimezone(local).date() - timedelta(days=DAYS), local)
        if end.astimezone(local).time() != time():
            begin = end - timedelta(days=DAYS)
    else:
        begin = _moment("from", since, local, last=False)
    if end <= begin:
        raise BadParameter("to", "must be after `from`")
    if end - begin > timedelta(days=longest, hours=2):
        raise BadParameter("from", f"must be at most {longest} days before `to`")
    chosen = _interval(interval, end - begin)
    found = Period(begin, end, chosen, name)
    if chosen == "hour" and end - begin > timedelta(days=HOURS, hours=2):
        raise BadParameter("interval", f"must be day, week or month where it is more than {HOURS} days")
    if len(found.starts) > MOST_BUCKETS:
        raise BadParameter("interval", f"must be longer: at most {MOST_BUCKETS} are told at a time")
    return found


def _interval(written: str | None, length: timedelta) -> Interval:
    for known in get_args(Interval):
        if written == known:
            return known  # type: ignore[no-any-return]  # one of them, which get_args does not tell mypy
    if written is not None:
        raise BadParameter("interval", f"must be {listed(list(get_args(Interval)))}, not {written[:60]!r}")
    if length <= timedelta(days=2):
        return "hour"
    return "day" if length <= timedelta(days=92) else "week" if length <= timedelta(days=400) else "month"


def _moment(name: str, written: str, zone: ZoneInfo, *, last: bool) -> datetime:
    try:
        if _DATE.fullmatch(written):
            day = date.fromisoformat(written)
            if not YEARS[0] <= day.year <= YEARS[1]:
                raise ValueError
            return midnight(day + timedelta(days=1) if last else day, zone)
        found = datetime.fromisoformat(written.replace(" ", "+"))  # a plus in a query is a blank
        if found.tzinfo is not None and YEARS[0] <= found.year <= YEARS[1]:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    expected = "must be a date such as 2026-03-01, or a moment such as 2026-03-01T12:00:00Z"
    raise BadParameter(name, f"{expected}, not {written[:60]!r}")
