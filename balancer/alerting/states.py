"""When something that a rule finds is told: once when it has lasted, again after a while, and when it is over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from balancer.alerting.measures import Finding
from config.alerts import AlertRule

MOST: Final = 1000
"""Things that are followed at a time: what comes beyond is not told of."""


@dataclass(slots=True)
class Alert:
    """One rule about one thing. Times are seconds since 1970, which survive a restart."""

    rule: str
    subject: str
    severity: str
    state: Literal["pending", "firing"]
    since: float
    """When it was first found."""
    fired: float | None = None
    told: float | None = None
    """The last message of it."""
    value: float | None = None
    threshold: float | None = None
    unit: str = ""
    text: str = ""
    look: str = ""
    to: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The same for the same rule about the same thing, for ever."""
        return hashlib.blake2b(f"{self.rule}\0{self.subject}".encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Told:
    """Something to be told."""

    alert: Alert
    status: Literal["firing", "resolved"]


class States:
    """All that is pending or firing."""

    def __init__(self, kept: Iterable[Mapping[str, Any]] = ()) -> None:
        """`kept` is what `firing_now` gave before a restart; what can not be read of it is left out."""
        self.alerts: dict[tuple[str, str], Alert] = {}
        for one in kept:
            try:
                alert = Alert(**{**one, "to": tuple(one.get("to", ()))})
                alert.since + (alert.told or 0.0)  # numbers, if they are what they should be
            except TypeError:
                continue
            self.alerts[alert.rule, alert.subject] = alert

    def firing(self, rule: str) -> frozenset[str]:
        return frozenset(subject for (name, subject), one in self.alerts.items() if name == rule and one.fired)

    def note(
        self, name: str, rule: AlertRule, found: Iterable[Finding], now: float, repeat: float, silenced: bool
    ) -> list[Told]:
        """What a rule says now, and what of that is to be told."""
        tell: list[Told] = []
        met = {one.subject: one for one in found if one.met}
        for (rule_name, subject), alert in list(self.alerts.items()):
            if rule_name == name and subject not in met:
                del self.alerts[rule_name, subject]
                if alert.told is not None:
                    tell.append(Told(alert, "resolved"))
        for subject, finding in met.items():
            known = self.alerts.get((name, subject))
            if known is None:
                if len(self.alerts) >= MOST:
                    continue
                known = self.alerts[name, subject] = Alert(name, subject, rule.severity, "pending", now)
            alert = known
            alert.value, alert.threshold, alert.unit = finding.value, finding.threshold, finding.unit
            alert.text, alert.look = finding.text, finding.look
            alert.severity, alert.to = rule.severity, rule.to
            if alert.state == "pending" and now - alert.since >= rule.lasting:
                alert.state, alert.fired = "firing", now
            again = alert.told is None or (repeat and now - alert.told >= repeat)
            if alert.state == "firing" and again and not silenced:
                alert.told = now
                tell.append(Told(alert, "firing"))
        return tell

    def drop(self, rules: Iterable[str]) -> None:
        """Forget what no rule is about any more."""
        kept = set(rules)
        for key in [key for key in self.alerts if key[0] not in kept]:
            del self.alerts[key]

    def firing_now(self) -> list[Alert]:
        return [alert for alert in self.alerts.values() if alert.state == "firing"]
