"""Sends what is to be purged to a provider: together, in order, not too fast, and again when it failed."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Final

import structlog

from balancer.cdn.errors import CdnError, Full, NotFound, RateLimited, Unavailable
from balancer.cdn.provider import CdnProvider
from balancer.cdn.purging.breaker import Breaker
from balancer.cdn.purging.breaker import State as BreakerState
from balancer.cdn.purging.buckets import Buckets
from balancer.cdn.purging.drafts import Drafted, Drafts, Wish, draft, is_everything
from balancer.cdn.purging.journal import Journal
from balancer.cdn.purging.progress import Progress
from balancer.cdn.purging.queue import Queue, held, limit_of
from balancer.cdn.purging.register import Register
from balancer.cdn.purging.retries import LONGEST, Pace, again, failed, late
from balancer.cdn.purging.sending import Sending
from balancer.cdn.purging.ticket import Ticket, made_id
from balancer.cdn.types import CALLS, Capability, LimitState, PurgeResult, PurgeState

log = structlog.get_logger("balancer.cdn")
MOST_TARGETS: Final = 10_000
"""Of all tickets that are not done."""
POLLS: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds until the provider is asked again how far it is; the last one holds for all others."""
POLLED: Final = 1800.0
"""Seconds after which it is not asked any more."""
PURGES: Final = (
    Capability.PURGE_URL | Capability.PURGE_PREFIX | Capability.PURGE_TAG | Capability.PURGE_HOST | Capability.PURGE_ALL
)
BREATH: Final = 100
"""Calls that are dealt with before others on the loop have their turn."""
BROKEN: Final = "something of our own has failed; the log says what"

Pause = Callable[[asyncio.Event, float], Awaitable[None]]
"""Waits for an event, or so many seconds; infinity: for the event alone."""


@dataclass(frozen=True, slots=True)
class DeskState:
    """How a desk is, for status and metrics."""

    tickets: int
    """Not done."""
    calls: int
    """To be made, or looked after."""
    breaker: BreakerState
    opened: int
    limits: dict[str, LimitState]
    error: str | None
    """Of the last call that failed."""


