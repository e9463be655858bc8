"""/api/monitoring/analytics: the reports, and what they are made of."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Final, Literal, cast

import orjson

from api.analytics_models import (
    Availability,
    Cell,
    ExportQuery,
    Forgotten,
    MetricAnswer,
    QueueFigures,
    ReportAnswer,
    ReportQuery,
    Row,
    StatusAnswer,
    StoredFigures,
    SuggestionAnswer,
    SuggestionsAnswer,
    SummaryAnswer,
    SummaryPart,
    SummaryQuery,
)
from api.operation import Call, Flow, Operation, Text
from api.problems import Fault, Problem
from api.services import Services
from balancer.analytics.engine import StoreError
from balancer.analytics.export import TYPES, exported, has_parquet
from balancer.analytics.periods import BadParameter, Period, period
from balancer.analytics.reports import EIGHT, REPORTS, Figure, Report, Wish
from balancer.analytics.service import Unconfigured
from balancer.analytics.source import SourceError, TimedOut
from balancer.analytics.suggest import suggestions

ANALYTICS: Final = "/api/monitoring/analytics"
LONGEST: Final = 366
"""Days."""
AT_ONCE: Final = 4
"""Reports of one summary that are made at a time."""
FAILS: Final[Mapping[int, str]] = {
    501: "Nothing to report from is configured.",
    503: "The database or the store did not answer, or not in time.",
}
ABOUT: Final = {
    "user-growth": "Users who registered and left, and what became of them.",
    "post-activity": "Posts, comments and reactions, and how soon somebody answers.",
    "community-growth": "Communities and their members.",
    "engagement": "Who is active: by day, within a week and a month, for the first time or again.",
    "moderation": "What moderators did, and how much of it was undone.",
    "reports": "What users reported, and how long it took.",
    "communities": "One row for each community.",
    "users": "How many users there are, and who contributes most.",
    "events": "How often each event of `analytics.events` happened.",
}
DEFINED: Final = {"seen": "any event of a known user", "contributed": "posted, commented or reacted"}


class Analytics:
    """Nothing here changes anything but the forgetting of a user."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def operations(self) -> tuple[Operation, ...]:
        reports = [
            Operation(
                "GET",
                f"{ANALYTICS}/{name}",
                "viewer",
                self._reporter(name),
                {200: "The report."},
                FAILS,
                other_types=("text/csv",),
            )
            for name in REPORTS
        ]
        return (
            Operation("GET", ANALYTICS, "viewer", self.analytics, {200: "The summaries."}, FAILS),
            *reports,
            Operation("GET", f"{ANALYTICS}/status", "viewer", self.analytics_status, {200: "How it goes."}),
            Operation(
                "GET",
                f"{ANALYTICS}/suggestions",
                "operator",
                self.suggest_events,
                {200: "Rules that might be written."},
                FAILS,
            ),
            Operation(
                "GET",
                f"{ANALYTICS}/export",
                "admin",
                self.export_events,
                {200: "The events, the oldest first."},
                FAILS,
                content_type="application/x-ndjson",
                other_types=("text/csv", "application/vnd.apache.parquet"),
            ),
            Operation(
                "DELETE",
                f"{ANALYTICS}/users/{{user}}",
                "admin",
                self.forget_user,
                {200: "Nothing says any more what they did."},
                FAILS,
            ),
        )

    async def analytics(self, call: Call, query: SummaryQuery) -> SummaryAnswer:
        """The summaries of the eight reports in one answer."""
        found = self._period(query.since, query.to, None, query.timezone)
        wish = Wish(found, compare=query.compare == "previous", names=_may_see_names(call))
        gate = asyncio.Semaphore(AT_ONCE)

        async def part(name: str) -> SummaryPart:
            async with gate:
                try:
                    report = await self._services.analytics.report(name, wish, query.source)
                except SourceError as error:
                    return SummaryPart(source=None, summary={}, reason=str(error))
            return SummaryPart(source=report.source, summary=_summary(report), reason=None)

        try:
            self._services.analytics.sources(query.source)
            parts = await asyncio.gather(*(part(name) for name in EIGHT))
        except Unconfigured as error:
            raise Problem(501, str(error), code="not_configured") from None
        return SummaryAnswer(
            **{"from": found.since},
            to=found.until,
            timezone=found.zone,
            generated_at=self._services.wall(),
            reports=dict(zip(EIGHT, parts, strict=True)),
        )

    def _reporter(self, name: str) -> Callable[..., Awaitable[ReportAnswer | Text]]:
        async def report(call: Call, query: ReportQuery) -> ReportAnswer | Text:
            return await self._report(name, call, query)

        report.__name__ = f"report_{name.replace('-', '_')}"
        report.__doc__ = ABOUT[name]
        return report

    async def _report(self, name: str, call: Call, query: ReportQuery) -> ReportAnswer | Text:
        found = self._period(query.since, query.to, query.interval, query.timezone)
        wish = Wish(
            found,
            query.limit,
            query.compare == "previous",
            query.active,
            query.community,
            query.sort,
            _may_see_names(call),
        )
        try:
            report = await self._services.analytics.report(name, wish, query.source)
        except Unconfigured as error:
            raise Problem(501, str(error), code="not_configured") from None
        except TimedOut as error:
            raise Problem(503, str(error), code="analytics_timeout") from None
        except SourceError as error:
            raise Problem(503, str(error), code="analytics_away") from None
        if query.format == "csv":
            return _csv(report, query.table)
        return self._answer(report)

    def _period(self, since: str | None, to: str | None, interval: str | None, zone: str | None) -> Period:
        settings = self._services.analytics.settings
        chosen = zone or (settings.time_zone if settings is not None else None)
        try:
            return period(since, to, interval, chosen, self._services.wall(), LONGEST)
        except BadParameter as error:
            message = f"?{error.name} {error}"
            raise Problem(422, message, [Fault(pointer=f"?{error.name}", message=str(error))]) from None

    def _answer(self, report: Report) -> ReportAnswer:
        zone = report.period.local
        return ReportAnswer(
            **{"from": report.period.since.astimezone(zone)},
            name=report.name,
            source=report.source,
            to=report.period.until.astimezone(zone),
            interval=report.period.interval,
            timezone=report.period.zone,
            generated_at=self._services.wall(),
            cached=report.age is not None,
            age_s=report.age or 0.0,
            active_definition=DEFINED[report.active] if report.active is not None else None,
            summary=_summary(report),
            series=cast(list[Row], report.series),  # rows have nothing else
            tables=cast(dict[str, list[Row]], report.tables),
            metrics={name: Availability(reason=reason) for name, reason in report.missing.items()},
            warnings=report.warnings,
        )

    async def analytics_status(self, call: Call) -> StatusAnswer:
        """How it goes with events on their way, and with what keeps them."""
        service = self._services.analytics
        gathered, desk = service.gathered(), service.desk
        stored = None
        if desk is not None:
            try:
                kept = await desk.store_figures()
            except (StoreError, TimeoutError):
                kept = None
            figures = desk.figures
            stored = StoredFigures(
                ok=figures.ok,
                reason=figures.reason,
                since=self._services.moment(figures.since),
                written=figures.stored,
                events=kept.events if kept is not None else None,
                bytes=kept.bytes if kept is not None else None,
                oldest=_moment(kept.oldest) if kept is not None else None,
                newest=_moment(kept.newest) if kept is not None else None,
                restarts=figures.restarts,
                unclean=_moment(figures.unclean),
                time_zone=desk.zone,
            )
        settings = service.settings
        bots = gathered.excluded.get("bot", 0) if gathered is not None else 0
        whole = bots + gathered.counted if gathered is not None else 0
        return StatusAnswer(
            configured=settings is not None,
            sources=self._sources(),
            events=sorted(settings.events) if settings is not None else [],
            excluded=gathered.excluded if gathered is not None else {},
            bot_share=round(bots / whole, 4) if whole else None,
            queue=QueueFigures(
                waiting=gathered.waiting,
                counted=gathered.counted,
                dropped=gathered.dropped,
                lost=desk.figures.lost if desk is not None else 0,
            )
            if gathered is not None
            else None,
            stored=stored,
        )

    def _sources(self) -> list[Literal["traffic", "database"]]:
        """Where figures can come from."""
        service = self._services.analytics
        found: list[Literal["traffic", "database"]] = []
        if service.desk is not None:
            found.append("traffic")
        if service.app is not None:
            found.append("database")
        return found

    async def suggest_events(self, call: Call) -> SuggestionsAnswer:
        """Rules for successful requests that no rule is about yet, ready to be written below `analytics.events`."""
        collector = self._services.analytics.collector
        if collector is None:
            raise Problem(
                501, "write `analytics: {}` in balancer.yaml: then traffic is looked at", code="not_configured"
            )
        made = {
            (method.decode(), re.sub(r"\{[^}]*\}", "*", rule.path))
            for rule in collector.rules.all
            for method in rule.methods
        }
        found = suggestions(collector.shapes.seen(), made)
        return SuggestionsAnswer(
            suggestions=[SuggestionAnswer(**asdict(one)) for one in found], left_out=collector.shapes.left_out
        )

    async def export_events(self, call: Call, query: ExportQuery) -> Flow:
        """Single events, as long as they are kept, as JSON by lines, CSV or Parquet. Users are keyed hashes."""
        desk = self._services.analytics.desk
        if desk is None:
            raise Problem(501, "`analytics.events` is not configured", code="not_configured")
        if query.format == "parquet" and not has_parquet():
            raise Problem(501, "Parquet needs pyarrow: pip install 'balancer[parquet]'", code="not_installed")
        found = self._period(query.since, query.to, "month", query.timezone)
        try:
            await desk.store_figures()  # while an answer can still say that it is away
        except (StoreError, TimeoutError) as error:
            raise Problem(503, str(error) or "the store did not answer in time", code="analytics_away") from None
        since, until = (round(moment.timestamp() * 1000) for moment in (found.since, found.until))
        name = f"events-{found.since:%Y%m%d}-{found.until:%Y%m%d}.{query.format}"
        fields = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Flow(exported(desk.page, since, until, query.format), TYPES[query.format], fields)

    async def forget_user(self, call: Call) -> Forgotten:
        """Forget what a user did; their id is the one in the app's answers or tokens.

        What was summed up of everybody stays: it names nobody.
        """
        service = self._services.analytics
        if service.collector is None or service.desk is None:
            raise Problem(501, "`analytics.events` is not configured", code="not_configured")
        user = service.collector.key_of_user(call.path["user"])
        try:
            rows = await service.desk.forget(user)
        except (StoreError, TimeoutError) as error:
            raise Problem(503, str(error) or "the store did not answer in time", code="analytics_away") from None
        call.note("analytics.users", f"{user & (1 << 64) - 1:016x}", None)
        return Forgotten(rows=rows)


