"""A pool: which of its servers may have traffic now, whose turn it is, and who must wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Protocol

from balancer.limits.outlier import Outlier
from balancer.limits.retry_budget import RetryBudget
from balancer.server import Server
from balancer.strategy import Strategy, build
from balancer.strategy.sticky import StickySessions
from balancer.tally import PoolTally
from config.schema import Pool as PoolSettings

FIRST_STEP = 0.1  # of its weight, for a server that begins its slow start: enough to be measured, too little to hurt


class Waiter(Protocol):
    """A request that waits for a server."""

    def try_now(self) -> bool:
        """A server may be free: pick again. True when there was one, and the waiter has left the queue."""

    def queue_closed(self) -> None:
        """The pool has left the configuration."""


class Pool:
    """The servers of one name, those in rotation, and the strategy over them.

    Rotation changes in `refresh` and nowhere else; a pick only indexes. `inflight` of a server rises in `take` and
    falls in `give`. The object outlives reloads, so that queue, budget and counts do too.
    """

    def __init__(self, name: str, rng: Random, secret: bytes, on_event: Callable[[str, str, str], None]) -> None:
        """`secret` keys sticky cookies.

        `on_event(event, where, detail)` is told what an operator should read: panic, ejection, plug-in errors.
        """
        self.name = name
        self.tally = PoolTally()
        self.servers: dict[str, Server] = {}
        self.rotation: tuple[Server, ...] = ()
        self.waiting: deque[Waiter] = deque()
        self.panic = False
        self.settings: PoolSettings  # set by `configure`, which the plane calls before anything else
        self.strategy: Strategy
        self.budget: RetryBudget
        self.sticky: StickySessions | None = None
        self._rng = rng
        self._secret = secret
        self._on_event = on_event
        self._capped = False
        self._fresh = True  # nothing was in rotation yet: the first servers need no slow start

    def configure(self, settings: PoolSettings, servers: Iterable[Server], now: float) -> None:
        """Take over a configuration; the servers carry their marks already."""
        budget = settings.retries.budget
        if not hasattr(self, "budget") or budget != self.settings.retries.budget:
            self.budget = RetryBudget(budget.ratio, budget.minimum)
        self.settings = settings
        self.servers = {server.name: server for server in servers}
        passive = settings.health.passive
        for server in self.servers.values():
            if passive is None or not isinstance(server.outlier, Outlier) or server.outlier.settings != passive:
                # A new detector knows nothing of an ejection that the old one would have ended.
                server.outlier = Outlier(passive) if passive is not None else None
                server.ejected = False
                server.ejected_until = None
        self._capped = any(server.cap for server in self.servers.values())
        self.refresh(now, rebuild=True)

    def refresh(self, now: float, *, rebuild: bool = False) -> None:
        """Work out rotation anew: call it whenever a reason to be in or out has changed."""
        rotation, panic = self._in_rotation()
        if panic != self.panic:
            self.panic = panic
            self.tally.panics += panic
            self._on_event("pool_panic" if panic else "pool_panic_over", self.name, self._head_count())
        if not rebuild and rotation == self.rotation:
            return
        self._begin_slow_starts(rotation, now)
        self.rotation = rotation
        self._rebuild()
        self._wake()

    def _in_rotation(self) -> tuple[tuple[Server, ...], bool]:
        """Those that may have traffic, and whether that is failing open.

        Backups stand in when no other server is usable. Below `keep_at_least` of the servers that have a verdict,
        verdicts are not believed any more: traffic goes to all of them, but for those that live traffic found dead
        as well, as long as others are left.
        """
        eligible = [s for s in self.servers.values() if not (s.drained or s.maintenance or s.checking)]
        known = [s for s in eligible if not s.backup]
        usable = [s for s in known if not (s.down or s.ejected)]
        spare = [s for s in eligible if s.backup and not (s.down or s.ejected)]
        if spare and not usable:
            return tuple(spare), False
        if not known:  # only backups, or nothing yet
            known = [s for s in eligible if s.backup]
            usable = spare
        if spare or len(usable) >= self.settings.health.keep_at_least * len(known):
            return tuple(usable), False
        return tuple([s for s in known if not s.ejected] or known), True

    def _head_count(self) -> str:
        return f"{sum(s.state == 'up' for s in self.servers.values())} of {len(self.servers)} servers are up"

    def _begin_slow_starts(self, rotation: tuple[Server, ...], now: float) -> None:
        newcomers = [s for s in rotation if s not in self.rotation]
        for server in newcomers:
            server.up_since = now
            slow = self.settings.health.slow_start > 0 and not self._fresh and not self.panic
            server.ramp = FIRST_STEP if slow else 1.0
        # As long as others of the first servers are being checked, whoever passes is no newcomer.
        self._fresh = self._fresh and (not rotation or any(s.checking for s in self.servers.values()))

    def _rebuild(self) -> None:
        for server in self.rotation:
            server.weight = server.weight_set * server.ramp
        self.strategy = build(self.settings, self.rotation, self._rng, self._plugin_failed)
        sticky = self.settings.sticky
        self.sticky = StickySessions(self.name, self.rotation, sticky, self._secret) if sticky else None

    def _plugin_failed(self, error: Exception) -> None:
        self.tally.plugin_errors = count = self.tally.plugin_errors + 1
        if count & (count - 1) == 0:  # the first, the second, the fourth ...: a broken one must not flood the log
            try:
                text = str(error)
            except Exception:  # as in `Guarded`: the code is the user's, and its exceptions may raise anything, too
                text = "its text cannot be told"
            self._on_event("strategy_failed", self.name, f"{type(error).__name__}: {text} ({count} times so far)")

    # A request's way through.

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        """The server to ask next, or None when none is left (see `may_wait`)."""
        if self._capped:
            full = [s for s in self.rotation if s.cap and s.inflight >= s.cap]
            if full:
                tried = {*tried, *full}
        return self.strategy.pick(key, now, tried)

    def bound(self, cookies: bytes, tried: Collection[Server]) -> Server | None:
        """The server that the client's sticky cookie names, while it may have this request."""
        server = self.sticky.named(cookies) if self.sticky is not None else None
        if server is None or server in tried or (server.cap and server.inflight >= server.cap):
            return None
        return server

    def take(self, server: Server) -> None:
        server.inflight += 1
        server.tally.requests += 1

    def give(self, server: Server) -> None:
        server.inflight -= 1
        if self.waiting:
            self._wake(most=1)

    def spare(self, tried: Collection[Server]) -> Server | None:
        """A backup for a request that no server in rotation is left for: it need not wait for their verdicts."""
        for server in self.servers.values():
            out = server.checking or server.down or server.ejected or server.drained or server.maintenance
            full = server.cap and server.inflight >= server.cap
            if server.backup and not out and not full and server not in tried:
                return server
        return None

    def may_wait(self, tried: Collection[Server]) -> bool:
        """Whether to wait: a server at its cap may come free, or one not yet checked may pass; and there is room."""
        if len(self.waiting) >= self.settings.connections.queue:
            return False
        if self.rotation:
            return any(s not in tried and s.cap and s.inflight >= s.cap for s in self.rotation)
        return any(s.checking and not (s.drained or s.maintenance) for s in self.servers.values())

    def wait(self, waiter: Waiter) -> None:
        self.waiting.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """The waiter has given up."""
        if waiter in self.waiting:
            self.waiting.remove(waiter)

    def _wake(self, most: int | None = None) -> None:
        """Let those who wait try, in their order; who finds no server keeps its place."""
        served = 0
        for waiter in tuple(self.waiting):
            if waiter in self.waiting and waiter.try_now():
                served += 1
                if served == most:
                    return

    def retire(self) -> None:
        """The pool has left the configuration: nobody waits for it any more."""
        waiting, self.waiting = self.waiting, deque()
        for waiter in waiting:
            waiter.queue_closed()

    # What live traffic says.

    def observe(self, server: Server, ok: bool, now: float) -> None:
        """One attempt's result, for passive checks; may take the server out of rotation for a while."""
        outlier = server.outlier
        if isinstance(outlier, Outlier) and outlier.observe(ok, now) and not server.ejected and self._may_eject(server):
            server.ejected = True
            server.ejected_until = until = outlier.ejected_until
            server.tally.ejections += 1
            self._on_event("server_ejected", f"{self.name}/{server.name}", f"for {(until or now) - now:.0f}s")
            self.refresh(now)

    def recovered(self, server: Server, now: float) -> None:
        """Its checks pass again after they had failed: what live traffic held against it is over. Then `refresh`."""
        if isinstance(server.outlier, Outlier):
            server.outlier.pardon(now)
        server.ejected = False
        server.ejected_until = None

    def _may_eject(self, server: Server) -> bool:
        """Live failures alone never take a pool below `keep_at_least`, but for a server that is down anyway and for
        a pool that has backups to stand in."""
        if server.down or self.spare(()) is not None:
            return True
        known = [s for s in self.servers.values() if not (s.drained or s.maintenance or s.checking or s.backup)]
        left = sum(not (s.down or s.ejected or s is server) for s in known)
        return left >= self.settings.health.keep_at_least * len(known) or server.backup

    def tick(self, now: float) -> None:
        """About once a second: ejected servers come back, slow starts go on."""
        back = []
        for server in self.servers.values():
            # The detector counts on only once its ejection is over, whether or not the pool had followed it.
            if isinstance(server.outlier, Outlier) and server.outlier.back(now) and server.ejected:
                server.ejected = False
                server.ejected_until = None
                back.append(server)
                self._on_event("server_back", f"{self.name}/{server.name}", "ejection is over")
        if back:
            self.refresh(now)
        ramping = [s for s in self.rotation if s.ramp < 1.0]
        if ramping:
            for server in ramping:
                elapsed = now - server.up_since
                server.ramp = min(1.0, max(FIRST_STEP, elapsed / max(self.settings.health.slow_start, 1e-9)))
            self._rebuild()
