"""Whether it is worth asking a server that has failed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from balancer.redis_state import GatewayState

FAILURES: Final = 5
"""In a row, after which nothing is asked any more until a probe has been answered."""
SHORTEST, LONGEST = 1.0, 20.0
"""Seconds between probes: doubled after each that fails, and up to half more, so that balancers do not probe as one."""
STEADY: Final = 30.0
"""Seconds that it has to work for the next pause to be the shortest again, and for failures before to be forgotten."""
NEVER: Final = float("inf")


class Breaker:
    """Counts failures in a row.

    An answer that takes longer than others had waited in vain proves nothing: to those it would have been too late. But
    where there are answers and nobody has waited in vain for a while, what was before that is over.
    """

    def __init__(self, state: GatewayState, clock: Callable[[], float], rng: Random) -> None:
        self.needed = NEVER
        """So soon an answer has to come to be one."""
        self._state = state
        self._clock = clock
        self._rng = rng
        self._streak = 0
        self._answers = False  # since the last failure
        self._failed = 0.0  # when that was
        self._pause = SHORTEST
        self._healed = 0.0  # when the last probe was answered

    def works(self, seconds: float) -> None:
        """There was an answer after so long."""
        self._answers = True
        if seconds < self.needed:
            self._streak = 0

    def missed(self, seconds: float) -> None:
        """Somebody has waited that long in vain."""
        self._fails()
        self.needed = min(self.needed, seconds)

    def strike(self, failures: int) -> bool:
        """So many more have failed: whether that opens it."""
        self._fails()
        self._streak += failures
        if self._streak < FAILURES or self._state.phase != "up":
            return False
        if self._clock() - self._healed > STEADY:
            self._pause = SHORTEST
        self._state.phase = "open"
        self._state.counts.opened += 1
        return True

    def _fails(self) -> None:
        now = self._clock()
        if self._answers and now - self._failed > STEADY:
            self._streak = 0
            self.needed = NEVER
        self._answers = False
        self._failed = now

    @property
    def pause(self) -> float:
        """How long to wait before the next probe."""
        return self._rng.uniform(self._pause, 1.5 * self._pause)

    def probed(self, answered: bool) -> None:
        """A probe has come to its end."""
        if answered:
            self._healed = self._clock()
            self._streak = 0
            self.needed = NEVER
            self._state.phase = "up"
            self._state.reason = None
            return
        self._pause = min(2 * self._pause, LONGEST)
        if self._state.phase == "half-open":
            self._state.phase = "open"
