"""What the store sums up as events come is what a recount of all of them says."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.analytics import event as known
from balancer.analytics.buckets import index_of, starts
from balancer.analytics.event import Event
from balancer.analytics.source import QUERIES, Asked
from balancer.analytics.sqlite_store.store import SqliteStore
from tests.analytics.store import Memory, active_days, day_of

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
# Around the end of summer time in Berlin and a month's end; two months in all.
BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
DAY = 86_400_000
SPAN = 62 * DAY
LATE = 10_000
NAMES = (known.REGISTERED, known.POSTED, known.COMMENTED, known.REACTED, known.VIEWED, known.JOINED, known.LEFT)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events of a few users, many around midnights, each up to ten seconds later than those that it was before."""
    midnights = st.integers(0, 61).flatmap(lambda day: st.integers(day * DAY - LATE, day * DAY + LATE))
    times = sorted(draw(st.lists(st.integers(0, SPAN) | midnights, min_size=1, max_size=60)))
    events = []
    for number, offset in enumerate(times):
        name = draw(st.sampled_from(NAMES))
        user = draw(st.integers(1, 5) | st.none())
        dims = {}
        if name == known.POSTED:
            dims = {"post": str(number), "community": str(draw(st.integers(1, 3)))}
        elif name in (known.COMMENTED, known.REACTED, known.VIEWED):
            dims = {"post": str(draw(st.integers(0, 60)))}
        elif name in (known.JOINED, known.LEFT):
            dims = {"community": str(draw(st.integers(1, 3)))}
        at = round(BEGIN.timestamp() * 1000) + offset
        events.append(Event(at, name, user, None if user else 7, 200, 1000, 10, dims))
    rng = Random(draw(st.integers(0, 1000)))
    return sorted(events, key=lambda event: event.at + rng.randint(0, LATE))


def batches(events: list[Event], cuts: list[int]) -> list[list[Event]]:
    ends = sorted({min(cut, len(events)) for cut in cuts} | {len(events)})
    begins = [0, *ends]
    return [events[begin:end] for begin, end in zip(begins, ends, strict=False) if begin < end]


def asked(interval: str = "day", zone: str = "UTC", active: str = "seen", days: int = 62) -> Asked:
    local = datetime(2026, 10, 1, tzinfo=UTC)
    return Asked(local, local + timedelta(days=days), interval, zone, 500, active)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    histories(),
    st.lists(st.integers(0, 60), max_size=4),
    st.sampled_from(ZONES),
    st.sampled_from(("seen", "contributed")),
)
def test_active_users_and_their_lifecycle_are_those_of_a_recount(events, cuts, zone, active):
    memory = Memory(zone)
    for batch in batches(events, cuts):
        memory.write(batch)
    days = active_days(events, zone, active)
    since = datetime(2026, 10, 3, tzinfo=UTC)
    wish = Asked(since, since + timedelta(days=55), "day", zone, 500, active)
    for row in memory.rows("engagement.active_users", wish):
        day = row["day"]
        assert isinstance(day, date)

        def within(length: int, day: date = day) -> int:
            return sum(any(day - timedelta(days=length) < one <= day for one in own) for own in days.values())

        assert (row["dau"], row["wau"], row["mau"]) == (within(1), within(7), within(30))
        assert row["dau"] <= row["wau"] <= row["mau"]
    for interval in ("day", "week", "month"):
        wish = Asked(since, since + timedelta(days=55), interval, zone, 500, active)  # type: ignore[arg-type]
        before: set[int] | None = None
        for row in memory.rows("engagement.lifecycle", wish):
            start = row["start"]
            assert isinstance(start, datetime)
            bucket = _bucket(start, interval, zone)
            now = {user for user, own in days.items() if any(_of(one, interval) == bucket for one in own)}
            old = {user for user, own in days.items() if any(_of(one, interval) < bucket for one in own)}
            last = {user for user, own in days.items() if any(_of(one, interval) == bucket - 1 for one in own)}
            told = (row["new"], row["returning"], row["resurrecting"], row["dormant"])
            assert told == (len(now - old), len(now & last), len(now & old - last), len(last - now)), (interval, start)
            assert before is None or before == last
            before = now


def _of(day: date, interval: str) -> int:
    if interval == "day":
        return day.toordinal()
    return (day.toordinal() - 1) // 7 if interval == "week" else day.year * 12 + day.month - 1


def _bucket(start: datetime, interval: str, zone: str) -> int:
    return _of(start.astimezone(ZoneInfo(zone)).date(), interval)


