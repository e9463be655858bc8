"""The figures of this moment, from all the rooms that know a part of them."""

from __future__ import annotations

import platform
from datetime import datetime

import balancer
from api.overview import CdnFigures, DatabaseFigures, DatabaseNode, DatabaseUse, PictureFigures
from api.services import Services
from balancer.telemetry.events_report import EventsReport
from balancer.telemetry.families import Vitals
from balancer.telemetry.figures import Figures
from balancer.telemetry.redis_report import RedisReport
from balancer.telemetry.report import Report
from balancer.telemetry.summary import figures, of_counts, process_use


def figures_now(services: Services, report: Report) -> Figures:
    return figures(
        report,
        services.recent,
        services.control.monitor.report(),
        process_use(services.process.figures(), services.lag, services.loop),
        services.errors,
        services.moment(report.now),
    )


def redis_figures(services: Services, report: Report) -> DatabaseFigures:
    state = services.redis.state
    return DatabaseFigures(
        ok=state.ok,
        latency=state.latency,
        reason=state.reason,
        checked=state.checked,
        info=dict(state.digest),
        use=_use(report.redis) if report.redis is not None else None,
    )


def _use(redis: RedisReport) -> DatabaseUse:
    return DatabaseUse(
        state=redis.state,
        reason=redis.reason,
        nodes=[DatabaseNode(**node._asdict()) for node in redis.nodes],
        waiting=redis.waiting,
        commands=dict(redis.commands),
        latency=of_counts(redis.seconds.counts),
        connects=redis.connects,
        openings=redis.opened,
        redirections=redis.redirected,
    )


async def cdn_figures(services: Services) -> CdnFigures | None:
    """None without a CDN."""
    report = await services.cdn.report()
    if report is None:
        return None
    calls: dict[str, dict[str, int]] = {}
    for (operation, result), count in report.calls.items():
        calls.setdefault(operation, {})[result] = count
    pictures = report.pictures
    return CdnFigures(
        provider=report.provider,
        ok=report.up,
        reason=report.reason,
        calls=calls,
        uploads=dict(report.uploads),
        upload_bytes=report.upload_bytes,
        files=report.files,
        file_bytes=report.file_bytes,
        purges=dict(report.purges),
        purges_in_progress=report.tickets,
        breaker=report.breaker,
        pictures=PictureFigures(
            results=dict(pictures.results),
            failures=dict(pictures.failures),
            seconds=pictures.seconds,
            in_progress=pictures.inside,
            kept=pictures.variants,
        )
        if pictures is not None
        else None,
    )


async def vitals(services: Services) -> Vitals:
    """What Prometheus is told beside the planes' report."""
    reloads, revisions = services.control.reloads, services.control.revisions
    return Vitals(
        version=balancer.__version__,
        python=platform.python_version(),
        loop=services.loop,
        loop_lag=services.lag.worst,
        reloads={"success": reloads.success, "failure": reloads.failure},
        last_reload_ok=reloads.last_ok,
        last_reload_success=_unix(reloads.last_success),
        config_revision=revisions.history.latest.number if revisions.history.latest is not None else None,
        config_trial_left=revisions.trial_left,
        config_changes=revisions.results,
        admin_requests=services.requests,
        streams=len(services.streams),
        streams_cut_off=services.streams.cut_off,
        audit_lines=services.trail.counts,
        log_lines_dropped=services.dropped(),
        redis_up=services.redis.state.ok,
        checks=services.control.monitor.report(),
        cdn=await services.cdn.report(),
        databases=services.databases.reports(),
        events=_events(services),
        error_groups=len(services.error_groups),
        failed_requests=services.error_groups.counted,
        alerts=services.alerts.counts()[0],
        notifications=services.alerts.counts()[1],
    )


def _events(services: Services) -> EventsReport | None:
    """None without rules for events."""
    gathered, desk = services.analytics.gathered(), services.analytics.desk
    if gathered is None or desk is None:
        return None
    figures = desk.figures
    return EventsReport(
        up=bool(figures.ok),
        counted=gathered.counted,
        excluded=gathered.excluded,
        dropped=gathered.dropped + figures.lost,
        waiting=gathered.waiting,
        stored=figures.stored,
        seconds=figures.seconds,
        restarts=figures.restarts,
    )


def _unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0
