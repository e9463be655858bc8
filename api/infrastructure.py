"""/api/infrastructure: the load balancer as a whole, and the page with everything on it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import cast

import balancer
from api.answers import (
    CandidateAnswer,
    CertificateAnswer,
    CertificateAnswers,
    ExplainedRoute,
    NextServer,
    OtherRoute,
    ProbeAnswer,
    ProbeAnswers,
    State,
    Status,
    StrategyAnswer,
)
from api.figures import cdn_figures, figures_now, redis_figures
from api.operation import Call, Operation
from api.overview import AdminFigures, ReloadFigures, Stats, TrustedRanges
from api.problems import Fault, Problem
from api.request_checks import LIMIT
from api.requests import CheckRequest, ExplainQuery, Initialize, NextQuery
from api.services import Services
from api.status import View
from api.translation import as_problems
from balancer import changes
from balancer.health.monitor import CheckResult
from balancer.preview import Preview, PreviewAnswer, RouteQuestion
from balancer.server import ServerKey
from balancer.telemetry.ranges_report import RangesReport
from config.problems import path_text
from config.schema import Server

BALANCER = "/api/infrastructure/load-balancer"


class Infrastructure:
    """What the load balancer is doing, and what it is made of."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._control = services.control

    def operations(self) -> tuple[Operation, ...]:
        unknown = {404: "No such pool or server."}
        unkept = {507: "The change could not be kept on disk, and so was not made."}
        return (
            Operation("GET", BALANCER + "/status", "viewer", self.status, {200: "The state of everything."}),
            Operation(
                "POST",
                BALANCER + "/initialize",
                "admin",
                self.initialize,
                {200: "The pool has these servers now."},
                {**unknown, **unkept},
                limit=LIMIT,
            ),
            Operation(
                "POST",
                BALANCER + "/health-check",
                "operator",
                self.health_check,
                {200: "What each server answered."},
                unknown,
            ),
            Operation("GET", BALANCER + "/next-server", "viewer", self.next_server, {200: "The choice."}, unknown),
            Operation("GET", "/api/infrastructure/routes/explain", "viewer", self.explain_route, {200: "The route."}),
            Operation("GET", "/api/infrastructure/stats", "viewer", self.stats, {200: "Everything."}),
            Operation(
                "GET",
                "/api/infrastructure/certificates",
                "viewer",
                self.certificates,
                {200: "The certificates in use."},
            ),
        )

    async def status(self, call: Call) -> Status:
        """The load balancer at this moment: every pool and every server."""
        return (await View.now(self._services)).status()

    async def initialize(self, call: Call, body: Initialize) -> Status:
        """Replace a pool's servers at once.

        Everything is validated before anything changes. Servers that leave finish what they have; those whose name
        and URL stay keep their connections and counts. The change survives a restart.
        """
        pool = self._pool(body.pool, "/pool")
        servers: dict[str, Server] = {}
        places = {path_text(("pools", pool, name)): f"/{name}" for name in ("strategy", "health")}
        for position, server in enumerate(body.servers):
            name = server.called
            pointer = f"/servers/{position}"
            if name in servers:
                fault = Fault(pointer=pointer, message=f"is a second server named {name}: give one another name")
                raise Problem(422, "1 field is not as expected; nothing was changed", [fault])
            servers[name] = server.settings
            places[path_text(("pools", pool, "servers", name))] = pointer
        with as_problems(places):
            await self._control.change(changes.initialize(pool, servers, body.strategy, body.health), call.author)
        return (await View.now(self._services)).status()

    async def health_check(self, call: Call, body: CheckRequest | None) -> ProbeAnswers:
        """Check the health of all servers, of a pool or of one server now, and answer with the results.

        The results count as any others do: `rise` and `fall` in a row make a verdict.
        """
        wanted = body or CheckRequest()
        config = self._control.snapshot.config
        with as_problems():
            if wanted.server is not None and wanted.pool is not None:
                self._control.standing.server(wanted.pool, wanted.server)
                keys = [(wanted.pool, wanted.server)]
            else:
                pools = [wanted.pool] if wanted.pool is not None else list(config.pools)
                keys = [(pool, name) for pool in pools for name in self._control.standing.pool(pool).servers]
        results = {result.key: result for result in await self._control.check_now(keys)}
        return ProbeAnswers(items=[self._probe(key, results.get(key)) for key in keys], next=None)

    async def next_server(self, call: Call, query: NextQuery) -> NextServer:
        """Whom the next request would get, and why; no turn is spent on the question."""
        pool = self._pool(query.pool, "?pool")
        headers: tuple[tuple[str, str], ...] = ()
        if query.header is not None:
            name, _, value = query.header.partition(":")
            headers = ((name, value.strip()),)
        with as_problems():
            own = self._control.standing.pool(pool).strategy
            if query.strategy is not None and ":" in query.strategy and query.strategy != own:
                fault = Fault(pointer="?strategy", message=f"must be built in, or the pool's own, {own}")
                raise Problem(422, "1 field is not as expected", [fault])
            answers = await self._control.preview(Preview(pool, query.strategy, query.client, query.path, headers))
        chosen = next((a for a in answers if a.strategy == (query.strategy or own)), None)
        return NextServer(
            pool=pool,
            strategy=own,
            server=chosen.server if chosen is not None else None,
            reason=chosen.reason if chosen is not None else "no strategy has answered",
            strategies=list(map(_strategy, answers)),
        )

    async def explain_route(self, call: Call, query: ExplainQuery) -> ExplainedRoute:
        """Which route a request would take, and why no other one. Nothing is sent anywhere."""
        rest = query.url.partition("://")[2] if not query.url.startswith("/") else ""
        host, slash, path = rest.partition("/") if rest else ("", "/", query.url[1:])
        host, _, search = host.partition("?")  # of http://host?query
        target = f"/{path}" if slash or not search else f"/?{search}"
        headers = []
        for line in filter(None, query.headers.split("\n")):
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        answer = await self._control.explain(
            RouteQuestion(query.method, host.rpartition("@")[2], target.partition("#")[0], tuple(headers))
        )
        route = self._control.snapshot.config.routes.get(answer.route or "")
        return ExplainedRoute(
            route=answer.route,
            reason=answer.reason,
            pool=route.pool if route is not None else None,
            others=[OtherRoute(route=one.route, reason=one.reason) for one in answer.others],
        )

    async def stats(self, call: Call) -> Stats:
        """One page with everything on it."""
        services = self._services
        reloads = self._control.reloads
        view = await View.now(services)
        figures = figures_now(services, view.report)
        return Stats(
            at=services.wall(),
            version=balancer.__version__,
            python=platform.python_version(),
            uptime=figures.uptime,
            ready=self._control.ready,
            shutting_down=self._control.closing,
            load_balancer=view.status(),
            requests=figures.requests,
            errors=figures.errors,
            latency=figures.latency,
            bytes=figures.bytes,
            listeners=figures.listeners,
            routes=figures.routes,
            cache=figures.cache,
            cdn=await cdn_figures(services),
            process=figures.process,
            redis=redis_figures(services, view.report),
            trusted_ranges=[_ranges(name, one) for name, one in view.report.ranges.items()],
            configuration=ReloadFigures(
                file=str(self._control.loaded.file) if self._control.loaded.file is not None else None,
                success=reloads.success,
                failure=reloads.failure,
                last_ok=reloads.last_ok,
                last=reloads.last,
                last_success=reloads.last_success,
                changed_by_api=not self._control.overlay.is_empty,
                restart_required=list(self._control.restart_required),
            ),
            admin=AdminFigures(requests={str(code): n for code, n in sorted(services.requests.items())}),
            last_errors=figures.last_errors,
        )

    async def certificates(self, call: Call) -> CertificateAnswers:
        """The certificates that listeners show, and until when they are valid."""
        now = self._services.wall()
        report = await self._control.report()
        items = [
            CertificateAnswer(
                listener=one.listener,
                names=list(one.names),
                issuer=one.issuer,
                not_before=one.not_before,
                not_after=one.not_after,
                days_left=(one.not_after - now).days,
                key_type=one.key_type,
                loaded=one.loaded,
            )
            for one in report.certificates
        ]
        return CertificateAnswers(items=items, next=None)

    def _pool(self, name: str | None, pointer: str) -> str:
        """The pool that is meant."""
        pools = self._control.snapshot.config.pools
        if name is not None:
            return name
        if "default" in pools or len(pools) == 1:
            return "default" if "default" in pools else next(iter(pools))
        fault = Fault(pointer=pointer, message=f"must be one of {', '.join(pools)}, as none is called default")
        raise Problem(422, "1 field is missing; nothing was changed", [fault])

    def _probe(self, key: ServerKey, result: CheckResult | None) -> ProbeAnswer:
        pool, server = key
        if result is not None:
            return ProbeAnswer(
                pool=pool,
                server=server,
                ok=result.result.ok,
                status=result.result.status,
                reason=result.result.reason,
                seconds=result.result.seconds,
                verdict=result.verdict,
            )
        health = self._control.monitor.report().get(key)
        away = key in self._control.snapshot.maintenance
        return ProbeAnswer(
            pool=pool,
            server=server,
            ok=None,
            status=None,
            reason="it is in maintenance" if away else "the pool has no active checks, or it has just left",
            seconds=None,
            verdict=health.verdict if health is not None else None,
        )


def _ranges(name: str, report: RangesReport) -> TrustedRanges:
    return TrustedRanges(
        cdn=name,
        networks=report.networks,
        source=report.origin,
        at=datetime.fromtimestamp(report.at, UTC) if report.at else None,
        fetched=report.tally.fetched,
        failed=report.tally.failures,
    )


def _strategy(answer: PreviewAnswer) -> StrategyAnswer:
    return StrategyAnswer(
        strategy=answer.strategy,
        server=answer.server,
        reason=answer.reason,
        candidates=[
            CandidateAnswer(
                server=candidate.server,
                state=cast("State", candidate.state),
                in_rotation=candidate.in_rotation,
                weight=candidate.weight,
                in_flight=candidate.inflight,
                latency=candidate.latency,
                score=candidate.score,
            )
            for candidate in answer.candidates
        ],
    )
