"""Whatever a client, a server or a plug-in says: a log's event is one clean line, and a terminal takes no orders."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from balancer import app
from balancer.decision import Identity
from balancer.plane import Plane
from balancer.reception import Views
from balancer.snapshot import Snapshot
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.last_errors import LastErrors
from balancer.telemetry.program_log import LONGEST, configure, get_logger
from balancer.telemetry.redaction import Redaction
from balancer.telemetry.sink import Sink
from config.schema import Config
from tests.commands.answers import pool, server, status
from tests.commands.stand_in import Reply, balancer, stand_in
from tests.proxy.wire import Site, config, ok, replies, serving
from tests.strategy.plugin_that_shouts import Shouted
from tests.telemetry.test_access_log import decided

FORGED = '{"ts":"forged"}'
HOSTILE = {
    "lines": f"a\r\n{FORGED}\n{FORGED}",
    "escape": "a\x1b[2J\x1b]0;title\x07",
    "nul": "a\0b",
    "del": "a\x7fb",
    "c1": "a\x9b2J\x85b",
    "separators": f"a\u2028{FORGED}\u2029{FORGED}\x0b\x0c\x1c",
    "direction": "a\u202eb\u2066c\ufeff",
    "undecodable": "a\udcff\udc9b",
    "long": "a" * 300_000,
    "quotes": 'a"b\\',
}
hostile = pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
both_forms = pytest.mark.parametrize("form", ["json", "text"])


def clean(data: bytes) -> list[str]:
    """The lines of a log, proved to be text that a terminal only shows."""
    text = data.decode("utf-8")
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    assert all(line.isprintable() for line in lines)
    return lines


# The program log -----------------------------------------------------------------------------------------------


class ProgramLog:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.sink = Sink(str(path))

    def only(self, form: str) -> str:
        """The one event; the lines of a trace belong to it."""
        first, *more = clean(self.path.read_bytes())
        if form == "json":
            assert not more
            assert json.loads(first).keys() >= {"ts", "level", "logger", "event"}
        assert all(line.startswith("    ") for line in more)
        return first


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ProgramLog]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    made = ProgramLog(tmp_path / "program.log")
    yield made
    made.sink.close()
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


class Odd:
    def __init__(self, words: str) -> None:
        self.words = words

    def __repr__(self) -> str:
        return self.words


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


def _raise(words: str) -> None:
    try:
        raise ValueError(words) from OSError(words)
    except ValueError:
        get_logger("balancer").exception("failed")


def _nested(words: str) -> None:
    ring: list[object] = [words]
    ring.append(ring)
    get_logger("balancer").info(
        "x", there={words: [words, (words, {words}), {("a", words): words.encode("utf-8", "replace")}]}, ring=ring
    )


PLACES: dict[str, Callable[[str], object]] = {
    "event": lambda words: get_logger("balancer").warning(words),
    "field": lambda words: get_logger("balancer").info("x", path=words, reason=words),
    "bytes": lambda words: get_logger("balancer").info("x", head=words.encode("utf-8", "surrogateescape")),
    "nested": _nested,
    "object": lambda words: get_logger("balancer").info("x", odd=Odd(words), inside=[Odd(words)]),
    "exception": _raise,
    "exception as value": lambda words: get_logger("balancer").info("x", error=ValueError(words), exc_info=None),
    "library": lambda words: logging.getLogger("aiohttp.server").error("Error handling %s", words),
    "library's name": lambda words: logging.getLogger("x" + words[:50]).error("y"),
    "library's mistake": lambda words: logging.getLogger("asyncio").error("%d tasks", words),
    "plane": lambda words: app._tell("strategy_failed", "app", words),
    "access log": lambda words: app._tell_of_log(words),
}


@both_forms
@hostile
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_an_event_of_the_program_log_is_one_clean_line(
    log: ProgramLog, form: str, words: str, place: Callable[[str], object]
) -> None:
    configure(log.sink, "info", form)  # type: ignore[arg-type]  # one of both
    place(words)
    log.only(form)


@both_forms
def test_a_value_may_be_long_and_its_line_is_not(log: ProgramLog, form: str) -> None:
    configure(log.sink, "info", form)  # type: ignore[arg-type]  # one of both
    get_logger("balancer").info("x", one="a" * 10**6, many=["b" * 100] * 10**5, deep={str(n): n for n in range(10**4)})
    assert len(log.only(form)) < 4 * LONGEST


@both_forms
def test_a_value_that_cannot_be_shown_does_not_make_the_log_fail(log: ProgramLog, form: str) -> None:
    configure(log.sink, "info", form)  # type: ignore[arg-type]  # one of both
    get_logger("balancer").info("x", broken=Broken(), huge=2**70, none=float("nan"), key={(1, 2): 3})
    assert "<Broken without a repr: RuntimeError>" in log.only(form)


def test_a_secret_is_masked_before_it_is_cut(log: ProgramLog) -> None:
    configure(log.sink, "info", "json")
    url = f"redis://user:{'pa55' * LONGEST}@h/0"
    try:
        raise ConnectionError(url)
    except ConnectionError:
        get_logger("balancer").exception("failed", url=url, inside={"url": Odd(url)})
    assert "pa55" not in log.path.read_text()


def test_letters_of_other_scripts_stay_readable(log: ProgramLog) -> None:
    configure(log.sink, "info", "json")
    get_logger("balancer").info("Zürich 東京 \x9b🙂")
    assert '"event":"Zürich 東京 \\u009b🙂"' in log.path.read_text()


@given(words=st.text())
def test_any_text_comes_back_from_the_json(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    sink = Sink(str(path))
    configure(sink, "info", "json")
    get_logger("balancer").info("x", words=words)
    sink.close()
    structlog.reset_defaults()
    (line,) = clean(path.read_bytes())
    assert json.loads(line)["words"] == words


# The access log ------------------------------------------------------------------------------------------------


@hostile
@pytest.mark.parametrize(
    "field", ["method", "host", "target", "version", "request_id", "user_agent", "client", "reasons", "identity"]
)
def test_a_line_of_the_access_log_is_clean_whatever_stands_in_a_request(tmp_path: Path, field: str, words: str) -> None:
    log = AccessLog(Sink(str(tmp_path / "log")), 1.0, Redaction(("query:token",)), Random(1), 1.7e9)
    raw = words.encode("utf-8", "surrogateescape")
    value: object = raw
    if field in ("method", "client"):
        value = raw.decode("ascii", "backslashreplace")
    elif field == "identity":
        value = Identity("jwt", words)
    elif field == "reasons":
        value = [("a", "connect")]
    log.observe(decided(**{field: value}))
    log.sink.close()
    (line,) = clean((tmp_path / "log").read_bytes())
    assert json.loads(line)["status"] == 200


class _Logged:
    """A plane whose decisions go into a real access log."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "access.log"
        self.log = AccessLog(Sink(str(self.path)), 1.0, Redaction(("query:token",)), Random(1), 1.7e9)
        self.errors = LastErrors()
        self.events: list[tuple[str, str, str]] = []
        views = Views(every=self.log, failures=self.errors, on_event=lambda *event: self.events.append(event))
        self.plane = Plane(views, b"a secret of thirty-two bytes....", Random(1))
        self.site = Site(self.plane, [], self.events)

    async def begin(self, settings: Config) -> None:
        await self.plane.apply(Snapshot(1, settings))

    async def end(self) -> list[dict[str, object]]:
        for peer in self.site.peers:
            peer.cut()
        await self.plane.close()
        self.log.sink.close()
        return [json.loads(line) for line in clean(self.path.read_bytes())]


