"""Alerts: whether what rules name is there."""

from __future__ import annotations

from typing import Final

from config.findings import Findings
from config.problems import Path, listed
from config.schema import AlertRule, Config

OF: Final = {"error_share": ("total", "route", "pool"), "p99": ("total", "route", "pool"), "event_drop": ("event",)}
"""What a condition may be about; others are about everything."""


def check_alerts(config: Config, found: Findings) -> None:
    alerts = config.alerts
    if alerts is None:
        return
    if not alerts.webhooks:
        found.warn(("alerts",), "has no `webhooks`: what fires is only in the log and the API")
    for name, rule in alerts.rules.items():
        path: Path = ("alerts", "rules", name)
        _check_of(config, rule, path, found)
        for number, webhook in enumerate(rule.to):
            if webhook not in alerts.webhooks:
                there = listed(list(alerts.webhooks), "and") if alerts.webhooks else "none"
                found.add((*path, "to", number), f"must be a name in `alerts.webhooks`: there is {there}")


def _check_of(config: Config, rule: AlertRule, path: Path, found: Findings) -> None:
    kind, _, name = rule.of.partition(":")
    allowed = OF.get(rule.when)
    if allowed is None:
        if rule.of != "total":
            found.add((*path, "of"), f"must not be said: {rule.when} is about everything")
        return
    if kind not in allowed:
        expected = listed([one if one == "total" else f"{one}:NAME" for one in allowed])
        found.add((*path, "of"), f"must be {expected} where `when` is {rule.when}")
        return
    if kind == "total":
        return
    there = {
        "route": list(config.routes),
        "pool": list(config.pools),
        "event": list(config.analytics.events) if config.analytics is not None else [],
    }[kind]
    if name not in there:
        names = listed(there, "and") if there else "none"
        found.add((*path, "of"), f"must be the name of one that there is: {names}")
