"""Makes the figures of this moment from what planes, samples, prober and process say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from balancer.server import ServerKey
from balancer.tally import Histogram, ListenerTally, RouteTally
from balancer.telemetry.cache_report import SecondReport, hits, lookups
from balancer.telemetry.figures import (
    CacheFigures,
    Checks,
    ErrorKinds,
    Errors,
    FailedRequest,
    Figures,
    HitRatio,
    Latency,
    ListenerFigures,
    PoolFigures,
    ProcessUse,
    Quantiles,
    Rate,
    SecondLevelFigures,
    ServerFigures,
    Traffic,
    Volume,
)
from balancer.telemetry.last_errors import Failed
from balancer.telemetry.process import LoopLag, ProcessFigures
from balancer.telemetry.quantiles import quantiles
from balancer.telemetry.rates import SECONDS, Counts, Key, Recent, of_codes, of_listener, of_server, total
from balancer.telemetry.report import PoolReport, Report, ServerReport
from balancer.telemetry.sums import add_up, merge

TOO_EARLY = "it takes two samples, one each second"
QUIET = "no answer in this time"


class CheckResult(Protocol):
    """The last check of a server."""

    @property
    def ok(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class Health(Protocol):
    """What the prober knows of a server."""

    @property
    def passed(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def last(self) -> CheckResult | None: ...


class Numbers:
    """What one thing counted since the start and of late, in the shapes that are told."""

    def __init__(self, recent: Recent, key: Key, total: Counts[int]) -> None:
        self._total = total
        self._recent = [recent.rates(key, window) for window in SECONDS]
        self._last_minute = recent.latencies(key)

    def rate(self, read: Callable[[Counts[int] | Counts[float]], float]) -> Rate:
        now, ten_seconds, minute, five_minutes = (None if counts is None else read(counts) for counts in self._recent)
        return Rate(
            total=int(read(self._total)),
            per_second=now,
            per_second_10s=ten_seconds,
            per_second_1m=minute,
            per_second_5m=five_minutes,
            reason=TOO_EARLY if now is None else None,
        )

    @property
    def requests(self) -> Rate:
        return self.rate(lambda counts: counts.requests)

    @property
    def volume(self) -> Volume:
        return Volume(
            received=self.rate(lambda counts: counts.bytes_in),
            sent=self.rate(lambda counts: counts.bytes_out),
        )

    def errors(self, *, attempts: bool = False) -> Errors:
        """`attempts`: those that brought no answer count too, which is right for one server."""
        return Errors(
            by_class={
                "4xx": self.rate(lambda counts: counts.errors_4xx),
                "5xx": self.rate(lambda counts: counts.errors_5xx),
            },
            by_kind=ErrorKinds(
                client=self.rate(lambda counts: counts.client),
                upstream=self.rate(lambda counts: counts.upstream + attempts * counts.lost),
                timeout=self.rate(lambda counts: counts.timeout + attempts * counts.late),
                limit=self.rate(lambda counts: counts.limit),
            ),
        )

    def latency(self, since_start: Histogram) -> Latency:
        return Latency(last_minute=of_counts(self._last_minute), since_start=of_counts(since_start.counts))


def of_counts(counts: Sequence[int]) -> Quantiles:
    """Those of a histogram."""
    p50, p90, p99, highest = quantiles(counts, (0.5, 0.9, 0.99, 1.0))
    return Quantiles(p50=p50, p90=p90, p99=p99, max=highest, reason=QUIET if highest is None else None)


def figures(
    report: Report,
    recent: Recent,
    health: Mapping[ServerKey, Health],
    process: ProcessUse,
    errors: Iterable[Failed],
    wall: datetime,
) -> Figures:
    """Everything; `wall` is what the clock on the wall shows at `report.now`."""
    numbers = Numbers(recent, (), total([of_listener(tally) for tally in report.listeners.values()]))
    return Figures(
        at=wall,
        uptime=report.now - report.started,
        generation=report.generation,
        connections=report.connections,
        in_flight=report.inflight,
        requests=numbers.requests,
        errors=numbers.errors(),
        latency=numbers.latency(merge([Histogram(), *(route.latency for route in report.routes.values())])),
        bytes=numbers.volume,
        listeners={name: _listener(name, tally, recent) for name, tally in report.listeners.items()},
        routes={name: _route(name, tally, recent) for name, tally in report.routes.items()},
        pools={name: _pool(pool, recent, health) for name, pool in report.pools.items()},
        cache=cache_figures(report, recent),
        process=process,
        last_errors=[failed_request(error, wall - timedelta(seconds=report.now)) for error in errors],
    )


def process_use(process: ProcessFigures, lag: LoopLag, loop: str) -> ProcessUse:
    """`loop` is the event loop's name."""
    reason = None
    if process.resident is None or process.descriptors is None:
        reason = "this system does not tell"
    elif lag.last is None:
        reason = TOO_EARLY
    return ProcessUse(
        cpu_seconds=process.cpu,
        resident_bytes=process.resident,
        open_descriptors=process.descriptors,
        max_descriptors=process.max_descriptors,
        loop=loop,
        loop_lag=lag.last,
        loop_lag_worst=lag.worst,
        reason=reason,
    )


