"""The tickets that are not done, and what the journal knows of them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from balancer.cdn.purging.journal import Journal, JournalFailed
from balancer.cdn.purging.progress import Progress
from balancer.cdn.purging.sending import Sending
from balancer.cdn.purging.ticket import Ticket

SAVED: Final = 5.0
"""Seconds between two times that the journal is told of a long ticket's progress; what is done is told at once."""
SHORT: Final = 50
"""Targets of a ticket that the journal is always told of at once."""
RECENT: Final = 200
"""Tickets that are done and still known without the journal."""
NOT_KEPT: Final = "the journal could not keep this ticket: it does not outlive the process"


class Register:
    """Owns each open ticket's progress. Without a journal that writes, things go on, and tickets say so."""

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float],
        wall: Callable[[], float],
        counts: Counter[str],
        is_dear: bool,
    ) -> None:
        """`is_dear`: to purge once more costs money, as the next process does with what it does not know of."""
        self.open: dict[str, Progress] = {}
        self.targets = 0
        """Of all that are open."""
        self.recent: deque[Ticket] = deque(maxlen=RECENT)
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._counts = counts
        self._is_dear = is_dear
        self._changed: dict[str, float] = {}  # those that the journal has an older state of, and since when
        self._ended: dict[str, asyncio.Event] = {}

    def add(self, progress: Progress) -> None:
        if progress.id in self.open:
            return  # the calls that it is in know it by name
        self.open[progress.id] = progress
        self.targets += len(progress.order.targets)
        self._ended.setdefault(progress.id, asyncio.Event())

    def told(self, progress: Progress) -> Ticket:
        return progress.ticket(datetime.fromtimestamp(self._wall(), UTC))

    def find(self, id_: str) -> Ticket | None:
        """One that is open, or was done lately."""
        progress = self.open.get(id_)
        if progress is not None:
            return self.told(progress)
        return next((ticket for ticket in reversed(self.recent) if ticket.id == id_), None)

    def ending(self, id_: str) -> asyncio.Event | None:
        """Set when it is done; None: it is."""
        return self._ended.get(id_)

    def done(self) -> set[str]:
        """Those of the open ones that take no call any more."""
        return {id_ for id_, progress in self.open.items() if progress.done}

    async def commit(self, changed: Iterable[str], sendings: Sequence[Sending] = (), gone: Sequence[str] = ()) -> None:
        """Tell the journal what is new of tickets and calls, and close those that are done."""
        now = self._clock()
        for id_ in changed:
            if id_ in self.open:
                self._changed.setdefault(id_, now)
        due = [self.open[id_] for id_, since in self._changed.items() if self._is_due(self.open[id_], now - since)]
        told = [self.told(progress) for progress in due]
        for ticket in told:
            del self._changed[ticket.id]
            if ticket.done:
                # Before it is written: it may be tried again meanwhile.
                del self.open[ticket.id]
                self.targets -= len(ticket.targets)
                self._counts[ticket.state.value] += 1
                self.recent.append(ticket)
        try:
            await self._journal.save(told, sendings, gone)
        except JournalFailed:
            self._lost({ticket.id for ticket in told})
        for ticket in told:
            if ticket.done and ticket.id not in self.open:
                self._ended.pop(ticket.id).set()

    def _is_due(self, progress: Progress, seconds: float) -> bool:
        """A long ticket of many calls must not be written a thousand times."""
        return self._is_dear or progress.done or len(progress.order.targets) <= SHORT or seconds >= SAVED

    def _lost(self, told: set[str]) -> None:
        for progress in self.open.values():
            progress.lost(NOT_KEPT)
        for position, ticket in enumerate(self.recent):
            if ticket.id in told:
                self.recent[position] = replace(ticket, durable=False).warned(NOT_KEPT)
