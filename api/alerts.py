"""/api/monitoring/alerts: what is told to people, and whether it reaches them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from api.operation import Call, Model, Operation
from api.problems import Problem
from api.services import Services

ALERTS: Final = "/api/monitoring/alerts"
LONGEST: Final = 30 * 86_400.0


class AlertAnswer(Model):
    """Something that is so now."""

    fingerprint: str
    """The same as in messages."""
    subject: str
    state: Literal["pending", "firing"]
    since: datetime
    told: datetime | None
    """The last message of it."""
    value: float | None
    threshold: float | None
    unit: str
    text: str
    look: str


class RuleAnswer(Model):
    """One rule."""

    when: str
    of: str
    severity: str
    lasting: float
    state: Literal["ok", "pending", "firing"]
    silenced_until: datetime | None
    alerts: list[AlertAnswer]


class WebhookAnswer(Model):
    """Who is told."""

    format: str
    signed: bool
    results: dict[str, int]
    """Messages since the start: sent, failed, dropped."""
    last: datetime | None
    last_result: str | None
    """sent, or why not."""


class AlertsAnswer(Model):
    """Everything about alerts."""

    configured: bool
    rules: dict[str, RuleAnswer]
    webhooks: dict[str, WebhookAnswer]


class TestRequest(Model):
    """Which webhook is to get a message."""

    webhook: Annotated[str, Field(min_length=1, max_length=200)]


class TestAnswer(Model):
    """What came of it."""

    result: str
    """sent, or why not."""


class SilenceRequest(Model):
    """For how long nothing is to be told."""

    seconds: Annotated[float, Field(gt=0, le=LONGEST)]


class AlertViews:
    """Rules, webhooks, and quiet."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def operations(self) -> tuple[Operation, ...]:
        silence = f"{ALERTS}/{{rule}}/silence"
        return (
            Operation("GET", ALERTS, "viewer", self.alerts, {200: "How they stand."}),
            Operation(
                "POST",
                f"{ALERTS}/test",
                "operator",
                self.test_alert,
                {200: "It was tried."},
                {404: "No such webhook."},
                trail="after",
            ),
            Operation("POST", silence, "operator", self.silence_alert, {200: "It is quiet."}, {404: "No such rule."}),
            Operation(
                "DELETE", silence, "operator", self.hear_alert, {200: "It is told again."}, {404: "No such rule."}
            ),
        )

    async def alerts(self, call: Call) -> AlertsAnswer:
        """Every rule with what it has found, and every webhook with what came of messages to it."""
        service = self._services.alerts
        return AlertsAnswer(
            configured=service.is_configured,
            rules={
                name: RuleAnswer(
                    when=one.rule.when,
                    of=one.rule.of,
                    severity=one.rule.severity,
                    lasting=one.rule.lasting,
                    state=one.state,
                    silenced_until=_moment(one.silenced_until),
                    alerts=[
                        AlertAnswer(
                            fingerprint=alert.fingerprint,
                            subject=alert.subject,
                            state=alert.state,
                            since=datetime.fromtimestamp(alert.since, UTC),
                            told=_moment(alert.told),
                            value=alert.value,
                            threshold=alert.threshold,
                            unit=alert.unit,
                            text=alert.text,
                            look=alert.look,
                        )
                        for alert in one.alerts
                    ],
                )
                for name, one in service.standing().items()
            },
            webhooks={
                name: WebhookAnswer(
                    format=delivery.webhook.format,
                    signed=bool(delivery.webhook.secret) and delivery.webhook.format == "json",
                    results=dict(delivery.results),
                    last=_moment(delivery.last[0]) if delivery.last is not None else None,
                    last_result=delivery.last[1] if delivery.last is not None else None,
                )
                for name, delivery in service.deliveries.items()
            },
        )

    async def test_alert(self, call: Call, body: TestRequest) -> TestAnswer:
        """Send a message to a webhook that says it is a test."""
        try:
            return TestAnswer(result=await self._services.alerts.test(body.webhook, self._now()))
        except KeyError:
            there = ", ".join(self._services.alerts.deliveries) or "none"
            raise Problem(404, f"there is no webhook of this name; there is {there}") from None

    async def silence_alert(self, call: Call, body: SilenceRequest) -> AlertsAnswer:
        """Tell nothing of a rule for a time. That is kept in memory only."""
        return await self._silence(call, self._now() + body.seconds)

    async def hear_alert(self, call: Call) -> AlertsAnswer:
        """Tell of a rule again."""
        return await self._silence(call, 0.0)

    async def _silence(self, call: Call, until: float) -> AlertsAnswer:
        rule = call.path["rule"]
        try:
            self._services.alerts.silence(rule, until)
        except KeyError:
            there = ", ".join(self._services.alerts.rules) or "none"
            raise Problem(404, f"there is no rule of this name; there is {there}") from None
        shown = _moment(until or None)
        call.note(f"alerts.rules.{rule}", None, f"silenced until {shown:%Y-%m-%d %H:%M} UTC" if shown else "told again")
        return await self.alerts(call)

    def _now(self) -> float:
        return self._services.wall().timestamp()


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
