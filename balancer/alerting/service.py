"""Alerts as the rest of the process sees them: told of a configuration and of figures, asked how things stand."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import structlog

from balancer.alerting.delivery import Delivery
from balancer.alerting.measures import USUAL, Measures, findings
from balancer.alerting.states import Alert, States, Told
from config.schema import AlertRule, Alerts

log = structlog.get_logger("balancer.alerts")

KEPT: Final = "alerts.json"
EVERY: Final = 5.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """One rule, as it stands."""

    rule: AlertRule
    state: Literal["ok", "pending", "firing"]
    alerts: tuple[Alert, ...]
    silenced_until: float | None


class AlertService:
    """Everything that one configuration of alerts makes, and what outlives it: who was told of what."""

    def __init__(self, folder: Path, sender: str) -> None:
        """`sender` is how messages call this balancer."""
        self._path = folder / KEPT
        self._sender = sender
        self._settings: Alerts | None = None
        self._states: States | None = None
        self._silenced: dict[str, float] = {}
        self._saving: asyncio.Task[None] | None = None
        self._kept = ""
        self._looked = 0.0
        self.deliveries: dict[str, Delivery] = {}
        self._counts: Counter[str] = Counter()  # of webhooks that are not there any more

    @property
    def rules(self) -> Mapping[str, AlertRule]:
        """Those in force."""
        settings = self._settings
        if settings is None:
            return {}
        return {**USUAL, **settings.rules} if settings.usual else settings.rules

    async def change(self, settings: Alerts | None) -> None:
        """Take over a configuration that has come into force."""
        if settings == self._settings and self._states is not None:
            return
        if self._states is None:
            self._states = States(await asyncio.to_thread(self._load))
        before = self.deliveries
        wanted = settings.webhooks if settings is not None else {}
        self._settings = settings
        self.deliveries = {}
        for name, webhook in wanted.items():
            old = before.get(name)
            if old is not None and old.webhook == webhook:
                self.deliveries[name] = before.pop(name)
            else:
                self.deliveries[name] = Delivery(name, webhook, self._sender)
        for gone in before.values():
            self._counts += gone.results
            await gone.close()
        self._states.drop(self.rules)

    def look(self, measures: Measures, now: float) -> None:
        """Hold the figures against every rule. `now` is seconds since 1970."""
        settings, states = self._settings, self._states
        if settings is None or states is None:
            return
        for name, rule in self.rules.items():
            found = list(findings(rule, measures, states.firing(name)))
            silenced = self._silenced.get(name, 0.0) > now
            self._tell(rule, states.note(name, rule, found, now, settings.repeat, silenced))
        self._save()

    @property
    def is_configured(self) -> bool:
        return self._settings is not None

    @property
    def events(self) -> list[str]:
        """Product events that rules ask after."""
        return [rule.of.partition(":")[2] for rule in self.rules.values() if rule.when == "event_drop"]

    def is_due(self, now: float) -> bool:
        """Whether it is time to look; it then is looked."""
        if self._settings is None or now - self._looked < EVERY:
            return False
        self._looked = now
        return True

    def standing(self) -> dict[str, RuleState]:
        """Every rule."""
        found: dict[str, RuleState] = {}
        for name, rule in self.rules.items():
            alerts = tuple(one for (of, _), one in self._states.alerts.items() if of == name) if self._states else ()
            state: Literal["ok", "pending", "firing"] = "ok"
            if alerts:
                state = "firing" if any(one.state == "firing" for one in alerts) else "pending"
            found[name] = RuleState(rule, state, alerts, self._silenced.get(name))
        return found

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Rules by state, and messages by result."""
        states = Counter({"ok": 0, "pending": 0, "firing": 0})
        states.update(one.state for one in self.standing().values())
        results = Counter(self._counts)
        for delivery in self.deliveries.values():
            results += delivery.results
        return (dict(states), dict(results)) if self._settings is not None else ({}, {})

    def silence(self, rule: str, until: float) -> None:
        """Tell nothing of a rule until then; what is over is told all the same. KeyError: there is no such rule."""
        if rule not in self.rules:
            raise KeyError(rule)
        if until:
            self._silenced[rule] = until
        else:
            self._silenced.pop(rule, None)

    async def test(self, webhook: str, now: float) -> str:
        """Send a message that says it is a test; what came of it. KeyError: there is no such webhook."""
        alert = Alert("test", "test", "warning", "firing", now, now, now, text="this is a test of alerts")
        return await self.deliveries[webhook].send([Told(alert, "firing")])

    async def close(self) -> None:
        for delivery in self.deliveries.values():
            await delivery.close()
        if self._saving is not None:
            await asyncio.wait([self._saving])

    def _tell(self, rule: AlertRule, told: list[Told]) -> None:
        for one in told:
            event = "alert" if one.status == "firing" else "alert over"
            write = log.warning if one.status == "firing" else log.info
            write(event, rule=one.alert.rule, subject=one.alert.subject, detail=one.alert.text)
        if told:
            for name, delivery in self.deliveries.items():
                if not rule.to or name in rule.to:
                    delivery.tell(told)

    def _save(self) -> None:
        assert self._states is not None
        kept = json.dumps([asdict(alert) for alert in self._states.firing_now()])
        shown = json.dumps([(one.rule, one.subject, one.told) for one in self._states.firing_now()])
        if shown == self._kept or (self._saving is not None and not self._saving.done()):
            return
        self._kept = shown
        self._saving = asyncio.get_running_loop().create_task(asyncio.to_thread(self._write, kept))

    def _write(self, content: str) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(content)
            fresh.replace(self._path)
        except OSError as error:
            log.warning("alerts can not be kept", file=str(self._path), reason=error.strerror or str(error))

    def _load(self) -> list[Mapping[str, object]]:
        try:
            kept = json.loads(self._path.read_text())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            log.warning("alerts of before can not be read", file=str(self._path), reason=str(error))
            return []
        return [one for one in kept if isinstance(one, dict)] if isinstance(kept, list) else []
