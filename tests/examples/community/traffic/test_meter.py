"""Counting what became of the traffic."""

from __future__ import annotations

from examples.community.traffic.meter import Meter, quantile


def metered() -> Meter:
    meter = Meter(now=100.0)
    for i in range(90):
        meter.answered(100.0 + i / 10, "home", 200, f"app-{1 + i % 3}", 0.010)
    for i in range(9):
        meter.answered(109.0 + i / 10, "post", 500, "app-1", 0.500)
    meter.failed("post", "cannot connect")
    return meter


def test_the_line_tells_rate_errors_latency_and_shares():
    line = metered().line(110.0)
    assert "  9.9 req/s  ok 90  err 10  p50 10.0 ms  p99 500.0 ms" in line
    assert line.endswith("app-1 39%  app-2 30%  app-3 30%")


def test_the_line_looks_back_ten_seconds_only():
    meter = metered()
    assert meter.line(118.95).startswith("   0.9 req/s")
    assert meter.line(130.0).startswith("   0.0 req/s")
    assert "p50 -" in meter.line(130.0)


def test_refusals_are_told_apart_from_errors():
    meter = Meter(now=0.0)
    meter.answered(0.5, "post", 404, "app-1", 0.001)
    meter.answered(0.6, "style", 304, "app-1", 0.001)
    assert "ok 1  4xx 1  err 0" in meter.line(1.0)


def test_the_summary_adds_up():
    summary = "\n".join(metered().summary(110.0))
    assert "requests  100 in 10.0 s (10.0/s)" in summary
    assert "answers   2xx 90  5xx 9  none 1" in summary
    assert "p50 10.0 ms  p90 10.0 ms  p99 500.0 ms  max 500.0 ms" in summary
    assert "troubles  post: 500 9  post: cannot connect 1" in summary


def test_a_meter_of_nothing_can_be_read():
    meter = Meter(now=5.0)
    assert "0.0 req/s  ok 0  err 0" in meter.line(5.0)
    assert meter.summary(5.0)[0].startswith("requests  0")


def test_a_quantile_is_one_of_the_values():
    assert quantile([], 0.5) is None
    assert quantile([1.0], 0.99) == 1.0
    assert [quantile([1.0, 2.0, 3.0, 4.0], q) for q in (0.0, 0.5, 0.99, 1.0)] == [1.0, 3.0, 4.0, 4.0]
