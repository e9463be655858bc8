"""How far one ticket has come with the CDN, out of what becomes of the calls that it is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from balancer.cdn.purging.ticket import CdnPart, Refused, Ticket
from balancer.cdn.types import PurgeState, PurgeTarget

MOST_IDS: Final = 100
"""Names that the provider has given to the calls of one ticket."""
MOST_NOTES: Final = 100


class Progress:
    """A ticket that is not done. A target is accepted once every call that it takes has been."""

    def __init__(self, ticket: Ticket, provider: str) -> None:
        part = ticket.cdn if ticket.cdn is not None else CdnPart(provider)
        self._base = ticket
        self._part = part
        self._targets = {target.written: target for target in ticket.targets}
        self._accepted = set(part.accepted)
        self._failed = set(part.failed)
        self._rejected = {one.written: one for one in part.rejected}
        self._waiting: dict[str, set[str]] = {}  # ids of calls by target
        self._calls: dict[str, list[str]] = {}  # the other way round
        self._ids = dict.fromkeys(part.provider_ids)
        self._notes = dict.fromkeys(ticket.notes)
        self._seen = part.verified or not part.accepted
        self._begun = ticket.state is PurgeState.IN_PROGRESS

    @property
    def id(self) -> str:
        return self._base.id

    @property
    def order(self) -> Ticket:
        """What was ordered; how far it is, `ticket` tells."""
        return self._base

    @property
    def outstanding(self) -> list[PurgeTarget]:
        """What is in no call, and has none behind it."""
        settled = self._accepted | self._failed | self._rejected.keys() | self._waiting.keys()
        return [target for written, target in self._targets.items() if written not in settled]

    @property
    def done(self) -> bool:
        return not self._waiting and not self.outstanding  # in this order: the second one is long

    # What happens.

    def join(self, call: str, written: Iterable[str]) -> None:
        """These targets take this call."""
        self._calls[call] = list(written)
        for one in self._calls[call]:
            self._waiting.setdefault(one, set()).add(call)
        self._part = replace(self._part, batches=self._part.batches + 1)

    def leave(self, call: str) -> None:
        """This call is not made; its targets are outstanding, unless others have them."""
        self._part = replace(self._part, batches=self._part.batches - 1)
        self._end(call)

    def reject(self, refused: Refused) -> None:
        self._rejected[refused.written] = refused

    def try_again(self, provider: str) -> None:
        """What has failed is outstanding anew."""
        self._failed.clear()
        self._part = replace(self._part, provider=provider, error=None, next_try=None)

    def note(self, text: str) -> None:
        if len(self._notes) < MOST_NOTES:
            self._notes[text] = None

    def warn(self, text: str) -> None:
        self._base = self._base.warned(text)

    def lost(self, reason: str) -> None:
        """The journal does not keep it."""
        self._base = replace(self._base, durable=False).warned(reason)

    def tried(self, attempts: int, error: str | None, next_try: datetime | None) -> None:
        """A call was made, and may be made again."""
        self._begun = True
        self._part = replace(
            self._part, attempts=max(attempts, self._part.attempts), error=error or self._part.error, next_try=next_try
        )

    def named(self, provider_id: str) -> None:
        if len(self._ids) < MOST_IDS:
            self._ids[provider_id] = None

    def succeed(self, call: str, seen: bool) -> None:
        """The provider has taken a call; `seen`: and was seen to be done with it."""
        self._seen = self._seen and seen
        for written in self._end(call):
            if written not in self._waiting and written not in self._failed:
                self._accepted.add(written)

    def fail(self, call: str, error: str) -> None:
        """A call is given up."""
        self._failed.update(self._end(call))
        self._part = replace(self._part, error=error, next_try=None)

    def fail_outstanding(self, error: str) -> None:
        """There will be no call for what is in none."""
        self._failed.update(target.written for target in self.outstanding)
        self._part = replace(self._part, error=error, next_try=None)

    def _end(self, call: str) -> list[str]:
        ended = self._calls.pop(call, [])
        for written in ended:
            calls = self._waiting[written]
            calls.discard(call)
            if not calls:
                del self._waiting[written]
        return ended

    # What it comes to.

    def ticket(self, now: datetime) -> Ticket:
        """As it stands."""
        accepted = tuple(one for one in self._targets if one in self._accepted and one not in self._rejected)
        part = replace(
            self._part,
            accepted=accepted,
            rejected=tuple(self._rejected[one] for one in self._targets if one in self._rejected),
            failed=tuple(one for one in self._targets if one in self._failed),
            provider_ids=tuple(self._ids),
            verified=bool(accepted) and self._seen,
            next_try=None if self.done else self._part.next_try,
        )
        own_ok = all(level.ok for level in self._base.own)
        state = self._state(part, own_ok)
        ended = self.done
        return replace(
            self._base,
            state=state,
            cdn=part,
            notes=tuple(self._notes),
            verified=ended and part.verified and own_ok and not part.failed and not part.rejected,
            completed=now if ended else None,
        )

    def _state(self, part: CdnPart, own_ok: bool) -> PurgeState:
        if not self.done:
            return PurgeState.IN_PROGRESS if self._begun else PurgeState.QUEUED
        if part.failed:
            return PurgeState.PARTIAL if part.accepted else PurgeState.FAILED
        if part.rejected:
            return PurgeState.PARTIAL if part.accepted or "own" in self._base.scope else PurgeState.FAILED
        if not own_ok:
            return PurgeState.PARTIAL
        return PurgeState.COMPLETED if part.verified else PurgeState.SUBMITTED
