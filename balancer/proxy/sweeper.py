"""The one timer of a plane: it walks all deadlines, so that no request arms a timer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final, Protocol

TICK: Final = 0.1  # seconds: the precision of every deadline
SLOW_TICKS: Final = 10


class Awaited(Protocol):
    """Something with a deadline."""

    deadline: float

    def overdue(self) -> None: ...


class Sweeper:
    """Calls `overdue` on what has passed its deadline, `tick` each tick and `second` about once a second.

    A tick over ten thousand idle connections takes about half a millisecond.
    """

    def __init__(
        self,
        groups: Callable[[], Iterable[Iterable[Awaited]]],
        tick: Callable[[float], None],
        second: Callable[[float], None],
    ) -> None:
        self._groups = groups
        self._tick = tick
        self._second = second
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        self._handle = self._loop.call_later(TICK, self._run)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = self._loop.call_later(TICK, self._run)
        now = monotonic()
        self._count += 1
        for group in self._groups():
            for late in [one for one in group if one.deadline <= now]:
                if late.deadline <= now:  # an earlier one in this list may have settled it
                    late.overdue()
        self._tick(now)
        if self._count % SLOW_TICKS == 0:
            self._second(now)
