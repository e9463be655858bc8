"""A change on trial: when it is over, and whether errors have risen since; all by values and `now`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from typing import NamedTuple

from balancer.telemetry.report import Report

LEAST = 10
"""Errors since the change below which nothing is said: a handful happens."""
FACTOR = 2.0
MARGIN = 0.01
"""Errors have risen when their share is more than `FACTOR` times what it was, and `MARGIN` on top of that: who had
none has to see more than one in a hundred."""
SIGMAS = 4.0
"""And when chance is no explanation: with the share of both times together it would do so less than once in 30,000
looks, and there is one look a second at each route."""
STEP = 10.0
SPAN = 300.0
"""Seconds before the change that it is held against; a sample each `STEP`."""

Key = tuple[str, str]
"""("all", ""), ("route", name) or ("pool", name)."""
WHOLE: Key = ("all", "")


class Sum(NamedTuple):
    """How many ended, and how many of them badly: answers of 500 and more, and of a pool attempts without an answer."""

    total: int = 0
    bad: int = 0

    @property
    def share(self) -> float:
        return self.bad / self.total if self.total else 0.0


Sums = Mapping[Key, Sum]


class Trend:
    """What was counted in the last minutes, so that a change has something to be held against."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, Sums]] = deque(maxlen=int(SPAN / STEP) + 1)

    def sample(self, now: float, report: Report) -> None:
        """Take in the counts of this moment: once a second."""
        if not self._marks or now - self._marks[-1][0] >= STEP:
            self._marks.append((now, sums(report)))

    def until(self, report: Report) -> Sums:
        """What the last minutes brought, up to this report."""
        return change(self._marks[0][1], sums(report)) if self._marks else {}


@dataclass(frozen=True, slots=True)
class Trial:
    """A change that undoes itself unless it is confirmed."""

    revision: int
    author: str
    began: datetime
    ends: datetime
    deadline: float
    """Monotonic."""
    before: Sums
    """What the minutes before it brought."""
    counted: Sums
    """The counts when it began."""

    def verdict(self, now: float, report: Report) -> str | None:
        """Why it has to be undone now; None while it may stay."""
        if found := risen(self.before, change(self.counted, sums(report))):
            return found
        return "nobody confirmed it in time" if now >= self.deadline else None


def sums(report: Report) -> Sums:
    """Everything that was counted since the start."""
    found: dict[Key, Sum] = {}
    answers = [counts for listener in report.listeners.values() for counts in listener.requests.items()]
    found[WHOLE] = _of_statuses((status, count) for (_, status), count in answers)
    for name, route in report.routes.items():
        found["route", name] = _of_statuses(route.codes.items())
    for name, pool in report.pools.items():
        tallies = list(pool.tallies())
        lost = sum(sum(tally.failures.values()) for tally in tallies)
        found["pool", name] = Sum(sum(tally.requests for tally in tallies), lost)
    return found


def change(before: Sums, after: Sums) -> Sums:
    """What has come in between; what began anew counts from zero.

    What was under way before may end badly without having been counted in between: no more end badly than end.
    """
    nothing = Sum()
    found: dict[Key, Sum] = {}
    for key, now in after.items():
        old = before.get(key, nothing)
        total, bad = now.total - old.total, now.bad - old.bad
        found[key] = Sum(max(total, bad), bad) if min(total, bad) >= 0 else now
    return found


def risen(before: Sums, since: Sums) -> str | None:
    """Where errors have risen, in words; None where they have not, or where too little can be said.

    Each route and pool is looked at by itself, as a change may break one of many. One that is new is held against
    all answers before the change.
    """
    whole = before.get(WHOLE, Sum())
    for key, now in since.items():
        old = before.get(key, Sum())
        if not old.total:
            old = whole
        if _worse(old, now):
            kind, name = key
            what = "attempts without an answer" if kind == "pool" else "answers of 500 and more"
            where = "in all" if key == WHOLE else f"of {kind} {name}"
            return f"errors rose: {now.share:.0%} {what} {where} since, {old.share:.0%} before"
    return None


def _worse(old: Sum, now: Sum) -> bool:
    if now.bad < LEAST or now.share <= FACTOR * old.share + MARGIN:
        return False
    if not old.total:
        return True
    # The test for two proportions, with the share of both together.
    together = (old.bad + now.bad) / (old.total + now.total)
    spread = sqrt(together * (1 - together) * (1 / old.total + 1 / now.total))
    return spread == 0 or (now.share - old.share) / spread >= SIGMAS


def _of_statuses(counts: Iterable[tuple[int, int]]) -> Sum:
    total = bad = 0
    for status, count in counts:
        total += count
        bad += count if status >= 500 else 0
    return Sum(total, bad)
