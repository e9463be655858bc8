"""Watches the servers of a configuration and says which of them are down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import inf
from operator import attrgetter
from random import Random
from time import monotonic

import aiohttp
import structlog
from structlog.typing import FilteringBoundLogger

from balancer.health.hysteresis import Verdict
from balancer.health.probes import ProbeResult, open_session, probe
from balancer.health.target import Target
from balancer.health.watched import HealthRecord, Watched
from balancer.server import ServerKey
from config.schema import ActiveChecks

AT_ONCE = 64
"""Probes under way at a time: enough for a thousand servers, and bearable for the loop that also proxies."""

Probe = Callable[[aiohttp.ClientSession, Target, ActiveChecks], Awaitable[ProbeResult]]
Marks = tuple[frozenset[ServerKey], frozenset[ServerKey]]
"""The servers being checked and those that are down."""
OnChange = Callable[[frozenset[ServerKey], frozenset[ServerKey]], None]

log: FilteringBoundLogger = structlog.get_logger("balancer.health")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check on request found, and what is held of the server since."""

    key: ServerKey
    result: ProbeResult
    verdict: Verdict


class Monitor:
    """Asks every watched server in its turn and keeps a verdict on each.

    One task starts the probes that are due; a server has one under way at most, all together `AT_ONCE`.
    `on_change(checking, down)` is called with the whole sets whenever they have become different, once for
    all verdicts that changed together. `first_round` is set when every server to be probed has been, and
    stays set.
    """

    def __init__(
        self,
        on_change: OnChange,
        *,
        rng: Random | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], datetime] = _utc_now,
        probe: Probe = probe,
    ) -> None:
        self.first_round = asyncio.Event()
        self._on_change = on_change
        self._rng = rng or Random()
        self._clock = clock
        self._sleep = sleep
        self._wall = wall
        self._probe = probe
        self._servers: dict[ServerKey, Watched] = {}
        self._told: Marks | None = (frozenset(), frozenset())  # what the listener knows; None: nobody can say
        self._news = False  # whether that may be out of date
        self._watching = False  # whether there was a configuration yet
        self._wake = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None  # open from start() to close()
        self._runner: asyncio.Task[None] | None = None
        self._probing: set[asyncio.Task[None]] = set()  # cancelled ones too, until they have ended

    @property
    def checking(self) -> frozenset[ServerKey]:
        """The servers without a verdict yet."""
        return self._with("checking")

    @property
    def down(self) -> frozenset[ServerKey]:
        """The servers whose checks say that they are down."""
        return self._with("down")

    def watch(self, targets: Mapping[ServerKey, Target]) -> None:
        """Watch these servers and no others from now on.

        `checking` and `down` are right as soon as this returns, so that a snapshot with a new server can say
        at once that it is unchecked; `on_change` follows in the next turn of the loop. Unchanged servers keep
        their verdict and their turn, new and changed ones are asked at once.
        """
        now, wall = self._clock(), self._wall()
        gone, self._servers = self._servers, {}
        for key, target in targets.items():
            watched = gone.get(key)
            if watched is None or watched.target.url != target.url:
                watched = Watched(key, target, now, wall)
            else:
                del gone[key]
                if target != watched.target and watched.retarget(target, now, wall):
                    self._interrupt(watched)
            self._servers[key] = watched
        for watched in gone.values():
            self._interrupt(watched)
            watched.answer(None)
        self._watching = self._news = True
        self._wake.set()

    async def start(self) -> None:
        """Begin to probe."""
        if self._runner is None:
            self._session = open_session()
            self._runner = asyncio.get_running_loop().create_task(self._run(), name="health monitor")

    async def close(self) -> None:
        """Stop probing; verdicts stay as they are."""
        if self._runner is None or self._session is None:
            return
        tasks = [self._runner, *self._probing]
        self._runner = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watched in self._servers.values():
            watched.answer(None)
        await self._session.close()
        self._session = None

    async def check_now(self, keys: Iterable[ServerKey] | None = None) -> list[CheckResult]:
        """Probe these servers, or all, without waiting for their turn; the results count as any others do.

        A probe that is under way already serves. Servers that are not watched or not probed are left out.
        """
        if self._runner is None:
            raise RuntimeError("a check needs a running monitor: await start() before check_now()")
        wanted = self._servers if keys is None else {key: self._servers.get(key) for key in keys}
        asked = [watched for watched in wanted.values() if watched is not None and watched.target.probed]
        waiters = [self._ask(watched) for watched in asked]
        self._wake.set()
        results = await asyncio.gather(*waiters)
        self._publish()  # who has an answer may rely on its being in force
        return [
            CheckResult(watched.key, result, watched.verdict)
            for watched, result in zip(asked, results, strict=True)
            if result is not None
        ]

    def report(self) -> dict[ServerKey, HealthRecord]:
        """What is known of each watched server now."""
        return {key: watched.record() for key, watched in self._servers.items()}

    async def _run(self) -> None:
        while True:
            pause = self._launch()
            try:
                self._publish()
            except Exception:  # outermost place of this task: a fault of the listener must not end the watch
                log.exception("health verdicts could not be published")
            await self._rest(pause)

    def _launch(self) -> float:
        """Start the probes that are due, as many as may be; the seconds until the next is."""
        now = self._clock()
        servers = self._servers.values()
        idle = [watched for watched in servers if watched.task is None and watched.target.probed]
        ready = sorted((watched for watched in idle if watched.due <= now), key=attrgetter("due"))
        free = AT_ONCE - len(self._probing)
        for watched in ready[:free]:
            self._begin(watched)
        if len(ready) >= free:
            return inf  # the end of a probe wakes the loop
        return min((watched.due for watched in idle if watched.due > now), default=inf) - now

    async def _rest(self, seconds: float) -> None:
        """Wait for that long, or until there is something to do."""
        nap = None if seconds == inf else asyncio.ensure_future(self._sleep(seconds))
        if nap is not None:
            nap.add_done_callback(self._slept)
        try:
            await self._wake.wait()
        finally:
            if nap is not None:
                nap.remove_done_callback(self._slept)  # or its end would wake the next rest
                nap.cancel()
        self._wake.clear()

    def _slept(self, _: asyncio.Future[None]) -> None:
        self._wake.set()

    def _begin(self, watched: Watched) -> None:
        if self._session is None or watched.target.checks is None:
            return
        check = self._check(watched, watched.target, watched.target.checks, self._session)
        task = asyncio.get_running_loop().create_task(check, name=f"probe {'/'.join(watched.key)}")
        watched.task = task
        self._probing.add(task)
        task.add_done_callback(partial(self._ended, watched))

    def _ended(self, watched: Watched, task: asyncio.Task[None]) -> None:
        self._probing.discard(task)
        if watched.task is task:
            watched.task = None
        self._wake.set()

    async def _check(
        self, watched: Watched, target: Target, checks: ActiveChecks, session: aiohttp.ClientSession
    ) -> None:
        started = self._clock()
        fault: Exception | None = None
        try:
            result = await self._probe(session, target, checks)
        except Exception as error:  # outermost place of this task: who cannot be asked has not passed
            fault = error
            result = ProbeResult(False, None, "the check itself failed, see the log", self._clock() - started)
        now = self._clock()
        changed = watched.observe(result, checks, now, self._wall(), self._rng)
        self._news |= changed
        watched.answer(result)
        # Last, since a log that cannot be written must not cost a result.
        if fault is not None:
            pool, server = watched.key
            log.error("health check raised", pool=pool, server=server, exc_info=fault)
        if changed:
            _log_verdict(watched, result)

    def _ask(self, watched: Watched) -> asyncio.Future[ProbeResult | None]:
        waiter: asyncio.Future[ProbeResult | None] = asyncio.get_running_loop().create_future()
        watched.waiters.append(waiter)
        watched.due = min(watched.due, self._clock())
        return waiter

    def _interrupt(self, watched: Watched) -> None:
        """End a probe whose result would be about what is no longer configured."""
        if watched.task is not None:
            watched.task.cancel()
            watched.task = None
        if not watched.target.probed:
            watched.answer(None)

    def _publish(self) -> None:
        if self._news:
            marks = (self.checking, self.down)
            if marks != self._told:
                self._told = None  # should the call raise, it may have been half heeded
                self._on_change(*marks)
                self._told = marks
            self._news = False
        # After the verdicts are in force: readiness follows from this.
        if self._watching and not self.first_round.is_set():
            unasked = any(watched.unasked for watched in self._servers.values())
            if not unasked:
                self.first_round.set()

    def _with(self, verdict: Verdict) -> frozenset[ServerKey]:
        return frozenset(key for key, watched in self._servers.items() if watched.verdict == verdict)


def _log_verdict(watched: Watched, result: ProbeResult) -> None:
    pool, server = watched.key
    say = log.info if watched.verdict == "up" else log.warning
    say(f"server {watched.verdict}", pool=pool, server=server, url=watched.target.url, reason=result.reason)
