"""Figures of a period, out of the sets that a plan has."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.cloudflare.periods import ceiling, floor, pieces
from balancer.cdn.errors import Invalid, MissingRight, NotFound, ProtocolError, RateLimited, Unavailable, Unsupported
from tests.cdn.cloudflare.accounts import account
from tests.cdn.fakes.cloudflare import TOKEN, Credential, FakeCloudflare, Hour

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def busy(days: int = 10) -> FakeCloudflare:
    """Every hour: 80 hits, 10 misses, 5 revalidated and 5 that are never cached, of 1,000 bytes each."""
    fake = FakeCloudflare("pro", now=NOW)
    traffic = {"hit": 80, "miss": 10, "revalidated": 5, "dynamic": 5}
    fake.traffic = {floor(NOW, 3600) - HOUR * back: Hour(traffic) for back in range(days * 24)}
    return fake


def queries(fake: FakeCloudflare) -> list[str]:
    return [one.body.decode() for one in fake.received if "settings" not in one.body.decode()]


async def test_an_hour_is_counted_exactly() -> None:
    async with account(busy()) as provider:
        stats = await provider.stats(NOW - HOUR * 2, NOW, 3600)
    assert (stats.from_, stats.to) == (NOW - HOUR * 2.5, NOW + HOUR * 0.5)  # in whole hours
    assert (stats.requests, stats.hits, stats.bytes_out, stats.sampled) == (300, 240, 300_000, False)
    assert stats.hit_ratio == 0.8
    assert [(point.at.hour, point.requests, point.hits) for point in stats.series] == [
        (10, 100, 80),
        (11, 100, 80),
        (12, 100, 80),
    ]
    assert stats.missing.keys() == {"bytes_origin", "status_4xx", "status_5xx"}
    assert (stats.bytes_origin, stats.status_4xx, stats.status_5xx) == (None, None, None)


async def test_days_are_asked_for_as_days() -> None:
    fake = busy()
    async with account(fake) as provider:
        stats = await provider.stats(datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC), 86_400)
    (asked,) = queries(fake)
    assert '"from":"2026-11-20","to":"2026-11-21"' in asked
    assert [(point.at.day, point.requests) for point in stats.series] == [(20, 2400), (21, 2400)]


async def test_a_period_is_split_into_what_one_query_may_cover() -> None:
    fake = busy()
    async with account(fake) as provider:
        stats = await provider.stats(NOW - DAY * 8, NOW, 3600)
    assert len(queries(fake)) == 3  # of three days at most
    assert stats.requests == 100 * (8 * 24 + 1)


async def test_intervals_of_several_hours_are_put_together() -> None:
    async with account(busy()) as provider:
        stats = await provider.stats(
            datetime(2026, 11, 22, 5, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC), 6 * 3600
        )
    assert [(point.at.hour, point.requests) for point in stats.series] == [(0, 600), (6, 600)]
    assert stats.interval_s == 6 * 3600


async def test_an_interval_that_there_is_not_becomes_the_next_that_there_is() -> None:
    async with account(busy()) as provider:
        assert (await provider.stats(NOW - HOUR, NOW, 60)).interval_s == 3600


async def test_without_exact_sums_the_figures_are_an_estimate_and_said_to_be() -> None:
    fake = busy()
    fake.sets["httpRequests1hGroups"].enabled = fake.sets["httpRequests1dGroups"].enabled = False
    async with account(fake) as provider:
        stats = await provider.stats(NOW - DAY * 2, NOW, 3600)
    assert stats.sampled
    assert (stats.requests, stats.hits) == (4900, 85 * 49)
    assert len(queries(fake)) == 3


async def test_a_schema_without_exact_sums_leaves_the_sample() -> None:
    fake = busy()
    del fake.sets["httpRequests1hGroups"], fake.sets["httpRequests1dGroups"]
    async with account(fake) as provider:
        assert (await provider.stats(NOW - HOUR, NOW, 3600)).sampled


async def test_what_is_older_than_is_kept_is_left_out_and_told() -> None:
    fake = busy()
    for one in fake.sets.values():
        one.not_older_than = 3 * 86_400
    async with account(fake) as provider:
        stats = await provider.stats(NOW - DAY * 7, NOW, 3600)
        with pytest.raises(Invalid, match="keeps 3 days of statistics: ask for a later period"):
            await provider.stats(NOW - DAY * 7, NOW - DAY * 5, 3600)
    assert stats.from_ == datetime(2026, 11, 20, 13, tzinfo=UTC)
    assert stats.missing["before"] == "this plan keeps 3 days of statistics: they begin at 2026-11-20 13:00"


async def test_hours_that_are_not_kept_come_from_the_sample_or_the_days_that_are() -> None:
    fake = busy(30)
    fake.sets["httpRequests1hGroups"].not_older_than = fake.sets["httpRequestsAdaptiveGroups"].not_older_than = (
        86_400 * 3
    )
    async with account(fake) as provider:
        stats = await provider.stats(NOW - DAY * 7, NOW, 3600)
    assert (stats.interval_s, stats.sampled) == (86_400, False)


async def test_no_request_has_no_ratio() -> None:
    fake = FakeCloudflare(now=NOW)
    async with account(fake) as provider:
        stats = await provider.stats(NOW - HOUR, NOW, 3600)
    assert (stats.requests, stats.hits, stats.hit_ratio, stats.series) == (0, 0, None, ())
    assert stats.missing["hit_ratio"] == "there was no request"


async def test_what_the_plan_allows_is_asked_once_an_hour() -> None:
    fake = busy()
    times = [0.0, 3599.0, 3600.0]
    async with account(fake, clock=lambda: times[0]) as provider:
        while times:
            await provider.stats(NOW - HOUR, NOW, 3600)
            times.pop(0)
    assert len(fake.received) - len(queries(fake)) == 2


async def test_a_period_of_too_many_queries_is_refused_before_the_first() -> None:
    fake = busy()
    fake.sets["httpRequests1hGroups"].max_duration = 3600
    async with account(fake) as provider:
        with pytest.raises(Invalid, match="takes 49 queries of this plan: ask for at most 32 hours"):
            await provider.stats(NOW - DAY * 2, NOW, 3600)
    assert queries(fake) == []


async def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    async with account(busy()) as provider:
        with pytest.raises(Invalid, match="begin before it ends"):
            await provider.stats(NOW, NOW - HOUR, 3600)


async def test_a_zone_with_no_set_at_all_has_no_statistics() -> None:
    fake = busy()
    for one in fake.sets.values():
        one.enabled = False
    async with account(fake) as provider:
        with pytest.raises(Unsupported):
            await provider.stats(NOW - HOUR, NOW, 3600)


async def test_errors_inside_a_good_status_are_errors() -> None:
    fake = busy()
    async with account(fake) as provider:
        fake.faults.append("graphql error")
        with pytest.raises(Unavailable, match="answered 200 to limits: internal server error"):
            await provider.stats(NOW - HOUR, NOW, 3600)
        fake.faults.append("429 without a word")
        with pytest.raises(RateLimited):
            await provider.stats(NOW - HOUR, NOW, 3600)
        fake.faults.append("truncated")
        with pytest.raises(ProtocolError):
            await provider.stats(NOW - HOUR, NOW, 3600)


async def test_a_zone_that_is_not_there_and_a_right_that_is_missing() -> None:
    fake = busy()
    fake.credentials = {TOKEN: Credential(frozenset(("zone",)))}
    async with account(fake) as provider:
        with pytest.raises(MissingRight, match="Zone > Analytics > Read"):
            await provider.stats(NOW - HOUR, NOW, 3600)
    async with account(busy(), zone_id="f" * 32) as provider:
        with pytest.raises(NotFound, match=r"cdn\.cloudflare\.zone_id"):
            await provider.stats(NOW - HOUR, NOW, 3600)


moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(moments, moments, st.integers(1, 10**7), st.sampled_from([3600, 86_400]))
def test_pieces_are_the_period_without_a_gap_and_none_is_too_long(
    one: datetime, other: datetime, longest: int, grain: int
) -> None:
    start, end = floor(min(one, other), grain), ceiling(max(one, other), grain)
    end = min(end, start + timedelta(seconds=grain) * 500)
    found = pieces(start, end, longest, grain)
    assert [since for since, _ in found] + [end] == [start] + [until for _, until in found]
    assert all(until - since <= timedelta(seconds=max(longest, grain)) and until > since for since, until in found)
