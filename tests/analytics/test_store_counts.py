"""What the store sums up as events come is what a recount of all of them says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.analytics import event as known
from balancer.analytics.buckets import starts
from balancer.analytics.event import Event
from balancer.analytics.source import QUERIES, Asked
from tests.analytics.store import Memory, active_days, day_of

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
# Around the end of summer time in Berlin and a month's end; two months in all.
BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
SPAN = 62 * 86_400_000
NAMES = (known.REGISTERED, known.POSTED, known.COMMENTED, known.REACTED, known.VIEWED, known.JOINED, known.LEFT)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events of a few users, in the order of their times."""
    times = sorted(draw(st.lists(st.integers(0, SPAN), min_size=1, max_size=60)))
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
    return events


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
    from zoneinfo import ZoneInfo

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
