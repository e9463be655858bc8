"""Bunny's figures as ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.bunny.statistics import DAY, HOUR, Figures, interval, moment, query, read

FROM = datetime(2026, 11, 20, tzinfo=UTC)
TO = datetime(2026, 11, 22, tzinfo=UTC)
SAID = {
    "TotalBandwidthUsed": 9999,
    "TotalOriginTraffic": 555,
    "TotalRequestsServed": 300,
    "CacheHitRate": 80.0,
    "BandwidthUsedChart": {"2026-11-20T00:00:00Z": 1000, "2026-11-21T00:00:00Z": 2000, "2026-11-22T00:00:00Z": 6999},
    "RequestsServedChart": {"2026-11-20T00:00:00Z": 100, "2026-11-21T00:00:00Z": 60, "2026-11-22T00:00:00Z": 140},
    "PullRequestsPulledChart": {"2026-11-20T00:00:00Z": 30, "2026-11-21T00:00:00Z": 10},
    "OriginTrafficChart": {},
    "Error4xxChart": {"2026-11-20T00:00:00Z": 2},
    "Error5xxChart": {},
}


def figures(**said: object) -> Figures:
    return Figures.model_validate(SAID | said)


def test_a_period_is_summed_up_from_its_own_intervals() -> None:
    found = read(figures(), FROM, TO, DAY)
    assert (found.requests, found.bytes_out, found.hits) == (160, 3000, 120)
    assert found.hit_ratio == 0.75
    assert (found.status_4xx, found.status_5xx) == (2, 0)
    assert found.bytes_origin == 555  # there is no chart of it
    assert [(point.at.day, point.requests, point.bytes_out, point.hits) for point in found.series] == [
        (20, 100, 1000, 70),
        (21, 60, 2000, 50),
    ]
    assert not found.sampled
    assert found.missing == {}


def test_without_charts_the_totals_are_told_and_what_is_missing() -> None:
    found = read(Figures.model_validate({"TotalRequestsServed": 300, "CacheHitRate": 80.0}), FROM, TO, DAY)
    assert (found.requests, found.hit_ratio, found.hits) == (300, 0.8, None)
    assert found.status_4xx is None
    assert set(found.missing) == {"hits", "bytes_out", "bytes_origin", "status_4xx", "status_5xx"}


def test_a_rate_that_may_be_percent_or_share_is_flagged() -> None:
    found = read(figures(CacheHitRate=0.8, PullRequestsPulledChart=None), FROM, TO, DAY)
    assert found.hit_ratio == 0.8
    assert "may be percent" in found.missing["hit_ratio"]


def test_a_zone_that_nobody_has_asked_has_no_ratio() -> None:
    found = read(figures(RequestsServedChart=None, TotalRequestsServed=0, CacheHitRate=0), FROM, TO, DAY)
    assert found.hit_ratio is None
    assert found.missing["hit_ratio"] == "there were no requests"


@pytest.mark.parametrize(
    "key",
    ["2026-11-20T00:00:00Z", "2026-11-20T00:00:00", "2026-11-20", "2026-11-20 00:00:00", "2026-11-20T01:00:00+01:00"],
)
def test_times_of_charts_may_be_written_in_several_ways(key: str) -> None:
    assert moment(key) == FROM
    assert read(figures(RequestsServedChart={key: 5}), FROM, TO, DAY).requests == 5


def test_times_that_nobody_can_read_are_left_out_and_told() -> None:
    found = read(figures(RequestsServedChart={"yesterday": 7, "2026-11-20": 5}), FROM, TO, DAY)
    assert found.requests == 5
    assert found.missing["series"] == "1 times are not as expected, and left out: 'yesterday'"


def test_the_question_names_the_zone_the_period_and_all_that_is_wanted() -> None:
    local = FROM.astimezone(tz=None)
    assert query(local, TO, HOUR, 7) == {
        "dateFrom": "2026-11-20T00:00:00Z",
        "dateTo": "2026-11-22T00:00:00Z",
        "pullZone": "7",
        "hourly": "true",
        "loadErrors": "true",
        "loadRequestsServed": "true",
        "loadBandwidthUsed": "true",
        "loadOriginTraffic": "true",
    }
    assert (interval(60), interval(HOUR), interval(DAY), interval(7 * DAY)) == (HOUR, HOUR, DAY, DAY)


numbers = st.one_of(st.none(), st.integers(0, 10**12), st.floats(allow_nan=True, allow_infinity=True))
charts = st.one_of(
    st.none(),
    st.dictionaries(
        st.one_of(st.text(max_size=5), st.datetimes(FROM.replace(tzinfo=None), TO.replace(tzinfo=None)).map(str)),
        numbers,
        max_size=5,
    ),
)


@given(said=st.fixed_dictionaries({}, optional={n: charts if n.endswith("Chart") else numbers for n in SAID}))
def test_whatever_comes_is_figures_that_agree_with_each_other(said: dict[str, object]) -> None:
    found = read(Figures.model_validate(said), FROM, TO, HOUR)
    assert found.hit_ratio is None or 0 <= found.hit_ratio <= 1
    if found.hits is not None and found.requests is not None and found.requests >= 0:
        assert 0 <= found.hits <= found.requests + 1
    assert all(FROM <= point.at < TO + timedelta(seconds=1) for point in found.series)
    for name in ("requests", "bytes_out", "bytes_origin", "hits", "hit_ratio", "status_4xx", "status_5xx"):
        assert getattr(found, name) is not None or name in found.missing
