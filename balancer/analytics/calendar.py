"""Days, weeks and months of one time zone, as numbers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

HOUR_MS = 3_600_000


class Calendar:
    """What day it was in a zone at a moment. Whole quarters of an hour are remembered: no zone changes within one."""

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self._days: dict[int, int] = {}
        self._hours: dict[int, int] = {}

    def day(self, at: int) -> int:
        """The ordinal of the local day at a moment in milliseconds."""
        quarter = at // 900_000
        day = self._days.get(quarter)
        if day is None:
            if len(self._days) > 100_000:
                self._days.clear()
            day = self._days[quarter] = self._local(at).toordinal()
        return day

    def _local(self, at: int) -> datetime:
        return datetime.fromtimestamp(at / 1000, UTC).astimezone(self.zone)

    def hour(self, at: int) -> int:
        """A number that grows by one each hour of the zone, which begins at half past one of UTC in some."""
        quarter = at // 900_000
        hour = self._hours.get(quarter)
        if hour is None:
            if len(self._hours) > 100_000:
                self._hours.clear()
            ahead = (self._local(at).minute - at // 60_000) % 60
            hour = self._hours[quarter] = (at + ahead * 60_000) // HOUR_MS
        return hour


def week_of(day: int) -> int:
    """A number that grows by one each Monday."""
    return (day - 1) // 7


def week_start(week: int) -> date:
    return date.fromordinal(week * 7 + 1)


def month_of(day: int) -> int:
    """A number that grows by one each month."""
    local = date.fromordinal(day)
    return local.year * 12 + local.month - 1


def month_start(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)
