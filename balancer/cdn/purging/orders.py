"""One order to purge, from the text to the last level: the journal, the own cache, and only then the CDN."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from typing import Final, Protocol

import orjson
import structlog

from balancer.cache.purges import Purge
from balancer.cache.receipts import PurgeReceipt
from balancer.cdn.errors import ConfigError, Conflict, NotFound, Unavailable
from balancer.cdn.provider import CdnProvider
from balancer.cdn.purging.desk import Desk, DeskState, Pause, pause
from balancer.cdn.purging.journal import Journal, JournalFailed
from balancer.cdn.purging.own import Places, means_source, purges
from balancer.cdn.purging.patterns import parse
from balancer.cdn.purging.register import NOT_KEPT
from balancer.cdn.purging.retries import Pace
from balancer.cdn.purging.sending import Sending
from balancer.cdn.purging.ticket import LevelCount, PurgeOrder, Ticket, made_id, own_levels
from balancer.cdn.types import PurgeState, PurgeTarget

log = structlog.get_logger("balancer.cdn")
LOCAL: Final = "local"
"""The provider that is the balancer itself: what the own cache has purged is purged."""
LONGEST_WAIT: Final = 60.0
"""Seconds that an order waits for the CDN, at most."""
LONG: Final = 50
"""Texts of an order that are read in a thread, so that nobody waits for it."""


class OwnCache(Protocol):
    """The balancer's own cache, every level of it on every machine."""

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]: ...


Forget = Callable[[Callable[[str, Collection[str]], bool] | None], Awaitable[int]]
"""Throws away the copies on disk of pictures that are meant by source or tags, None: of all; and gives how many."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What a test turns by hand."""

    clock: Callable[[], float]
    wall: Callable[[], float]
    rng: Random
    pause: Pause = pause