def requests(words: bytes) -> list[bytes]:
    """The words in each place of a request."""
    return [
        b"GET /%b HTTP/1.1\r\nHost: x\r\n" % words,
        b"GET /?token=%b HTTP/1.1\r\nHost: x\r\n" % words,
        b"%b / HTTP/1.1\r\nHost: x\r\n" % words,
        b"GET / HTTP/1.1%b\r\nHost: x\r\n" % words,
        b"GET / HTTP/1.1\r\nHost: %b\r\n" % words,
        b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n" % words,
        *(
            b"GET / HTTP/1.1\r\nHost: x\r\n%b: %b\r\n" % (name, words)
            for name in (b"User-Agent", b"X-Request-Id", b"Referer", b"Cookie", b"Accept", b"traceparent", b"Via")
        ),
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: fe80::1%%%b\r\n" % words,
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\n" % words,
        b"GET / HTTP/1.1\r\nHost: x\r\n%b: y\r\n" % words,
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%b" % words,
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: %b" % words,
        words,
    ]


@hostile
async def test_every_request_is_one_clean_line_whatever_is_in_it(tmp_path: Path, words: str) -> None:
    asked = requests(words.encode("utf-8", "surrogateescape"))
    logged = _Logged(tmp_path)
    async with serving(replies(ok())) as [running]:
        await logged.begin(config({"a": running}, whole={"trusted_proxies": ["127.0.0.0/8"]}))
        for request in asked:
            raw = await logged.site.ask(request + b"\r\nConnection: close\r\n\r\n")
            assert raw.startswith(b"HTTP/1.1 ")
        lines = await logged.end()
    # Lines that a client forged into its request are requests of their own, or nothing.
    assert len(lines) >= len(asked)
    assert not any(line["ts"] == "forged" for line in lines)
    assert {line["client"] for line in lines} <= {"127.0.0.1", "fe80::1"}
    for failed in logged.errors:
        assert all(str(failed[key]).isascii() for key in ("client", "host", "path", "request_id"))


