"""A distribution's figures: what can be asked for, and sums of what came."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.aws.account import Account, Endpoint, Parsed, Service
from balancer.cdn.aws.statistics import METRICS, MOST_POINTS, Series, Statistics, grid, summed
from balancer.cdn.errors import Invalid, MissingRight, ProtocolError

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("age", "asked", "period"),
    [
        (timedelta(days=1), 60, 60),
        (timedelta(days=1), 90, 120),
        (timedelta(days=16), 60, 300),
        (timedelta(days=16), 3600, 3600),
        (timedelta(days=64), 300, 3600),
        (timedelta(days=400), 86_400, 86_400),
    ],
)
def test_points_are_no_finer_than_they_are_kept(age: timedelta, asked: int, period: int) -> None:
    assert grid(NOW - age, NOW - age + HOUR, asked, NOW)[2] == period


@pytest.mark.parametrize("begin", [NOW - timedelta(days=456), NOW + HOUR])
def test_a_period_that_nothing_is_kept_of_is_refused(begin: datetime) -> None:
    with pytest.raises(Invalid):
        grid(begin, NOW, 3600, NOW)


@given(age=st.integers(1, 454 * 86_400), length=st.integers(1, 454 * 86_400), interval=st.integers(1, 7 * 86_400))
def test_a_grid_covers_what_is_asked_with_what_one_call_gives(age: int, length: int, interval: int) -> None:
    begin = NOW - timedelta(seconds=age)
    end = begin + timedelta(seconds=length)
    start, stop, period = grid(begin, end, interval, NOW)
    assert start <= begin < end <= stop
    assert (stop - start).total_seconds() % period == 0
    assert period % 60 == 0
    assert (stop - start).total_seconds() / period * len(METRICS) <= MOST_POINTS + 2 * len(METRICS)


def series(**values: list[float]) -> Series:
    found = Series()
    at = [NOW - HOUR * (24 - number) for number in range(24)]
    found.add(
        {"Id": name, "Timestamps": at[: len(some)], "Values": some, "StatusCode": "Complete"}
        for name, some in values.items()
    )
    return found


def test_rates_are_weighted_by_the_requests_that_they_are_of() -> None:
    found = series(requests=[900, 100], bytes_out=[9, 1], rate_4xx=[1, 11], rate_5xx=[0, 50], hit_rate=[100, 0])
    told = summed(found, NOW - 24 * HOUR, NOW, 3600)
    assert (told.requests, told.bytes_out, told.status_4xx, told.status_5xx) == (1000, 10, 20, 50)
    assert (told.hit_ratio, told.hits) == (pytest.approx(0.9), 900)
    assert [(point.requests, point.hits) for point in told.series] == [(900, 900), (100, 0)]
    assert told.missing.keys() == {"bytes_origin"}


def test_nothing_is_no_ratio_and_a_rate_that_is_not_there_is_told() -> None:
    nothing = summed(series(), NOW - HOUR, NOW, 3600)
    assert (nothing.requests, nothing.status_4xx, nothing.hit_ratio) == (0, 0, None)
    assert nothing.missing["hit_ratio"] == "there was no request"
    without = summed(series(requests=[5]), NOW - 24 * HOUR, NOW, 3600)
    assert (without.status_4xx, without.hits) == (None, None)
    assert without.missing.keys() == {"bytes_origin", "hits", "hit_ratio", "status_4xx", "status_5xx"}


class Paged(Service):
    """Answers one page after the other."""

    def __init__(self, account: Account, *pages: Parsed) -> None:
        super().__init__(account, Endpoint("cloudwatch", "us-east-1"))
        self.pages = list(pages)
        self.tokens: list[object] = []

    async def call(self, operation: str, arguments: Parsed, *, about: str = "", more: float = 0.0) -> Parsed:
        self.tokens.append(arguments.get("NextToken"))
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


def page(value: float, at: datetime, token: str | None, status: str = "PartialData") -> Parsed:
    results = [{"Id": name, "Timestamps": [at], "Values": [value], "StatusCode": status} for name in METRICS]
    return {"MetricDataResults": results, **({"NextToken": token} if token else {})}


async def test_all_pages_are_read_and_no_endless_number_of_them(account: Account) -> None:
    watch = Paged(account, page(1, NOW - 2 * HOUR, "two"), page(2, NOW - HOUR, None, "Complete"))
    told = await Statistics(watch, "E1").stats(NOW - 2 * HOUR, NOW, 3600, NOW)
    assert (told.requests, watch.tokens) == (3, [None, "two"])
    with pytest.raises(ProtocolError, match="more than 20 pages"):
        await Statistics(Paged(account, page(1, NOW, "again")), "E1").stats(NOW - HOUR, NOW, 3600, NOW)


async def test_metrics_that_may_not_be_read_are_a_right_that_is_missing(account: Account) -> None:
    watch = Paged(account, page(1, NOW - HOUR, None, "Forbidden"))
    with pytest.raises(MissingRight, match="cloudwatch:GetMetricData"):
        await Statistics(watch, "E1").stats(NOW - HOUR, NOW, 3600, NOW)
