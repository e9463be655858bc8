"""A provider's rate limits, counted here so that it has nothing to refuse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from balancer.cdn.types import CALLS, LimitState, PurgeBatch


class Taking(NamedTuple):
    """What a call takes of one limit."""

    limit: str
    cost: float


def takings(batch: PurgeBatch) -> tuple[Taking, ...]:
    """What a batch takes: its cost of its own limit, and one of all calls together."""
    return Taking(batch.limit or batch.kind, batch.cost), Taking(CALLS, 1.0)


class Bucket:
    """So many at once, and so many a second after that.

    One that does not refill limits what is in progress: what was taken is given back. More than fits into it goes when
    it is full, and is owed.
    """

    def __init__(self, limit: LimitState, now: float) -> None:
        self.capacity = limit.capacity
        self.refill = limit.refill_per_s
        self._left = min(limit.left, limit.capacity)
        self._at = now
        self._blocked_until = -math.inf

    @property
    def counts_progress(self) -> bool:
        return self.refill <= 0

    def wait(self, cost: float, now: float) -> float:
        """Seconds until so much can be taken; infinity: not before something is given back."""
        self._fill(now)
        blocked = max(self._blocked_until - now, 0.0)
        lacking = min(cost, self.capacity) - self._left
        if lacking <= 0:
            return blocked
        return math.inf if self.counts_progress else max(blocked, lacking / self.refill)

    def take(self, cost: float, now: float) -> None:
        self._fill(now)
        self._left -= cost

    def give_back(self, cost: float) -> None:
        if self.counts_progress:
            self._left = min(self._left + cost, self.capacity)

    def empty(self, seconds: float, now: float) -> None:
        """The provider refused a call: nothing before so many seconds, and a full wait for more after that."""
        self._fill(now)
        self._blocked_until = max(self._blocked_until, now + seconds)
        if not self.counts_progress:
            # What refills meanwhile is there when the wait is over.
            self._left = min(self._left, 0.0)

    def correct(self, left: float, now: float) -> None:
        """The provider's own count, where it is the lower one: others may use the same account."""
        self._fill(now)
        self._left = min(self._left, left)

    def state(self, now: float) -> LimitState:
        self._fill(now)
        return LimitState(self._left, self.capacity, self.refill, max(self._blocked_until - now, 0.0))

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._left = min(self._left + (now - self._at) * self.refill, self.capacity)
            self._at = now


_NONE: Final[Mapping[str, Bucket]] = MappingProxyType({})


class Buckets:
    """All limits of a provider by their names; what has no limit of its name is not limited."""

    def __init__(self, limits: Mapping[str, LimitState], now: float, shared: Mapping[str, Bucket] = _NONE) -> None:
        """`shared` are those that others take from as well."""
        self._all = {name: shared.get(name) or Bucket(limit, now) for name, limit in limits.items()}

    def wait(self, wanted: Sequence[Taking], now: float) -> float:
        """Seconds until all of it can be taken."""
        return max(
            (self._all[name].wait(cost, now) for name, cost in wanted if name in self._all),
            default=0.0,
        )

    def take(self, wanted: Sequence[Taking], now: float) -> None:
        for name, cost in wanted:
            if name in self._all:
                self._all[name].take(cost, now)

    def give_back(self, wanted: Sequence[Taking]) -> None:
        """What was in progress is done."""
        for name, cost in wanted:
            if name in self._all:
                self._all[name].give_back(cost)

    def empty(self, name: str, seconds: float, now: float) -> None:
        """The provider refused a call of this limit."""
        if name in self._all:
            self._all[name].empty(seconds, now)

    def correct(self, name: str, left: float, now: float) -> None:
        """The provider says what is left."""
        if name in self._all:
            self._all[name].correct(left, now)

    def states(self, now: float) -> dict[str, LimitState]:
        return {name: bucket.state(now) for name, bucket in self._all.items()}
