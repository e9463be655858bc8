"""What the queries of all reports need: counts by bucket, and the store's own days and months of a period."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from balancer.analytics.buckets import following, index_of, starts
from balancer.analytics.calendar import Calendar, month_of, month_start, week_of
from balancer.analytics.source import Active, Asked, Interval
from balancer.analytics.sqlite_store.schema import CONTRIBUTED, DAY, HOUR, MONTH, QUARTER, SEEN, WEEK

GRAINS: Final[dict[Interval, int]] = {"hour": HOUR, "day": DAY, "week": WEEK, "month": MONTH}


class Look:
    """One query. Counts are by quarters of an hour: those that `since` and `until` fall into are counted whole."""

    def __init__(self, connection: sqlite3.Connection, asked: Asked, zone: str) -> None:
        self.db = connection
        self.asked = asked
        self.zone = zone
        self.calendar = Calendar(zone)
        self.since = round(asked.since.timestamp() * 1000)
        self.until = round(asked.until.timestamp() * 1000)
        self.first_quarter = self.since // QUARTER
        self.end_quarter = -(-self.until // QUARTER)
        self.active: Active = asked.active or "seen"
        self.what = CONTRIBUTED if self.active == "contributed" else SEEN

    def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self.db.execute(sql, values).fetchone()
        return found

    # Names and places.

    def name(self, text: str) -> int:
        """-1 for what has never been seen."""
        found = self.db.execute("SELECT id FROM name WHERE text = ?", (text,)).fetchone()
        return found[0] if found is not None else -1

    @cached_property
    def community(self) -> int | None:
        """The number of the community that is asked for; None: all are; -1: there is none of that name."""
        if self.asked.community is None:
            return None
        found = self.db.execute("SELECT id FROM community WHERE key = ?", (self.asked.community,)).fetchone()
        return found[0] if found is not None else -1

    @cached_property
    def communities(self) -> dict[int, str]:
        return dict(self.all("SELECT id, key FROM community"))

    # Buckets of the zone that is asked for.

    @cached_property
    def starts(self) -> list[datetime]:
        return starts(self.asked.since, self.asked.until, self.asked.interval, self.asked.zone)

    @cached_property
    def bounds(self) -> list[float]:
        return [start.timestamp() * 1000 for start in self.starts]

    def spread(self, counts: Iterable[tuple[int, int]]) -> list[int]:
        """(moment in milliseconds, count) summed up by bucket."""
        sums = [0] * len(self.bounds)
        for at, count in counts:
            sums[self.index(at)] += count
        return sums

    def index(self, at: int) -> int:
        """The bucket of a moment; what is just before the first is of the quarter in which that begins."""
        return max(index_of(self.bounds, at), 0)

    def week_hour(self, at: int) -> tuple[int, int]:
        """Weekday (1 is Monday) and hour on the clock of the zone that is asked for."""
        local = datetime.fromtimestamp(at / 1000, self._asked_calendar.zone)
        return local.isoweekday(), local.hour

    def counts(self, name: str, *, everywhere: bool = False) -> list[int]:
        """How many events of a name by bucket, of the community that is asked for or of all."""
        number = self.name(name)
        if self.community is None or everywhere:
            sql = "SELECT quarter, n FROM total WHERE name = ? AND quarter >= ? AND quarter < ?"
            found = self.all(sql, number, self.first_quarter, self.end_quarter)
        else:
            sql = "SELECT quarter, n FROM place WHERE name = ? AND quarter >= ? AND quarter < ? AND community = ?"
            found = self.all(sql, number, self.first_quarter, self.end_quarter, self.community)
        return self.spread((quarter * QUARTER, n) for quarter, n in found)

    def by_community(self, name: str) -> dict[int, int]:
        """How many events of a name by community."""
        sql = "SELECT community, sum(n) FROM place WHERE name = ? AND quarter >= ? AND quarter < ? GROUP BY 1"
        return dict(self.all(sql, self.name(name), self.first_quarter, self.end_quarter))

    # Days of the store.

    def bucket_numbers(self, interval: Interval, moments: Sequence[datetime]) -> list[int]:
        """What `uniques` calls the buckets that begin at these moments of the zone that is asked for."""
        if interval == "hour":
            return [self.calendar.hour(round(moment.timestamp() * 1000)) for moment in moments]
        days = [self.local_date(moment).toordinal() for moment in moments]
        if interval == "week":
            return [week_of(day) for day in days]
        return [month_of(day) for day in days] if interval == "month" else days

    def local_date(self, moment: datetime) -> date:
        return moment.astimezone(self._asked_calendar.zone).date()

    @cached_property
    def _asked_calendar(self) -> Calendar:
        return Calendar(self.asked.zone)

    @cached_property
    def first_day(self) -> int:
        """The store's day that holds the local day of `since`."""
        return self.local_date(self.asked.since).toordinal()

    @cached_property
    def end_day(self) -> int:
        """The day after the one of the last moment."""
        return self.local_date(self.asked.until - timedelta(milliseconds=1)).toordinal() + 1

    def wrote(self, what: int, column: str) -> list[int]:
        """How many users did what `column` of `did_day` counts, by bucket: of one that is cut, within the period."""
        found = [counts[0] for counts in self.unique_counts(what, self.asked.interval, self.starts)]
        if self.asked.interval not in ("week", "month"):
            return found
        begins = [self.local_date(start).toordinal() for start in self.starts]
        ends = [*begins[1:], following(date.fromordinal(begins[-1]), self.asked.interval).toordinal()]
        for index, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            first, last = max(begin, self.first_day), min(end, self.end_day)
            if (first, last) != (begin, end):
                sql = f"SELECT count(DISTINCT user) FROM did_day WHERE day >= ? AND day < ? AND {column} > 0"
                (found[index],) = self.one(sql, first, last)
        return found

    def unique_counts(self, what: int, interval: Interval, moments: Sequence[datetime]) -> list[tuple[int, int, int]]:
        """(n, new, again) by bucket."""
        numbers = self.bucket_numbers(interval, moments)
        if not numbers:
            return []
        sql = "SELECT bucket, n, new, again FROM uniques WHERE what = ? AND grain = ? AND bucket BETWEEN ? AND ?"
        found = {row[0]: row[1:] for row in self.all(sql, what, GRAINS[interval], numbers[0], numbers[-1])}
        return [found.get(number, (0, 0, 0)) for number in numbers]

    def spans(self) -> tuple[list[tuple[int, int]], tuple[int, int] | None]:
        """The period as spans of days [first, end) and of whole months [first, end), which together are all of it."""
        first, end = self.first_day, self.end_day
        first_month = month_of(first)
        if month_start(first_month).toordinal() < first:
            first_month += 1
        end_month = month_of(end)
        if end_month - first_month < 1:
            return [(first, end)], None
        middle = month_start(first_month).toordinal(), month_start(end_month).toordinal()
        days = [(a, b) for a, b in ((first, middle[0]), (middle[1], end)) if a < b]
        return days, (first_month, end_month)

    def sums_of_users(self) -> str:
        """SQL of what each user did in the period: (user, posts, comments, reactions, received)."""
        days, months = self.spans()
        columns = "user, posts, comments, reactions, received"
        parts = [f"SELECT {columns} FROM did_day WHERE day >= {a} AND day < {b}" for a, b in days]
        if months is not None:
            parts.append(f"SELECT {columns} FROM did_month WHERE month >= {months[0]} AND month < {months[1]}")
        return (
            "SELECT user, sum(posts) AS posts, sum(comments) AS comments, sum(reactions) AS reactions, "
            f"sum(received) AS received FROM ({' UNION ALL '.join(parts)}) GROUP BY user"
        )

    def writers(self) -> dict[int, int]:
        """How many users posted or commented, by community."""
        days, months = self.spans()
        parts = [f"SELECT community, user FROM wrote_day WHERE day >= {a} AND day < {b}" for a, b in days]
        if months is not None:
            parts.append(f"SELECT community, user FROM wrote_month WHERE month >= {months[0]} AND month < {months[1]}")
        return dict(self.all(f"SELECT community, count(DISTINCT user) FROM ({' UNION ALL '.join(parts)}) GROUP BY 1"))


def key_text(user: int | None) -> str | None:
    """A user's key as reports show it."""
    return None if user is None else f"{user & (1 << 64) - 1:016x}"


def moment(at: int | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at / 1000, UTC)


def share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def quantile(values: Sequence[float], wanted: float) -> float | None:
    """Of sorted values, between two of them where it falls there (as PostgreSQL's percentile_cont)."""
    if not values:
        return None
    place = (len(values) - 1) * wanted
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def whole(value: float | None) -> int | None:
    return None if value is None else round(value)
