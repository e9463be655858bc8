"""A provider that answers as it is told, a clock that jumps to whatever is waited for, and a desk with both."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from balancer.cdn.errors import Unsupported
from balancer.cdn.purging.desk import Desk
from balancer.cdn.purging.journal import Journal
from balancer.cdn.purging.patterns import target
from balancer.cdn.purging.retries import Pace
from balancer.cdn.purging.ticket import Ticket, made_id
from balancer.cdn.types import (
    Capability,
    CdnStats,
    FilePage,
    ImageOptions,
    LimitState,
    OptimizedImage,
    ProviderStatus,
    PurgeBatch,
    PurgeKind,
    PurgePlan,
    PurgeResult,
    PurgeState,
    PurgeTarget,
    Rejected,
    StoredFile,
    UploadRequest,
)

BEGIN = 1_800_000_000.0


class Time:
    """Passes when somebody waits for it, and at no other time."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.runs = asyncio.Event()
        self.runs.set()

    def __call__(self) -> float:
        return self.now

    async def pause(self, event: asyncio.Event, seconds: float) -> None:
        """As `Pause`."""
        for _ in range(3):
            await asyncio.sleep(0)
        if math.isinf(seconds):
            await event.wait()
            return
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.runs.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if not event.is_set():
            self.now += max(seconds, 0.0)


Answer = PurgeResult | BaseException | PurgeState


class Scripted:
    """A provider of pure thought: URLs in batches of two, prefixes and tags one by one, and no star elsewhere."""

    capabilities = Capability.PURGE_URL | Capability.PURGE_PREFIX | Capability.PURGE_TAG | Capability.PURGE_ALL

    def __init__(self, time: Callable[[], float], limits: Mapping[str, LimitState] | None = None) -> None:
        self.name = "scripted"
        self.answers: list[Answer] = []
        """To the next calls; when there are no more of them, all is well."""
        self.polled: list[Answer] = []
        self.calls: list[tuple[float, PurgeBatch, str]] = []
        self.polls: list[tuple[float, str]] = []
        self.faulty: Exception | None = None
        self._time = time
        self._limits = dict(limits or {})

    @property
    def sent(self) -> list[str]:
        """What was called for, call by call."""
        return [" ".join(batch.items) for _, batch, _ in self.calls]

    @property
    def times(self) -> list[float]:
        return [round(at - BEGIN, 3) for at, _, _ in self.calls]

    @property
    def ids(self) -> list[str]:
        return [id_ for _, _, id_ in self.calls]

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan:
        if self.faulty is not None:
            raise self.faulty
        urls = [one for one in targets if one.kind is PurgeKind.URL]
        others = [one for one in targets if one.kind in (PurgeKind.PREFIX, PurgeKind.TAG, PurgeKind.ALL)]
        batches = [
            PurgeBatch("urls", tuple(one.written for one in pair), tuple(pair), len(pair), soft)
            for pair in (urls[at : at + 2] for at in range(0, len(urls), 2))
        ]
        batches += [PurgeBatch(one.kind.value, (one.written,), (one,), 1, soft) for one in others]
        rejected = [Rejected(one, "no star", None) for one in targets if one.kind is PurgeKind.PATTERN]
        notes = [f"{one.written}: noted" for one in others if one.kind is PurgeKind.TAG]
        return PurgePlan(tuple(batches), tuple(rejected), tuple(notes))

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult:
        self.calls.append((self._time(), batch, idempotency_key))
        answer = self.answers.pop(0) if self.answers else PurgeResult(PurgeState.SUBMITTED)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, PurgeResult)
        return answer

    async def purge_state(self, provider_id: str) -> PurgeState:
        self.polls.append((self._time(), provider_id))
        answer = self.polled.pop(0) if self.polled else PurgeState.COMPLETED
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, PurgeState)
        return answer

    def limits(self) -> Mapping[str, LimitState]:
        return self._limits

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def status(self) -> ProviderStatus:
        return ProviderStatus(self.name, True, datetime.now(UTC), 0.0, self.capabilities)

    async def upload(self, request: UploadRequest) -> StoredFile:
        raise Unsupported("no uploads")

    async def delete(self, path: str) -> bool:
        raise Unsupported("no files")

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        raise Unsupported("no files")

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        raise Unsupported("no statistics")

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        raise Unsupported("no pictures")

    def public_url(self, path: str) -> str:
        return f"https://cdn.example.com/{path}"


class Polled(Scripted):
    """One that can be asked how far a purge is."""

    capabilities = Scripted.capabilities | Capability.PURGE_STATUS


class Bureau:
    """A desk at work, on a journal of its own."""

    def __init__(self, path: Path, provider: Scripted, time: Time, pace: Pace | None = None) -> None:
        self.time = time
        self.provider = provider
        self.rng = Random(7)
        self.journal = Journal(path, time)
        self.counts: Counter[str] = Counter()
        self.desk = Desk(
            provider,
            pace or Pace(),
            self.journal,
            clock=time,
            wall=time,
            rng=self.rng,
            pause=time.pause,
            counts=self.counts,
        )
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Bureau:
        await self.journal.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
            if not self._work.cancelled():
                self._work.result()
        await self.journal.close()

    def begin(self) -> None:
        self._work = asyncio.get_running_loop().create_task(self.desk.run())

    async def order(self, *written: str, soft: bool = False, widen: bool = False) -> str:
        """A ticket, in the journal and on the desk."""
        ticket = Ticket(
            made_id("pg", self.time.now, self.rng),
            PurgeState.QUEUED,
            datetime.fromtimestamp(self.time.now, UTC),
            tuple(map(target, written)),
            soft=soft,
            widen=widen,
        )
        await self.journal.add(ticket)
        self.desk.take(ticket)
        return ticket.id

    async def done(self, *ids: str) -> list[Ticket]:
        """These, once they are done."""
        if self._work is None:
            self.begin()
        self.time.runs.set()
        await self.until(lambda: all(self._is_done(id_) for id_ in ids))
        found = [self.desk.find(id_) for id_ in ids]
        return [ticket for ticket in found if ticket is not None]

    async def until(self, condition: Callable[[], object]) -> None:
        """Until it holds; time may pass meanwhile, unless it stands."""
        async with asyncio.timeout(20):
            while not condition():
                if self._work is not None and self._work.done():
                    self._work.result()
                await asyncio.sleep(0)

    def _is_done(self, id_: str) -> bool:
        ticket = self.desk.find(id_)
        return ticket is not None and ticket.done


def limit(capacity: float, refill: float) -> LimitState:
    return LimitState(capacity, capacity, refill)


def states(tickets: Iterable[Ticket]) -> list[str]:
    return [ticket.state.value for ticket in tickets]
