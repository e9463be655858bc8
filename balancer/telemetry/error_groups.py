"""Requests that went wrong, equal ones together: what happens how often, since when, and one of them to look at."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from balancer.decision import Decision
from balancer.telemetry.last_errors import Failed, failed

MOST: Final = 200
"""Groups; the one that was quiet longest goes for a new one."""
MINUTES: Final = 60

Key = tuple[str, int, str, str, str, str]
"""(outcome, status, route, pool, server, cause)."""


@dataclass
class ErrorGroup:
    """Equal failures. Times are monotonic seconds."""

    id: str
    """The same for the same kind of failure, also after a restart."""
    outcome: str
    status: int
    route: str
    pool: str
    server: str
    cause: str
    """Why the last attempt was left, which guard refused, or the outcome itself."""
    first: float
    last: float
    first_sample: Failed
    sample: Failed
    """The latest."""
    count: int = 0
    minutes: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MINUTES))
    """(minute of the monotonic clock, how many), of the last hour, quiet ones left out."""

    def last_hour(self, now: float) -> list[int]:
        """How many in each of the last 60 minutes, the oldest first."""
        current = int(now // 60)
        counts = dict(self.minutes)
        return [counts.get(minute, 0) for minute in range(current - MINUTES + 1, current + 1)]


class ErrorGroups:
    """To be told only of what went wrong: the request path stays free of it."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._groups: OrderedDict[Key, ErrorGroup] = OrderedDict()
        self.forgotten = 0
        """Groups that went for new ones."""
        self.counted = 0

    def __iter__(self) -> Iterator[ErrorGroup]:
        """Those of late first."""
        return reversed(self._groups.values())

    def __len__(self) -> int:
        return len(self._groups)

    def observe(self, decision: Decision) -> None:
        """Take in a failed request."""
        key = _key(decision)
        one = failed(decision)
        now = decision.finished
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= self._most:
                self._groups.popitem(last=False)
                self.forgotten += 1
            id_ = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=6).hexdigest()
            group = self._groups[key] = ErrorGroup(id_, *key, now, now, one, one)
        self._groups.move_to_end(key)
        self.counted += 1
        group.count += 1
        group.last, group.sample = now, one
        minute = int(now // 60)
        if group.minutes and group.minutes[-1][0] == minute:
            group.minutes[-1] = (minute, group.minutes[-1][1] + 1)
        else:
            group.minutes.append((minute, 1))

    def clear(self, id_: str) -> bool:
        """Forget a group: it is understood, or mended. False: there is none of this id."""
        for key, group in self._groups.items():
            if group.id == id_:
                del self._groups[key]
                return True
        return False


def _key(decision: Decision) -> Key:
    server = decision.server
    reasons = decision.reasons
    cause = decision.guarded or (reasons[-1][1] if reasons else "") or decision.outcome
    return (
        decision.outcome,
        decision.status,
        decision.route,
        decision.pool,
        server.name if server is not None else "",
        cause,
    )
