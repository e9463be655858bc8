"""Histories for charts, groups of errors, and since when something is as it is."""

from __future__ import annotations

from math import isnan

import pytest

from balancer.decision import Decision
from balancer.tally import BOUNDS, RELATIVE_ERROR, SHORTEST, Histogram
from balancer.telemetry.changes_seen import ChangesSeen
from balancer.telemetry.error_groups import ErrorGroups
from balancer.telemetry.history import MOST, STEPS, History
from balancer.telemetry.quantiles import quantile
from tests.telemetry.reports import pool, report, server


def failed(outcome: str, status: int, at: float, route: str = "r", request_id: bytes = b"1") -> Decision:
    decision = Decision("main", "192.0.2.1", at - 0.5)
    decision.outcome, decision.status, decision.route, decision.finished = outcome, status, route, at
    decision.method, decision.target, decision.request_id = "GET", b"/a?secret=1", request_id
    return decision


def test_equal_failures_are_one_group_with_the_first_and_the_latest_of_them():
    groups = ErrorGroups()
    for at, id_ in ((60.0, b"first"), (61.0, b"x"), (3000.0, b"latest")):
        groups.observe(failed("deadline", 504, at, request_id=id_))
    groups.observe(failed("deadline", 502, 3001.0))
    latest, group = list(groups)
    assert (latest.status, group.status) == (502, 504)
    assert (group.count, group.first, group.last) == (3, 60.0, 3000.0)
    assert (group.first_sample["request_id"], group.sample["request_id"]) == ("first", "latest")
    assert group.sample["path"] == "/a"
    hour = group.last_hour(3000.0)
    assert (len(hour), hour[-1], hour[-50], sum(hour)) == (60, 1, 2, 3)
    assert groups.clear(group.id)
    assert not groups.clear(group.id)
    assert len(groups) == 1


def test_the_group_that_was_quiet_longest_makes_room():
    groups = ErrorGroups(most=3)
    for number in range(5):
        groups.observe(failed("deadline", 504, float(number), route=f"r{number}"))
    assert [group.route for group in groups] == ["r4", "r3", "r2"]
    assert (groups.forgotten, groups.counted) == (2, 5)


def test_points_are_rates_and_percentiles_of_their_own_time():
    history = History()
    one = server("a")
    for second in range(30):
        one.tally.codes[200] += 10
        one.tally.codes[500] += 2
        for _ in range(10):
            one.tally.latency.observe(0.001 if second < 20 else 0.1)
        history.sample(100.0 + second, 5000.0 + second, report(pool("web", [one])))
    line = history.line(("server", "web", "a"), 300.0)
    assert line is not None
    assert (line.step, len(line.times), line.times[-1]) == (1, 30, 5029.0)
    assert list(line.columns["requests"])[1:] == [12.0] * 29
    assert list(line.columns["errors_5xx"])[1:] == [2.0] * 29
    assert line.columns["p99"][10] == pytest.approx(0.001, rel=RELATIVE_ERROR)
    assert line.columns["p99"][25] == pytest.approx(0.1, rel=RELATIVE_ERROR)
    tens = history.line(("server", "web", "a"), 3600.0)
    assert tens is not None
    assert (tens.step, len(tens.times)) == (10, 3)
    assert isnan(history.line((), 300.0).columns["p99"][0])  # type: ignore[union-attr]  # it is there


def test_a_history_keeps_what_it_says_and_no_more_and_follows_no_more_than_it_may():
    history = History()
    servers = [server(f"s{number}") for number in range(2 * MOST)]
    for second in range(STEPS[1] + 10):
        history.sample(float(second + 1), float(second), report(pool("web", servers[: 2 if second else None])))
    line = history.line((), 900.0)
    assert line is not None
    assert (len(line.times), line.times[0]) == (STEPS[1], 10.0)
    assert len(history.keys) <= MOST
    assert history.line(("server", "web", "nobody"), 300.0) is None


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_off_by_no_more_than_is_stated(share):
    value = 1.01 * SHORTEST
    while value < BOUNDS[-1]:
        histogram = Histogram()
        for _ in range(100):
            histogram.observe(value)
        found = quantile(histogram.counts, share)
        assert found is not None
        assert abs(found - value) <= RELATIVE_ERROR * value
        value *= 1.37


def test_changes_are_counted_over_an_hour_and_the_last_one_is_remembered():
    seen: ChangesSeen[str] = ChangesSeen()
    assert seen.note("redis", "ok", 10.0) == (10.0, 0)
    assert seen.note("redis", "down", 20.0) == (20.0, 1)
    assert seen.note("redis", "down", 30.0) == (20.0, 1)
    assert seen.note("redis", "ok", 100.0) == (100.0, 2)
    assert seen.note("redis", "ok", 3650.0) == (100.0, 1)
    seen.keep({"cdn"})
    assert seen.note("redis", "ok", 4000.0) == (4000.0, 0)
