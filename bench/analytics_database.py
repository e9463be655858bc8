"""How long reports take on an app's PostgreSQL: `python -m bench.analytics_database`.

A server of its own is started and filled with a synthetic community: 20,000 users, 30,000 posts, 120,000 comments and
200,000 reactions over 120 days. "cold" is the first time that a report is asked for, with the period before (nothing is
kept of it here; PostgreSQL has its tables in memory); "kept" the median of further ones.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from zoneinfo import ZoneInfo

from balancer.analytics.app_database.database import AppDatabase
from balancer.analytics.periods import Period
from balancer.analytics.reports import EIGHT, Asking, Wish
from balancer.analytics.source import QUERIES, Asked
from config.schema import AppDatabase as Settings
from tests.analytics.seeded import FULL, SMALL, scripts
from tests.postgres_server import PostgresServer, postgres

ZONE = "Europe/Berlin"
UNTIL = datetime(2026, 3, 31, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
COLD, KEPT = 1.5, 0.005
"""Seconds that a report may take."""
AGAIN = 20
COMMUNITY = "1"
"""The largest."""


def filled(sizes: dict[str, int]) -> PostgresServer:
    server = postgres()
    server.database("bench")
    server.run(scripts(**sizes), "bench")
    server.run("CREATE ROLE reader LOGIN")
    server.run("GRANT USAGE ON SCHEMA app TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA app TO reader", "bench")
    return server


async def measured(settings: Settings, days: int, community: str | None) -> int:
    """Print a line for each report; how many took longer than they may."""
    period = Period(UNTIL - timedelta(days=days), UNTIL, "day" if days < 93 else "week", ZONE)
    app = AppDatabase(settings)
    app.start()
    late = 0
    try:
        await app.answer("users.summary", Asked(UNTIL - timedelta(days=1), UNTIL))  # it is connected and looked at
        of = f" of community {community}" if community is not None else ""
        print(f"\n{days} days{of}{'':6}cold (bar {COLD * 1000:.0f} ms)   kept (bar {KEPT * 1000:.0f} ms)")
        for name, report in EIGHT.items():
            taken = []
            for _ in range(1 + AGAIN):
                asking = Asking(name, Wish(period, community=community), [app.source()], str)
                began = perf_counter()
                await report(asking)
                taken.append(perf_counter() - began)
                assert asking.done().source == "sql"
            cold, kept = taken[0], median(taken[1:])
            late += cold > COLD or kept > KEPT
            print(f"  {name:18} {cold * 1000:12.1f} ms {kept * 1000:19.2f} ms")
    finally:
        await app.close()
    app = AppDatabase(settings)
    app.start()
    try:
        await app.answer("users.summary", Asked(UNTIL - timedelta(days=1), UNTIL))
        slowest = []
        for query in set(QUERIES) - {"events.series"}:
            began = perf_counter()
            await app.answer(query, Asked(period.since, UNTIL, period.interval, ZONE, community=community))
            slowest.append((perf_counter() - began, query))
    finally:
        await app.close()
    print("  slowest: " + ", ".join(f"{query} {took * 1000:.0f} ms" for took, query in sorted(slowest)[:-5:-1]))
    return late


def main() -> int:
    """1 when a report takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.analytics_database", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a community of 600 users")
    given = parser.parse_args()
    began = perf_counter()
    server = filled(SMALL if given.small else FULL)
    print(f"filled in {perf_counter() - began:.0f} s")
    settings = Settings.model_validate({"url": server.url("bench", "reader"), "tables_in": "app"})
    late = 0
    for days, community in ((30, None), (30, COMMUNITY), (366, None), (366, COMMUNITY)):
        late += asyncio.run(measured(settings, days, community))
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
