"""Since when something is as it is, and how often it has changed of late."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, NamedTuple, TypeVar

State = TypeVar("State")
HOUR: Final = 3600.0
MOST: Final = 500
"""Things that are followed; and changes of each."""


class Seen(NamedTuple):
    """What is known of one thing. Times are monotonic."""

    since: float
    changes: int
    """In the last hour."""


class ChangesSeen(Generic[State]):
    """Is told states again and again, and remembers when they changed."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._changes: dict[str, deque[float]] = {}
        self._since: dict[str, float] = {}

    def note(self, name: str, state: State, now: float) -> Seen:
        """The state of a thing at a moment."""
        if name not in self._states:
            if len(self._states) >= MOST:
                gone = next(iter(self._states))
                del self._states[gone], self._since[gone], self._changes[gone]
            self._since[name] = now
            self._changes[name] = deque(maxlen=MOST)
        elif self._states[name] != state:
            self._since[name] = now
            self._changes[name].append(now)
        self._states[name] = state
        changes = self._changes[name]
        while changes and now - changes[0] > HOUR:
            changes.popleft()
        return Seen(self._since[name], len(changes))

    def keep(self, names: set[str]) -> None:
        """Forget all others."""
        for name in self._states.keys() - names:
            del self._states[name], self._since[name], self._changes[name]
