"""The same event once more: a client that tried again, or a finger that clicked twice."""

from __future__ import annotations

from collections import deque
from typing import Final

MOST: Final = 50_000
"""Events of the last moments that are remembered; with more, the oldest are forgotten early."""


class Duplicates:
    """What was seen within a window of time. Times only ever grow."""

    def __init__(self, window: float) -> None:
        """Seconds; 0: nothing is a duplicate."""
        self._window = window
        self._seen: dict[object, float] = {}
        self._order: deque[tuple[float, object]] = deque()

    def is_one(self, key: object, now: float) -> bool:
        """Whether the same was seen a moment ago; each time begins the moment anew."""
        if not self._window:
            return False
        oldest = now - self._window
        order = self._order
        while order and (order[0][0] < oldest or len(order) >= MOST):
            at, gone = order.popleft()
            if self._seen.get(gone) == at:
                del self._seen[gone]
        found = key in self._seen
        self._seen[key] = now
        order.append((now, key))
        return found
