"""What has happened of late: servers that went and came, configurations, alerts. For people who have just come to look.

Found by comparing how things stand with how they stood a second ago, so that no part has to tell of itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from balancer.server import ServerKey

KEPT: Final = 300
AT_ONCE: Final = 20
"""Servers of one pool that are told apart at a look; of more, only how many went where."""

Kind = Literal["start", "server", "pool", "configuration", "health", "alert"]
Level = Literal["good", "info", "warning", "bad"]

_TOLD: Final[Mapping[str, tuple[Level, str]]] = {
    "up": ("good", "is up"),
    "down": ("bad", "is down"),
    "ejected": ("bad", "is ejected: too many of its answers failed"),
    "checking": ("info", "is checked for the first time"),
    "drained": ("info", "is drained"),
    "maintenance": ("info", "is in maintenance"),
}


class Happening(NamedTuple):
    """One of them."""

    number: int
    at: float
    """Seconds since 1970."""
    kind: Kind
    level: Level
    subject: str
    """What it is about: POOL/SERVER, a pool, a check of health, a rule."""
    text: str


class Scene(NamedTuple):
    """How things stand at one moment."""

    servers: Mapping[ServerKey, str]
    """Their states."""
    reasons: Mapping[ServerKey, str]
    """Why those that are down are."""
    open: frozenset[str]
    """Pools that fail open."""
    configuration: tuple[int, str] | None
    """The number of the revision in force, and what is to be told of it."""
    checks: Mapping[str, tuple[str, str | None]]
    """Of health, those of pools left out: status and reason."""
    firing: Mapping[str, str]
    """Rules of alerts that fire, with what is to be told."""


class Happenings:
    """The last of them, numbered from 1."""

    def __init__(self) -> None:
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._before: Scene | None = None
        self._number = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def last(self) -> int:
        """The number of the latest; 0 before the first."""
        return self._number

    def after(self, number: int) -> list[Happening]:
        """Those after it that are still known, the oldest first."""
        return [one for one in self._kept if one.number > number]

    def add(self, at: float, kind: Kind, level: Level, subject: str, text: str) -> Happening:
        self._number += 1
        one = Happening(self._number, at, kind, level, subject, text)
        self._kept.append(one)
        return one

    def look(self, at: float, scene: Scene) -> list[Happening]:
        """What has changed since the last look. At the first one, the start, and what was not well from then on."""
        before, self._before = self._before, scene
        begun = []
        if before is None:
            well = {key: "checking" if state == "checking" else "up" for key, state in scene.servers.items()}
            before = Scene(well, {}, frozenset(), scene.configuration, {}, {})
            begun = [self.add(at, "start", "info", "balancer", "the balancer has started")]
        return [
            *begun,
            *self._configuration(at, before, scene),
            *self._servers(at, before, scene),
            *self._pools(at, before, scene),
            *self._checks(at, before, scene),
            *self._alerts(at, before, scene),
        ]

    def _configuration(self, at: float, before: Scene, now: Scene) -> Iterable[Happening]:
        if now.configuration is not None and now.configuration != before.configuration:
            number, text = now.configuration
            yield self.add(at, "configuration", "info", str(number), text)

    def _servers(self, at: float, before: Scene, now: Scene) -> Iterable[Happening]:
        moved: dict[str, list[tuple[str, str]]] = {}
        for key, state in now.servers.items():
            if before.servers.get(key) not in (None, state):
                moved.setdefault(key[0], []).append((key[1], state))
        for pool, servers in moved.items():
            if len(servers) > AT_ONCE:
                states = sorted({state for _, state in servers})
                parts = [f"{sum(state == one for _, state in servers)} are {one} now" for one in states]
                worst: Level = "bad" if any(_TOLD[state][0] == "bad" for state in states) else "info"
                yield self.add(at, "server", worst, pool, f"servers of {pool}: {', '.join(parts)}")
                continue
            for server, state in servers:
                level, text = _TOLD[state]
                reason = now.reasons.get((pool, server)) if state == "down" else None
                whole = f"{server} of {pool} {text}{f': {reason}' if reason else ''}"
                yield self.add(at, "server", level, f"{pool}/{server}", whole)

    def _pools(self, at: float, before: Scene, now: Scene) -> Iterable[Happening]:
        for pool in sorted(now.open - before.open):
            text = f"{pool} fails open: too few of its servers are well, so all have traffic"
            yield self.add(at, "pool", "bad", pool, text)
        pools = {key[0] for key in now.servers}
        for pool in sorted((before.open - now.open) & pools):
            yield self.add(at, "pool", "good", pool, f"{pool} has enough servers again")

    def _checks(self, at: float, before: Scene, now: Scene) -> Iterable[Happening]:
        for name, (status, reason) in now.checks.items():
            old = before.checks.get(name, ("unknown", None))[0]
            if status == old:
                continue
            if status == "ok" and old in ("degraded", "down"):
                yield self.add(at, "health", "good", name, f"{name} is well again")
            elif status in ("degraded", "down"):
                level: Level = "bad" if status == "down" else "warning"
                yield self.add(at, "health", level, name, f"{name}: {reason or status}")

    def _alerts(self, at: float, before: Scene, now: Scene) -> Iterable[Happening]:
        for rule in sorted(now.firing.keys() - before.firing.keys()):
            yield self.add(at, "alert", "bad", rule, f"alert {rule}: {now.firing[rule]}")
        for rule in sorted(before.firing.keys() - now.firing.keys()):
            yield self.add(at, "alert", "good", rule, f"alert {rule} is over")
