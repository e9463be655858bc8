"""Leaves a provider alone that does not answer."""

from __future__ import annotations

from typing import Final, Literal

FAILURES: Final = 5
OPEN: Final = 30.0
"""Seconds."""
State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after so many failures in a row; after a time lets one call through, and closes when that succeeds.

    Only what says that the provider is not there is a failure. A refusal is an answer, and so counts as success.
    """

    def __init__(self, failures: int = FAILURES, open_: float = OPEN) -> None:
        self.opened = 0
        """Times."""
        self._most = failures
        self._open = open_
        self._failures = 0
        self._until: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until a call may be made."""
        return max(self._until - now, 0.0) if self._until is not None else 0.0

    def answered(self) -> None:
        self._failures = 0
        self._until = None

    def failed(self, now: float) -> None:
        self._failures += 1
        if self._failures >= self._most:
            if self._until is None:
                self.opened += 1
            self._until = now + self._open

    def state(self, now: float) -> State:
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half_open"
