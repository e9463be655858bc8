"""What a metric is made of: a name, a meaning, labels, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from balancer.server import ServerKey
from balancer.tally import Histogram
from balancer.telemetry.cdn_report import CdnReport
from balancer.telemetry.database_figures import DatabaseReport
from balancer.telemetry.events_report import EventsReport
from balancer.telemetry.report import Report


class CheckCounts(Protocol):
    """What the prober counts for one server."""

    @property
    def passed(self) -> int: ...
    @property
    def failed(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is told beside the planes' report. Moments here are Unix time, as Prometheus has them."""

    version: str
    python: str
    loop: str
    """The event loop: "uvloop" or "asyncio"."""
    loop_lag: float | None = None
    """The worst of the last minute."""
    reloads: Mapping[str, int] = field(default_factory=dict)
    """Changes of configuration since the start by result: "success", "failure"."""
    last_reload_ok: bool = True
    last_reload_success: float = 0.0
    """When the configuration in force was taken; the start counts."""
    config_revision: int | None = None
    """Of the history; None before the first."""
    config_trial_left: float | None = None
    """Seconds until a change undoes itself; None while none is on trial."""
    config_changes: Mapping[str, int] = field(default_factory=dict)
    """Changes of the whole over the API: "settled", "provisional", "confirmed", "undone"."""
    admin_requests: Mapping[int, int] = field(default_factory=dict)
    """By status."""
    streams: int = 0
    streams_cut_off: int = 0
    audit_lines: Mapping[str, int] = field(default_factory=dict)
    """Of the audit trail: "written", "failed", "unnoted"."""
    log_lines_dropped: Mapping[str, int] = field(default_factory=dict)
    """By log: "access", "program"."""
    redis_up: bool | None = None
    """None while none is configured."""
    checks: Mapping[ServerKey, CheckCounts] = field(default_factory=dict)
    cdn: CdnReport | None = None
    """None while there is none."""
    databases: Mapping[str, DatabaseReport] = field(default_factory=dict)
    """That have been looked at."""
    events: EventsReport | None = None
    """None without rules for them."""
    error_groups: int = 0
    """Kinds of failure that are remembered."""
    failed_requests: int = 0
    alerts: Mapping[str, int] = field(default_factory=dict)
    """Rules by state: ok, pending, firing; empty without any."""
    notifications: Mapping[str, int] = field(default_factory=dict)
    """By result."""


class Scrape(NamedTuple):
    """All that one page of metrics is made from."""

    report: Report
    vitals: Vitals


Kind = Literal["counter", "gauge", "histogram", "info"]
Labels = tuple[str, ...]
Value = float | Histogram
Sample = tuple[Labels, Value]
Counted = (
    Mapping[str, int]
    | Mapping[str, float]
    | Mapping[int, int]
    | Mapping[tuple[str, int], int]
    | Mapping[tuple[str, str], int]
)
Thing = TypeVar("Thing")


class Family(NamedTuple):
    """Samples of one name. The name of a counter or an info is written without `_total` or `_info`."""

    name: str
    kind: Kind
    help: str
    labels: Labels
    samples: Callable[[Scrape], Iterable[Sample]]

    @property
    def unit(self) -> str:
        return next((unit for unit in ("seconds", "bytes") if self.name.endswith("_" + unit)), "")


class Things(NamedTuple, Generic[Thing]):
    """What there are several of, the labels that tell them apart, and what metrics can be made of them."""

    labels: Labels
    find: Callable[[Scrape], Iterable[tuple[Labels, Thing]]]

    def gauge(self, name: str, read: Callable[[Thing], Value | None], says: str) -> Family:
        return self._each("gauge", name, read, says)

    def counter(self, name: str, read: Callable[[Thing], Value | None], says: str) -> Family:
        return self._each("counter", name, read, says)

    def histogram(self, name: str, read: Callable[[Thing], Histogram], says: str) -> Family:
        return self._each("histogram", name, read, says)

    def info(self, name: str, says: str) -> Family:
        """Labels are all there is to know."""
        return self._each("info", name, lambda thing: 1, says)

    def gauges(self, name: str, by: Labels, read: Callable[[Thing], Counted], says: str) -> Family:
        """A number for each key of what is read."""
        return self._split("gauge", name, by, read, says, ())

    def counters(
        self, name: str, by: Labels, read: Callable[[Thing], Counted], says: str, always: Iterable[str] = ()
    ) -> Family:
        """A number for each key of what is read, and zeros for what `always` names and was not counted yet.

        A series that begins at 1 hides its first event from `increase`.
        """
        return self._split("counter", name, by, read, says, always)

    def _each(self, kind: Kind, name: str, read: Callable[[Thing], Value | None], says: str) -> Family:
        """One number of each thing; None, for what is not known, leaves it out, since 0 would be a lie."""

        def samples(scrape: Scrape) -> Iterable[Sample]:
            values = [(labels, read(thing)) for labels, thing in self.find(scrape)]
            return [(labels, value) for labels, value in values if value is not None]

        return Family(name, kind, says, self.labels, samples)

    def _split(
        self,
        kind: Kind,
        name: str,
        by: Labels,
        read: Callable[[Thing], Counted],
        says: str,
        always: Iterable[str],
    ) -> Family:
        zeros = {(key,): 0 for key in always}

        def samples(scrape: Scrape) -> Iterable[Sample]:
            return [
                (labels + key, count)
                for labels, thing in self.find(scrape)
                for key, count in (zeros | {_words(key): count for key, count in read(thing).items()}).items()
            ]

        return Family(name, kind, says, self.labels + by, samples)


def _words(key: str | int | tuple[str, int] | tuple[str, str]) -> Labels:
    return tuple(map(str, key)) if isinstance(key, tuple) else (str(key),)
