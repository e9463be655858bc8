"""/api/infrastructure/rate-limits: what limits decide, and exceptions from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from api.limits_models import LimitAnswer, LimitAnswers, LimitedKey, RulingRequest
from api.operation import Call, Operation
from api.problems import Problem
from api.services import Services
from balancer.guards.rulings import Ruling, UnknownKey
from balancer.telemetry.limit_report import KeyReport, LimitReport

LIMITS = "/api/infrastructure/rate-limits"


class Limits:
    """Policies, their counters and the keys that they refused."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._control = services.control

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", LIMITS, "viewer", self.show_limits, {200: "All policies."}),
            Operation(
                "POST",
                LIMITS,
                "admin",
                self.rule_limit,
                {200: "It holds; all policies."},
                {404: "No such policy, or no key of that name."},
            ),
        )

    async def show_limits(self, call: Call) -> LimitAnswers:
        """Every policy with what it decided, and the keys that it refused most."""
        report = await self._control.report()
        keys = await self._control.limited_keys()
        routes = self._control.snapshot.config.routes
        having: dict[str, list[str]] = {}
        for route, settings in routes.items():
            for limit in settings.rate_limit:
                having.setdefault(limit.policy, []).append(route)
        return LimitAnswers(
            at=self._services.wall(),
            policies={
                name: self._answer(one, having.get(name, []), keys.get(name, ()), report.now)
                for name, one in report.limits.items()
            },
        )

    async def rule_limit(self, call: Call, body: RulingRequest) -> LimitAnswers:
        """Lift the limit for a key, or block it, for a time; or let it be again.

        That is kept in memory only: a restart forgets it.
        """
        ruling = Ruling(body.policy, body.order, body.seconds, tuple(body.key), body.name or "")
        try:
            key = await self._control.rule(ruling)
        except UnknownKey as error:
            raise Problem(404, str(error.args[0])) from None
        except ValueError as error:
            raise Problem(422, f"key {error}; nothing was changed") from None
        until = "" if body.order == "restore" else f" for {body.seconds:g} s"
        call.note(f"rate_limits.{body.policy}", None, f"{body.order} {key.masked} ({key.name}){until}")
        return await self.show_limits(call)

    def _answer(self, report: LimitReport, routes: list[str], keys: Iterable[KeyReport], now: float) -> LimitAnswer:
        settings = report.settings
        shared = "leased" if settings.shared is True else settings.shared or None
        return LimitAnswer(
            rate=str(settings.rate) if settings.rate is not None else None,
            burst=settings.most if settings.rate is not None else None,
            concurrency=settings.concurrency,
            key=list(settings.key),
            dry_run=settings.dry_run,
            routes=routes,
            shared=shared,
            mode=report.mode,
            reason=report.reason,
            on_redis_down=settings.on_redis_down,
            decisions=dict(report.decisions),
            keys=report.keys,
            max_keys=settings.max_keys,
            in_flight=report.under_way,
            since=report.since,
            instances=report.instances,
            questions=report.questions,
            held=report.held,
            top=[self._key(key, now) for key in keys],
        )

    def _key(self, key: KeyReport, now: float) -> LimitedKey:
        return LimitedKey(
            name=key.name,
            key=key.masked,
            refused=key.refused,
            order=cast("None", key.order),
            until=self._services.moment(now + key.seconds) if key.seconds is not None else None,
        )
