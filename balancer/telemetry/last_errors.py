"""The last requests that went wrong, for whoever asks what the errors are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypedDict

from balancer.decision import Decision

KEPT = 50
LONGEST = 200
"""Characters of a path that are kept."""


class Failed(TypedDict):
    """One request, in as much as is worth keeping. The query is not: it may hold secrets."""

    finished: float
    listener: str
    client: str
    method: str
    host: str
    path: str
    status: int
    route: str
    pool: str
    server: str
    attempts: int
    reasons: list[tuple[str, str]]
    outcome: str
    seconds: float
    queued: float
    cache: str
    guarded: str
    request_id: str


class LastErrors:
    """A ring of failed requests. To be told only of what was not "ok": the request path stays free of it."""

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[Failed] = deque(maxlen=kept)

    def __iter__(self) -> Iterator[Failed]:
        """The latest first."""
        return reversed(self._ring)

    def observe(self, decision: Decision) -> None:
        """Keep a finished request."""
        self._ring.append(failed(decision))


def failed(decision: Decision) -> Failed:
    """What is worth keeping of it."""
    path = decision.target.partition(b"?")[0][:LONGEST]
    return Failed(
        finished=decision.finished,
        listener=decision.listener,
        client=decision.client,
        method=decision.method,
        host=decision.host[:LONGEST].decode("ascii", "backslashreplace"),
        path=path.decode("ascii", "backslashreplace"),
        status=decision.status,
        route=decision.route,
        pool=decision.pool,
        server=decision.server.name if decision.server is not None else "",
        attempts=decision.attempts,
        reasons=list(decision.reasons or ()),
        outcome=decision.outcome,
        seconds=decision.finished - decision.started,
        queued=decision.queued,
        cache=decision.cache,
        guarded=decision.guarded,
        request_id=decision.request_id[:LONGEST].decode("ascii", "backslashreplace"),
    )
