"""The access log: one JSON line for each finished request, a view of its `Decision`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

from orjson import OPT_APPEND_NEWLINE, dumps

from balancer.decision import Decision
from balancer.telemetry.redaction import MASK, Redaction
from balancer.telemetry.sink import Sink
from config import schema

SLOW = 1.0
"""Seconds; a longer request is always written."""
USUAL = frozenset(("ok", "answered"))
"""Outcomes of which a sample will do."""
FIELDS = (
    *("ts", "listener", "client", "method", "host", "path", "version", "status", "route", "pool", "server"),
    *("attempts", "outcome", "request_id", "bytes_in", "bytes_out", "dur", "queued", "ttfb", "ua", "cache"),
)
"""What each line has, in this order; `tls`, `guard`, `user`, `reasons` and `sample_rate` follow where they apply."""


class AccessLog:
    """Writes down what became of each request.

    What a client sent is shown as ASCII with escapes for everything else, so that no request can break a
    line, look like another one or play tricks on a terminal. All lines are made in one dictionary: to fill it
    anew costs less than to make one with twenty keys.
    """

    def __init__(self, sink: Sink, sample: float, redaction: Redaction, rng: Random, wall: float) -> None:
        """`sample` is the share of successful, fast requests that is written; `wall` is Unix time."""
        self.sink = sink
        self._put = sink.put
        self._sample = sample
        self._random = rng.random
        self._mask = redaction.path
        self._hides_user = redaction.hides_user
        self._line: dict[str, object] = dict.fromkeys(FIELDS)
        self.tick(wall)

    def tick(self, wall: float) -> None:
        """Ten times a second, with Unix time: renew the time that lines carry, and write those that wait."""
        stamp = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
        self._line["ts"] = stamp.replace("+00:00", "Z")
        self.sink.flush()

    def observe(self, decision: Decision) -> None:
        """Write one finished request, or leave it out of the sample."""
        started = decision.started
        duration = decision.finished - started
        sampled = self._sample < 1.0 and _is_usual(decision, duration)
        if sampled and self._random() >= self._sample:
            return
        line = self._line
        path = decision.target.decode("ascii", "backslashreplace")
        server = decision.server
        first_byte = decision.first_byte
        line["listener"] = decision.listener
        line["client"] = decision.client
        line["method"] = decision.method
        line["host"] = decision.host.decode("ascii", "backslashreplace")
        line["path"] = self._mask(path) if "?" in path else path
        line["version"] = decision.version.decode("ascii", "backslashreplace")
        line["status"] = decision.status
        line["route"] = decision.route
        line["pool"] = decision.pool
        line["server"] = server.name if server is not None else ""
        line["attempts"] = decision.attempts
        line["outcome"] = decision.outcome
        line["request_id"] = decision.request_id.decode("ascii", "backslashreplace")
        line["bytes_in"] = decision.bytes_in
        line["bytes_out"] = decision.bytes_out
        line["dur"] = duration * 1e6 // 1 / 1e6  # whole microseconds, at half the cost of round()
        line["queued"] = decision.queued
        line["ttfb"] = (first_byte - started) * 1e6 // 1 / 1e6 if first_byte else None
        line["ua"] = decision.user_agent.decode("ascii", "backslashreplace")
        line["cache"] = decision.cache
        if sampled or decision.tls or decision.guarded or decision.reasons is not None or decision.identity is not None:
            line = self._extended(decision, sampled)
        # The one control character that JSON lets through.
        self._put(dumps(line, None, OPT_APPEND_NEWLINE).replace(b"\x7f", b"\\u007f"))

    def _extended(self, decision: Decision, sampled: bool) -> dict[str, object]:
        line = self._line.copy()
        if decision.tls:
            line["tls"] = decision.tls
        if decision.guarded:
            line["guard"] = decision.guarded
            if decision.guarded == "auth":
                line["auth"] = decision.denied
        if decision.identity is not None:
            name = decision.identity.name
            # A token's issuer may have let anybody choose it; names of other scripts stay readable.
            shown = name if name.isprintable() else name.encode("ascii", "backslashreplace").decode("ascii")
            line["user"] = MASK if self._hides_user else shown
        if decision.reasons is not None:
            line["reasons"] = decision.reasons
        if sampled:
            line["sample_rate"] = self._sample
        return line


def _is_usual(decision: Decision, duration: float) -> bool:
    """Whether nobody will ask for this very request: it went well, at once and in time."""
    return decision.status < 500 and decision.outcome in USUAL and duration <= SLOW and decision.reasons is None


def open_log(settings: schema.AccessLog, rng: Random, wall: float, tell: Callable[[str], None]) -> AccessLog | None:
    """The log as configured, None for `to: none`. `tell` hears of trouble; OSError if it cannot be opened."""
    if settings.to == "none":
        return None
    return AccessLog(Sink(settings.to, tell), settings.sample, Redaction(settings.redact), rng, wall)
