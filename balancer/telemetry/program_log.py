"""The program's own log: what an operator should know, as text or JSON, on standard error."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, MutableMapping
from itertools import islice
from typing import Any, Literal, cast

import orjson
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import TimeStamper, add_log_level, format_exc_info
from structlog.typing import FilteringBoundLogger, Processor

from balancer.telemetry.redaction import masked
from balancer.telemetry.sink import Sink

Event = MutableMapping[str, Any]  # Any is structlog's: an event may carry whatever is worth telling
Level = Literal["debug", "info", "warning", "error"]
LONGEST = 8 * 1024
"""Characters of one value: more than any message has, unless somebody made it long."""
MOST = 100
"""Members of a list or mapping that are told."""
DEEPEST = 4


class Lines:
    """What structlog hands finished lines to: one logger's way to the sink."""

    def __init__(self, sink: Sink, name: str) -> None:
        self.name = name
        self._sink = sink

    def write(self, line: bytes) -> None:
        """At once, since a line of this log may be the last one."""
        self._sink.put(line)
        self._sink.flush()

    debug = info = warning = error = critical = write


class Forwarder(logging.Handler):
    """Brings what libraries say through Python's own logging into this log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not go with the text
            message = f"{record.msg} {record.args!r}"
        get_logger(record.name).log(record.levelno, message, exc_info=record.exc_info)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for a part of the program; it follows each `configure`, whenever it was made."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure(sink: Sink, level: Level, form: Literal["auto", "json", "text"]) -> None:
    """Let everything that is logged from now on go to `sink`; to be called again when the settings change.

    `auto` is text when standard error is a terminal, and JSON otherwise.
    """
    terminal = os.isatty(2)
    text = form == "text" or (form == "auto" and terminal)
    render = _text(colours=terminal and "NO_COLOR" not in os.environ) if text else [_json]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_log_level,
            _add_name,
            TimeStamper(fmt="iso", utc=True, key="ts"),
            format_exc_info,
            _plain,
            _mask,
            _short,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: Lines(sink, names[0] if names else "balancer"),
        # A cached logger would keep the level it was first used with.
        cache_logger_on_first_use=False,
    )
    # Of what libraries say, warnings matter: aiohttp's server, asyncio's slow callbacks and lost exceptions.
    root = logging.getLogger()
    root.handlers = [Forwarder()]
    root.setLevel(logging.WARNING)


def _add_name(logger: Lines, method: str, event: Event) -> Event:
    event["logger"] = logger.name
    return event


def _mask(logger: Lines, method: str, event: Event) -> Event:
    return {name: masked(value, name) for name, value in event.items()}


def _plain(logger: Lines, method: str, event: Event) -> Event:
    """Nothing but text, numbers, lists and mappings of bounded size, so that no value makes the log fail."""
    return {name: _plainly(value, DEEPEST) for name, value in event.items()}


def _plainly(value: object, depth: int) -> object:
    if isinstance(value, str | int | float | None):
        return value
    if depth and isinstance(value, Mapping):
        members = islice(value.items(), MOST)
        return {key if isinstance(key, str) else _repr(key): _plainly(inner, depth - 1) for key, inner in members}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plainly(inner, depth - 1) for inner in islice(value, MOST)]
    return _repr(value)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # an outermost place: the value is anybody's, and a log must not fail
        return f"<{type(value).__name__} without a repr: {type(error).__name__}>"


def _short(logger: Lines, method: str, event: Event) -> Event:
    """After masking, which looks at whole values: half a secret is one, too."""
    return {name: _shortened(value) for name, value in event.items()}


def _shortened(value: object) -> object:
    if isinstance(value, str) and len(value) > LONGEST:
        half = LONGEST // 2
        return f"{value[:half]} ... {len(value) - LONGEST} characters ... {value[-half:]}"
    if isinstance(value, dict):
        return {_shortened(name): _shortened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return value


def _json(logger: Lines, method: str, event: Event) -> bytes:
    first = {name: event.pop(name) for name in ("ts", "level", "logger", "event")}
    line = {**first, **event}
    try:
        data = orjson.dumps(line)
    except TypeError:  # text that is no Unicode, such as an undecodable file name; or a very large number
        data = json.dumps(line).encode()
    return harmless(data) + b"\n"


def harmless(data: bytes) -> bytes:
    """The same JSON with nothing in it that a terminal would obey."""
    if data.isascii() and b"\x7f" not in data:
        return data
    return _ODD.sub(_escape_in_json, data.decode()).encode()


_ODD = re.compile(r"[^ -~]")


def _escape_in_json(found: re.Match[str]) -> str:
    """JSON may hold DEL, C1 controls, line separators and marks that turn text around; terminals obey them."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f")


def _text(*, colours: bool) -> list[Processor]:
    renderer = ConsoleRenderer(
        colors=colours,
        pad_event_to=0,
        sort_keys=False,
        exception_formatter=plain_traceback,
        timestamp_key="ts",
    )

    def render(logger: Lines, method: str, event: Event) -> bytes:
        return renderer(logger, method, event).encode("utf-8", "backslashreplace") + b"\n"

    return [_printable, render]


def _printable(logger: Lines, method: str, event: Event) -> Event:
    """What clients sent may be quoted in a message: no part of it is to steer a terminal.

    The lines of an exception are indented, as no event is: its message may have any number of them.
    """
    shown = {name: _escaped(value) if isinstance(value, str) else value for name, value in event.items()}
    if isinstance(trace := event.get("exception"), str):
        shown["exception"] = "\n".join(f"    {_escaped(line)}" for line in trace.split("\n"))
    return shown


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
