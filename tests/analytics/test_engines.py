"""The same events in SQLite and in PostgreSQL: the same answers to every query."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from balancer.analytics import event as known
from balancer.analytics.desk import Desk
from balancer.analytics.event import Event
from balancer.analytics.events_source import NEVER
from balancer.analytics.postgres_store.store import PostgresStore
from balancer.analytics.source import QUERIES, Asked, Row
from tests.analytics.store import Memory
from tests.postgres_server import postgres

pytestmark = pytest.mark.slow
BEGIN = datetime(2026, 9, 28, tzinfo=UTC)  # a Monday
DAYS = 42
KEEP = 760 * 86_400.0
NAMES = (
    known.REGISTERED,
    known.POSTED,
    known.COMMENTED,
    known.COMMENTED,
    known.REACTED,
    known.VIEWED,
    known.JOINED,
    known.LEFT,
    known.REPORTED,
    known.RESOLVED,
    known.MODERATED,
    known.POST_DELETED,
    known.FOUNDED,
)


def history() -> list[Event]:
    rng = Random(5)
    events = []
    for number in range(3000):
        at = round(BEGIN.timestamp() * 1000) + round(DAYS * 86_400_000 * number / 3000)
        user = rng.choice([None, *range(1, 40)])
        visitor = None if user else 99
        dims = {"community": str(rng.randint(1, 4))}
        name = rng.choice(NAMES)
        if name == known.REGISTERED:
            user, visitor, dims = 100 + number, None, {}
        elif name == known.POSTED:
            dims["post"] = str(number)
        elif name == known.FOUNDED:
            dims["community"] = f"new-{number}"
        elif name in (known.COMMENTED, known.REACTED, known.VIEWED, known.POST_DELETED, known.MODERATED):
            dims["post"] = str(rng.randint(max(0, number - 60), number))
            if name == known.COMMENTED:
                del dims["community"]  # it is that of its post
        if name == known.MODERATED:
            dims["action"] = rng.choice(("remove_post", "warn", "ban", "restore"))
            dims["report"] = str(rng.randint(max(0, number - 100), number))
        elif name == known.REPORTED:
            dims |= {"report": str(number), "reason": rng.choice(("spam", "abuse")), "target_type": "post"}
            dims["target_user"] = f"~{rng.randint(1, 39):016x}"
        elif name == known.RESOLVED:
            dims |= {"report": str(rng.randint(max(0, number - 100), number))}
            dims["outcome"] = rng.choice(("upheld", "rejected", "ignored"))
        events.append(Event(at, name, user, visitor, 201, 1000, 10, dims))
    return events


@pytest.fixture(scope="module")
def memory() -> Memory:
    found = Memory("UTC")
    events = history()
    for begin in range(0, len(events), 500):
        found.write(events[begin : begin + 500])
    return found


@asynccontextmanager
async def opened(zone: str) -> AsyncIterator[PostgresStore]:
    server = postgres()
    name = f"events_{id(object())}"
    url = await asyncio.to_thread(server.database, name)
    found = PostgresStore(url, zone, KEEP)
    await found.open()
    try:
        yield found
    finally:
        await found.close(clean=True)
        await asyncio.to_thread(server.run, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def store() -> AsyncIterator[PostgresStore]:
    async with opened("UTC") as found:
        yield found


def batches() -> list[tuple[int, list[Event]]]:
    events = history()
    return [(1 + begin // 500, events[begin : begin + 500]) for begin in range(0, len(events), 500)]


def comparable(query: str, rows: list[Row]) -> Any:
    """Without what neither can know, in an order that does not matter, with seconds that were rounded in two ways."""
    never = set(NEVER.get(query, ())) | {"created_at", "last_seen_at", "oldest_open_age_s"}
    if query == "users.summary":
        never |= {"seen_30d"}
    found = [
        {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in row.items()
            if name not in never
        }
        for row in rows
    ]
    for row in found:
        for name in [name for name in row if name.endswith("_s") and row[name] is not None]:
            row[name] = pytest.approx(row[name], abs=1)
    if query.endswith((".series", ".active_users", ".lifecycle", ".retention")):
        return found
    return sorted(found, key=lambda row: str([row[name] for name in sorted(row) if not name.endswith("_s")]))


@pytest.mark.parametrize("interval", ["day", "week", "month"])
@pytest.mark.parametrize("active", ["seen", "contributed"])
async def test_every_query_is_answered_alike(memory: Memory, store: PostgresStore, interval: Any, active: Any) -> None:
    await store.write("run", batches())
    until = BEGIN + timedelta(days=DAYS)
    asked = Asked(BEGIN, until, interval, "UTC", 500, active)
    for query in QUERIES:
        expected = memory.rows(query, asked)
        found = await store.rows(query, asked)
        assert [tuple(row) for row in found] == [tuple(row) for row in expected], query
        assert comparable(query, found) == comparable(query, expected), query


@pytest.mark.parametrize(("first", "length", "interval"), [(9, 20, "day"), (10, 25, "week"), (24, 4, "hour")])
async def test_parts_of_months_and_weeks_and_hours_of_a_half_hour_zone_are_answered_alike(
    first: int, length: int, interval: Any
) -> None:
    zone = "Asia/Kolkata"
    memory = Memory(zone)
    for _, batch in batches():
        memory.write(batch)
    since = datetime(2026, 10, first, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    asked = Asked(since, since + timedelta(days=length), interval, zone, 500, "contributed")
    # Cohorts, and the buckets of the lifecycle, are whole in the sums; top posts have what they have today.
    whole = {"user_growth.retention", "engagement.lifecycle", "post_activity.top"}
    async with opened(zone) as store:
        await store.write("run", batches())
        for query in QUERIES.keys() - whole:
            expected = memory.rows(query, asked)
            found = await store.rows(query, asked)
            assert comparable(query, found) == comparable(query, expected), query


async def test_a_batch_that_comes_again_is_stored_once_and_pages_have_all(store: PostgresStore) -> None:
    made = batches()
    await store.write("run", made[:2])
    await store.write("run", made[1:4])
    await store.write("other", [(1, [Event(made[0][1][0].at, "~bot", None, None, 0, 0, 7, {})])])
    first = await store.page(0, 0, 2**62, 1200)
    rest = await store.page(first.after, 0, 2**62, 1200)
    assert [*first.events, *rest.events] == [event for _, batch in made[:4] for event in batch]
    assert (first.more, rest.more) == (True, False)


async def test_who_is_forgotten_is_in_no_event_and_old_months_go_whole(store: PostgresStore) -> None:
    await store.write("run", batches())
    assert await store.forget(7) > 0
    page = await store.page(0, 0, 2**62, 10_000)
    assert all(event.user != 7 and f"{7:016x}" not in str(event.dims) for event in page.events)
    later = BEGIN + timedelta(days=33, seconds=KEEP)  # October began more than that ago, and is not over
    assert await store.prune(round(later.timestamp() * 1000)) > 0
    left = await store.page(0, 0, 2**62, 10_000)
    assert {datetime.fromtimestamp(event.at / 1000, UTC).month for event in left.events} == {10, 11}


async def test_a_url_in_the_place_of_a_file_is_a_postgresql_and_its_password_is_nowhere(caplog) -> None:
    server = postgres()
    name = f"desk_{id(object())}"
    await asyncio.to_thread(server.database, name)
    desk = Desk(server.url(name, password="a-planted-password"), "UTC", KEEP, KEEP)
    desk.start()
    try:
        await asyncio.wait_for(desk.opened.wait(), 15)
        for _, batch in batches():
            for begin in range(0, len(batch), 200):
                desk.send([tuple(event) for event in batch[begin : begin + 200]])
        async with asyncio.timeout(15):
            while desk.waiting:  # noqa: ASYNC110  # it is another process's doing
                await asyncio.sleep(0.01)
        asked = Asked(BEGIN, BEGIN + timedelta(days=DAYS), "month", "UTC")
        rows = await desk.rows("events.series", asked)
        assert sum(int(str(row["n"])) for row in rows) == 3000
        assert "a-planted-password" not in caplog.text
    finally:
        await desk.close()
        await asyncio.to_thread(server.run, f'DROP DATABASE "{name}" WITH (FORCE)')