@settings(max_examples=40, deadline=None)
@given(
    histories(),
    st.lists(st.integers(0, 60), max_size=3),
    st.sampled_from(ZONES),
    st.sampled_from(("hour", "day", "week", "month")),
)
def test_buckets_of_any_zone_add_up_to_all_there_was(events, cuts, zone, interval):
    memory = Memory("UTC")
    for batch in batches(events, cuts):
        memory.write(batch)
    days = 10 if interval == "hour" else 70
    since = datetime(2026, 9, 30, 12, 0, tzinfo=UTC)
    wish = Asked(since, since + timedelta(days=days), interval, zone, 500)  # type: ignore[arg-type]
    inside = [event for event in events if since.timestamp() * 1000 <= event.at < wish.until.timestamp() * 1000]
    posts = memory.rows("post_activity.series", wish)
    bounds = starts(wish.since, wish.until, wish.interval, zone)
    assert [row["start"] for row in posts] == bounds
    for column, name in (("posts", known.POSTED), ("comments", known.COMMENTED), ("reactions", known.REACTED)):
        counted = Counter(
            max(index for index, start in enumerate(bounds) if start.timestamp() * 1000 <= event.at)
            for event in inside
            if event.name == name
        )
        assert [row[column] for row in posts] == [counted[index] for index in range(len(bounds))]
    heat = memory.rows("post_activity.heatmap", wish)
    assert sum(int(str(row["posts"])) for row in heat) == sum(event.name == known.POSTED for event in inside)


@settings(max_examples=40, deadline=None)
@given(histories(), st.lists(st.integers(0, 60), max_size=3))
def test_what_each_user_did_in_a_period_is_a_recount_whatever_months_are_in_it(events, cuts):
    memory = Memory("UTC")
    for batch in batches(events, cuts):
        memory.write(batch)
    for first, length in ((date(2026, 10, 1), 61), (date(2026, 10, 5), 20), (date(2026, 9, 15), 60)):
        since = datetime(first.year, first.month, first.day, tzinfo=UTC)
        until = since + timedelta(days=length)
        wish = Asked(since, until, "day", "UTC", 500)
        did: dict[int, Counter[str]] = {}
        for event in events:
            if (
                first <= day_of(event, "UTC") < first + timedelta(days=length)
                and event.user
                and event.name in known.CONTRIBUTIONS
            ):
                did.setdefault(event.user, Counter())[event.name] += 1
        told = {
            row["id"]: (row["posts"], row["comments"], row["reactions_given"]) for row in memory.rows("users.top", wish)
        }
        assert told == {
            f"{user:016x}": (counts[known.POSTED], counts[known.COMMENTED], counts[known.REACTED])
            for user, counts in did.items()
        }
        (depth,) = memory.rows("engagement.depth", wish)
        assert depth["active_users"] == len(did)
        assert depth["contributors"] == sum(c[known.POSTED] + c[known.COMMENTED] > 0 for c in did.values())


@settings(max_examples=60, deadline=None)
@given(
    histories(),
    st.lists(st.integers(0, 60), max_size=3),
    st.sampled_from(ZONES),
    st.sampled_from(("seen", "contributed")),
)
def test_cohorts_authors_and_answers_are_those_of_a_recount(events, cuts, zone, active):
    memory = Memory(zone)
    for batch in batches(events, cuts):
        memory.write(batch)
    wish = Asked(BEGIN - timedelta(days=7), BEGIN + timedelta(days=63), "day", zone, 500, active)
    weeks = {user: {_of(day, "week") for day in days} for user, days in active_days(events, zone, active).items()}
    cohorts: dict[int, int] = {}
    for event in events:
        if event.name == known.REGISTERED and event.user is not None:
            cohorts.setdefault(event.user, _of(day_of(event, zone), "week"))
    expected = Counter(
        (cohorts[user], week - cohorts[user])
        for user, own in weeks.items()
        for week in own
        if user in cohorts and 0 <= week - cohorts[user] < 12
    )
    sizes = Counter(cohorts.values())
    told = {
        (_of(row["cohort"], "week"), row["week"]): (row["retained"], row["size"])
        for row in memory.rows("user_growth.retention", wish)
    }
    assert told == {key: (n, sizes[key[0]]) for key, n in expected.items()}

    for interval in ("day", "week", "month"):
        wish = Asked(wish.since, wish.until, interval, zone, 500, active)
        for row in memory.rows("post_activity.series", wish):
            bucket = _bucket(row["start"], interval, zone)
            for column, name in (("post_authors", known.POSTED), ("comment_authors", known.COMMENTED)):
                users = {
                    event.user
                    for event in events
                    if event.name == name and event.user and _of(day_of(event, zone), interval) == bucket
                }
                assert row[column] == len(users), (interval, row["start"])

    posts: dict[str, Event] = {}
    answers: dict[str, int] = {}
    for event in events:  # in the order in which they came
        if event.name == known.POSTED:
            posts.setdefault(event.dims["post"], event)
        elif event.name == known.COMMENTED and event.user is not None:
            post = posts.get(event.dims["post"])
            if post is not None and event.user != post.user:
                answers[event.dims["post"]] = min(event.at, answers.get(event.dims["post"], event.at))
    (row,) = memory.rows("post_activity.first_response", wish)
    assert (row["posts"], row["answered"]) == (len(posts), len(answers))
    waits = [(at - posts[post].at) / 1000 for post, at in answers.items()]
    assert row["mean_s"] == (round(sum(waits) / len(waits)) if waits else None)


