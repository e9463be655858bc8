"""What rules are held against: the figures of one moment, and what they make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from balancer.telemetry.quantiles import quantiles
from balancer.telemetry.rates import Key, Recent, Window
from balancer.telemetry.report import Report
from config.alerts import AlertRule

EASED: Final = 0.9
"""What fires is over when the figure is below this share of its threshold: it must not come and go with each look."""
USUAL: Final[Mapping[str, AlertRule]] = {
    "errors": AlertRule(when="error_share", severity="critical"),
    "server_down": AlertRule(when="server_down"),
    "pool_down": AlertRule(when="pool_down", severity="critical", lasting=10.0),
    "certificate": AlertRule(when="certificate", lasting=0.0),
    "redis_away": AlertRule(when="redis_away"),
    "cdn_away": AlertRule(when="cdn_away", lasting=300.0),
    "database": AlertRule(when="database"),
    "event_loop_lag": AlertRule(when="event_loop_lag"),
    "reload_refused": AlertRule(when="reload_refused", lasting=0.0),
    "event_store_away": AlertRule(when="event_store_away"),
}
THRESHOLDS: Final = {"error_share": 0.05, "p99": 1.0, "event_loop_lag": 0.2, "certificate": 14.0, "event_drop": 0.5}
Rule = Callable[[AlertRule, "Measures", frozenset[str]], Iterator["Finding"]]
_WINDOWS: Final[Mapping[str, Window]] = {"1m": "minute", "5m": "five_minutes"}
_SECONDS: Final = {"1m": 60.0, "5m": 300.0}


class Finding(NamedTuple):
    """What a rule says of one thing."""

    subject: str
    met: bool
    value: float | None
    threshold: float | None
    unit: str
    text: str
    """What it is, in a sentence without its end."""
    look: str
    """The path of the API that tells more."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Events of an hour beside those of the same hour a week before."""

    now: int
    then: int


@dataclass(frozen=True, slots=True)
class Measures:
    """One moment."""

    report: Report
    recent: Recent
    wall: float
    """Seconds since 1970."""
    redis: tuple[bool | None, str | None] = (None, None)
    cdn: tuple[bool | None, str | None] = (None, None)
    databases: Mapping[str, tuple[bool | None, str | None]] = field(default_factory=dict)
    store: tuple[bool | None, str | None] = (None, None)
    lag: float | None = None
    reload_ok: bool = True
    drops: Mapping[str, Drop] = field(default_factory=dict)
    """By event."""


def findings(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    """Everything that the rule has something to say of; `firing` are the subjects of which it was said already."""
    yield from _RULES[rule.when](rule, measures, firing)


def _threshold(rule: AlertRule, subject: str, firing: frozenset[str]) -> tuple[float, float]:
    """As written, and as it holds now."""
    written = rule.above if rule.above is not None else THRESHOLDS[rule.when]
    return written, written * EASED if subject in firing else written


def _key(of: str) -> Key:
    return () if of == "total" else tuple(of.split(":", 1))


def _error_share(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    rates = measures.recent.rates(_key(rule.of), _WINDOWS[rule.window])
    written, limit = _threshold(rule, rule.of, firing)
    requests = rates.requests * _SECONDS[rule.window] if rates is not None else 0.0
    if rates is None or requests < max(rule.least, 1):
        return
    share = rates.errors_5xx / rates.requests
    text = f"{share:.1%} of requests to {_said(rule.of)} failed in the last {rule.window} (more than {written:.1%})"
    yield Finding(rule.of, share > limit, share, written, "share", text, "/api/monitoring/errors")


def _p99(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    counts = measures.recent.latencies(_key(rule.of))
    written, limit = _threshold(rule, rule.of, firing)
    if sum(counts) < max(rule.least, 1):
        return
    (value,) = quantiles(counts, (0.99,))
    assert value is not None  # something was counted
    text = f"one in a hundred requests to {_said(rule.of)} took more than {value:.2f} s (limit {written:g} s)"
    yield Finding(rule.of, value > limit, value, written, "seconds", text, "/api/monitoring/metrics")


def _server_down(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    for (pool, name), server in measures.report.servers():
        text = f"the server {name} of the pool {pool} is {server.state}"
        look = "/api/infrastructure/load-balancer/status"
        yield Finding(f"{pool}/{name}", server.state in ("down", "ejected"), None, None, "", text, look)


def _pool_down(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    for name, pool in measures.report.pools.items():
        down = bool(pool.servers) and not any(server.in_rotation for server in pool.servers)
        text = f"the pool {name} has no server with traffic"
        yield Finding(name, down, None, None, "", text, "/api/infrastructure/load-balancer/status")


def _certificate(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    limit = rule.above if rule.above is not None else THRESHOLDS["certificate"]
    ends: dict[str, float] = {}
    for one in measures.report.certificates:
        subject = f"{one.listener}/{one.name}"
        ends[subject] = min(one.not_after.timestamp(), ends.get(subject, float("inf")))
    for subject, end in ends.items():
        days = (end - measures.wall) / 86_400
        said = f"ends in {days:.0f} days" if days >= 0 else f"has ended {-days:.0f} days ago"
        text = f"the certificate {subject} {said}"
        yield Finding(subject, days < limit, round(days, 1), limit, "days", text, "/api/infrastructure/certificates")


def _away(name: str, look: str) -> Rule:
    def found(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
        ok, reason = getattr(measures, _OF[name])
        if ok is not None:
            yield Finding(name, not ok, None, None, "", f"{name} is not well: {reason}", look)

    return found


_OF: Final = {"redis": "redis", "the CDN": "cdn", "the store of events": "store"}


def _database(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    for name, (ok, reason) in measures.databases.items():
        if ok is not None:
            text = f"the database {name} is not well: {reason}"
            yield Finding(name, not ok, None, None, "", text, "/api/monitoring/database")


def _lag(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    written, limit = _threshold(rule, "event loop", firing)
    if measures.lag is not None:
        text = f"the event loop was {measures.lag:.2f} s late in the last minute: everything waited so long"
        yield Finding(
            "event loop", measures.lag > limit, measures.lag, written, "seconds", text, "/api/monitoring/health"
        )


def _reload(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    text = "the last reload was refused, and an older configuration is in force"
    yield Finding("configuration", not measures.reload_ok, None, None, "", text, "/api/config/diff")


def _event_drop(rule: AlertRule, measures: Measures, firing: frozenset[str]) -> Iterator[Finding]:
    name = rule.of.partition(":")[2]
    drop = measures.drops.get(name)
    written, limit = _threshold(rule, name, firing)
    if drop is None or drop.then < max(rule.least, 1):
        return
    missing = 1 - drop.now / drop.then
    text = f"{name} happened {drop.now} times in the last hour, and {drop.then} times in the same hour of last week"
    yield Finding(name, missing > limit, round(missing, 4), written, "share", text, "/api/monitoring/analytics/events")


_RULES: Final[Mapping[str, Rule]] = {
    "error_share": _error_share,
    "p99": _p99,
    "server_down": _server_down,
    "pool_down": _pool_down,
    "certificate": _certificate,
    "redis_away": _away("redis", "/api/monitoring/health"),
    "cdn_away": _away("the CDN", "/api/infrastructure/cdn/status"),
    "database": _database,
    "event_loop_lag": _lag,
    "reload_refused": _reload,
    "event_drop": _event_drop,
    "event_store_away": _away("the store of events", "/api/monitoring/analytics/status"),
}


def _said(of: str) -> str:
    return "the site" if of == "total" else of.replace(":", " ", 1)
