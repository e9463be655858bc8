"""What every report is made of: rows of this period and of the one before, and what is not known and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from balancer.analytics.periods import Period
from balancer.analytics.source import Active, Asked, Row, Source, SourceName, Unavailable, Value

Table = list[Row]
ANYHOW: Final = "this source does not tell"
OF_ONE: Final = (
    "post_activity.",
    "community_growth.series",
    "moderation.",
    "reports.",
    "communities.",
    "events.",
)
"""What the names of queries begin with that can be about one community."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a report, once it has been looked at."""

    period: Period
    limit: int = 20
    compare: bool = True
    """Whether the period before is looked at, too."""
    active: Active | None = None
    community: str | None = None
    sort: str | None = None
    names: bool = False
    """Whether whoever asks may see who users are."""

    def asked(self, period: Period, active: Active | None = None) -> Asked:
        return Asked(
            period.since,
            period.until,
            period.interval,
            period.zone,
            self.limit,
            active or self.active,
            self.community,
            self.sort,
        )


@dataclass(slots=True)
class Figure:
    """One number of a summary."""

    value: Value
    previous: Value = None
    change: float | None = None
    """(value - previous) / previous; None where previous is 0 or not known."""
    unit: str = ""
    reason: str | None = None
    """Why it is not known, where it is None."""


@dataclass(slots=True)
class Report:
    """The answer."""

    name: str
    period: Period
    source: Literal["sql", "events", "mixed"] | None = None
    """None: nothing of it is known."""
    active: Active | None = None
    summary: dict[str, Figure] = field(default_factory=dict)
    series: Table = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Reasons, by part: a query's or a column's name."""
    warnings: list[str] = field(default_factory=list)
    age: float | None = None
    """Seconds since the oldest of the rows was read, where it was kept."""


class Asking:
    """One report on its way. Each query goes to the first source that knows it."""

    def __init__(self, name: str, wish: Wish, sources: Sequence[Source], hashed: Callable[[str], str]) -> None:
        """`hashed` is how users' ids are shown to those who may not see them."""
        self.report = Report(name, wish.period)
        self.wish = wish
        self._sources = sources
        self._hashed = hashed
        self._used: set[SourceName] = set()

    async def rows(self, query: str, period: Period | None = None) -> Table | None:
        """None: no source knows it, and the report says why. Raises SourceError for what should be known."""
        reasons = []
        for source in self._sources:
            active: Active = self.wish.active or ("seen" if source.name == "events" else "contributed")
            asked = self.wish.asked(period or self.wish.period, active)
            try:
                rows = await source.rows(query, asked)
            except Unavailable as error:
                reasons.append(str(error))
                continue
            if period is None:
                self._note(query, source, asked, active)
                return [self._shown(row, source.name) for row in rows]
            return rows
        self.report.missing[query] = "; ".join(dict.fromkeys(reasons)) or ANYHOW
        return None

    async def both(self, query: str) -> tuple[Table | None, Table | None]:
        """Of the period, and of the one before, where that is asked for."""
        if not self.wish.compare:
            return await self.rows(query), None
        now, before = await asyncio.gather(self.rows(query), self.rows(query, self.wish.period.before()))
        return now, before

    def figure(
        self, name: str, value: Value, previous: Value = None, unit: str = "", query: str = "", column: str = ""
    ) -> None:
        """Put a number into the summary; `query` and `column` say where to look for why it is None."""
        change = None
        if isinstance(value, (int, float)) and isinstance(previous, (int, float)) and previous:
            change = round((value - previous) / previous, 4)
        reason = None
        if value is None:
            reason = self.report.missing.get(f"{query}.{column or name}") or self.report.missing.get(query)
        self.report.summary[name] = Figure(value, previous, change, unit, reason)

    def sums(self, query: str, rows: Table | None, before: Table | None, **units: str) -> None:
        """Figures that are sums of a series' columns."""
        for column, unit in units.items():
            self.figure(column, total(rows, column), total(before, column), unit, query)

    def singles(self, query: str, rows: Table | None, before: Table | None, **units: str) -> None:
        """Figures of a query that has one row."""
        for column, unit in units.items():
            self.figure(column, single(rows, column), single(before, column), unit, query)

    def series(self, rows: Table | None) -> None:
        """The buckets, with whether they are whole."""
        now = datetime.now(UTC)
        found = rows or []
        begins = [row["start"] for row in found]
        for row, after in zip(found, [*begins, None][1:], strict=True):
            start = row["start"]
            assert isinstance(start, datetime)
            following = after if isinstance(after, datetime) else None
            partial = self.report.period.is_partial(start, following, now)
            self.report.series.append({"start": start, "partial": partial, **_without_start(row)})

    def table(self, name: str, rows: Table | None) -> None:
        if rows is not None:
            self.report.tables[name] = rows

    def done(self) -> Report:
        report = self.report
        used = self._used
        report.source = "mixed" if len(used) > 1 else next(iter(used), None)
        return report

    def _note(self, query: str, source: Source, asked: Asked, active: Active) -> None:
        self._used.add(source.name)
        for column, reason in source.missing(query, asked).items():
            self.report.missing[f"{query}.{column}"] = reason
        if query.startswith(("engagement.", "user_growth.retention")):
            self.report.active = active
        if asked.community is not None and not query.startswith(OF_ONE):
            self.report.warnings.append(f"{query} is of all communities: it can not be told of one")

    def _shown(self, row: Row, source: SourceName) -> Row:
        """Without who users are, unless whoever asks may know."""
        if self.wish.names or source == "events":
            return dict(row)
        shown = dict(row)
        for column in _OF_USERS & shown.keys():
            value = shown[column]
            shown[column] = None if column == "username" or value is None else self._hashed(str(value))
        if "username" in shown and "id" in shown and shown["id"] is not None:
            shown["id"] = self._hashed(str(shown["id"]))
        return shown


_OF_USERS: Final = frozenset(("username", "author_id", "moderator_id"))


def total(rows: Table | None, column: str) -> int | None:
    """None where a bucket is not known."""
    if rows is None:
        return None
    values = [row[column] for row in rows]
    if any(value is None for value in values):
        return None
    return sum(value for value in values if isinstance(value, int))


def last(rows: Table | None, column: str) -> Value:
    return rows[-1][column] if rows else None


def single(rows: Table | None, column: str) -> Value:
    return rows[0][column] if rows else None


def mean(values: Iterable[Value]) -> float | None:
    found = [value for value in values if isinstance(value, (int, float))]
    return round(sum(found) / len(found), 4) if found else None


def share(part: Value, whole: Value) -> float | None:
    if not isinstance(part, (int, float)) or not isinstance(whole, (int, float)) or not whole:
        return None
    return round(part / whole, 4)


def _without_start(row: Mapping[str, Value]) -> Row:
    return {name: value for name, value in row.items() if name != "start"}
