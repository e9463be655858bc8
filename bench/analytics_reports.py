"""How long reports take on a store with ten million events of two years: `python -m bench.analytics_reports`.

The store is made by the code that stores events in operation, which takes some minutes, and is kept for another run.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from balancer.analytics import event as known
from balancer.analytics.calendar import Calendar
from balancer.analytics.event import Event
from balancer.analytics.events_source import EventsSource
from balancer.analytics.periods import Period
from balancer.analytics.reports import REPORTS, Asking, Wish
from balancer.analytics.source import QUERIES, Asked, Row
from balancer.analytics.sqlite_store.rows import rows
from balancer.analytics.sqlite_store.schema import MIGRATIONS
from balancer.analytics.sqlite_store.writing import Writer
from config.schema import Analytics, EventMatch, EventRule

DAYS = 730
USERS = 40_000
COMMUNITIES = 150
BATCH = 5_000
END = datetime(2026, 12, 1, tzinfo=UTC)
ZONE = "Europe/Berlin"
BARS = {30: 0.3, 365: 1.0}


def history(count: int, rng: Random) -> Iterator[Event]:
    """Events in the order of their times: growing, by day and night, of a few busy users and many quiet ones."""
    begin = round((END - timedelta(days=DAYS)).timestamp() * 1000)
    span = DAYS * 86_400_000
    posts = 0
    for number in range(count):
        at = begin + round(span * (number / count) ** 0.8)
        present = max(200, round(USERS * (number / count) ** 0.9))
        user = 1 + min(int(present * rng.random() ** 2.2), present - 1)
        kind = rng.random()
        community = str(1 + int(COMMUNITIES * rng.random() ** 2))
        dims = {"community": community}
        if kind < USERS / count:
            yield Event(at, known.REGISTERED, present, None, 201, 20_000, 300, {})
        elif kind < 0.03:
            posts += 1
            yield Event(at, known.POSTED, user, None, 201, 20_000, 500, {**dims, "post": str(posts)})
        elif kind < 0.13:
            post = max(1, posts - int(rng.expovariate(1 / 200)))
            yield Event(at, known.COMMENTED, user, None, 201, 20_000, 500, {**dims, "post": str(post)})
        elif kind < 0.25:
            post = max(1, posts - int(rng.expovariate(1 / 200)))
            yield Event(at, known.REACTED, user, None, 201, 10_000, 50, {**dims, "post": str(post)})
        elif kind < 0.26:
            yield Event(at, known.JOINED, user, None, 201, 10_000, 50, dims)
        elif kind < 0.261:
            yield Event(
                at, known.REPORTED, user, None, 201, 9_000, 90, {**dims, "report": str(number), "reason": "spam"}
            )
        elif kind < 0.2615:
            yield Event(at, known.MODERATED, 1 + number % 40, None, 200, 9_000, 90, {**dims, "action": "remove_post"})
        else:
            known_user = user if rng.random() < 0.6 else None
            yield Event(at, known.VIEWED, known_user, None if known_user else number, 200, 8_000, 9_000, {})


def made(path: Path, count: int) -> sqlite3.Connection:
    """The store, which is filled if it is not there yet."""
    fresh = not path.exists()
    connection = sqlite3.connect(path)
    if fresh:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-262144")
        for script in MIGRATIONS:
            connection.executescript(script)
        writer = Writer(connection, Calendar(ZONE))
        batch: list[Event] = []
        began, stored = perf_counter(), 0
        for event in history(count, Random(7)):
            batch.append(event)
            if len(batch) == BATCH:
                with connection:
                    writer.write(batch)
                stored += len(batch)
                batch = []
                if not stored % 1_000_000:
                    print(f"{stored:>12,} events, {stored / (perf_counter() - began):,.0f}/s", flush=True)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA mmap_size=1073741824")
    return connection


class Store:
    """The store as reports ask it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        return rows(self._connection, query, asked, ZONE)


def main() -> int:
    """Print a line for each report; 1 when one takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.analytics_reports", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--store", type=Path, default=Path("build/analytics-bench.db"))
    given = parser.parse_args()
    given.store.parent.mkdir(parents=True, exist_ok=True)
    connection = made(given.store, given.events)
    print(f"{given.store.stat().st_size / 1e6:,.0f} MB")
    dims = ("community", "post", "report", "action", "automated", "outcome", "target_user")
    rule = EventRule(match=(EventMatch(path="/"),), take=dict.fromkeys(dims, "=it"))
    source = EventsSource(Store(connection), Analytics(events=dict.fromkeys(known.KNOWN, rule)))
    late = 0
    for days, bar in BARS.items():
        since = END - timedelta(days=days)
        print(f"\n{days} days (bar {bar * 1000:.0f} ms)        without the period before   with it")
        for name, report in REPORTS.items():
            figures = []
            for compare in (False, True):
                taken = []
                for _ in range(3):
                    period = Period(since, END, "day" if days < 93 else "week", ZONE)
                    asking = Asking(name, Wish(period, compare=compare), [source], str)
                    began = perf_counter()
                    asyncio.run(report(asking))  # type: ignore[arg-type]  # each is a coroutine
                    taken.append(perf_counter() - began)
                figures.append(median(taken))
            late += figures[1] > bar
            print(f"  {name:20} {figures[0] * 1000:10.1f} ms {figures[1] * 1000:20.1f} ms")
        slowest = []
        for query in QUERIES:
            began = perf_counter()
            rows(connection, query, Asked(since, END, "day" if days < 93 else "week", ZONE, 20), ZONE)
            slowest.append((perf_counter() - began, query))
        print("  slowest: " + ", ".join(f"{query} {took * 1000:.0f} ms" for took, query in sorted(slowest)[:-5:-1]))
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