@hostile
async def test_every_answer_is_one_clean_line_whatever_the_server_says(tmp_path: Path, words: str) -> None:
    raw = words.encode("utf-8", "surrogateescape")
    answers = [
        b"HTTP/1.1 200 %b\r\nContent-Length: 0\r\n\r\n" % raw,
        b"HTTP/1.1 %b OK\r\nContent-Length: 0\r\n\r\n" % raw,
        b"HTTP/1.1 200 OK\r\nX-Request-Id: %b\r\nContent-Length: 0\r\n\r\n" % raw,
        b"HTTP/1.1 200 OK\r\n%b: y\r\nContent-Length: 0\r\n\r\n" % raw,
        b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % raw,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n\r\n" % raw,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: %b\r\n\r\n" % raw,
        raw + b"\r\n\r\n",
    ]
    logged = _Logged(tmp_path)
    retries = {"attempts": 1}
    for number, answer in enumerate(answers):
        async with serving(replies(answer)) as [running]:
            settings = config({"a": running}, {"retries": retries}, health={"active": None, "passive": None})
            await logged.plane.apply(Snapshot(number + 1, settings))
            got = await logged.site.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"\x1b" not in got
            assert b"\0" not in got
    lines = await logged.end()
    assert len(lines) == len(answers)
    assert {line["outcome"] for line in lines} <= {"ok", "upstream-malformed", "upstream-reset"}


@both_forms
@hostile
async def test_a_plug_ins_exception_is_one_clean_line(tmp_path: Path, log: ProgramLog, form: str, words: str) -> None:
    Shouted.words = words
    configure(log.sink, "info", form)  # type: ignore[arg-type]  # one of both
    logged = _Logged(tmp_path)
    async with serving(replies(ok())) as [running]:
        await logged.begin(config({"a": running}, strategy="tests.strategy.plugin_that_shouts:Shouting"))
        raw = await logged.site.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        (line,) = await logged.end()
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert line["status"] == 200
    (event,) = logged.events
    app._tell(*event)
    assert "Shouted" in log.only(form)


async def test_an_exception_without_a_text_fails_no_request(tmp_path: Path) -> None:
    logged = _Logged(tmp_path)
    async with serving(replies(ok())) as [running]:
        await logged.begin(config({"a": running}, strategy="tests.strategy.plugin_that_shouts:Dumb"))
        raw = await logged.site.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await logged.end()
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert logged.events == [("strategy_failed", "app", "Speechless: its text cannot be told (1 times so far)")]


# The terminal --------------------------------------------------------------------------------------------------

STATUS = "GET /api/infrastructure/load-balancer/status"
ESCAPES = {name: words for name, words in HOSTILE.items() if name not in ("undecodable", "long")}
COMMANDS = (("status",), ("drain", "p/a"), ("ready", "p/a"), ("reload",))


@pytest.mark.parametrize("words", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_answer_of_an_api_steers_the_terminal(command: tuple[str, ...], words: str) -> None:
    problem = {"detail": words, "title": words, "errors": [{"pointer": words, "message": words}]}
    told = {
        **status(pool(server("a" + words, "down", words), name="p" + words)),
        **{"state": words, "reason": words, "in_flight": 2, "restart_required": [words], "warnings": [problem]},
        "changes": [{"path": words, "before": words, "after": words, "stale": False}],
    }
    answers = [Reply(told), *(Reply(problem, code, "application/problem+json") for code in (400, 401, 409, 500))]
    with stand_in({}) as api:
        for answer in answers:
            api.reply = lambda asked, answer=answer: answer  # type: ignore[method-assign,misc]
            _, out, messages = balancer(*command, "--admin", api.url)
            assert out + messages
            assert all(line.isprintable() for text in (out, messages) for line in text.split("\n"))


@pytest.mark.parametrize("kind", ["text/\x1b[2J", "text/\x9b2J", "text/\x7f"])
def test_a_content_type_does_not_steer_the_terminal(kind: str) -> None:
    with stand_in({STATUS: Reply({}, 200, kind)}) as api:
        _, out, messages = balancer("status", "--admin", api.url)
    assert "no balancer's admin API" in messages
    assert all(line.isprintable() for text in (out, messages) for line in text.split("\n"))
