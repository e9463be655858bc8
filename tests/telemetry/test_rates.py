import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.tally import ListenerTally, RouteTally, ServerTally
from balancer.telemetry.quantiles import quantile
from balancer.telemetry.rates import STEP, Recent, kind, of_codes, of_server
from balancer.telemetry.report import Report
from tests.telemetry.reports import pool, report, server


def serve(told: Report, requests: int, status: int = 200, latency: float = 0.02) -> None:
    """Let every part of the report count so many more requests."""
    told.listeners["main"].requests["GET", status] += requests
    told.routes["api"].codes[status] += requests
    for _, each in told.servers():
        each.tally.codes[status] += requests
        for _ in range(requests):
            each.tally.latency.observe(latency)
    for _ in range(requests):
        told.routes["api"].latency.observe(latency)


def a_report() -> Report:
    return report(pool("app", [server("a"), server("b")]))


def after(seconds: int, told: Report, per_second: int, recent: Recent | None = None, start: float = 1000.0) -> Recent:
    """Samples of so many seconds, in each of which so many requests are served."""
    recent = recent or Recent()
    for second in range(seconds + 1):
        recent.sample(start + second, told)
        serve(told, per_second)
    return recent


def test_nothing_is_known_before_the_second_sample():
    recent = Recent()
    assert recent.rates((), "now") is None
    recent.sample(1.0, a_report())
    assert recent.rates((), "now") is None
    assert recent.rates((), "minute") is None


@pytest.mark.parametrize("window", ["now", "minute", "five_minutes"])
@pytest.mark.parametrize("key", [(), ("listener", "main"), ("route", "api"), ("server", "app", "a")])
def test_a_steady_rate_is_told_in_every_window(key, window):
    recent = after(400, a_report(), per_second=7)
    assert recent.rates(key, window).requests == pytest.approx(7)


def test_a_pool_has_the_rate_of_all_its_servers():
    told = a_report()
    recent = after(10, told, per_second=3)
    assert recent.rates(("pool", "app"), "minute").requests == pytest.approx(6)
    told.pools["app"].tally.unserved[503] += 5
    recent.sample(1011.0, told)
    assert recent.rates(("pool", "app"), "now").errors_5xx == pytest.approx(5)


def test_a_young_balancer_tells_the_rate_since_its_start():
    assert after(5, a_report(), per_second=4).rates((), "five_minutes").requests == pytest.approx(4)


def test_a_burst_leaves_each_window_in_its_time():
    told = a_report()
    recent = after(2, told, per_second=1000)
    after(100, told, per_second=0, recent=recent, start=1003.0)
    assert recent.rates((), "now").requests == 0
    assert recent.rates((), "minute").requests == 0
    assert recent.rates((), "five_minutes").requests > 0
    after(400, told, per_second=0, recent=recent, start=1104.0)
    assert recent.rates((), "five_minutes").requests == 0


def test_windows_are_as_long_as_their_names_or_a_step_longer():
    told = a_report()
    recent = after(100, told, per_second=0)
    serve(told, 600)
    after(59, told, per_second=0, recent=recent, start=1101.0)
    assert 600 / (60 + STEP) <= recent.rates((), "minute").requests <= 600 / 60


def test_a_server_that_is_removed_makes_no_rate_negative():
    told = a_report()
    recent = after(20, told, per_second=10)
    left = report(pool("app", [told.pools["app"].servers[0]]))
    recent.sample(1021.0, left)
    assert recent.rates(("pool", "app"), "minute").requests >= 0
    assert recent.rates(("server", "app", "b"), "minute") is None


def test_counts_that_begin_anew_count_from_zero():
    told = a_report()
    recent = after(20, told, per_second=10)
    again = a_report()
    serve(again, 3)
    recent.sample(1021.0, again)
    assert recent.rates(("server", "app", "a"), "now").requests == 3


def test_what_is_new_counts_from_zero():
    recent = after(3, a_report(), per_second=1)
    tally = ServerTally()
    tally.codes[200] = 8
    recent.sample(1004.0, report(pool("app", [server("c", tally=tally)])))
    assert recent.rates(("server", "app", "c"), "now").requests == 8


def test_of_things_nobody_has_heard_of_nothing_is_known():
    recent = after(3, a_report(), per_second=1)
    assert recent.rates(("route", "nowhere"), "now") is None
    assert sum(recent.latencies(("route", "nowhere"))) == 0


@pytest.mark.parametrize("key", [(), ("route", "api"), ("pool", "app"), ("server", "app", "b")])
def test_latencies_are_those_of_the_last_minute(key):
    told = a_report()
    recent = Recent()
    for second in range(200):
        recent.sample(1000.0 + second, told)
        serve(told, 1, latency=2.0 if second < 100 else 0.02)
    assert quantile(recent.latencies(key), 1.0) < 0.03


def test_latencies_of_a_pool_are_those_of_all_its_servers():
    told = a_report()
    recent = after(3, told, per_second=2)
    assert sum(recent.latencies(("pool", "app"))) == 2 * sum(recent.latencies(("server", "app", "a"))) > 0


def test_before_the_first_sample_there_are_no_latencies():
    assert sum(Recent().latencies(())) == 0


@given(st.dictionaries(st.integers(100, 599), st.integers(0, 1000)))
def test_every_error_has_one_class_and_one_kind(codes):
    counts = of_codes(codes)
    errors = sum(count for status, count in codes.items() if status >= 400)
    assert counts.errors_4xx + counts.errors_5xx == errors
    assert counts.client + counts.upstream + counts.timeout + counts.limit == errors
    assert counts.requests == sum(codes.values())


@pytest.mark.parametrize(
    ("status", "whose"),
    [
        *((status, "client") for status in (400, 404, 499)),
        *((status, "timeout") for status in (408, 504)),
        *((status, "limit") for status in (413, 414, 429, 431)),
        *((status, "upstream") for status in (500, 502, 503)),
    ],
)
def test_an_error_is_told_by_whose_fault_it_is(status, whose):
    assert kind(status) == whose


def test_attempts_without_an_answer_are_lost_or_late():
    tally = ServerTally()
    tally.failures |= {"connect": 1, "reset": 2, "malformed": 4, "timeout": 8, "connect-timeout": 16}
    assert (of_server(tally).lost, of_server(tally).late) == (7, 24)


@pytest.mark.slow
def test_memory_does_not_grow_with_uptime():
    """Ten servers for half an hour take no more than for seven minutes."""
    told = report(pool("app", [server(str(n)) for n in range(10)]))
    recent = Recent()
    tracemalloc.start()
    try:
        sizes = []
        for second in range(1800):
            recent.sample(float(second), told)
            serve(told, 1)
            if second in (400, 1799):
                sizes.append(tracemalloc.get_traced_memory()[0])
        assert sizes[1] < sizes[0] * 1.2
        assert sizes[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_report_without_anything_can_be_sampled():
    recent = Recent()
    for now in (1.0, 2.0):
        recent.sample(now, Report(1, 0.0, now, {}, {}, {}))
    assert recent.rates((), "now") is None


def test_bytes_have_rates_too():
    recent = Recent()
    told = Report(1, 0.0, 0.0, {"main": ListenerTally()}, {"api": RouteTally()}, {})
    recent.sample(0.0, told)
    told.listeners["main"].bytes_out += 5000
    recent.sample(2.0, told)
    assert recent.rates((), "now").bytes_out == 2500