class Desk:
    """Works off the tickets that it is given, one call at a time: one provider, one account, one limit.

    What was not called yet is planned anew with what comes later, so that everything swallows what waits before it and
    a crowd becomes its folder. A call that was made keeps its id until it is done: the provider may have heard it.
    """

    def __init__(
        self,
        provider: CdnProvider,
        pace: Pace,
        journal: Journal,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        rng: Random,
        pause: Pause,
        counts: Counter[str],
    ) -> None:
        self.provider = provider
        self.counts = counts
        """Tickets by the state that they ended in, and: retried, swallowed, given_up, planned."""
        self.error: str | None = None
        self._pace = pace
        self._clock = clock
        self._wall = wall
        self._rng = rng
        self._pause = pause
        # What is not of purges alone, the provider counts: it makes other calls as well.
        self._buckets = Buckets(provider.limits(), clock(), getattr(provider, "buckets", {}))
        self._breaker = Breaker()
        self._queue = Queue(self._buckets, self._breaker)
        is_dear = Capability.PURGE_STATUS in provider.capabilities
        self._register = Register(journal, clock, wall, counts, is_dear)
        self._away: tuple[float, str] | None = None  # wall-clock time and text of the first failure since it answered
        self._fresh = False  # there is something to plan
        self._plan_at = 0.0
        self._wake = asyncio.Event()

    # What is given to it.

    def check_room(self, targets: int) -> None:
        """Full: there is none for so many more."""
        if self._register.targets + targets > MOST_TARGETS:
            waiting = f"{self._register.targets} purges wait for {self.provider.name} already"
            raise Full(
                f"{waiting}; at most {MOST_TARGETS} are taken",
                provider=self.provider.name,
                retry_after_s=LONGEST,
            )

    def take(self, ticket: Ticket) -> None:
        """Work off what is outstanding of a ticket. The journal has it. One that is open goes on as it is."""
        self._register.add(Progress(ticket, self.provider.name))
        self._plan_soon()

    async def foresee(self, id_: str) -> None:
        """Say of a ticket what is known before anything is sent: what the provider has no form for, and whether it
        takes no purges at all. Planned it is later, together with others."""
        progress = self._open.get(id_)
        if progress is None:
            return
        if not self.provider.capabilities & PURGES:
            progress.fail_outstanding(f"{self.provider.name} takes no purges as it is configured: see its status")
            return
        wishes = [Wish(id_, target, progress.order.soft, progress.order.widen) for target in progress.outstanding]
        drafts = await self._drafts(wishes)
        if isinstance(drafts, str):
            return  # it is told when it is planned
        outstanding = {target.written for target in progress.outstanding}
        for _, refused in drafts.rejected:
            if refused.written in outstanding:
                progress.reject(refused)

    def again(self, ticket: Ticket) -> Ticket:
        """Work off what has failed of a ticket that is done."""
        self.check_room(len(ticket.targets))
        self.take(ticket)
        progress = self._open[ticket.id]
        progress.try_again(self.provider.name)
        return self._register.told(progress)

    def adopt(self, tickets: Iterable[Ticket], sendings: Iterable[Sending]) -> list[str]:
        """Go on with what another desk has left; gives the ids of calls that nobody makes any more.

        Each call may have been heard, and so is made once more as it is.
        """
        for ticket in tickets:
            self.take(ticket)
            if ticket.cdn is not None and ticket.cdn.provider != self.provider.name:
                self._open[ticket.id].fail_outstanding(
                    f"it was for {ticket.cdn.provider}, and the provider is {self.provider.name} now"
                )
        gone = []
        for sending in sendings:
            known = {id_: written for id_, written in sending.tickets.items() if id_ in self._open}
            if sending.provider != self.provider.name or (sending.tickets and not known):
                gone.append(sending.id)
                continue
            kept = replace(sending, tickets=known, tried=sending.tried or self._wall())
            for id_, written in known.items():
                self._open[id_].join(kept.id, written)
            if kept.provider_id is not None:
                self._buckets.take(held(kept), self._clock())
            self._queue.later(kept)
        return gone

    def find(self, id_: str) -> Ticket | None:
        """A ticket that is not done, or was done lately."""
        return self._register.find(id_)

    def tickets(self) -> list[Ticket]:
        """All that are not done."""
        return [self._register.told(progress) for progress in self._open.values()]

    @property
    def recent(self) -> list[Ticket]:
        """Those that were done lately."""
        return list(self._register.recent)

    def sendings(self) -> list[Sending]:
        """All calls that are to be made or looked after."""
        return list(self._queue)

    async def wait(self, id_: str, seconds: float) -> None:
        """Until a ticket is done, at most so long."""
        ended = self._register.ending(id_)
        if ended is not None:
            await self._pause(ended, seconds)

    def state(self) -> DeskState:
        now = self._clock()
        return DeskState(
            len(self._open),
            len(self._queue),
            self._breaker.state(now),
            self._breaker.opened,
            self._buckets.states(now),
            self.error,
        )

    # Its work.

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._wake.clear()
            now = self._clock()
            if self._fresh and now >= self._plan_at:
                await self._plan()
                continue
            await self._give_up_waiting()
            sending, seconds = self._queue.next(now, self._wall())
            if sending is None:
                if self._fresh:
                    seconds = min(seconds, self._plan_at - now)
                await self._pause(self._wake, seconds)
            elif sending.provider_id is not None:
                await self._poll(sending)
            else:
                await self._send(sending)

    @property
    def _open(self) -> dict[str, Progress]:
        return self._register.open

    def _concerned(self, sending: Sending) -> list[Progress]:
        """Of the tickets that a call is for, those that are open. That all are is meant to be, and a desk that ends
        where it is not would take every later purge with it."""
        return [self._open[id_] for id_ in sending.tickets if id_ in self._open]

    def _plan_soon(self) -> None:
        if not self._fresh:
            self._fresh = True
            self._plan_at = self._clock() + self._pace.coalesce
        self._wake.set()

    async def _plan(self) -> None:
        """Put what is outstanding, and what was not called yet, into as few calls as it takes."""
        self._fresh = False
        gone = [one.id for one in self._queue if one.tried is None and one.tickets]
        changed = await self._withdraw(gone)
        wishes = await self._wishes()
        if any(map(is_everything, wishes)):
            # Those that are tried again as well; not those that the provider has taken.
            tried = [one.id for one in self._queue if one.provider_id is None and one.tickets]
            self.counts["swallowed"] += len(tried)
            gone += tried
            changed |= await self._withdraw(tried)
            wishes = await self._wishes()
        changed |= {wish.ticket for wish in wishes}
        drafts = await self._drafts(wishes)
        if isinstance(drafts, str):
            self.error = drafts
            for id_ in {wish.ticket for wish in wishes}:
                self._open[id_].fail_outstanding(drafts)
            await self._register.commit(changed | self._register.done(), (), gone)
            return
        self.counts["planned"] += len(drafts.calls)
        for id_, refused in drafts.rejected:
            self._open[id_].reject(refused)
        for id_, note in drafts.notes:
            self._open[id_].note(note)
        sendings = []
        for number, one in enumerate(drafts.calls):
            sending = self._sending(one)
            for id_, written in sending.tickets.items():
                self._open[id_].join(sending.id, written)
            # Before they are written: another configuration may come meanwhile.
            self._queue.add(sending)
            sendings.append(sending)
            await _breathe(number)
        await self._register.commit(changed | self._register.done(), sendings, gone)

    async def _drafts(self, wishes: Sequence[Wish]) -> Drafts | str:
        """In a thread, as there may be thousands; or why there are none."""
        try:
            return await asyncio.to_thread(draft, wishes, self.provider)
        except CdnError as error:
            return str(error)
        except Exception:  # orders that trip over a mistake of ours must not end the desk, now and at every start
            log.exception("cdn_plan_broken", provider=self.provider.name, targets=len(wishes))
            return BROKEN

    async def _wishes(self) -> list[Wish]:
        found: list[Wish] = []
        for progress in list(self._open.values()):
            ticket = progress.order
            found += [Wish(ticket.id, target, ticket.soft, ticket.widen) for target in progress.outstanding]
            await asyncio.sleep(0)
        return found

    async def _withdraw(self, ids: Sequence[str]) -> set[str]:
        """Calls that are not made; gives the tickets that they were for."""
        tickets: set[str] = set()
        for number, id_ in enumerate(ids):
            sending = self._queue.remove(id_)
            if sending is None:
                continue
            for progress in self._concerned(sending):
                progress.leave(id_)
            tickets |= sending.tickets.keys()
            await _breathe(number)
        return tickets

    def _sending(self, drafted: Drafted) -> Sending:
        now = self._wall()
        id_ = made_id("pb", now, self._rng)
        return Sending(id_, self.provider.name, drafted.batch, drafted.tickets, drafted.widen, created=now)

    async def _send(self, sending: Sending) -> None:
        try:
            result = await self.provider.purge(sending.batch, sending.id)
        except CdnError as error:
            await self._failed(sending, error)
        except Exception:  # one call that trips over a mistake of ours must not end the desk
            log.exception("cdn_purge_broken", provider=self.provider.name, kind=sending.batch.kind)
            await self._give_up([sending], BROKEN)
        else:
            self._answered()
            if result.left is not None:
                self._buckets.correct(CALLS, result.left, self._clock())
                if result.left < 1 and result.reset_s is not None:
                    self._buckets.empty(CALLS, result.reset_s, self._clock())
            await self._taken(replace(sending, attempts=sending.attempts + 1), result)

    async def _taken(self, sending: Sending, result: PurgeResult) -> None:
        for progress in self._concerned(sending):
            progress.tried(sending.attempts, None, None)
            if result.provider_id is not None:
                progress.named(result.provider_id)
        if result.state is PurgeState.FAILED:
            await self._give_up([sending], f"{self.provider.name} says that it has failed")
        elif (
            result.state is PurgeState.IN_PROGRESS
            and result.provider_id is not None
            and Capability.PURGE_STATUS in self.provider.capabilities
        ):
            now = self._wall()
            waiting = replace(sending, provider_id=result.provider_id, tried=now, next_try=now + POLLS[0])
            self._queue.later(waiting)
            await self._register.commit(sending.tickets, [waiting])
        else:
            await self._done(sending, seen=result.state is PurgeState.COMPLETED)

    async def _poll(self, sending: Sending) -> None:
        assert sending.provider_id is not None  # that is what makes it one to ask for
        try:
            state = await self.provider.purge_state(sending.provider_id)
        except NotFound:
            self._answered()
            await self._unseen(sending, f"{self.provider.name} knows nothing of {sending.provider_id} any more")
            return
        except CdnError as error:
            self._note_failure(error)
            self.error = str(error)
            state = PurgeState.IN_PROGRESS
        else:
            self._answered()
        now = self._wall()
        if state is PurgeState.COMPLETED:
            await self._done(sending, seen=True)
        elif state is PurgeState.FAILED:
            await self._give_up([sending], f"{self.provider.name} says that {sending.provider_id} has failed")
        elif state is PurgeState.SUBMITTED or now - (sending.tried or now) >= POLLED:
            await self._unseen(sending, f"{self.provider.name} did not say in time that {sending.provider_id} is done")
        else:
            pause = POLLS[min(sending.polls + 1, len(POLLS) - 1)]
            waiting = replace(sending, polls=sending.polls + 1, next_try=now + pause)
            self._queue.later(waiting)
            await self._register.commit((), [waiting])

    async def _unseen(self, sending: Sending, warning: str) -> None:
        for progress in self._concerned(sending):
            progress.warn(warning)
        await self._done(sending, seen=False)

    async def _done(self, sending: Sending, seen: bool) -> None:
        self._buckets.give_back(held(sending))
        self._queue.remove(sending.id)
        for progress in self._concerned(sending):
            progress.succeed(sending.id, seen)
        second: list[Sending] = []
        if self._pace.settle > 0 and sending.tickets and len(self._queue) < MOST_TARGETS:
            now = self._wall()
            second.append(
                Sending(
                    made_id("pb", now, self._rng),
                    self.provider.name,
                    sending.batch,
                    {},
                    created=now,
                    next_try=now + self._pace.settle,
                )
            )
            self._queue.later(second[0])
        await self._register.commit(sending.tickets, second, [sending.id])

    # What goes wrong.

    def _answered(self) -> None:
        self._breaker.answered()
        self._away = None

    def _note_failure(self, error: CdnError) -> None:
        if not isinstance(error, Unavailable):
            self._answered()
            return
        was = self._breaker.state(self._clock())
        self._breaker.failed(self._clock())
        self._away = self._away or (self._wall(), str(error))
        if was == "closed" and self._breaker.state(self._clock()) == "open":
            log.error("cdn_left_alone", provider=self.provider.name, reason=str(error))

    async def _failed(self, sending: Sending, error: CdnError) -> None:
        """Try it again, or give it up."""
        self._note_failure(error)
        self.error = str(error)
        now = self._wall()
        sending = failed(sending, error, now)
        self._buckets.give_back(held(sending))
        if isinstance(error, RateLimited):
            self._buckets.empty(limit_of(sending), error.retry_after_s or 0.0, self._clock())
        next_ = again(sending, error, now, self._pace, self._rng)
        if isinstance(next_, str):
            await self._give_up([sending], next_)
            return
        self.counts["retried"] += 1
        self._queue.later(next_)
        moment = datetime.fromtimestamp(next_.next_try, UTC)
        for progress in self._concerned(next_):
            progress.tried(next_.attempts, str(error), moment)
        await self._register.commit(next_.tickets, [next_])

    async def _give_up(self, sendings: Sequence[Sending], reason: str) -> None:
        self.error = reason
        self.counts["given_up"] += len(sendings)
        tickets: set[str] = set()
        for sending in sendings:
            self._buckets.give_back(held(sending))
            self._queue.remove(sending.id)
            for progress in self._concerned(sending):
                progress.tried(sending.attempts, reason, None)
                progress.fail(sending.id, reason)
            tickets |= sending.tickets.keys()
        log.error("cdn_purge_failed", provider=self.provider.name, calls=len(sendings), reason=reason)
        await self._register.commit(tickets, (), [sending.id for sending in sendings])

    async def _give_up_waiting(self) -> None:
        """What waits for a provider that has been away for too long fails, though it was never tried."""
        if self._away is None:
            return
        since, reason = self._away
        oldest = self._wall() - self._pace.give_up
        if since >= oldest:
            return
        overdue = [one for one in self._queue if one.provider_id is None and one.created < oldest]
        if overdue:
            await self._give_up(overdue, late(reason, self._pace))


async def _breathe(number: int) -> None:
    if number % BREATH == BREATH - 1:
        await asyncio.sleep(0)


async def pause(event: asyncio.Event, seconds: float) -> None:
    """As `Pause`, by the loop's clock."""
    try:
        async with asyncio.timeout(None if math.isinf(seconds) else max(seconds, 0.0)):
            await event.wait()
    except TimeoutError:
        pass
