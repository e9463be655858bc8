"""Whether this process has more to do than it can: how late its ticks come, and what share of requests to turn away."""

from __future__ import annotations

from typing import Final

SMOOTHING: Final = 0.2
"""The weight of the latest tick. One long pause is no overload: it takes several late ticks in a row."""
MOST: Final = 0.95
"""Some requests are always taken, so that it shows when things are well again."""


class Overload:
    """Turns the lag of an event loop into a share of requests to refuse.

    While ticks are late by more than `limit` seconds on average, `1 - limit / lag` of new requests are refused: twice
    too late refuses half. It falls off by itself as the lag does, with no state to switch back. A `limit` of infinity
    never refuses any.
    """

    __slots__ = ("lag", "limit", "share")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.lag = 0.0
        self.share = 0.0

    def observe(self, late: float) -> None:
        """A tick has come `late` seconds after its time."""
        self.lag += (max(late, 0.0) - self.lag) * SMOOTHING
        self.share = min(1.0 - self.limit / self.lag, MOST) if self.lag > self.limit else 0.0
