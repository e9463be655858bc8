"""The audit trail: who has changed what over the API, from where, and how it ended; and who was not let in."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from typing import Final, Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from api.trail_file import TrailFile
from api.trail_queue import TrailQueue
from balancer.guards.address import client_key
from balancer.guards.gcra import Gcra
from balancer.telemetry.program_log import harmless
from balancer.telemetry.redaction import without_keys
from config.diff import Change

ACTS: Final = 1000
"""Lines about changes that are in memory; more are in the file."""
DENIALS: Final = 500
"""Lines about who was not let in. They have a place and a file of their own: a flood of them pushes out no change."""
CHANGES: Final = 100
"""Values of one change that are told; `more` has the number of the others."""
LONGEST: Final = 500
"""Characters of one value, path or detail."""
BURST, PACE = 20, 10.0
"""Denials of one address that are noted at once, and seconds for each further one; others are counted."""
BURST_OF_ALL, PACE_OF_ALL = 200, 1.0

Phase = Literal["intent", "done", "denied"]


class Unwritten(Exception):
    """The trail can not be written; what was to be noted first has not been done."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, as far as is known."""

    kind: Literal["key", "session", "signal", "balancer", "none"] = "none"
    """signal: whoever may send one to the process; the system does not tell who. balancer: it has undone a trial."""
    id: str | None = None
    """Of the key; a session's is that of the key it began with."""
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """One value that was changed, credentials masked."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the trail."""

    seq: int
    at: str
    phase: Phase
    request_id: str
    actor: Actor
    address: str
    method: str
    operation: str | None
    """As the document calls it; None where no operation was found."""
    path: str
    status: int | None = None
    """None before the act."""
    detail: str | None = None
    changes: tuple[Value, ...] = ()
    more: int = 0
    """Values that were changed beside those in `changes`."""
    unnoted: int = 0
    """Denials before this one that were too many to be noted."""


@dataclass(frozen=True, slots=True)
class Matter:
    """What one request is about, to which its lines belong."""

    request_id: str
    actor: Actor
    address: str
    method: str
    operation: str | None
    path: str


class AuditTrail:
    """Lines in memory and, with a file, on disk: changes in that one, and who was not let in in another beside it.

    `intent` is on disk before anything is done: a change that could not be noted is not made, since whoever can fill a
    disk could else act unseen. What comes after the act, and denials, can be lost with the disk: that is counted and
    said loudly, and they are in memory all the same.
    """

    def __init__(
        self,
        file: TrailFile | None = None,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.counts: Counter[str] = Counter(written=0, failed=0, unnoted=0)
        self._file: TrailQueue | None = None
        self._denied_file: TrailQueue | None = None
        self._clock = clock
        self._wall = wall
        self._acts: deque[Line] = deque(maxlen=ACTS)
        self._denials: deque[Line] = deque(maxlen=DENIALS)
        self._last = 0
        self._per_address = Gcra(PACE, BURST, 4096)
        self._of_all = Gcra(PACE_OF_ALL, BURST_OF_ALL, 1)
        self._unnoted = 0
        if file is not None:
            denied = file.beside("denied")
            self._recall(file.tail() + denied.tail())
            self._file = TrailQueue(
                file, self.counts, "the audit trail cannot be written: changes over the API are refused"
            )
            self._denied_file = TrailQueue(denied, self.counts, "who is not let in cannot be noted on disk")

    @property
    def name(self) -> str | None:
        """The path of the file."""
        return str(self._file.file.path) if self._file is not None else None

    @property
    def failing(self) -> str | None:
        """Why the file can not be written; None while it can."""
        return self._file.failing if self._file is not None else None

    async def intend(self, matter: Matter) -> None:
        """Note what is about to be done. Unwritten: it can not be noted, and must not be done."""
        line = self._line("intent", matter)
        try:
            if self._file is not None:
                await self._file.write(_encoded(line), lasting=True)
        except OSError as error:
            raise Unwritten(
                f"the audit trail {self.name} cannot be written: {error.strerror or error}; make room, or let "
                "admin.audit name another file"
            ) from error
        self._acts.append(line)

    async def done(self, matter: Matter, status: int, detail: str | None, changes: Sequence[Change]) -> None:
        """Note how it ended."""
        line = self._line("done", matter, status, detail, changes)
        self._acts.append(line)
        if self._file is not None:
            self._file.wait(_encoded(line))
            await self._file.flush()

    def denied(self, matter: Matter, status: int, detail: str) -> None:
        """Note that somebody was not let in, unless there are too many of them to be noted."""
        now = self._clock()
        if self._per_address.take(client_key(matter.address), 1, now) or self._of_all.take("", 1, now):
            self._unnoted += 1
            self.counts["unnoted"] += 1
            return
        line = self._line("denied", matter, status, detail)
        self._denials.append(line)
        if self._denied_file is not None:
            self._denied_file.wait(_encoded(line))

    async def flush(self) -> None:
        """Write what waits; it never raises."""
        for queue in self._queues:
            await queue.flush()

    def reopen(self) -> None:
        """Go on in a new file of the same name; the old one was moved away."""
        for queue in self._queues:
            queue.reopen()

    async def close(self) -> None:
        for queue in self._queues:
            await queue.close()

    def lines(self, before: int | None = None) -> Iterator[Line]:
        """What is in memory, the latest first; with `before`, what is older than that."""
        # Not in their order yet: an intent is there once it is on disk, and others may have come meanwhile.
        newest = sorted((*self._acts, *self._denials), key=attrgetter("seq"), reverse=True)
        return (line for line in newest if before is None or line.seq < before)

    @property
    def _queues(self) -> tuple[TrailQueue, ...]:
        return tuple(queue for queue in (self._file, self._denied_file) if queue is not None)

    def _line(
        self,
        phase: Phase,
        matter: Matter,
        status: int | None = None,
        detail: str | None = None,
        changes: Sequence[Change] = (),
    ) -> Line:
        self._last += 1
        unnoted, self._unnoted = (self._unnoted, 0) if phase == "denied" else (0, self._unnoted)
        return Line(
            seq=self._last,
            at=self._wall().isoformat(timespec="milliseconds"),
            phase=phase,
            request_id=matter.request_id,
            actor=matter.actor,
            address=matter.address,
            method=matter.method[:20],
            operation=matter.operation,
            path=_short(matter.path),
            status=status,
            detail=_short(detail) if detail is not None else None,
            changes=tuple(map(_value, islice(changes, CHANGES))),
            more=max(0, len(changes) - CHANGES),
            unnoted=unnoted,
        )

    def _recall(self, tail: bytes) -> None:
        """Go on after the last lines of the files."""
        for raw in tail.splitlines():
            try:
                line = _LINE.validate_json(raw)
            except ValidationError:
                continue  # written by somebody else, or by another version
            (self._denials if line.phase == "denied" else self._acts).append(line)
            self._last = max(self._last, line.seq)


_LINE = TypeAdapter(Line)


def _encoded(line: Line) -> bytes:
    """Without what says nothing."""
    told: Mapping[str, object] = {name: value for name, value in asdict(line).items() if value not in (None, (), 0)}
    return harmless(orjson.dumps(told)) + b"\n"


def _value(change: Change) -> Value:
    before, after = (None if value is None else _short(value) for value in (change.before, change.after))
    return Value(_short(change.path), before, after)


def _short(text: str) -> str:
    """Also without what is no text, as the far side may have sent anything."""
    text = without_keys(text).encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."