class Orders:
    """Takes orders, and sees to it that each is carried out on every level in its turn.

    The own cache comes first: a CDN that is emptied before it would be filled again with what it still has. What is
    being fetched while it is purged is not stored afterwards: the cache sees to that.
    """

    def __init__(self, journal: Journal, own: OwnCache, clocks: Clocks) -> None:
        self.counts: Counter[str] = Counter()
        """Of the provider in force."""
        self._counts: dict[str, Counter[str]] = {}  # by provider
        self._forget: Forget | None = None
        self._places: Places | None = None
        self.failure: str | None = None
        """Why nothing is sent to the CDN any more: a mistake of ours, which the log tells."""
        self._journal = journal
        self._own = own
        self._clocks = clocks
        self._provider = ""
        self._desk: Desk | None = None
        self._work: asyncio.Task[None] | None = None
        self._placing: set[asyncio.Task[Ticket]] = set()  # orders that are not on the desk yet
        self._owed: dict[str, Ticket] = {}  # what a desk or a configuration before has left, and no desk has taken yet
        self._owed_calls: list[Sending] = []
        self._knows_calls = False  # all that the journal has: what else is there was done, and could not be removed
        self._is_open = False

    # Life.

    async def start(
        self, provider: CdnProvider, pace: Pace, places: Places | None = None, forget: Forget | None = None
    ) -> None:
        """Carry out orders by this provider, those first that were left unfinished. Never raises.

        With `places` and `forget`, pictures go with what they were made of.
        """
        await self._inherit()
        self._provider = provider.name
        self.counts = self._counts.setdefault(provider.name, Counter())
        self._places, self._forget = places, forget
        self.failure = None
        if provider.name != LOCAL:
            clocks = self._clocks
            self._desk = Desk(
                provider,
                pace,
                self._journal,
                clock=clocks.clock,
                wall=clocks.wall,
                rng=clocks.rng,
                pause=clocks.pause,
                counts=self.counts,
            )
        self._work = asyncio.get_running_loop().create_task(self._carry_on(), name="cdn-purges")

    async def stop(self) -> None:
        """What is not done is left to the next start."""
        self._provider = ""
        work, self._work = self._work, None
        ended = [*self._placing, work] if work is not None else [*self._placing]
        for task in ended:
            task.cancel()
        if ended:
            await asyncio.wait(ended)

    async def close(self) -> None:
        await self.stop()
        self._desk = None
        if self._is_open:
            self._is_open = False
            await self._journal.close()

    async def _inherit(self) -> None:
        """Owe what the desk before, or the process before, has left. Memory is newer than the journal."""
        desk, self._desk = self._desk, None
        if not self._is_open:
            await self._journal.open()
            self._is_open = True
        try:
            tickets, sendings = await self._journal.unfinished()
        except JournalFailed:
            tickets, sendings = [], []
        else:
            if not self._knows_calls:
                self._owed_calls += sendings
                self._knows_calls = True
        owed = {ticket.id: ticket for ticket in tickets} | self._owed
        if desk is not None:
            for ticket in desk.recent:
                owed.pop(ticket.id, None)
            owed |= {ticket.id: ticket for ticket in desk.tickets()}  # some may be tried again that were done
            self._owed_calls += desk.sendings()
        self._owed = {id_: owed[id_] for id_ in sorted(owed)}

    async def _carry_on(self) -> None:
        try:
            for ticket in list(self._owed.values()):
                if "own" in ticket.scope and not ticket.own:
                    # The process ended before its own cache had answered: others on the same Redis may still have it.
                    self._owed[ticket.id] = await self._purge_own(ticket)
            if self._owed:
                log.info("cdn_purges_go_on", tickets=len(self._owed), calls=len(self._owed_calls))
            desk = self._desk
            here = [ticket for ticket in self._owed.values() if desk is not None and "cdn" in ticket.scope]
            gone = self._hand_over(desk, here)
            for ticket in list(self._owed.values()):
                del self._owed[ticket.id]
                await self._keep(self._without_cdn(ticket))
            if gone:
                try:
                    await self._journal.save((), (), gone)
                except JournalFailed:
                    pass  # it has been told, and they are found again at the next start
            if desk is not None:
                await desk.run()
        except Exception:  # the outermost place of this task
            log.exception("cdn_purges_stopped", effect="purges wait until the next start or another configuration")
            self.failure = "something of our own has failed; the log says what"

    def _hand_over(self, desk: Desk | None, tickets: Sequence[Ticket]) -> list[str]:
        """These tickets, and all calls, to the desk, in one step; gives the ids of calls that nobody makes any more."""
        calls, self._owed_calls = self._owed_calls, []
        if desk is None:
            return [call.id for call in calls]
        for ticket in tickets:
            del self._owed[ticket.id]
        return desk.adopt(tickets, calls)

    # Orders.

    async def place(self, order: PurgeOrder, *, author: str = "", key: str = "") -> Ticket:
        """Carry out an order; done are its own cache, and within `wait_s` the CDN.

        BadOrder, Full: nothing was purged. Conflict: the key came with another order.
        """
        targets = await _read(order)
        if not self._provider:
            raise self._changing() if self._is_open else ConfigError("there is no CDN")
        if self._desk is not None and "cdn" in order.scope:
            self._desk.check_room(len(targets))
        now = self._clocks.wall()
        ticket = Ticket(
            made_id("pg", now, self._clocks.rng),
            PurgeState.QUEUED,
            datetime.fromtimestamp(now, UTC),
            targets,
            soft=order.soft,
            widen=order.widen,
            scope=order.scope,
            author=author,
            notes=_notes(order),
        )
        # Whoever has ordered it may go away: it is done all the same. No other configuration comes between the look at
        # this one and the task, which `stop` ends.
        work = self._carry_out(ticket, _kept(author, key))
        task = asyncio.get_running_loop().create_task(work, name="cdn-purge")
        self._placing.add(task)
        task.add_done_callback(self._placing.discard)
        try:
            kept = await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise self._changing() from None  # before it had begun
        return await self._after(kept, order.wait_s)

    def _changing(self) -> Unavailable:
        return Unavailable(
            "the configuration of the CDN changes: nothing was purged, order it again", retry_after_s=1.0
        )

    async def _carry_out(self, ticket: Ticket, key: str) -> Ticket:
        """As far as the desk. Whatever configuration comes meanwhile goes on with it: nothing is cancelled here without
        that being owed to it."""
        adding = asyncio.ensure_future(self._add(ticket, key))
        kept = ticket
        try:
            try:
                kept = await asyncio.shield(adding)
            except asyncio.CancelledError:
                kept = await adding  # no longer than the journal takes, which comes next in any case
                raise
            if kept.id != ticket.id:
                return kept
            if "own" in kept.scope:
                kept = await self._purge_own(kept)
            if self._desk is None or "cdn" not in kept.scope:
                kept = self._without_cdn(kept)
                return await self._keep(kept)
            kept = await self._keep(kept)
        except asyncio.CancelledError:
            if kept.id == ticket.id and not kept.done:
                self._owed[kept.id] = kept
            return kept
        desk = self._desk
        desk.take(kept)
        try:
            await desk.foresee(kept.id)
        except asyncio.CancelledError:
            pass  # the desk has it, and the next one from that
        return kept

    async def _add(self, ticket: Ticket, key: str) -> Ticket:
        """To the journal; gives the ticket that came with the same key before, if one did."""
        try:
            return await self._journal.add(ticket, key, _digest(ticket))
        except JournalFailed:
            # To purge late is worse than to forget that it was done.
            return replace(ticket, durable=False).warned(NOT_KEPT)

    async def again(self, id_: str) -> Ticket:
        """Try anew what has failed of a ticket. NotFound: there is none; Conflict: nothing of it has failed."""
        ticket = await self.find(id_)
        if not ticket.done or ticket.cdn is None or not ticket.cdn.failed:
            raise Conflict(f"nothing of {id_} has failed for good: it is {ticket.state}")
        if self._desk is None:
            raise Conflict(f"{id_} was for {ticket.cdn.provider}, and there is no CDN but the balancer now")
        return await self._keep(self._desk.again(ticket))

    async def find(self, id_: str) -> Ticket:
        """As it stands. NotFound: there is none of that name, or none any more."""
        ticket = self._desk.find(id_) if self._desk is not None else None
        ticket = ticket or self._owed.get(id_)
        if ticket is None:
            try:
                ticket = await self._journal.find(id_)
            except JournalFailed as error:
                raise NotFound(f"the journal of purges can not be read ({error}), and {id_} is not under way") from None
        if ticket is None:
            raise NotFound(f"there is no purge {id_}; they are kept for 7 days")
        return ticket

    async def latest(self, limit: int, before: str | None = None) -> list[Ticket]:
        """The newest first, from the one after `before` on."""
        desk = self._desk
        now = dict(self._owed)
        if desk is not None:
            now |= {ticket.id: ticket for ticket in (*desk.recent, *desk.tickets())}
        try:
            kept = {ticket.id: ticket for ticket in await self._journal.latest(limit, before)}
        except JournalFailed:
            kept = {}
        # What the journal has is behind what is under way, and it may have nothing.
        found = kept | {id_: ticket for id_, ticket in now.items() if before is None or id_ < before}
        return [found[id_] for id_ in sorted(found, reverse=True)[:limit]]

    @property
    def journal_failure(self) -> str | None:
        """Why tickets do not outlive the process; None: they do."""
        return self._journal.failure if self._is_open else None

    @property
    def desk(self) -> DeskState | None:
        """None: there is no CDN but the balancer."""
        return self._desk.state() if self._desk is not None else None

    # Steps.

    async def _purge_own(self, ticket: Ticket) -> Ticket:
        below: list[LevelCount] = []
        if self._places is not None and self._forget is not None and not ticket.soft:
            # Before the cache in front of them, which would be filled again with what they still have.
            count = await self._forget(means_source(ticket.targets, self._places))
            below.append(LevelCount("pictures", True, count))
        wanted = purges(ticket.targets, ticket.soft, self._places)
        levels = [*own_levels(await self._own.purge(wanted)), *below]
        warnings = [f"{level.level}: {level.reason}" for level in levels if not level.ok]
        return replace(ticket, own=tuple(levels)).warned(*warnings)

    def _without_cdn(self, ticket: Ticket) -> Ticket:
        """Done, as there is nothing but the own cache to purge."""
        is_here = "own" in ticket.scope
        done = bool(ticket.own) and all(level.ok for level in ticket.own)
        noted = replace(ticket, completed=datetime.fromtimestamp(self._clocks.wall(), UTC))
        if not is_here:
            note = "there is no CDN apart from the balancer: nothing was purged"
            return replace(noted, state=PurgeState.COMPLETED, notes=(*ticket.notes, note))
        if ticket.cdn is not None:
            warning = f"it was for {ticket.cdn.provider} as well, and there is no CDN but the balancer now"
            settled = {*ticket.cdn.accepted, *(one.written for one in ticket.cdn.rejected)}
            left = tuple(one for one in ticket.written if one not in settled)
            part = replace(ticket.cdn, failed=left, next_try=None)
            return replace(noted, state=PurgeState.PARTIAL, cdn=part).warned(warning)
        return replace(noted, state=PurgeState.COMPLETED if done else PurgeState.PARTIAL, verified=done)

    async def _keep(self, ticket: Ticket) -> Ticket:
        if ticket.done:
            self.counts[ticket.state.value] += 1
        try:
            await self._journal.save([ticket])
        except JournalFailed:
            return replace(ticket, durable=False).warned(NOT_KEPT)
        return ticket

    async def _after(self, ticket: Ticket, seconds: float) -> Ticket:
        """The ticket as it stands, after it had time to be done."""
        desk = self._desk
        if desk is None:
            return ticket
        if seconds > 0:
            await desk.wait(ticket.id, min(seconds, LONGEST_WAIT))
        return desk.find(ticket.id) or ticket


async def _read(order: PurgeOrder) -> tuple[PurgeTarget, ...]:
    count = sum(map(len, (order.patterns, order.paths, order.urls, order.tags, order.hosts)))
    return await asyncio.to_thread(parse, order) if count > LONG else parse(order)


def _notes(order: PurgeOrder) -> tuple[str, ...]:
    """What of an order makes no difference."""
    others = sum(map(len, (order.patterns, order.paths, order.urls, order.tags, order.hosts)))
    if not order.everything or not others:
        return ()
    return ("everything was ordered, which the other targets of the order are a part of",)


def _kept(author: str, key: str) -> str:
    """An idempotency key as the journal has it: whoever reads that is not to learn what callers use."""
    return sha256(f"{author}\n{key}".encode()).hexdigest() if key else ""


def _digest(ticket: Ticket) -> bytes:
    """The same for orders that mean the same."""
    said = [sorted(ticket.written), ticket.soft, ticket.widen, sorted(ticket.scope)]
    return sha256(orjson.dumps(said)).digest()
