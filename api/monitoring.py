"""/api/monitoring and what orchestrators and Prometheus ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.auth import Role
from api.databases import in_metrics
from api.figures import figures_now, redis_figures, vitals
from api.operation import Call, Operation, Reply, Text
from api.overview import Alive, Health, HealthCheckState, MetricsAnswer, Readiness
from api.services import Services
from balancer.redis_link import RedisState
from balancer.telemetry.redis_report import RedisReport
from balancer.telemetry.report import PoolReport, Report
from config.schema import Config

LATE = 0.2
"""Seconds of event-loop lag from which everything feels slow."""
RANK = ("ok", "degraded", "down")


class Monitoring:
    """Nothing here changes anything, whoever asks."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._control = services.control
        path = self._control.snapshot.config.metrics.path
        self.prometheus_operation = Operation(
            "GET",
            path,
            _metrics_role,
            self.prometheus,
            {200: "In the Prometheus text format, or OpenMetrics when Accept asks for it."},
            content_type="text/plain",
        )

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", "/livez", None, self.livez, {200: "The process is alive."}, unlimited=True),
            Operation(
                "GET",
                "/readyz",
                None,
                self.readyz,
                {200: "Send traffic here.", 503: "Send it elsewhere."},
                unlimited=True,
            ),
            Operation(
                "GET",
                "/api/monitoring/health",
                None,
                self.health,
                {200: "Traffic can be served.", 503: "It can not."},
                key_shows_more=True,
            ),
            Operation("GET", "/api/monitoring/metrics", "viewer", self.metrics, {200: "The figures."}),
            self.prometheus_operation,
        )

    async def livez(self, call: Call) -> Alive:
        """Whether the process is alive; restart it when this does not answer."""
        return Alive()

    async def readyz(self, call: Call) -> Reply[Readiness]:
        """Whether to send traffic here.

        Not before every server has been checked once, and not any more once a shutdown has begun.
        """
        if self._control.ready:
            return Reply(Readiness(status="ready", detail=None))
        detail = "a shutdown has begun" if self._control.closing else "servers are being checked for the first time"
        return Reply(Readiness(status="not ready", detail=detail), 503)

    async def health(self, call: Call) -> Reply[Health]:
        """Whether traffic can be served, and how well; the single checks only with a key."""
        checks = self.note(await self._control.report())
        status = _status(checks)
        code = 503 if status == "down" else 200
        if call.caller is None:
            return Reply(Health(status=status, checks=None), code)
        services = self._services
        seen = services.health_seen.note("", status, services.clock())
        summary = _summary(checks, services.wall())
        return Reply(Health(status=status, since=services.moment(seen.since), summary=summary, checks=checks), code)

    def note(self, report: Report) -> dict[str, HealthCheckState]:
        """Look at everything: once a second, so that it is known since when something is as it is."""
        services = self._services
        now = services.clock()
        checks = self._checks(report)
        services.health_seen.keep({"", *checks})
        found = {}
        for name, check in checks.items():
            seen = services.health_seen.note(name, check.status, now)
            moment = services.moment(seen.since)
            found[name] = check.model_copy(update={"since": moment, "changes": seen.changes})
        services.health_seen.note("", _status(found), now)
        return found

    def _checks(self, report: Report) -> dict[str, HealthCheckState]:
        checks = {f"pool {name}": _pool(pool) for name, pool in report.pools.items()}
        checks["redis"] = _redis(self._services.redis.state, report.redis)
        second = report.cache.second if report.cache is not None else None
        if second is not None:
            checks["cache in redis"] = HealthCheckState(
                status="ok" if second.state == "up" else "degraded", reason=second.reason
            )
        cdn = self._services.cdn.look()
        if cdn is not None:
            # Sites are served without it, and files that are in caches, too.
            checks["cdn"] = HealthCheckState(
                status="unknown" if cdn.ok is None else "ok" if cdn.ok else "degraded", reason=cdn.reason
            )
        for name, (ok, reason) in self._services.databases.problems().items():
            # Requests are answered without it, as far as the balancer can tell.
            status: Literal["ok", "degraded", "unknown"] = "unknown" if ok is None else "ok" if ok else "degraded"
            checks[f"database {name}"] = HealthCheckState(status=status, reason=reason)
        if (desk := self._services.analytics.desk) is not None:
            store = desk.figures
            checks["analytics"] = HealthCheckState(
                status="unknown" if store.ok is None else "ok" if store.ok else "degraded", reason=store.reason
            )
        lag = self._services.lag.worst
        checks["event loop"] = HealthCheckState(
            status="unknown" if lag is None else "degraded" if lag > LATE else "ok",
            reason=f"it was {lag:.3f} s late in the last minute" if lag is not None and lag > LATE else None,
        )
        reloads = self._control.reloads
        checks["configuration"] = HealthCheckState(
            status="ok" if reloads.last_ok else "degraded",
            reason=None if reloads.last_ok else "the last reload was refused; an older configuration is in force",
        )
        closing = self._control.closing
        checks["shutdown"] = HealthCheckState(
            status="degraded" if closing else "ok", reason="a shutdown has begun" if closing else None
        )
        return checks

    async def metrics(self, call: Call) -> MetricsAnswer:
        """The figures of this moment: rates, latencies, errors, per listener, route, pool and server."""
        report = await self._control.report()
        figures = figures_now(self._services, report)
        parts = {name: getattr(figures, name) for name in type(figures).model_fields}
        return MetricsAnswer(
            **parts, databases={"redis": redis_figures(self._services, report), **in_metrics(self._services.databases)}
        )

    async def prometheus(self, call: Call) -> Text:
        """The figures for Prometheus."""
        report = await self._control.report()
        accept = ", ".join(call.request.headers.getall("Accept", []))
        body, content_type = self._services.metrics.page(report, await vitals(self._services), accept)
        return Text(body, content_type)


