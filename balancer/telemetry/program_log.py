"""The program's own log: what an operator should know, as text or JSON, on standard error."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import MutableMapping
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
        get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for a part of the program; it follows each `configure`, whenever it was made."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure(sink: Sink, level: Level, form: Literal["auto", "json", "text"]) -> None:
    """Let everything that is logged from now on go to `sink`; to be called again when the settings change.

    `auto` is text when standard error is a terminal, and JSON otherwise.
    """
    terminal = os.isatty(2)
    text = form == "text" or (form == "auto" and terminal)
    render = _text(colours=terminal and "NO_COLOR" not in os.environ) if text else [format_exc_info, _json]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_log_level,
            _add_name,
            TimeStamper(fmt="iso", utc=True, key="ts"),
            _mask,
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


def _json(logger: Lines, method: str, event: Event) -> bytes:
    first = {name: event.pop(name) for name in ("ts", "level", "logger", "event")}
    line = {**first, **event}
    try:
        return orjson.dumps(line, default=repr, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # text that is no Unicode, such as an undecodable file name
        return json.dumps(line, default=repr).encode() + b"\n"


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

    return [format_exc_info, _printable, render]


def _printable(logger: Lines, method: str, event: Event) -> Event:
    """What clients sent may be quoted in a message: no part of it is to steer a terminal."""
    return {name: _escaped(value, name) if isinstance(value, str) else value for name, value in event.items()}


def _escaped(text: str, name: str = "") -> str:
    if name == "exception":
        return "\n".join(map(_escaped, text.split("\n")))
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