@settings(max_examples=30, deadline=None)
@given(
    histories(),
    st.lists(st.integers(0, 60), max_size=4),
    st.lists(st.integers(0, 60), max_size=4),
    st.integers(0, 1000),
)
def test_the_tables_are_the_same_however_the_events_were_cut_and_what_came_twice(events, cuts, others, seed):
    rng = Random(seed)

    async def kept(name: str, cuts: list[int]) -> dict[str, set[object]]:
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.db"
            store = SqliteStore(path, "Europe/Berlin", 1e9, 1e9, 2**30)
            await store.open()
            numbered = list(enumerate(batches(events, cuts), 1))
            while numbered:
                together = rng.randint(1, len(numbered))
                await store.write("run", numbered[:together])
                numbered = numbered[rng.randint(0, together) :]  # its receipt was lost for the rest
            await store.close(clean=True)
            with closing(sqlite3.connect(path)) as found:
                tables = [name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                return {
                    table: set(found.execute(f"SELECT * FROM {table}"))
                    for table in tables
                    if table not in ("meta", "event")
                } | {"event": set(found.execute("SELECT at, name, user, visitor, dims FROM event"))}

    assert asyncio.run(kept("one", cuts)) == asyncio.run(kept("other", others))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("earlier", [[], [0], [3], [0, 3], [-40, -4], [4]])
def test_what_comes_late_across_a_midnight_is_of_its_own_day_week_and_month(zone, earlier):
    midnight = round(datetime(2026, 11, 1, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # a Sunday's, and November's
    monday = midnight + DAY
    for edge in (midnight, monday):
        moments = [edge + (day - 5) * DAY + 3_600_000 for day in earlier] + [edge + 2000, edge - 3000, edge + 9 * DAY]
        events = [Event(at, known.POSTED, 1, None, 201, 1, 1, {"post": str(at)}) for at in moments]
        memory = Memory(zone)
        for event in events:
            memory.write([event])
        ordered = Memory(zone)
        ordered.write(sorted(events))
        for table in ("uniques", "rolling", "did_day"):
            there = f"SELECT * FROM {table}"
            if table == "uniques":
                there += " WHERE n > 0"
            elif table == "rolling":
                there += " WHERE week <> 0 OR month <> 0"
            told, expected = (set(one.connection.execute(there)) for one in (memory, ordered))
            assert told == expected, table


def test_users_are_counted_again_after_a_clock_that_was_years_ahead():
    memory = Memory("UTC")
    at = round(BEGIN.timestamp() * 1000)
    memory.write([Event(at, known.VIEWED, 1, None, 200, 1, 1, {})])
    memory.write([Event(at + 1500 * DAY, known.VIEWED, 1, None, 200, 1, 1, {})])
    for day in (1, 2, 9):
        memory.write([Event(at + day * DAY, known.VIEWED, 1, None, 200, 1, 1, {})])
    rows = memory.rows("engagement.active_users", asked(days=62))
    assert [index for index, row in enumerate(rows) if row["dau"]] == [0, 1, 2, 9]
    assert [row["mau"] for row in rows] == [int(day < 39) for day in range(62)]


def test_every_query_has_the_columns_that_it_promises():
    memory = Memory("UTC")
    at = round(BEGIN.timestamp() * 1000)
    memory.write(
        [
            Event(at, known.REGISTERED, 1, None, 201, 1, 1, {}),
            Event(at + 1, known.POSTED, 1, None, 201, 1, 1, {"post": "1", "community": "c"}),
            Event(at + 2, known.COMMENTED, 2, None, 201, 1, 1, {"post": "1", "community": "c"}),
            Event(at + 3, known.JOINED, 2, None, 201, 1, 1, {"community": "c"}),
            Event(at + 4, known.REPORTED, 2, None, 201, 1, 1, {"report": "r", "reason": "spam", "target_user": "~01"}),
            Event(at + 9, known.RESOLVED, 3, None, 201, 1, 1, {"report": "r", "outcome": "upheld"}),
            Event(at + 9, known.MODERATED, 3, None, 201, 1, 1, {"report": "r", "post": "1", "action": "remove_post"}),
        ]
    )
    for query, columns in QUERIES.items():
        found = memory.rows(query, asked())
        assert found or query == "post_activity.top", query  # the only post was removed
        assert all(tuple(row) == columns for row in found), query
    (quality,) = memory.rows("moderation.quality", asked())
    assert (quality["removals"], quality["removed_share_of_posts"]) == (1, 1.0)
    (summary,) = memory.rows("reports.summary", asked())
    assert (summary["opened"], summary["still_open"], summary["upheld"]) == (1, 0, 1)


def test_the_backlog_is_what_was_opened_less_what_was_resolved():
    memory = Memory("UTC")
    at = round(BEGIN.timestamp() * 1000)
    for number in range(9):
        opened = at + number * 86_400_000
        memory.write([Event(opened, known.REPORTED, 1, None, 201, 1, 1, {"report": str(number)})])
        if number % 3:
            memory.write([Event(opened + 3_600_000, known.RESOLVED, 2, None, 200, 1, 1, {"report": str(number)})])
    rows = memory.rows("reports.series", asked(days=9))
    assert [row["open_at_end"] for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("gap", [6, 7, 8, 29, 30, 31])
def test_a_user_who_comes_back_is_in_one_window_at_a_time(gap):
    memory = Memory("UTC")
    at = round(BEGIN.timestamp() * 1000)
    for day in (0, gap):
        memory.write([Event(at + day * 86_400_000, known.VIEWED, 1, None, 200, 1, 1, {})])
    rows = memory.rows("engagement.active_users", asked(days=62))
    assert [row["wau"] for row in rows] == [int(any(0 <= day - one < 7 for one in (0, gap))) for day in range(62)]
    assert [row["mau"] for row in rows] == [int(any(0 <= day - one < 30 for one in (0, gap))) for day in range(62)]


@pytest.mark.parametrize(("first", "length"), [(0, 10), (0, 31), (5, 20), (5, 40), (0, 62)])
def test_whoever_writes_on_several_days_in_a_community_is_one_user_of_it(first, length):
    memory = Memory("UTC")
    at = round(BEGIN.timestamp() * 1000)
    for day in range(62):
        memory.write(
            [
                Event(
                    at + day * 86_400_000,
                    known.POSTED,
                    user,
                    None,
                    201,
                    1,
                    1,
                    {"post": f"{day}-{user}", "community": "c"},
                )
                for user in (1, 2, None)
            ]
        )
    since = BEGIN + timedelta(days=first)
    (row,) = memory.rows("communities.table", Asked(since, since + timedelta(days=length)))
    assert (row["posts"], row["active_users"]) == (3 * length, 2)


@settings(max_examples=40, deadline=None)
@given(histories(), st.sampled_from(ZONES), st.sampled_from(("hour", "day", "week", "month")), st.integers(0, 20))
def test_authors_of_a_bucket_are_those_of_its_posts_also_where_the_period_cuts_it(events, zone, interval, begin):
    memory = Memory(zone)
    memory.write(events)
    local = ZoneInfo(zone)
    first = date(2026, 10, 8) + timedelta(days=begin)  # with the end of summer time in Berlin and in St John's
    last = first + timedelta(days=6 if interval == "hour" else 25)
    since, until = (datetime.combine(day, time(), local).astimezone(UTC) for day in (first, last))
    wish = Asked(since, until, interval, zone, 500)  # type: ignore[arg-type]
    rows = memory.rows("post_activity.series", wish)
    bounds = [start.timestamp() * 1000 for start in starts(since, until, wish.interval, zone)]
    inside = [event for event in events if since.timestamp() * 1000 <= event.at < until.timestamp() * 1000]
    for column, name in (("post_authors", known.POSTED), ("comment_authors", known.COMMENTED)):
        authors: list[set[int]] = [set() for _ in bounds]
        for event in inside:
            if event.name == name and event.user:
                authors[index_of(bounds, event.at)].add(event.user)
        assert [row[column] for row in rows] == [len(users) for users in authors], column


def test_a_report_on_one_community_has_all_registrations():
    memory = Memory("UTC")
    at = round(BEGIN.timestamp() * 1000)
    memory.write([Event(at, known.REGISTERED, 1, None, 201, 1, 1, {})])
    wish = replace(asked(days=1), community="1")
    assert [row["new_users"] for row in memory.rows("user_growth.series", wish)] == [1]
    assert [row["new"] for row in memory.rows("users.summary", wish)] == [1]
