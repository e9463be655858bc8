import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from balancer.telemetry.program_log import configure, get_logger
from balancer.telemetry.sink import Sink

Read = Callable[[], str]


@pytest.fixture
def sink(tmp_path) -> Iterator[Sink]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    made = Sink(str(tmp_path / "log"))
    yield made
    made.close()
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def read(tmp_path) -> Read:
    return (tmp_path / "log").read_text


def test_an_event_is_one_json_line(sink, read):
    configure(sink, "info", "json")
    get_logger("balancer.control").info("reloaded", generation=3, pools=["app"])
    line = json.loads(read())
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "balancer.control",
        "event": "reloaded",
        "generation": 3,
        "pools": ["app"],
    }


def test_an_event_as_text_is_for_reading(sink, read):
    configure(sink, "info", "text")
    get_logger("balancer.control").warning("reload refused", problems=2)
    assert read().endswith(" [warning  ] reload refused [balancer.control] problems=2\n")


def test_auto_is_json_where_no_terminal_is(sink, read):
    configure(sink, "info", "auto")
    get_logger("balancer").info("ready")
    assert json.loads(read())["event"] == "ready"


def test_what_is_below_the_level_is_not_written_and_the_level_can_be_changed(sink, read):
    log = get_logger("balancer")
    configure(sink, "warning", "json")
    log.info("first")
    configure(sink, "debug", "json")
    log.debug("second")
    assert [json.loads(line)["event"] for line in read().splitlines()] == ["second"]


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_are_not_written(sink, read, form):
    configure(sink, "info", form)
    get_logger("balancer").info(
        "connected", url="redis://u:pa55word@h/0", headers={"Authorization": "pa55word"}, password="pa55word"
    )
    assert "connected" in read()
    assert "pa55word" not in read()


def test_what_a_client_sent_cannot_make_a_line_of_its_own_or_steer_the_terminal(sink, read):
    configure(sink, "info", "text")
    get_logger("balancer").info("bad head", head="GET /\x1b[2J HTTP/1.1\r\nforged line")
    assert read().count("\n") == 1
    assert "\x1b[2J" not in read()


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_written_with_its_trace(sink, read, form):
    configure(sink, "info", form)
    try:
        raise ValueError("a\x1bb")
    except ValueError:
        get_logger("balancer").exception("task failed", task="sweeper")
    assert "Traceback (most recent call last)" in read()
    assert "\x1b" not in read()


def test_libraries_are_heard_from_warnings_up(sink, read):
    configure(sink, "info", "json")
    logging.getLogger("aiohttp.server").info("too much")
    logging.getLogger("aiohttp.server").error("Error handling %s", "request")
    (line,) = read().splitlines()
    assert (json.loads(line)["logger"], json.loads(line)["event"]) == ("aiohttp.server", "Error handling request")


def test_what_json_cannot_hold_is_written_all_the_same(sink, read):
    configure(sink, "info", "json")
    get_logger("balancer").info("odd", name="\udcff", kind={1: object}, path=object())
    assert json.loads(read())["name"] == "\udcff"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_full_disk_is_not_the_programs_trouble(sink, form):
    full = Sink("/dev/full")
    configure(full, "info", form)
    get_logger("balancer").info("going on")
    assert full.dropped == 1
    full.close()


def test_a_logger_that_was_made_before_the_log_was_configured_writes_to_it(sink, read):
    log = structlog.get_logger("balancer.health")
    configure(sink, "info", "json")
    log.info("up")
    assert json.loads(read())["logger"] == "balancer.health"
