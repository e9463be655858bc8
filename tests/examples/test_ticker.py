"""The line a second that the demonstration prints."""

from __future__ import annotations

import pytest

from examples.ticker import Reading, ServerReading, line, number, reading

METRICS = {
    "requests": {"total": 1200, "per_second": 19.5},
    "errors": {"by_class": {"5xx": {"total": 3}}},
    "latency": {"last_minute": {"p50": 0.0021, "p99": 0.0154}},
    "in_flight": 2,
}
STATUS = {
    "pools": {
        "default": {
            "servers": {
                "127.0.0.1:3001": {"url": "http://127.0.0.1:3001", "state": "up", "requests": 700},
                "127.0.0.1:3002": {"url": "http://127.0.0.1:3002", "state": "down", "requests": 500},
            }
        },
        "cdn": {"servers": {"edge": {"url": "internal:cdn", "state": "up", "requests": 9}}},
    }
}
NAMES = {"127.0.0.1:3001": "app-1", "127.0.0.1:3002": "app-2"}


def test_a_line_tells_the_figures_of_the_last_second():
    before = Reading(servers={"127.0.0.1:3001": ServerReading("up", 690), "127.0.0.1:3002": ServerReading("up", 500)})
    assert line(reading(METRICS, STATUS), before, NAMES) == (
        "  19.5 req/s  p50    2.1 ms  p99   15.4 ms  in flight  2  errors 3  |  app-1 up    10/s  app-2 DOWN   0/s"
    )


def test_without_a_rate_the_rise_of_the_total_is_told():
    assert "   7.0 req/s" in line(Reading(total=107), Reading(total=100), {})


def test_servers_are_found_in_lists_too():
    listed = {"servers": [{"url": "http://10.0.0.1:80", "state": "drained"}]}
    assert reading({}, listed).servers == {"10.0.0.1:80": ServerReading("drained", None)}


@pytest.mark.parametrize("document", [None, [], "text", 3, {}, {"requests": None, "latency": "fast", "pools": [None]}])
def test_documents_of_another_shape_give_dashes_and_no_error(document):
    said = line(reading(document, document), Reading(), {})
    assert said.startswith("     - req/s")


def test_a_number_is_taken_from_its_path_only():
    assert number({"a": {"b": 2}}, "a", "b") == 2
    assert number({"a": {"b": 2}}, "a") is None
    assert number({"a": {"b": None}}, "a", "b") is None