def _status(checks: dict[str, HealthCheckState]) -> Literal["ok", "degraded", "down"]:
    """Of the whole: a pool without servers is bad for its routes; nothing can be served only when all are."""
    worst = max((check.status for check in checks.values() if check.status in RANK), key=RANK.index)
    pools = [check.status for name, check in checks.items() if name.startswith("pool ")]
    if pools and all(status == "down" for status in pools):
        return "down"
    return "ok" if worst == "ok" else "degraded"


def _summary(checks: dict[str, HealthCheckState], now: datetime) -> str:
    """What is not well, the worst first."""
    bad = [(name, check) for name, check in checks.items() if check.status in ("down", "degraded")]
    bad.sort(key=lambda one: -RANK.index(one[1].status))
    if not bad:
        return "all is well"
    return "; ".join(f"{name} is {check.status}{_for(check, now)}: {check.reason}" for name, check in bad)


def _for(check: HealthCheckState, now: datetime) -> str:
    if check.since is None:
        return ""
    seconds = max(round((now - check.since).total_seconds()), 0)
    if seconds < 120:
        return f" for {seconds} s"
    return f" for {seconds // 60} min" if seconds < 7200 else f" for {seconds // 3600} h"


def _redis(seen: RedisState, used: RedisReport | None) -> HealthCheckState:
    """As it was when it was last looked at; what is made of it while it is used comes first."""
    if used is not None and used.state != "up":
        return HealthCheckState(status="degraded", reason=f"{used.state}: {used.reason}")
    return HealthCheckState(
        status="unknown" if seen.ok is None else "ok" if seen.ok else "degraded", reason=seen.reason
    )


def _metrics_role(config: Config) -> Role | None:
    return None if config.metrics.open else "viewer"


def _pool(pool: PoolReport) -> HealthCheckState:
    up = sum(server.state == "up" for server in pool.servers)
    count = f"{up} of {len(pool.servers)} servers are up"
    if not any(server.in_rotation for server in pool.servers):
        return HealthCheckState(status="down", reason=f"no server has traffic: {count}")
    if pool.panic:
        return HealthCheckState(status="degraded", reason=f"{count}: traffic goes to all that were ever checked")
    ailing = [server for server in pool.servers if server.state in ("down", "ejected")]
    return HealthCheckState(status="degraded" if ailing else "ok", reason=count if ailing else None)
