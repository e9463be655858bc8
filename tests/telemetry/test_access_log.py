import json
import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.decision import Decision, Identity
from balancer.ewma import PeakEwma
from balancer.server import Server
from balancer.telemetry.access_log import FIELDS, AccessLog, open_log
from balancer.telemetry.redaction import Redaction
from balancer.telemetry.sink import Sink
from config import schema

WALL = 1_700_000_000.25


def decided(**changes: object) -> Decision:
    """A request that went well, but for the changes."""
    decision = Decision("main", "203.0.113.9", 1000.0)
    fields: dict[str, object] = {
        "method": "GET",
        "host": b"example.com",
        "target": b"/api/posts?page=2",
        "version": b"1.1",
        "user_agent": b"curl/8",
        "request_id": b"4bf92f35",
        "route": "api",
        "pool": "app",
        "server": Server(("app", "a"), "http://a:80", "a", 80, PeakEwma(10.0, 0.03)),
        "attempts": 1,
        "first_byte": 1000.0125,
        "finished": 1000.0250004,
        "status": 200,
        "bytes_out": 1234,
        "outcome": "ok",
        "cache": "miss",
    }
    for name, value in (fields | changes).items():
        setattr(decision, name, value)
    return decision


class Log:
    """An access log into a file, and its lines."""

    def __init__(self, path: Path, sample: float = 1.0, redact: tuple[str, ...] = ("query:token",)) -> None:
        self.path = path
        self.log = AccessLog(Sink(str(path)), sample, Redaction(redact), Random(1), WALL)

    def lines(self) -> list[dict[str, object]]:
        self.log.sink.flush()
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def line(self, decision: Decision) -> dict[str, object]:
        self.log.observe(decision)
        return self.lines()[-1]


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "access")
    yield made
    made.log.sink.close()


def test_a_line_tells_what_became_of_a_request(log):
    assert log.line(decided()) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "listener": "main",
        "client": "203.0.113.9",
        "method": "GET",
        "host": "example.com",
        "path": "/api/posts?page=2",
        "version": "1.1",
        "status": 200,
        "route": "api",
        "pool": "app",
        "server": "a",
        "attempts": 1,
        "outcome": "ok",
        "request_id": "4bf92f35",
        "bytes_in": 0,
        "bytes_out": 1234,
        "dur": 0.025,
        "queued": 0.0,
        "ttfb": 0.0125,
        "ua": "curl/8",
        "cache": "miss",
    }


def test_who_was_let_in_is_told_so_that_it_can_be_read_or_masked(log, tmp_path):
    decision = decided(identity=Identity("jwt", "zo\u00eb\u202e\ud800"), guarded="")
    assert log.line(decision)["user"] == "zo\\xeb\\u202e\\ud800"
    hiding = Log(tmp_path / "other", redact=("user",))
    assert hiding.line(decision)["user"] == "***"
    hiding.log.sink.close()


def test_who_was_not_let_in_is_told_by_the_ways_that_were_tried(log):
    line = log.line(decided(guarded="auth", denied="partners wrong, apps expired"))
    assert (line["guard"], line["auth"]) == ("auth", "partners wrong, apps expired")
    assert "auth" not in log.line(decided(guarded="rate-limit", denied="partners wrong"))


def test_fields_stay_in_their_order(log):
    assert tuple(log.line(decided())) == FIELDS


def test_nothing_of_one_line_is_left_in_the_next(log):
    log.log.observe(decided(reasons=[("a", "connect")], attempts=2))
    line = log.line(decided(server=None, pool="", attempts=0, first_byte=0.0, outcome="answered"))
    assert (line["server"], line["pool"], line["ttfb"]) == ("", "", None)
    assert "reasons" not in line


def test_over_tls_the_version_is_told(log):
    assert log.line(decided(tls="TLSv1.3"))["tls"] == "TLSv1.3"
    assert "tls" not in log.line(decided())


def test_a_retried_request_says_why(log):
    assert log.line(decided(reasons=[("b", "connect")], attempts=2))["reasons"] == [["b", "connect"]]


def test_the_time_of_a_line_is_that_of_the_last_tick(log):
    log.log.observe(decided())
    log.log.tick(WALL + 0.1)
    log.log.observe(decided())
    assert [line["ts"] for line in log.lines()] == ["2023-11-14T22:13:20.250Z", "2023-11-14T22:13:20.350Z"]


def test_a_tick_writes_what_waits(log):
    log.log.observe(decided())
    assert log.path.read_bytes() == b""
    log.log.tick(WALL)
    assert log.path.read_bytes().count(b"\n") == 1


def test_a_secret_in_a_query_is_not_written(log):
    assert log.line(decided(target=b"/a?token=s3cret&x=1"))["path"] == "/a?token=***&x=1"


@given(target=st.binary(), host=st.binary(), agent=st.binary())
def test_no_bytes_of_a_client_break_a_line_or_leave_ascii(tmp_path_factory, target, host, agent):
    log = Log(tmp_path_factory.mktemp("log") / "access")
    log.log.observe(decided(target=target, host=host, user_agent=agent))
    (line,) = log.lines()
    raw = log.path.read_bytes()
    assert raw.isascii()
    assert not any(byte < 0x20 for byte in raw[:-1])
    assert line["host"] == host.decode("ascii", "backslashreplace")
    log.log.sink.close()


REMARKABLE = [
    {"status": 500},
    {"status": 502, "outcome": "upstream-connect"},
    {"outcome": "client-abort", "status": 499},
    {"outcome": "refused", "status": 400},
    {"outcome": "tunnel", "status": 101},
    {"finished": 1001.5},
    {"reasons": [("b", "reset")], "attempts": 2},
]


@pytest.mark.parametrize("changes", REMARKABLE, ids=str)
def test_what_is_remarkable_is_written_whatever_the_sample(tmp_path, changes):
    log = Log(tmp_path / "access", sample=0.0)
    line = log.line(decided(**changes))
    assert "sample_rate" not in line
    log.log.sink.close()


def test_of_what_is_usual_a_share_is_written_that_says_which(tmp_path):
    log = Log(tmp_path / "access", sample=0.25)
    for _ in range(2000):
        log.log.observe(decided())
    lines = log.lines()
    assert 400 < len(lines) < 600
    assert {line["sample_rate"] for line in lines} == {0.25}
    log.log.sink.close()


def test_without_sampling_no_line_speaks_of_it(log):
    assert "sample_rate" not in log.line(decided())


def test_none_is_no_log_at_all():
    assert open_log(schema.AccessLog(to="none"), Random(1), WALL, lambda message: None) is None


def test_the_log_is_opened_as_configured(tmp_path):
    path = tmp_path / "access"
    settings = schema.AccessLog(to=str(path), redact=("query:pin",))
    log = open_log(settings, Random(1), WALL, lambda message: None)
    log.observe(decided(target=b"/a?pin=1234"))
    log.sink.close()
    assert json.loads(path.read_bytes())["path"] == "/a?pin=***"


def test_of_a_log_that_nobody_reads_lines_are_dropped(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(Sink(str(tmp_path / "pipe")), 1.0, Redaction(()), Random(1), WALL)
    for _ in range(10_000):
        log.observe(decided())
    assert log.sink.dropped > 5000
    os.close(reader)
    log.sink.close()
