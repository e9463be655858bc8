import gc
import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from balancer.telemetry.metrics import Metrics, ProcessMetrics, wants_openmetrics
from balancer.telemetry.process import Process
from tests.telemetry.reports import VITALS, pool, report, server

# As Prometheus 2.53 and 3 send it.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=0.0.1", True),
        ("application/openmetrics-text; version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("text/plain;version=0.0.4", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("*/*", False),
        ("", False),
        (";,;=,q", False),
    ],
)
def test_openmetrics_is_for_those_who_ask_for_it(accept, openmetrics):
    assert wants_openmetrics(accept) == openmetrics


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", parse_text),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8", parse_openmetrics),
    ],
)
def test_a_page_holds_the_balancer_and_its_process(accept, content_type, parse):
    body, told = Metrics(5000, Process()).page(report(pool("app", [server()])), VITALS, accept)
    assert told == content_type
    names = [family.name for family in parse(body.decode())]
    assert {"balancer_server_up", "process_cpu_seconds", "process_open_fds", "python_gc_collections"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc the library tells nothing")
def test_the_process_is_described_as_the_library_would():
    def families(collector):
        return {f.name: (f.type, f.documentation, f.samples[0].value) for f in collector.collect()}

    gc.collect()  # what other tests have left closes its descriptors now, and not between two looks
    before = families(ProcessMetrics(Process()))
    theirs = families(ProcessCollector(registry=CollectorRegistry()))
    after = families(ProcessMetrics(Process()))
    assert before.keys() == theirs.keys()
    for name, (kind, documentation, value) in theirs.items():
        assert before[name][:2] == (kind, documentation)
        # Memory may grow and descriptors may close from look to look, and /proc counts time in hundredths.
        low, high = sorted((before[name][2], after[name][2]))
        assert low * 0.95 - 1.1 <= value <= high * 1.05 + 1.1


def test_a_system_without_proc_tells_less(tmp_path):
    told = {f.name for f in ProcessMetrics(Process(tmp_path)).collect()}
    assert told >= {"process_cpu_seconds", "process_open_fds"}
    assert "process_resident_memory_bytes" not in told
    assert os.listdir(tmp_path) == []
