"""When a change on trial has to be undone."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from balancer.tally import ListenerTally, PoolTally, RouteTally, ServerTally
from balancer.telemetry.report import PoolReport, Report
from balancer.trial import LEAST, SPAN, STEP, WHOLE, Sum, Trend, Trial, change, risen, sums

COUNTS = st.integers(0, 10_000)
SUMS = st.builds(lambda good, bad: Sum(good + bad, bad), COUNTS, COUNTS)
THEN = datetime(2026, 11, 30, tzinfo=UTC)


def report(good: int = 0, bad: int = 0, *, route: str = "r", attempts: int = 0, lost: int = 0) -> Report:
    listener, tally, server = ListenerTally(), RouteTally(), ServerTally()
    listener.requests["GET", 200] = good
    listener.requests["GET", 502] = bad
    tally.codes[200], tally.codes[502] = good, bad
    server.requests = attempts
    server.failures["connect"] = lost
    pool = PoolReport("p", "hash", False, 0, PoolTally(), (), server)
    return Report(1, 0.0, 0.0, {"main": listener}, {route: tally}, {"p": pool})


def test_a_report_is_summed_up_as_a_whole_and_by_route_and_pool() -> None:
    found = sums(report(90, 10, attempts=120, lost=15))
    assert found == {WHOLE: Sum(100, 10), ("route", "r"): Sum(100, 10), ("pool", "p"): Sum(120, 15)}


@given(before=SUMS, since=SUMS)
def test_nothing_is_said_of_a_handful_of_errors_or_of_fewer_than_before(before: Sum, since: Sum) -> None:
    said = risen({WHOLE: before}, {WHOLE: since})
    if since.bad < LEAST or since.share <= before.share:
        assert said is None


@given(before=SUMS, more=st.integers(1, 1000))
def test_what_is_said_of_some_errors_is_said_of_more_of_them(before: Sum, more: int) -> None:
    few = risen({WHOLE: before}, {WHOLE: Sum(1000, 500)})
    many = risen({WHOLE: before}, {WHOLE: Sum(1000 + more, 500 + more)})
    assert few is None or many is not None


def test_a_site_without_errors_may_not_have_some_of_a_sudden() -> None:
    before = {WHOLE: Sum(10_000, 0)}
    assert risen(before, {WHOLE: Sum(1000, 9)}) is None
    assert risen(before, {WHOLE: Sum(10_000, 100)}) is None, "one in a hundred is not more than that"
    assert risen(before, {WHOLE: Sum(1000, 30)}) == ("errors rose: 3% answers of 500 and more in all since, 0% before")


def test_a_site_with_many_errors_may_keep_them() -> None:
    before = {WHOLE: Sum(1000, 300)}
    assert risen(before, {WHOLE: Sum(1000, 500)}) is None
    assert risen(before, {WHOLE: Sum(1000, 700)}) is not None


def test_chance_is_no_reason() -> None:
    before = {WHOLE: Sum(50, 5)}
    assert risen(before, {WHOLE: Sum(40, 10)}) is None, "a quarter of few may be chance"
    assert risen(before, {WHOLE: Sum(400, 100)}) is None, "against so little before, too"
    assert risen({WHOLE: Sum(500, 50)}, {WHOLE: Sum(400, 100)}) is not None


def test_a_route_that_breaks_is_seen_among_many_that_do_not() -> None:
    before = {WHOLE: Sum(100_000, 0), ("route", "small"): Sum(200, 0)}
    since = {WHOLE: Sum(100_000, 50), ("route", "small"): Sum(50, 50)}
    assert risen(before, since) == "errors rose: 100% answers of 500 and more of route small since, 0% before"


def test_a_route_that_is_new_is_held_against_all_answers() -> None:
    since = {WHOLE: Sum(1000, 20), ("route", "new"): Sum(20, 20)}
    assert risen({WHOLE: Sum(1000, 0)}, since) is not None
    assert risen({WHOLE: Sum(1000, 900)}, {("route", "new"): Sum(20, 20)}) is None


def test_attempts_that_fail_count_though_others_answer_in_their_place() -> None:
    since = change(sums(report(100)), sums(report(200, attempts=100, lost=50)))
    assert risen({("pool", "p"): Sum(1000, 0)}, since) == (
        "errors rose: 50% attempts without an answer of pool p since, 0% before"
    )


def test_what_is_before_any_traffic_is_no_excuse() -> None:
    assert risen({}, {WHOLE: Sum(20, 20)}) is not None


@given(old=SUMS, new=SUMS)
def test_counts_that_began_anew_count_from_zero(old: Sum, new: Sum) -> None:
    found = change({WHOLE: old}, {WHOLE: new})[WHOLE]
    assert 0 <= found.bad <= found.total
    total, bad = new.total - old.total, new.bad - old.bad
    assert found == (new if min(total, bad) < 0 else Sum(max(total, bad), bad))


def test_what_was_under_way_and_ends_badly_is_not_held_against_a_whole_life() -> None:
    began = sums(report(attempts=100_000, lost=20_000))  # with attempts that are still open
    since = change(began, sums(report(attempts=100_001, lost=20_003)))
    assert since["pool", "p"] == Sum(3, 3)
    assert risen({("pool", "p"): Sum(1000, 0)}, since) is None, "three are a handful"


def test_a_change_is_held_against_the_last_minutes_and_not_against_years() -> None:
    trend = Trend()
    for second in range(0, 3600):
        trend.sample(float(second), report(good=10 * second, bad=second if second < 3000 else 3000))
    found = trend.until(report(good=36_000, bad=3000))[WHOLE]
    assert found.bad == 0
    assert 10 * (SPAN - STEP) <= found.total <= 10 * (SPAN + 2 * STEP)
    assert Trend().until(report(5)) == {}


def trial(deadline: float) -> Trial:
    before = {WHOLE: Sum(1000, 0)}
    return Trial(7, "alice", THEN, THEN, deadline, before, sums(report(1000)))


def test_it_is_over_when_nobody_confirmed_it_or_when_errors_rise_before() -> None:
    assert trial(30.0).verdict(29.9, report(1100)) is None
    assert trial(30.0).verdict(30.0, report(1100)) == "nobody confirmed it in time"
    assert "errors rose" in (trial(30.0).verdict(1.0, report(1100, 50)) or "")
