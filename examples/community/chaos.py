"""Misbehaviour on request, so that a balancer has something to work around."""

from __future__ import annotations

from random import Random
from typing import Literal, get_args

Mode = Literal["none", "slow", "failing", "crashing"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Chaos:
    """Decides, request by request, whether to misbehave.

    A share `rate` of the requests is hit: held up (slow), answered with 500 at once (failing), or the
    last thing this process does (crashing).
    """

    def __init__(self, mode: Mode, rate: float, rng: Random) -> None:
        self.mode: Mode = mode
        self.rate = rate
        self._rng = rng

    def strikes(self) -> Mode:
        """What is to happen to the next request; none for most."""
        if self.mode == "none" or self._rng.random() >= self.rate:
            return "none"
        return self.mode

    def delay(self) -> float:
        """How long a slow answer is held up, in seconds: enough to be seen in a p99."""
        return self._rng.uniform(0.3, 1.5)
