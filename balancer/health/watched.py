"""One server under watch: its verdict, what led to it, and when it is asked next."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from random import Random

from balancer.health.hysteresis import Hysteresis, Verdict
from balancer.health.probes import ProbeResult
from balancer.health.target import Target
from balancer.server import ServerKey
from config.schema import ActiveChecks

SHORTEST_PAUSE = 0.01
"""The least time between two probes of a server, since a jitter of 1 may draw a pause of nothing."""


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """What is known of one server's health, for those who show or count it."""

    verdict: Verdict
    since: float
    """When the verdict began, in monotonic seconds."""
    since_wall: datetime
    """The same in UTC, for display only."""
    probed: bool
    """False in maintenance and with `active: null`; the fields below are then what was found before."""
    last: ProbeResult | None
    """The latest result; None before the first."""
    checked: float | None
    """When it came in, in monotonic seconds."""
    checked_wall: datetime | None
    """The same in UTC, for display only."""
    passed: int
    """Checks passed since the server is watched under this URL."""
    failed: int


class Watched:
    """A server as the monitor sees it, for as long as its key and URL stay in the configuration.

    A probe is under way exactly while `task` is set, so there is never more than one. Owner of all fields:
    Monitor.
    """

    __slots__ = (
        "_checked",
        "_failed",
        "_hysteresis",
        "_last",
        "_passed",
        "_since",
        "due",
        "key",
        "target",
        "task",
        "waiters",
    )

    def __init__(self, key: ServerKey, target: Target, now: float, wall: datetime) -> None:
        self.key = key
        self.target = target
        self.due = now  # when to ask next; may be long past while it is not probed
        self.task: asyncio.Task[None] | None = None
        self.waiters: list[asyncio.Future[ProbeResult | None]] = []  # those who want the next result
        self._hysteresis = _hysteresis(target, target.start)
        self._since = (now, wall)
        self._last: ProbeResult | None = None
        self._checked: tuple[float, datetime] | None = None
        self._passed = 0
        self._failed = 0

    @property
    def verdict(self) -> Verdict:
        """What is held of the server now."""
        return self._hysteresis.verdict

    @property
    def unasked(self) -> bool:
        """Whether it is to be probed and has never been."""
        return self.target.probed and self._checked is None

    def retarget(self, target: Target, now: float, wall: datetime) -> bool:
        """Take over a changed configuration of the same URL; True when a probe under way is of no more use.

        The verdict stays, since it is about the server and not about the check. After maintenance, though,
        the server is as good as a new one and starts like one.
        """
        before, self.target = self.target, target
        if (target.checks, target.maintenance, target.way) == (before.checks, before.maintenance, before.way):
            return False
        verdict = self.verdict
        returned = before.maintenance and not target.maintenance
        self._hysteresis = _hysteresis(target, target.start if returned else verdict)
        if self.verdict != verdict:
            self._since = (now, wall)
        self.due = now
        return True

    def observe(self, result: ProbeResult, checks: ActiveChecks, now: float, wall: datetime, rng: Random) -> bool:
        """Count one result and set when to ask next; True when it has changed the verdict.

        One that could not be had is no result: what was held of the server still holds.
        """
        self._last = result
        if result.ours:
            self.due = now + checks.unhealthy_interval
            return False
        self._checked = (now, wall)
        if result.ok:
            self._passed += 1
        else:
            self._failed += 1
        changed = self._hysteresis.observe(result.ok)
        if changed:
            self._since = (now, wall)
        # A server that is up and has just failed is in doubt: ask soon, not `fall` long intervals later.
        pause = checks.interval if result.ok and self.verdict == "up" else checks.unhealthy_interval
        self.due = now + max(pause * (1.0 + checks.jitter * rng.uniform(-1.0, 1.0)), SHORTEST_PAUSE)
        return changed

    def answer(self, result: ProbeResult | None) -> None:
        """Tell those who wait for the next result; None: there will be none."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(result)
        self.waiters.clear()

    def record(self) -> HealthRecord:
        """What is known, as a value."""
        checked, checked_wall = self._checked or (None, None)
        return HealthRecord(
            verdict=self.verdict,
            since=self._since[0],
            since_wall=self._since[1],
            probed=self.target.probed,
            last=self._last,
            checked=checked,
            checked_wall=checked_wall,
            passed=self._passed,
            failed=self._failed,
        )


def _hysteresis(target: Target, verdict: Verdict) -> Hysteresis:
    # Without checks nobody could ever say that it is well, or well again.
    if target.checks is None:
        return Hysteresis(1, 1, "up")
    return Hysteresis(target.checks.rise, target.checks.fall, verdict)