def _listener(name: str, tally: ListenerTally, recent: Recent) -> ListenerFigures:
    numbers = Numbers(recent, ("listener", name), of_listener(tally))
    return ListenerFigures(
        connections=tally.open,
        accepted=tally.connections,
        rejected=dict(tally.rejected),
        tunnels=tally.tunnels,
        requests=numbers.requests,
        bytes=numbers.volume,
    )


def _route(name: str, tally: RouteTally, recent: Recent) -> Traffic:
    numbers = Numbers(recent, ("route", name), of_codes(tally.codes))
    return Traffic(requests=numbers.requests, errors=numbers.errors(), latency=numbers.latency(tally.latency))


def _pool(pool: PoolReport, recent: Recent, health: Mapping[ServerKey, Health]) -> PoolFigures:
    tallies = list(pool.tallies())
    numbers = Numbers(
        recent,
        ("pool", pool.name),
        of_codes(pool.codes(), sum(t.bytes_in for t in tallies), sum(t.bytes_out for t in tallies)),
    )
    return PoolFigures(
        strategy=pool.strategy,
        panic=pool.panic,
        in_flight=sum(server.inflight for server in pool.servers),
        queue=pool.queue,
        queued=pool.tally.queued,
        queue_timeouts=pool.tally.queue_timeouts,
        unserved={str(status): count for status, count in pool.tally.unserved.items()},
        retries=pool.retries(),
        requests=numbers.requests,
        errors=numbers.errors(),
        latency=numbers.latency(pool.latency()),
        bytes=numbers.volume,
        servers={s.name: _server(pool.name, s, recent, health.get((pool.name, s.name))) for s in pool.servers},
    )


def _server(pool: str, server: ServerReport, recent: Recent, health: Health | None) -> ServerFigures:
    tally = server.tally
    numbers = Numbers(recent, ("server", pool, server.name), of_server(tally))
    return ServerFigures(
        url=server.url,
        state=server.state,
        in_rotation=server.in_rotation,
        weight=server.weight,
        effective_weight=server.effective_weight,
        in_flight=server.inflight,
        idle_connections=server.idle,
        tunnels=server.tunnels,
        requests=numbers.requests,
        errors=numbers.errors(attempts=True),
        latency=numbers.latency(tally.latency),
        average=server.latency,
        bytes=numbers.volume,
        failures=dict(tally.failures),
        retries=dict(tally.retries),
        ejections=tally.ejections,
        checks=_checks(health),
    )


def cache_figures(report: Report, recent: Recent) -> CacheFigures | None:
    """None without a cache."""
    cache = report.cache
    if cache is None:
        return None
    memory, tally = cache.memory, cache.tally
    results = add_up([route.cache for route in report.routes.values()])
    asked = lookups(results)
    refused = add_up([tally.refused, {"store": memory.refused} if memory.refused else {}])
    return CacheFigures(
        entries=memory.entries,
        bytes=memory.bytes,
        limit=memory.limit,
        hit_ratio=HitRatio(
            now=recent.cache.ratio("now"),
            five_minutes=recent.cache.ratio("five_minutes"),
            hour=recent.cache.ratio("hour"),
            since_start=hits(results) / asked if asked else None,
        ),
        requests=results,
        routes={name: dict(route.cache) for name, route in report.routes.items() if route.cache},
        fills=tally.fills,
        fills_under_way=cache.fills,
        collapsed=tally.collapsed,
        waiting=cache.followers,
        refreshes=tally.refreshes,
        uncacheable=cache.uncacheable,
        stored=memory.stored,
        not_stored=refused,
        evicted=memory.evicted,
        invalidated=tally.invalidated,
        purges=dict(tally.purges),
        purges_pending=memory.pending,
        purged=memory.purged,
        overflows=memory.overflows,
        redis=_second(cache.second) if cache.second is not None else None,
    )


def _second(level: SecondReport) -> SecondLevelFigures:
    return SecondLevelFigures(
        state=level.state,
        up=level.up,
        reason=level.reason,
        latency=of_counts((level.seconds or Histogram()).counts),
        commands=dict(level.commands),
        results=dict(level.lookups),
        gaps=level.gaps,
        owed=level.owed,
    )


def _checks(health: Health | None) -> Checks:
    if health is None:
        return Checks(passed=0, failed=0, last_ok=None, last_seconds=None, reason="it is not watched")
    last = health.last
    return Checks(
        passed=health.passed,
        failed=health.failed,
        last_ok=last.ok if last is not None else None,
        last_seconds=last.seconds if last is not None else None,
        reason=last.reason if last is not None else "no check has come to an end yet",
    )


def failed_request(error: Failed, epoch: datetime) -> FailedRequest:
    """One as it is told; `epoch` is when monotonic time was 0."""
    fields = {name: value for name, value in error.items() if name != "finished"}
    return FailedRequest.model_validate({**fields, "at": epoch + timedelta(seconds=error["finished"])})
