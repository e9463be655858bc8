"""/api/monitoring/history and /api/monitoring/errors: how it went, and what goes wrong."""

from __future__ import annotations

from datetime import datetime
from math import isnan
from typing import Annotated, Final, Literal

from pydantic import Field

from api.operation import Call, Model, Operation
from api.problems import Fault, Problem
from api.services import Services
from balancer.tally import EXPORTED
from balancer.telemetry.error_groups import ErrorGroup
from balancer.telemetry.figures import FailedRequest
from balancer.telemetry.rates import Key
from balancer.telemetry.summary import failed_request

SPANS: Final = {"5m": 300.0, "15m": 900.0, "1h": 3600.0, "6h": 21600.0, "24h": 86400.0}
HISTORY: Final = "/api/monitoring/history"
ERRORS: Final = "/api/monitoring/errors"


class TrafficHistoryQuery(Model):
    """What a chart is to show."""

    of: Annotated[str, Field(max_length=200)] = "total"
    """total, listener:NAME, route:NAME, pool:NAME or server:POOL/NAME."""
    span: Literal["5m", "15m", "1h", "6h", "24h"] = "15m"
    heat: Literal["yes", "no"] = "no"
    """Whether to tell how many requests took how long, for a map of latencies: of the total and of routes."""


class TrafficHistory(Model):
    """Columns of equal length, the oldest first."""

    of: str
    series: list[str]
    """What there are histories of."""
    left_out: int
    """Things that there is no room for."""
    step: int
    """Seconds from one point to the next."""
    times: list[float]
    """Seconds since 1970."""
    columns: dict[str, list[float | None]]
    """requests, errors_4xx, errors_5xx, bytes_in and bytes_out per second; in_flight; p50, p90 and p99 in seconds.
    null: not known, or nothing was asked."""
    bounds: list[float]
    """Of `heat`: upper bounds in seconds; the last column is what took longer."""
    heat: list[list[int]]


class ErrorsQuery(Model):
    """Which groups to tell, and in which order."""

    sort: Literal["last", "count", "first"] = "last"
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class ErrorGroupAnswer(Model):
    """Requests that failed in the same way."""

    id: str
    outcome: str
    """How it ended, such as upstream-reset or deadline."""
    status: int
    route: str
    pool: str
    server: str
    cause: str
    count: int
    first: datetime
    last: datetime
    last_hour: list[int]
    """By minute, the oldest first."""
    first_sample: FailedRequest
    sample: FailedRequest
    """The latest of them, with the decision that led to it."""


class ErrorsAnswer(Model):
    """What goes wrong, equal failures together."""

    at: datetime
    counted: int
    """Failed requests since the start."""
    groups: list[ErrorGroupAnswer]
    total: int
    """Groups that there are."""
    forgotten: int
    """Groups that were quiet for long and had to make room."""


class Histories:
    """What charts are drawn from."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", HISTORY, "viewer", self.history, {200: "The points."}, {404: "No such series."}),
            Operation("GET", ERRORS, "viewer", self.errors, {200: "The groups."}),
            Operation(
                "DELETE",
                f"{ERRORS}/{{id}}",
                "operator",
                self.clear_errors,
                {204: "It is forgotten; the same failure begins a new one."},
                {404: "No such group."},
            ),
        )

    async def history(self, call: Call, query: TrafficHistoryQuery) -> TrafficHistory:
        """How it went, of everything or of one thing, for a chart."""
        history = self._services.history
        line = history.line(series_key(query.of), SPANS[query.span])
        if line is None:
            there = ", ".join(_name(key) for key in history.keys[:20])
            message = f"there is no history of it; there is {there or 'none yet'}"
            raise Problem(404, f"?of {message}", [Fault(pointer="?of", message=message)])
        heat = query.heat == "yes"
        return TrafficHistory(
            of=query.of,
            series=[_name(key) for key in history.keys],
            left_out=history.left_out,
            step=line.step,
            times=list(line.times),
            columns={
                name: [None if isnan(value) else round(value, 6) for value in column]
                for name, column in line.columns.items()
            },
            bounds=list(EXPORTED) if heat else [],
            heat=line.heat if heat else [],
        )

    async def errors(self, call: Call, query: ErrorsQuery) -> ErrorsAnswer:
        """Failed requests, equal ones together: since when, how often, and one of them to look at."""
        services = self._services
        groups = list(services.error_groups)
        if query.sort == "count":
            groups.sort(key=lambda group: -group.count)
        elif query.sort == "first":
            groups.sort(key=lambda group: -group.first)
        now = services.clock()
        return ErrorsAnswer(
            at=services.wall(),
            counted=services.error_groups.counted,
            groups=[self._group(group, now) for group in groups[: query.limit]],
            total=len(groups),
            forgotten=services.error_groups.forgotten,
        )

    async def clear_errors(self, call: Call) -> None:
        """Forget a group, once it is understood or mended."""
        id_ = call.path["id"]
        if not self._services.error_groups.clear(id_):
            raise Problem(404, "there is no group of this id; GET /api/monitoring/errors has all")
        call.note(f"errors.{id_}", "seen", None)

    def _group(self, group: ErrorGroup, now: float) -> ErrorGroupAnswer:
        epoch = self._services.moment(0.0)
        return ErrorGroupAnswer(
            id=group.id,
            outcome=group.outcome,
            status=group.status,
            route=group.route,
            pool=group.pool,
            server=group.server,
            cause=group.cause,
            count=group.count,
            first=self._services.moment(group.first),
            last=self._services.moment(group.last),
            last_hour=group.last_hour(now),
            first_sample=failed_request(group.first_sample, epoch),
            sample=failed_request(group.sample, epoch),
        )


def series_key(of: str) -> Key:
    """The key of a series by its name; see `TrafficHistoryQuery.of`."""
    if of == "total":
        return ()
    kind, _, name = of.partition(":")
    if kind == "server":
        pool, _, server = name.partition("/")
        return "server", pool, server
    return kind, name


def _name(key: Key) -> str:
    if not key:
        return "total"
    return f"{key[0]}:{'/'.join(key[1:])}"
