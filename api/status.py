"""The load balancer's state as the API tells it, put together from what planes, prober and operator say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, cast

from api.answers import (
    LastCheck,
    PoolStatus,
    Provisional,
    ServerChecks,
    ServerLatency,
    ServerStatus,
    SharedLimitsStatus,
    State,
    Status,
    Totals,
    Weight,
)
from api.services import Services
from balancer.health.watched import HealthRecord
from balancer.revisions import Revisions
from balancer.server import ServerKey
from balancer.telemetry.quantiles import quantile
from balancer.telemetry.report import PoolReport, Report, ServerReport


def provisional(revisions: Revisions) -> Provisional | None:
    """The change of the configuration that is on trial."""
    trial, left = revisions.trial, revisions.trial_left
    if trial is None or left is None:
        return None
    return Provisional(
        revision=trial.revision, author=trial.author, since=trial.began, until=trial.ends, seconds_left=left
    )


class View:
    """One moment of everything, gathered once for as many servers as an answer has."""

    def __init__(self, services: Services, report: Report) -> None:
        self.report = report
        self._services = services
        self._health: Mapping[ServerKey, HealthRecord] = services.control.monitor.report()

    @classmethod
    async def now(cls, services: Services) -> View:
        return cls(services, await services.control.report())

    def status(self) -> Status:
        pools = {name: self.pool(pool) for name, pool in self.report.pools.items()}
        servers = [server for pool in pools.values() for server in pool.servers.values()]
        main = pools.get("default") or next(iter(pools.values()), None)
        return Status(
            generation=self.report.generation,
            at=self._services.wall(),
            strategy=main.strategy if main is not None else "",
            pools=pools,
            totals=Totals(
                pools=len(pools),
                servers=len(servers),
                up=sum(server.state == "up" for server in servers),
                in_flight=self.report.inflight,
                idle_connections=sum(server.idle_connections for server in servers),
                requests=sum(server.requests for server in servers),
                errors=sum(server.errors for server in servers),
                client_connections=self.report.connections,
            ),
            shared_limits=_shared_limits(self.report),
            provisional=provisional(self._services.control.revisions),
            unknown_cdns=self._unknown_cdns(),
        )

    def _unknown_cdns(self) -> list[str]:
        required = self._services.control.snapshot.config.require_cdn
        if required is None or required.mode != "refuse":
            return []
        return [name for name, found in self.report.ranges.items() if not found.networks]

    def pool(self, pool: PoolReport) -> PoolStatus:
        servers = {server.name: self.server(pool.name, server, panic=pool.panic) for server in pool.servers}
        return PoolStatus(
            name=pool.name,
            strategy=pool.strategy,
            panic=pool.panic,
            queue=pool.queue,
            up=sum(server.state == "up" for server in servers.values()),
            servers=servers,
        )

    def server(self, pool: str, server: ServerReport, *, panic: bool) -> ServerStatus:
        key = (pool, server.name)
        health = self._health.get(key)
        tally = server.tally
        reason, since = self._why(key, server, health)
        if panic and server.in_rotation and server.state != "up":
            reason += "; has traffic all the same, as too few servers of the pool are well"
        until = server.ejected_until
        return ServerStatus(
            pool=pool,
            name=server.name,
            url=server.url,
            state=cast("State", server.state),
            reason=reason,
            since=since,
            in_rotation=server.in_rotation,
            weight=Weight(set=int(server.weight), effective=server.effective_weight),
            backup=server.backup,
            max_connections=server.cap,
            in_flight=server.inflight,
            tunnels=server.tunnels,
            idle_connections=server.idle,
            requests=tally.requests,
            responses=_by_class(tally.codes),
            failures=dict(tally.failures),
            errors=sum(count for code, count in tally.codes.items() if code >= 500) + sum(tally.failures.values()),
            latency=self._latency(key, server),
            checks=_checks(health),
            ejections=tally.ejections,
            ejected_until=self._services.moment(until) if until is not None else None,
        )

    def _why(self, key: ServerKey, server: ServerReport, health: HealthRecord | None) -> tuple[str, datetime | None]:
        """The reason for the state, and since when."""
        if server.state in ("drained", "maintenance"):
            reason = "the operator drains it" if server.state == "drained" else "the operator has taken it out"
            return reason, self._services.control.marked_since(key)
        if server.state == "ejected":
            return "too many of its answers to live traffic failed", None
        if health is None:
            return "its health is not known", None
        if server.state == "checking":
            return "no check has come to an end yet", health.since_wall
        if health.last is not None and health.probed:
            return health.last.reason, health.since_wall
        return "it is not checked", health.since_wall

    def _latency(self, key: ServerKey, server: ServerReport) -> ServerLatency:
        counts = self._services.recent.latencies(("server", *key))
        quantiles = {name: quantile(counts, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
        reason = None
        if server.latency is None:
            reason = "it has not answered yet"
        elif quantiles["p50"] is None:
            reason = "it has not answered in the last minute"
        return ServerLatency(
            ewma=server.latency,
            p50=quantiles["p50"],
            p95=quantiles["p95"],
            p99=quantiles["p99"],
            reason=reason,
        )


def _checks(health: HealthRecord | None) -> ServerChecks:
    if health is None:
        return ServerChecks(passed=0, failed=0, last=None)
    last = None
    if health.last is not None and health.checked_wall is not None:
        last = LastCheck(
            at=health.checked_wall,
            ok=health.last.ok,
            status=health.last.status,
            reason=health.last.reason,
            seconds=health.last.seconds,
        )
    return ServerChecks(passed=health.passed, failed=health.failed, last=last)


def _by_class(codes: Mapping[int, int]) -> dict[str, int]:
    classes: defaultdict[str, int] = defaultdict(int)
    for code, count in sorted(codes.items()):
        classes[f"{code // 100}xx"] += count
    return dict(classes)


def _shared_limits(report: Report) -> SharedLimitsStatus | None:
    """They are all shared over one Redis, or none of them is."""
    for limit in report.limits.values():
        if limit.mode != "local":
            state: Literal["shared", "fallback"] = "fallback" if limit.mode == "fallback" else "shared"
            alone = {name: one.settings.on_redis_down for name, one in report.limits.items() if one.mode != "local"}
            return SharedLimitsStatus(
                state=state, reason=limit.reason, since=limit.since, instances=limit.instances, alone=alone
            )
    return None
