"""What one call has changed, noted where every change comes into force, whichever way it took there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from balancer.snapshot import Snapshot
from config.diff import Change, diff
from config.problems import path_text


class Witness:
    """Sees the snapshots that are made while it is `present`: those of other tasks are not seen, even meanwhile."""

    def __init__(self) -> None:
        self._seen: list[tuple[Snapshot, Snapshot]] = []

    @contextmanager
    def present(self) -> Iterator[None]:
        token = _PRESENT.set(self)
        try:
            yield
        finally:
            _PRESENT.reset(token)

    def changes(self) -> list[Change]:
        """Value by value, credentials masked; what was changed back is left out. It takes the time of a comparison."""
        if not self._seen:
            return []
        before, after = self._seen[0][0], self._seen[-1][1]
        states = []
        for pool, server in sorted({*before.drained, *after.drained, *before.maintenance, *after.maintenance}):
            was, now = (_state(snapshot, (pool, server)) for snapshot in (before, after))
            if was != now:
                states.append(Change(path_text(("pools", pool, "servers", server, "state")), was, now))
        return [*diff(before.config, after.config), *states]

    def saw(self, before: Snapshot, after: Snapshot) -> None:
        self._seen.append((before, after))


_PRESENT: ContextVar[Witness | None] = ContextVar("witness", default=None)


def witnessed(before: Snapshot, after: Snapshot) -> None:
    """One snapshot has come into force in the place of another."""
    if (witness := _PRESENT.get()) is not None:
        witness.saw(before, after)


def _state(snapshot: Snapshot, server: tuple[str, str]) -> str:
    if server in snapshot.drained:
        return "drained"
    return "maintenance" if server in snapshot.maintenance else "ready"
