"""What Prometheus gets when it asks: the balancer's metrics, and those of its process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from balancer.telemetry.catalogue import CATALOGUE
from balancer.telemetry.exposition import Exposition
from balancer.telemetry.families import Scrape, Vitals
from balancer.telemetry.process import Process
from balancer.telemetry.report import Report


class Metrics:
    """The page at `metrics.path`.

    The balancer's own numbers are written by `Exposition`: the library takes tens of milliseconds for some
    thousand series, and everything would wait. The few of the process are the library's.
    """

    def __init__(self, max_series: int, process: Process) -> None:
        self._exposition = Exposition(CATALOGUE, max_series)
        self._process = CollectorRegistry()
        self._process.register(ProcessMetrics(process))
        GCCollector(registry=self._process)

    def page(self, report: Report, vitals: Vitals, accept: str) -> tuple[bytes, str]:
        """Body and content type; `accept` is the request's field, "" when there is none."""
        scrape = Scrape(report, vitals)
        if wants_openmetrics(accept):
            text = self._exposition.write(scrape, openmetrics=True)
            closing: bytes = openmetrics.generate_latest(self._process)  # type: ignore[no-untyped-call]  # theirs
            return text.encode() + closing, openmetrics.CONTENT_TYPE_LATEST
        text = self._exposition.write(scrape, openmetrics=False)
        return text.encode() + generate_latest(self._process), CONTENT_TYPE_PLAIN_0_0_4


class ProcessMetrics(Collector):
    """The `process_*` of every Prometheus client, by the names and meanings of the library's own collector.

    That one lists all descriptors, which takes 7 ms with 9000 connections.
    """

    def __init__(self, process: Process) -> None:
        self._process = process

    def collect(self) -> Iterator[Metric]:
        now = self._process.figures()
        yield CounterMetricFamily(
            "process_cpu_seconds", "Total user and system CPU time spent in seconds.", value=now.cpu
        )
        for name, help_text, value in (
            ("start_time_seconds", "Start time of the process since unix epoch in seconds.", now.started),
            ("resident_memory_bytes", "Resident memory size in bytes.", now.resident),
            ("virtual_memory_bytes", "Virtual memory size in bytes.", now.virtual),
            ("open_fds", "Number of open file descriptors.", now.descriptors),
            ("max_fds", "Maximum number of open file descriptors.", now.max_descriptors),
        ):
            if value is not None:
                yield GaugeMetricFamily("process_" + name, help_text, value=value)


def wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is asked for, and not less than the older text format."""
    wish = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for choice in accept.lower().split(","):
        kind, *rest = (part.strip() for part in choice.split(";"))
        parameters = dict(parameter.split("=", 1) for parameter in rest if "=" in parameter)
        # 0.0.1 was the draft that became 1.0.0, and Prometheus still asks for it by that name.
        known = kind == "text/plain" or parameters.get("version", "1.0.0") in ("1.0.0", "0.0.1")
        if kind in wish and known:
            wish[kind] = max(wish[kind], _quality(parameters.get("q", "1")))
    return 0.0 < wish["application/openmetrics-text"] >= wish["text/plain"]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
