"""Commands to Redis, and the one timer that lets go whoever waits for one too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

LAG: Final = 0.02
GRACE: Final = 0.01
"""A loop that comes to its timers late has not read what has been answered meanwhile: it gets that much more."""


class Ask:
    """A command, and who waits for its answer."""

    __slots__ = ("asked", "data", "future", "limit", "missed", "moved", "over", "sent", "until")

    def __init__(self, future: asyncio.Future[object], data: bytes, asked: float, until: float, limit: float) -> None:
        self.future = future
        self.data = data
        self.asked = asked
        self.until = until  # who waits, waits until then
        self.limit = limit  # the connection is given up then if there is still no answer
        self.sent = False
        self.missed = False  # nobody waits any more
        self.over = False  # nothing comes of it any more
        self.moved = False  # another node was asked before

    def again(self) -> Ask:
        """The same, to be asked elsewhere."""
        other = Ask(self.future, self.data, self.asked, self.until, self.limit)
        other.moved = True
        return other


class Deadlines:
    """Brings up each command when it is due, unless it is over by then."""

    def __init__(self, clock: Callable[[], float], due: Callable[[list[Ask], float], None]) -> None:
        """`due` is given what is due, and the time; what shall be looked at again it has to add again."""
        self._clock = clock
        self._bring_up = due
        self._heap: list[tuple[float, int, Ask]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._expected = 0.0  # when the timer should go off
        self._graced = False

    def add(self, ask: Ask, when: float, now: float) -> None:
        self._number += 1  # so that no two of the heap are equal
        heappush(self._heap, (when, self._number, ask))
        if self._timer is None or when < self._expected - GRACE:
            self._arm(when, now)

    def clear(self) -> None:
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, expected: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._expected = expected
        self._timer = asyncio.get_running_loop().call_later(max(expected - now, 0.0), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._clock()
        heap = self._heap
        self._forget()
        if heap and heap[0][0] <= now:
            if now - self._expected > LAG and not self._graced:
                self._graced = True
                self._arm(now + GRACE, now)
                return
            found = []
            while heap and heap[0][0] <= now:
                ask = heappop(heap)[2]
                if not ask.over:
                    found.append(ask)
            self._bring_up(found, now)
            self._forget()
        self._graced = False
        if heap and (self._timer is None or heap[0][0] < self._expected):  # what was added may not be the next
            self._arm(heap[0][0], now)

    def _forget(self) -> None:
        """Those that are over and would be next."""
        heap = self._heap
        while heap and heap[0][2].over:
            heappop(heap)
