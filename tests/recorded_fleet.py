"""A fleet in memory for tests of control and API: it keeps to the Protocol and proxies nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import get_args

from balancer.cache.contents import Contents, Met, Rehearsal, Survey
from balancer.cache.memory import Memory
from balancer.cache.purges import Purge
from balancer.cache.receipts import LevelReceipt, PurgeReceipt
from balancer.control import PublishError
from balancer.guards.limiter import Limiter
from balancer.guards.rulings import NamedKey, Ruling
from balancer.preview import Candidate, Preview, PreviewAnswer, RouteAnswer, RouteQuestion, RouteVerdict
from balancer.server import ServerKey
from balancer.snapshot import Snapshot
from balancer.tally import CacheTally, ListenerTally, PoolTally, RouteTally, ServerTally
from balancer.telemetry.cache_report import CacheReport, SecondReport
from balancer.telemetry.limit_report import KeyReport, of_policy, top_keys
from balancer.telemetry.redis_report import RedisReport
from balancer.telemetry.report import CertificateReport, PoolReport, Report, ServerReport
from config.schema import Match, StrategyName


class RecordedFleet:
    """Applies snapshots by remembering them; what it reports follows from the last one and from what tests set."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.snapshots: list[Snapshot] = []
        self.refused: list[Snapshot] = []
        self.refuses: Callable[[Snapshot], tuple[str, ...]] = lambda snapshot: ()
        self.open = asyncio.Event()
        """Cleared, it holds up every publish, as slow workers would."""
        self.open.set()
        self.arrived = asyncio.Event()
        """Set when a publish has begun."""
        self.inflight: defaultdict[ServerKey, int] = defaultdict(int)
        self.ejected: set[ServerKey] = set()
        self.panic: set[str] = set()
        self.asked: list[Preview] = []
        self.explained: list[RouteQuestion] = []
        self.tallies: defaultdict[ServerKey, ServerTally] = defaultdict(ServerTally)
        self.certificates: list[CertificateReport] = []
        self.store = Memory(1 << 20)
        """What `purge` and `contents` are about."""
        self.below: tuple[LevelReceipt, ...] = ()
        """What further levels say of every purge."""
        self.cache_tally: CacheTally | None = None
        """Set, there is a cache to report of."""
        self.second: SecondReport | None = None
        self.redis: RedisReport | None = None
        self.limiter = Limiter()
        """Has the policies of the last snapshot."""
        self._changed = asyncio.Condition()
        self._clock = clock
        self._started = clock()
        self.listener = ListenerTally()
        self._route = RouteTally()

    @property
    def snapshot(self) -> Snapshot:
        return self.snapshots[-1]

    async def publish(self, snapshot: Snapshot) -> None:
        self.arrived.set()
        await self.open.wait()
        if problems := self.refuses(snapshot):
            self.refused.append(snapshot)
            raise PublishError(problems)
        assert not self.snapshots or snapshot.generation > self.snapshot.generation
        self.snapshots.append(snapshot)
        self.limiter.configure(snapshot.config.rate_limits)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, true: Callable[[Snapshot], bool]) -> None:
        """Return once a snapshot is in force of which that is true."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: bool(self.snapshots) and true(self.snapshot))

    @contextmanager
    def refusing(self, *problems: str) -> Iterator[None]:
        before, self.refuses = self.refuses, lambda snapshot: problems
        try:
            yield
        finally:
            self.refuses = before

    async def report(self) -> Report:
        snapshot = self.snapshot
        return Report(
            generation=snapshot.generation,
            started=self._started,
            now=self._clock(),
            listeners=dict.fromkeys(snapshot.config.listeners, self.listener),
            routes=dict.fromkeys(snapshot.config.routes, self._route),
            pools={name: self._pool(name) for name in snapshot.config.pools},
            certificates=tuple(self.certificates),
            cache=CacheReport(self.store.figures(), self.cache_tally, second=self.second) if self.cache_tally else None,
            redis=self.redis,
            limits={name: of_policy(one) for name, one in self.limiter.policies.items()},
        )

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        """The store is a real one; what the level below says is for tests to set."""
        receipts = [self.store.purge(purge, self._clock()) for purge in purges]
        while self.store.reap(100):
            pass
        own = [LevelReceipt("memory", True, receipt.entries, 0.0) for receipt in receipts]
        return [PurgeReceipt(purge, (level, *self.below)) for purge, level in zip(purges, own, strict=True)]

    async def rehearse(self, purges: Sequence[Purge], most: int) -> Met:
        rehearsal = Rehearsal(self.store, purges, most)
        for _ in rehearsal.steps(100):
            pass
        return rehearsal.met()

    async def contents(self, most: int) -> Contents:
        survey = Survey(self.store, most)
        for _ in survey.steps(100):
            pass
        return survey.contents(self._clock())

    async def limited_keys(self) -> dict[str, tuple[KeyReport, ...]]:
        return {name: top_keys(one, b"secret", self._clock()) for name, one in self.limiter.policies.items()}

    async def rule(self, ruling: Ruling) -> NamedKey:
        return self.limiter.obey(ruling, b"secret", self._clock())

    async def explain(self, question: RouteQuestion, matches: Mapping[str, Match]) -> RouteAnswer:
        self.explained.append(question)
        first, *others = matches
        return RouteAnswer(first, "the only one that fits", tuple(RouteVerdict(name, "its path") for name in others))

    async def preview(self, question: Preview) -> list[PreviewAnswer]:
        self.asked.append(question)
        pool = self._pool(question.pool)
        own = self.snapshot.config.pools[question.pool].strategy
        names = [own, *(name for name in get_args(StrategyName) if name != own)]
        servers = [server for server in pool.servers if server.in_rotation]
        candidates = tuple(
            Candidate(s.name, s.state, s.in_rotation, s.effective_weight, s.inflight, s.latency, None)
            for s in pool.servers
        )
        return [
            PreviewAnswer(
                strategy=name,
                server=servers[0].name if servers else None,
                reason="the first" if servers else "no server in rotation",
                candidates=candidates,
            )
            for name in names
            if question.strategy in (None, name)
        ]

    def state(self, key: ServerKey) -> str:
        snapshot = self.snapshot
        for state in ("maintenance", "drained", "checking", "down"):
            if key in getattr(snapshot, state):
                return state
        return "ejected" if key in self.ejected else "up"

    def _pool(self, name: str) -> PoolReport:
        settings = self.snapshot.config.pools[name]
        return PoolReport(
            name=name,
            strategy=settings.strategy,
            panic=name in self.panic,
            queue=0,
            tally=PoolTally(),
            servers=[self._server((name, server)) for server in settings.servers],
        )

    def _server(self, key: ServerKey) -> ServerReport:
        settings = self.snapshot.config.pools[key[0]].servers[key[1]]
        state = self.state(key)
        failing_open = key[0] in self.panic and state in ("down", "ejected")
        tally = self.tallies[key]
        return ServerReport(
            name=key[1],
            url=settings.url,
            state=state,
            in_rotation=state == "up" or failing_open,
            weight=settings.weight,
            effective_weight=float(settings.weight) if state == "up" or failing_open else 0.0,
            backup=settings.backup,
            cap=settings.max_connections or 0,
            inflight=self.inflight[key],
            idle=0,
            tunnels=0,
            latency=0.012 if tally.codes else None,
            ejected_until=self._clock() + 10.0 if state == "ejected" else None,
            tally=tally,
        )