def _may_see_names(call: Call) -> bool:
    return call.caller is not None and call.caller.may("admin")


def _summary(report: Report) -> dict[str, MetricAnswer]:
    return {name: _metric(figure) for name, figure in report.summary.items()}


def _metric(figure: Figure) -> MetricAnswer:
    return MetricAnswer(
        value=cast(Cell, figure.value),
        previous=cast(Cell, figure.previous),
        change=figure.change,
        unit=figure.unit,
        reason=figure.reason,
    )


def _moment(at: int | None) -> datetime | None:
    return None if not at else datetime.fromtimestamp(at / 1000, UTC)


def _csv(report: Report, table: str | None) -> Text:
    """The series, or one of the tables."""
    rows = report.series if table is None else report.tables.get(table)
    if rows is None:
        there = ", ".join(report.tables) or "none"
        message = f"must be a table of this report; there is {there}"
        raise Problem(422, f"?table {message}", [Fault(pointer="?table", message=message)])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(names)
    for row in rows:
        writer.writerow([_csv_cell(row.get(name)) for name in names])
    return Text(out.getvalue().encode(), "text/csv; charset=utf-8")


def _csv_cell(value: object) -> str:
    """Text that a spreadsheet takes for text, whatever it begins with."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (dict, list, tuple)):
        return orjson.dumps(value, default=str).decode()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return str(value).lower() if isinstance(value, bool) else str(value)
