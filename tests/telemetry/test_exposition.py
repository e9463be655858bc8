import shutil
import subprocess
from bisect import bisect_right
from dataclasses import replace

import pytest
from hypothesis import given
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from balancer.tally import BOUNDS, EXPORTED
from balancer.telemetry.catalogue import CATALOGUE
from balancer.telemetry.exposition import LEFT_OUT, SIZE, Exposition
from balancer.telemetry.families import Scrape
from tests.telemetry.reports import VITALS, pool, report, reports, server

FORMATS = pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])


class Oracle(Collector):
    """The same numbers through the library's own families."""

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self):
        for family in CATALOGUE:
            about = (family.name, family.help)
            samples = family.samples(self._scrape)
            match family.kind:
                case "counter":
                    told = CounterMetricFamily(*about, labels=family.labels, unit=family.unit)
                case "gauge":
                    told = GaugeMetricFamily(*about, labels=family.labels, unit=family.unit)
                case "info":
                    told = InfoMetricFamily(*about, labels=[])
                    samples = [((), dict(zip(family.labels, labels, strict=True))) for labels, _ in samples]
                case "histogram":
                    told = HistogramMetricFamily(*about, labels=family.labels, unit=family.unit)
                    for labels, histogram in samples:
                        reached = [sum(histogram.counts[: bisect_right(BOUNDS, bound)]) for bound in EXPORTED]
                        buckets = [(str(bound), count) for bound, count in zip(EXPORTED, reached, strict=True)]
                        buckets.append(("+Inf", sum(histogram.counts)))
                        told.add_metric(labels, buckets, histogram.total)
                    samples = []
            for labels, value in samples:
                told.add_metric(labels, value)
            yield told


def registry(scrape: Scrape) -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=False)
    made.register(Oracle(scrape))
    return made


def write(scrape: Scrape, openmetrics: bool = False, max_series: int = 100_000) -> str:
    text = Exposition(CATALOGUE, max_series).write(scrape, openmetrics)
    return text + "# EOF\n" if openmetrics else text


def parsed(text: str, openmetrics: bool):
    """Families by name: what they mean, and their samples."""
    parse = parse_openmetrics if openmetrics else parse_text
    return {
        family.name: (
            family.type,
            family.documentation,
            family.unit,
            {(sample.name, frozenset(sample.labels.items())): sample.value for sample in family.samples},
        )
        for family in parse(text)
        if family.name != LEFT_OUT.name
    }


@pytest.mark.slow
@given(reports())
@FORMATS
def test_what_is_written_means_what_the_library_would_have_written(openmetrics, told):
    scrape = Scrape(told, VITALS)
    generate = generate_openmetrics if openmetrics else generate_latest
    right = generate(registry(scrape)).decode()
    assert parsed(write(scrape, openmetrics), openmetrics) == parsed(right, openmetrics)


@FORMATS
def test_a_second_scrape_shows_what_has_changed(openmetrics):
    told = report(pool("app", [server()]))
    exposition = Exposition(CATALOGUE, 1000)
    exposition.write(Scrape(told, VITALS), openmetrics)
    told.pools["app"].servers[0].tally.codes[200] = 41
    assert 'balancer_server_requests_total{pool="app",server="a",code="200"} 41\n' in exposition.write(
        Scrape(told, VITALS), openmetrics
    )


def test_names_that_have_gone_are_forgotten():
    exposition = Exposition(CATALOGUE, 1000)
    for generation in range(1, 20):
        told = report(pool(f"app-{generation}", [server()]), generation=generation)
        text = exposition.write(Scrape(told, VITALS), openmetrics=False)
        assert f"app-{generation}" in text
    assert sum(map(len, exposition._templates.values())) < 200


@FORMATS
def test_names_cannot_break_out_of_their_quotes(openmetrics):
    name = 'a"} 1\nevil_total{x="\\%s %% '
    text = write(Scrape(report(pool(name, [server(name)])), VITALS), openmetrics)
    assert not any(line.startswith("evil") for line in text.splitlines())
    samples = parsed(text, openmetrics)["balancer_server_up"][3]
    assert samples == {("balancer_server_up", frozenset({("pool", name), ("server", name)})): 1}


def test_series_beyond_the_bound_are_left_out_and_counted():
    told = report(pool("app", [server(str(n)) for n in range(100)]))
    everything = sum(not line.startswith("#") for line in write(Scrape(told, VITALS)).splitlines())
    exposition = Exposition(CATALOGUE, 500)
    for scrape in (1, 2):
        text = exposition.write(Scrape(told, VITALS), openmetrics=False)
        kept = [line for line in text.splitlines() if not line.startswith("#")]
        assert 500 - SIZE < len(kept) - 1 <= 500
        assert exposition.dropped == scrape * (everything - len(kept))
        assert kept[-1] == f"balancer_metrics_series_dropped_total {exposition.dropped}"


def test_a_histogram_is_written_whole_or_not_at_all():
    told = report(pool("app", [server(str(n)) for n in range(20)]))
    everything = sum(not line.startswith("#") for line in write(Scrape(told, VITALS)).splitlines()) - 1
    for bound in range(everything - 3 * SIZE, everything):
        series = write(Scrape(told, VITALS), max_series=bound)
        buckets = series.count("balancer_server_response_duration_seconds_bucket{")
        assert buckets == (SIZE - 2) * series.count("balancer_server_response_duration_seconds_count{")


def test_alarms_are_the_last_to_be_left_out():
    told = report(pool("app", [server(str(n)) for n in range(500)], panic=True))
    assert 'balancer_pool_panic{pool="app"} 1\n' in write(Scrape(told, VITALS), max_series=100)


def test_what_is_not_known_is_absent_and_not_zero():
    told = report(pool("app", [server()]))
    text = write(Scrape(told, VITALS))
    for name in ("balancer_redis_up", "balancer_event_loop_lag_seconds", "balancer_server_latency_average_seconds"):
        assert f"# TYPE {name} gauge\n" in text
        assert not any(line.startswith(name) for line in text.splitlines())
    known = replace(VITALS, redis_up=False, loop_lag=0.0)
    text = write(Scrape(report(pool("app", [server(latency=0.0)])), known))
    assert "balancer_redis_up 0\n" in text
    assert "balancer_event_loop_lag_seconds 0.0\n" in text
    assert 'balancer_server_latency_average_seconds{pool="app",server="a"} 0.0\n' in text


def test_checks_of_servers_that_planes_do_not_have_are_not_shown():
    class Checks:
        passed, failed = 5, 1

    seen = replace(VITALS, checks={("app", "a"): Checks(), ("app", "gone"): Checks()})
    text = write(Scrape(report(pool("app", [server()])), seen))
    assert 'balancer_server_health_checks_total{pool="app",server="a",result="passed"} 5\n' in text
    assert "gone" not in text


def test_failures_have_a_series_before_the_first_one():
    text = write(Scrape(report(pool("app", [server()])), VITALS))
    assert 'balancer_server_failures_total{pool="app",server="a",kind="connect"} 0\n' in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is part of Prometheus, which is not installed")
def test_promtool_finds_nothing_wrong():
    told = report(pool("app", [server()], panic=True))
    told.listeners["main"].requests["GET", 200] += 1
    text = write(Scrape(told, replace(VITALS, redis_up=True, loop_lag=0.1)))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
