"""Calls that wait: for their time, for their limit, and for a provider that is there."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator

from balancer.cdn.purging.breaker import Breaker
from balancer.cdn.purging.buckets import Buckets, Taking, takings
from balancer.cdn.purging.sending import Sending
from balancer.cdn.types import CALLS


class Queue:
    """By the name of their limit, the first of each first: one limit does not hold up another.

    A call stays in it, as it is at the moment, until it is `removed`.
    """

    def __init__(self, buckets: Buckets, breaker: Breaker) -> None:
        self.buckets = buckets
        self.breaker = breaker
        self._all: dict[str, Sending] = {}
        self._ready: dict[str, deque[str]] = {}  # ids; some may be gone
        self._timed: list[tuple[float, str]] = []  # a heap: when, and which; some may be gone

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Sending]:
        return iter(list(self._all.values()))

    def add(self, sending: Sending) -> None:
        """Make it as soon as that can be."""
        self._all[sending.id] = sending
        self._ready.setdefault(limit_of(sending), deque()).append(sending.id)

    def later(self, sending: Sending) -> None:
        """Make it at its `next_try`, or ask then what has become of it."""
        self._all[sending.id] = sending
        heapq.heappush(self._timed, (sending.next_try, sending.id))

    def remove(self, id_: str) -> Sending | None:
        return self._all.pop(id_, None)

    def next(self, now: float, wall: float) -> tuple[Sending | None, float]:
        """What is to be done now, or the seconds until there may be something."""
        while self._timed and self._timed[0][0] <= wall:
            _, id_ = heapq.heappop(self._timed)
            sending = self._all.get(id_)
            if sending is not None:
                # It has waited long enough, and goes before what has not been tried.
                self._ready.setdefault(limit_of(sending), deque()).appendleft(id_)
        soonest = self._timed[0][0] - wall if self._timed else math.inf
        away = self.breaker.wait(now)
        for limit, ids in list(self._ready.items()):
            while ids and ids[0] not in self._all:
                ids.popleft()
            if not ids:
                del self._ready[limit]
                continue
            sending = self._all[ids[0]]
            wait = max(away, self.buckets.wait(takes(sending), now))
            if wait <= 0:
                ids.popleft()
                self.buckets.take(takes(sending), now)
                return sending, 0.0
            soonest = min(soonest, wait)
        return None, soonest


def limit_of(sending: Sending) -> str:
    """The name of the limit that it waits for."""
    return sending.batch.limit or sending.batch.kind if sending.provider_id is None else CALLS


def takes(sending: Sending) -> tuple[Taking, ...]:
    """What making it takes; to ask what has become of it is one call."""
    return takings(sending.batch) if sending.provider_id is None else (Taking(CALLS, 1.0),)


def held(sending: Sending) -> tuple[Taking, ...]:
    """What is given back when the provider is done with it."""
    return takings(sending.batch)[:1]
