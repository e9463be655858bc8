"""The planes as control sees them: one in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from time import monotonic

from balancer.cache.contents import Contents, Met
from balancer.cache.purges import Purge
from balancer.cache.receipts import PurgeReceipt
from balancer.control import PublishError
from balancer.guards.rulings import NamedKey, Ruling
from balancer.http1.fields import parse_line
from balancer.http1.head import RequestFields, RequestHead
from balancer.plane import Plane, PlaneError
from balancer.pool import Pool
from balancer.preview import Candidate, Preview, PreviewAnswer, RouteAnswer, RouteQuestion
from balancer.routing.explain import explain
from balancer.routing.keys import hash_key
from balancer.snapshot import Snapshot
from balancer.strategy import STRATEGIES, Strategy, StrategyError, build, figures, preview
from balancer.telemetry.limit_report import KeyReport
from balancer.telemetry.report import Report
from config.schema import Match


class LocalFleet:
    """One plane on the loop that control runs on: publishing is a function call."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def publish(self, snapshot: Snapshot) -> None:
        try:
            await self._plane.apply(snapshot)
        except PlaneError as error:
            raise PublishError(error.problems) from error

    async def report(self) -> Report:
        return self._plane.report()

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        return await self._plane.purge(purges)

    async def rehearse(self, purges: Sequence[Purge], most: int) -> Met:
        return await self._plane.rehearse(purges, most)

    async def contents(self, most: int) -> Contents:
        return await self._plane.contents(most)

    async def limited_keys(self) -> dict[str, tuple[KeyReport, ...]]:
        return self._plane.limited_keys()

    async def rule(self, ruling: Ruling) -> NamedKey:
        return self._plane.rule(ruling)

    async def preview(self, question: Preview) -> list[PreviewAnswer]:
        """The pool's own strategy first, then the built-in ones, unless one was asked for."""
        pool = self._plane.pools[question.pool]
        own = pool.settings.strategy
        names = [question.strategy] if question.strategy else [own, *(n for n in STRATEGIES if n != own)]
        head = _head(question)
        return [_asked(pool, name, head, question.client) for name in names]

    async def explain(self, question: RouteQuestion, matches: Mapping[str, Match]) -> RouteAnswer:
        """Which route takes a request, and why no other one."""
        fields = [parse_line(f"{name}: {value}".encode("latin-1")) for name, value in question.headers]
        head = RequestHead(
            question.method.encode("ascii"), question.path.encode("ascii"), 1, RequestFields(b"", 1, fields, [])
        )
        head.host = question.host.encode("latin-1")
        return explain(self._plane.reception.table, matches, head)


def _head(question: Preview) -> RequestHead:
    fields = [parse_line(f"{name}: {value}".encode("latin-1")) for name, value in question.headers]
    return RequestHead(b"GET", question.path.encode("utf-8"), 1, RequestFields(b"", 1, fields, []))


def _asked(pool: Pool, name: str, head: RequestHead, client: str) -> PreviewAnswer:
    """What one strategy would do with this request; a strategy that is not the pool's own is built for the question."""
    now = monotonic()
    strategy: Strategy = pool.strategy
    try:
        if name != pool.settings.strategy:
            settings = pool.settings.model_copy(update={"strategy": name})
            strategy = build(settings, pool.rotation, Random(0), lambda error: None)
        key_of = hash_key(strategy, pool.settings.hash.key)
        key = key_of(head, client) if key_of is not None else 0
        picked = pool.bound(head.value(b"cookie") or b"", ())
        reason = "by its cookie"
        if picked is None:
            picked = preview(strategy, key, now)
            reason = strategy.reason if picked is not None else "no server in rotation"
    except StrategyError as error:
        return PreviewAnswer(name, None, str(error), ())
    candidates = tuple(
        Candidate(
            server=server.name,
            state=server.state,
            in_rotation=server in pool.rotation,
            weight=server.weight if server in pool.rotation else 0.0,
            inflight=server.inflight,
            latency=server.latency.at(now) if server.latency.measured else None,
            score=figures(strategy, server, key, now).get("score") if server in pool.rotation else None,
        )
        for server in pool.servers.values()
    )
    return PreviewAnswer(name, picked.name if picked else None, reason, candidates)
