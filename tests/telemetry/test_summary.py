import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from balancer.tally import ServerTally
from balancer.telemetry.figures import Figures
from balancer.telemetry.last_errors import LastErrors
from balancer.telemetry.process import LoopLag, Process, ProcessFigures
from balancer.telemetry.rates import Recent
from balancer.telemetry.report import Report
from balancer.telemetry.summary import figures, process_use
from tests.telemetry.reports import pool, report, reports, server
from tests.telemetry.test_access_log import decided
from tests.telemetry.test_rates import after, serve

WALL = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
USE = process_use(ProcessFigures(1.5, 1000, 2000, 30, 1024, 0.0), LoopLag(), "uvloop")


def told(seen: Report, recent: Recent | None = None, health=None, errors=()) -> Figures:
    return figures(seen, recent or Recent(), health or {}, USE, errors, WALL)


def test_rates_and_totals_stand_side_by_side():
    seen = report(pool("app", [server("a"), server("b")]))
    recent = after(70, seen, per_second=5)
    now = told(seen, recent)
    for part in (now, now.routes["api"], now.pools["app"].servers["a"]):
        assert part.requests.total == 71 * 5
        assert part.requests.per_second == pytest.approx(5)
        assert part.requests.per_second_1m == pytest.approx(5)
        assert part.requests.per_second_5m == pytest.approx(5)
        assert part.requests.reason is None
        assert part.latency.last_minute.p99 == pytest.approx(0.02, rel=0.2)
    assert now.pools["app"].requests.total == 2 * 71 * 5
    assert now.uptime == 100.0


def test_what_is_not_known_yet_is_null_with_a_reason():
    now = told(report(pool("app", [server()])))
    for rate in (now.requests, now.errors.by_class["5xx"], now.errors.by_kind.limit, now.bytes.sent):
        assert (rate.total, rate.per_second, rate.per_second_1m, rate.per_second_5m) == (0, None, None, None)
        assert rate.reason
    for quantiles in (now.latency.last_minute, now.routes["api"].latency.since_start):
        assert (quantiles.p50, quantiles.p90, quantiles.p99, quantiles.max) == (None, None, None, None)
        assert quantiles.reason
    checks = now.pools["app"].servers["a"].checks
    assert checks.last_ok is None
    assert checks.reason
    assert now.process.loop_lag is None
    assert now.process.reason


def test_a_system_that_tells_little_says_so():
    use = process_use(ProcessFigures(1.5, None, None, None, None, None), LoopLag(), "asyncio")
    assert use.resident_bytes is None
    assert use.reason == "this system does not tell"


def test_errors_are_told_by_class_and_by_kind():
    seen = report(pool("app", [server()]))
    for status, requests in ((404, 1), (429, 2), (502, 4), (504, 8)):
        serve(seen, requests, status)
    errors = told(seen).errors
    assert {name: rate.total for name, rate in errors.by_class.items()} == {"4xx": 3, "5xx": 12}
    kinds = errors.by_kind
    assert [rate.total for rate in (kinds.client, kinds.limit, kinds.upstream, kinds.timeout)] == [1, 2, 4, 8]


def test_attempts_without_an_answer_are_a_servers_errors_and_not_twice_its_pools():
    tally = ServerTally()
    tally.failures |= {"connect": 3, "timeout": 2}
    seen = report(pool("app", [server(tally=tally)]))
    seen.pools["app"].tally.unserved[502] = 1
    app = told(seen).pools["app"]
    assert app.servers["a"].errors.by_kind.upstream.total == 3
    assert app.servers["a"].errors.by_kind.timeout.total == 2
    assert app.servers["a"].failures == {"connect": 3, "timeout": 2}
    assert app.errors.by_kind.upstream.total == 1
    assert app.unserved == {"502": 1}


def test_checks_are_told_as_the_prober_saw_them():
    class Last:
        ok, reason, seconds = False, "answered 503, expected 200-399", 0.012

    class Record:
        passed, failed, last = 5, 2, Last()

    class Fresh:
        passed, failed, last = 0, 0, None

    seen = report(pool("app", [server("a"), server("b")]))
    servers = told(seen, health={("app", "a"): Record(), ("app", "b"): Fresh()}).pools["app"].servers
    assert servers["a"].checks.model_dump() == {
        "passed": 5,
        "failed": 2,
        "last_ok": False,
        "last_seconds": 0.012,
        "reason": "answered 503, expected 200-399",
    }
    assert servers["b"].checks.last_ok is None
    assert servers["b"].checks.reason


def test_errors_are_told_with_the_time_on_the_wall():
    errors = LastErrors()
    errors.observe(decided(started=69.5, finished=70.0, status=502, outcome="upstream-connect"))
    (error,) = told(report(), errors=errors).last_errors  # at 100.0
    assert error.at == WALL - timedelta(seconds=30)
    assert (error.status, error.outcome, error.server, error.seconds) == (502, "upstream-connect", "a", 0.5)


def test_a_loop_that_was_held_up_shows():
    lag = LoopLag()
    for now in (0.0, 1.25, 2.25):
        lag.beat(now)
    use = process_use(Process().figures(), lag, "asyncio")
    assert (use.loop_lag, use.loop_lag_worst) == (0.0, 0.25)


@pytest.mark.slow
@given(reports())
def test_any_report_makes_an_answer_of_finite_numbers(seen):
    recent = Recent()
    recent.sample(seen.now, seen)
    recent.sample(seen.now + 1, seen)

    def finite(value: object) -> bool:
        if isinstance(value, dict):
            return all(map(finite, value.values()))
        if isinstance(value, list):
            return all(map(finite, value))
        return not isinstance(value, float) or math.isfinite(value)

    assert finite(json.loads(told(seen, recent).model_dump_json()))
