"""An event store of a test, written through the real writer, and a recount of the same by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from balancer.analytics.calendar import Calendar
from balancer.analytics.event import CONTRIBUTIONS, Event
from balancer.analytics.source import Asked, Row
from balancer.analytics.sqlite_store.rows import rows
from balancer.analytics.sqlite_store.schema import MIGRATIONS
from balancer.analytics.sqlite_store.writing import Writer


class Memory:
    """The tables in memory."""

    def __init__(self, zone: str, path: Path | None = None) -> None:
        self.zone = zone
        self.connection = sqlite3.connect(path or ":memory:")
        for script in MIGRATIONS:
            self.connection.executescript(script)
        self._writer = Writer(self.connection, Calendar(zone))

    def write(self, events: Sequence[Event]) -> None:
        with self.connection:
            self._writer.write(events)

    def rows(self, query: str, asked: Asked) -> list[Row]:
        return rows(self.connection, query, asked, self.zone)


def day_of(event: Event, zone: str) -> date:
    return datetime.fromtimestamp(event.at / 1000, ZoneInfo(zone)).date()


def active_days(events: Sequence[Event], zone: str, what: str) -> dict[int, set[date]]:
    """The days on which each user was seen, or contributed."""
    found: dict[int, set[date]] = {}
    for event in events:
        if event.user is not None and (what == "seen" or event.name in CONTRIBUTIONS):
            found.setdefault(event.user, set()).add(day_of(event, zone))
    return found
