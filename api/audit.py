"""/api/audit: the last lines of the audit trail."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Annotated, Literal

from pydantic import Field

from api.operation import Call, Model, Operation
from api.services import Services
from api.trail import Line


class AuditActor(Model):
    """Who it was."""

    kind: Literal["key", "session", "signal", "balancer", "none"]
    """signal: whoever may send one to the process; balancer: it has undone a change on trial by itself; none: nobody
    who is known."""
    id: str | None
    """Of the key; a session has that of the key it began with."""
    role: str | None


class AuditChange(Model):
    """One value; credentials are masked."""

    path: str
    before: str | None
    """null: it was not there."""
    after: str | None


class AuditLine(Model):
    """One line of the trail. A change has two: `intent` before anything is done, `done` after it."""

    seq: int
    """Rises from line to line."""
    at: datetime
    phase: Literal["intent", "done", "denied"]
    request_id: str
    """The same in both lines of a change, in its answer and in the log."""
    actor: AuditActor
    address: str
    method: str
    operation: str | None
    """As this document calls it; null: none was found."""
    path: str
    status: int | None
    """null: nothing has been done yet."""
    detail: str | None
    """Why it was refused, has failed, or was undone."""
    changes: list[AuditChange]
    more: int
    """Values that were changed beside those in `changes`."""
    unnoted: int
    """Denials before this one that were too many to be noted one by one."""


class AuditAnswer(Model):
    """Lines of the trail, the latest first."""

    items: list[AuditLine]
    next: int | None
    """What to ask for with `before` to have older ones; null: there are none in memory."""
    file: str | None
    """Where all of them are; null: nowhere."""
    failing: str | None
    """Why the file cannot be written, and changes are refused; null: it can."""


class AuditQuery(Model):
    """Which lines."""

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    before: Annotated[int | None, Field(ge=1, le=2**53)] = None
    """Only lines with a smaller `seq`."""
    phase: Literal["intent", "done", "denied"] | None = None
    actor: Annotated[str | None, Field(max_length=64)] = None
    """The id of a key."""


class Audit:
    """Operators may read it: who works on the servers has to see who else does. Viewers have no use for addresses."""

    def __init__(self, services: Services) -> None:
        self._trail = services.trail

    def operations(self) -> tuple[Operation, ...]:
        return (Operation("GET", "/api/audit", "operator", self.audit_trail, {200: "The last lines."}),)

    async def audit_trail(self, call: Call, query: AuditQuery) -> AuditAnswer:
        """The last lines of the audit trail: changes over the API, and who was not let in."""
        wanted = (line for line in self._trail.lines(query.before) if _fits(line, query))
        found = list(islice(wanted, query.limit))
        more = next(wanted, None)
        return AuditAnswer(
            items=[AuditLine.model_validate(asdict(line)) for line in found],
            next=found[-1].seq if found and more is not None else None,
            file=self._trail.name,
            failing=self._trail.failing,
        )


def _fits(line: Line, query: AuditQuery) -> bool:
    return query.phase in (None, line.phase) and query.actor in (None, line.actor.id)
