"""A plane: one event loop of proxying. It is handed snapshots and makes them so."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from balancer.cache.contents import Contents, Met, Rehearsal, Survey
from balancer.cache.purges import Purge
from balancer.cache.receipts import PurgeReceipt
from balancer.ewma import PeakEwma
from balancer.guarding.entrance import Entrance
from balancer.guarding.shared_limits import SharedLimits
from balancer.guarding.watch import Watch
from balancer.guards.rulings import NamedKey, Ruling
from balancer.http1.error_page import OWN, ErrorPage
from balancer.issuers import Issuers
from balancer.limits.crowd import Crowd
from balancer.limits.farewell import due
from balancer.limits.overload import Overload
from balancer.listening import Listener
from balancer.own_answers import UNROUTED
from balancer.pool import Pool
from balancer.proxy.dialer import Dialer
from balancer.proxy.exchange import QUEUED, Exchange
from balancer.proxy.sides import NEVER
from balancer.proxy.sweeper import TICK, Awaited, Sweeper
from balancer.proxy.upstream_connection import UpstreamConnection
from balancer.ranges.book import Ranges
from balancer.ranges.trust import Trust, named
from balancer.reception import Reception, Views
from balancer.redis_access import RedisAccess
from balancer.routing import build_table
from balancer.server import Server, ServerKey
from balancer.server_tls import BadPools, BadTls, Contexts, way
from balancer.shared_level import SharedLevel
from balancer.snapshot import Snapshot
from balancer.strategy import StrategyError, load_strategy
from balancer.tally import ListenerTally, RouteTally, ServerTally
from balancer.telemetry.limit_report import KeyReport, top_keys
from balancer.telemetry.report import Report, of_certificate, of_pool
from balancer.telemetry.sums import merge
from balancer.tls.certificates import Unusable
from balancer.tls.credentials import Credentials, Watched, load
from config.cdn import secret_fields
from config.problems import path_text

if TYPE_CHECKING:
    from config.schema import Config, Limits
    from config.schema import Pool as PoolSettings


class PlaneError(Exception):
    """A snapshot cannot be made so; nothing has changed. `problems` are sentences for the operator."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


SURVEYED = 1000
"""URLs of the cache that are looked at in one go: about a millisecond."""

TAGS_LEFT_OUT = "cdn_tags_left_out"

KEPT_FREE = 64
"""Descriptors for files, the admin API, probes, and connections to servers that are being opened."""


def _room_for_clients() -> int:
    """Connections that there are descriptors for: each may need one more, to a server."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 10**9 if soft == resource.RLIM_INFINITY else max((soft - KEPT_FREE) // 2, 16)


class Plane:
    """Listeners, pools, connections and the route table of one loop.

    `apply` builds everything new before it changes anything, then swaps the route table, then retires what has left.
    """

    def __init__(
        self,
        views: Views,
        secret: bytes,
        rng: Random | None = None,
        common: bytes = b"",
        ranges: Ranges | None = None,
    ) -> None:
        """`secret` keys sticky cookies: the same in all planes and over restarts.

        `common` is what balancers that share a Redis all know, and it does not; empty: nothing. `ranges` are the
        networks of CDNs; None: those that nobody keeps on disk.
        """
        self.rng = rng or Random(os.urandom(16))
        self.views = views
        self.pools: dict[str, Pool] = {}
        self.listeners: dict[str, Listener] = {}
        self.snapshot: Snapshot | None = None
        self.started = monotonic()
        self._secret = secret
        self._servers: dict[ServerKey, Server] = {}
        self._retired: dict[str, ServerTally] = {}  # by pool: what servers that have left it had counted
        # Removed servers that still have tunnels: until when they may have them, and how long that was when they left.
        self._leaving: dict[Server, tuple[float, float]] = {}
        self._farewell: tuple[float, float] | None = None  # the same of all tunnels, once the plane drains
        self._route_tallies: dict[str, RouteTally] = {UNROUTED: RouteTally()}
        self._told_of_tags: set[str] = set()  # the routes of which it has been said that tags were left out
        self._listener_tallies: dict[str, ListenerTally] = {}
        self._contexts = Contexts()  # for TLS to servers
        self._draining = False
        self._old_listeners: list[Listener] = []  # closed, with connections that are not yet done
        self._crowd = Crowd(1, 1)
        self._overload = Overload(0.5)
        self._next_tick = 0.0
        self._looking: asyncio.Future[list[tuple[Watched, Credentials | Unusable | None]]] | None = None
        self.dialer = Dialer(longest_head=32 * 1024, most_fields=100)
        self.reception = Reception(self.dialer, views, self.rng, self._route_tallies[UNROUTED], self._overload)
        self._redis = RedisAccess(views.on_event)
        self._shared = SharedLevel(self.reception.cache.stock)
        self.entrance = Entrance(self.reception, os.urandom(32))
        self.issuers = Issuers(views.on_event)
        self.ranges = ranges or Ranges(None, views.on_event)
        self.trust = Trust()
        self.ranges.changed = lambda: self.trust.renew(self.ranges)
        self.watch = Watch(SharedLimits(views.on_event, common), self.entrance, self.trust)
        self._sweeper = Sweeper(self._deadlines, self._tick, self._second)
        self._sweeper.start()

    # Becoming what a snapshot says.

    async def apply(self, snapshot: Snapshot) -> None:
        """Make it so, or raise PlaneError and change nothing."""
        if self._draining and (self.snapshot is None or snapshot.config is not self.snapshot.config):
            raise PlaneError(["the balancer is shutting down: nothing is changed any more"])
        current = self.snapshot
        if current is not None and snapshot.config is current.config and snapshot.reads == current.reads:
            self._mark(snapshot)
            return
        _check_strategies(snapshot.config)
        credentials = await self._read_credentials(snapshot.config)
        try:
            contexts = await self._contexts.prepare(snapshot.config, snapshot.reads)
        except BadPools as error:
            raise PlaneError(error.problems) from error
        try:
            await self._redis.prepare(snapshot.config, snapshot.reads)
        except BadTls as error:
            raise PlaneError([f"redis.tls.{error.key}: {error}"]) from error
        names = named(snapshot.config)
        await self.ranges.prepare(names)
        opened = await self._bind_listeners(snapshot.config, credentials)
        self._contexts.adopt(contexts)
        self._configure_pools(snapshot)
        now = monotonic()
        self.issuers.change(snapshot.config.auth, now)
        self.ranges.adopt(names, now)
        self.trust.take(snapshot.config, self.ranges)
        self.entrance.configure(
            snapshot.config.auth, self.pools, self.issuers.of, now, secret_fields(snapshot.config.require_cdn)
        )
        self.watch.configure(snapshot.config)
        self.reception.table = build_table(
            snapshot.config, self.pools, self._route_tallies, self.rng, self._secret, self.watch.guard
        )
        page = snapshot.config.errors.page
        self.reception.error_page = ErrorPage(page.text) if page is not None and page.text else OWN
        self.dialer.longest_head = snapshot.config.limits.head
        self.dialer.most_fields = snapshot.config.limits.header_count
        self._set_limits(snapshot.config.limits)
        self.reception.cache.configure(snapshot.config.cache)
        await self._change_redis(snapshot.config)
        self.snapshot = snapshot
        await self._change_listeners(snapshot.config, opened, credentials)

    async def _change_redis(self, config: Config) -> None:
        caches = self.reception.table.caches
        limits = self.watch.shared
        wanted = (caches and config.cache.redis) or bool(limits.policies)
        if not limits.policies or not self._redis.keeps(config, wanted=wanted):
            await limits.use(None)  # it takes leave while this Redis can be asked
        await self._redis.change(config, wanted=wanted)
        await self._shared.change(config, self._redis.gateway, caches=caches)
        await limits.use(self._redis.gateway)

    def _set_limits(self, limits: Limits) -> None:
        self._crowd.most = limits.connections_total or _room_for_clients()
        self._crowd.most_of_client = limits.connections_per_client or max(limits.connections // 2, 1)
        self._overload.limit = NEVER if limits.lag is None else limits.lag

    async def _read_credentials(self, config: Config) -> dict[str, Watched]:
        """What each listener with TLS speaks it with; files that were in use already may be broken by now."""
        credentials: dict[str, Watched] = {}
        problems = []
        for name, settings in config.listeners.items():
            if settings.tls is None:
                continue
            present = self.listeners.get(name)
            watched = present.credentials if present is not None else None
            if watched is not None and watched.settings == settings.tls:
                watched.take(await asyncio.to_thread(watched.look))
            else:
                try:
                    first = await asyncio.to_thread(load, settings.tls)
                except Unusable as error:
                    problems.append(f"{path_text(('listeners', name, 'tls', *error.setting))}: {error}")
                    continue
                watched = Watched(name, settings.tls, first, self.views.on_event)
            credentials[name] = watched
        if problems:
            raise PlaneError(problems)
        return credentials

    async def _bind_listeners(self, config: Config, credentials: Mapping[str, Watched]) -> dict[str, Listener]:
        """Bind what is new, accepting nothing yet; on any failure let all of it go again."""
        opened: dict[str, Listener] = {}
        problems = []
        for name, settings in config.listeners.items():
            present = self.listeners.get(name)
            if present is not None and present.settings.address == settings.address:
                continue
            tally = self._listener_tallies.setdefault(name, ListenerTally())
            listener = Listener(
                name, settings, config, tally, self.reception, self._crowd, self.trust, credentials.get(name)
            )
            listener.date = self.reception.date
            try:
                listener.bind()
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                problems.append(f"listeners.{name}.address: cannot listen on {settings.address}: {why}")
            else:
                opened[name] = listener
        if problems:
            for listener in opened.values():
                await listener.close()
            raise PlaneError(problems)
        return opened

    async def _change_listeners(
        self, config: Config, opened: dict[str, Listener], credentials: Mapping[str, Watched]
    ) -> None:
        old = self.listeners
        self.listeners = {name: opened.get(name) or old[name] for name in config.listeners}
        self.reception.listeners = self.listeners
        for name, listener in self.listeners.items():
            listener.configure(config.listeners[name], config, credentials.get(name))
        for listener in opened.values():
            await listener.serve()
        for listener in old.values():
            if listener not in self.listeners.values():
                await listener.stop()
                self._old_listeners.append(listener)
        for listener in self._old_listeners:
            listener.reserve(config)

    def _configure_pools(self, snapshot: Snapshot) -> None:
        now = monotonic()
        config = snapshot.config
        keys = {(pool, name) for pool, settings in config.pools.items() for name in settings.servers}
        for key, server in list(self._servers.items()):
            if key not in keys or config.pools[key[0]].servers[key[1]].url != server.url:
                self._remove(server, now, config.shutdown.tunnel_grace)
        old, self.pools = self.pools, {}
        for name, settings in config.pools.items():
            pool = old.pop(name) if name in old else Pool(name, self.rng, self._secret, self.views.on_event)
            self.pools[name] = pool
            servers = [self._server((name, member), settings) for member in settings.servers]
            recovered = [server for server in servers if _set_marks(server, snapshot)]
            for server in recovered:
                pool.recovered(server, now)
            pool.configure(settings, servers, now)
        for pool in old.values():
            pool.retire()

    def _server(self, key: ServerKey, pool: PoolSettings) -> Server:
        """The server of this key, as it was or new, with the configuration's values."""
        settings = pool.servers[key[1]]
        server = self._servers.get(key)
        if server is None:
            parts = urlsplit(settings.url)
            here = parts.scheme in ("unix", "internal")
            host = settings.url.removeprefix("unix:") if here else parts.hostname or ""
            port = 0 if here else parts.port or (443 if parts.scheme == "https" else 80)
            latency = PeakEwma(pool.response_time.decay, pool.response_time.start)
            server = self._servers[key] = Server(key, settings.url, host, port, latency)
        server.latency.decay = pool.response_time.decay
        server.weight_set = settings.weight
        server.backup = settings.backup
        cap = settings.max_connections
        server.cap = pool.connections.per_server if cap is None else cap
        server.keeping = pool.connections
        beginning = way(settings.url, pool, self._contexts.of.get(key[0]))
        if beginning != server.way:
            server.way = beginning
            self.dialer.close_idle(server)
        return server

    def _remove(self, server: Server, now: float, grace: float) -> None:
        """Forget a server; what is under way on it finishes, tunnels have `grace` seconds."""
        del self._servers[server.key]
        server.removed = True
        self.dialer.close_idle(server)
        if server.inflight:
            self._leaving[server] = now + grace, grace
        else:
            self._retire_tally(server)

    def _retire_tally(self, server: Server) -> None:
        """Nothing more will be counted for it: add its counts to those of its pool's earlier servers."""
        pool = server.key[0]
        self._retired[pool] = merge([self._retired.get(pool, ServerTally()), server.tally])

    def _mark(self, snapshot: Snapshot) -> None:
        """Only marks have changed: nothing is rebuilt but the rotations they change."""
        self.snapshot = snapshot
        now = monotonic()
        changed = set()
        for server in self._servers.values():
            before = server.state
            if _set_marks(server, snapshot):
                self.pools[server.key[0]].recovered(server, now)
            if server.state != before:
                changed.add(server.key[0])
                if server.maintenance:
                    self.dialer.close_idle(server)
        for name in changed:
            self.pools[name].refresh(now)

    # Time.

    def _deadlines(self) -> Iterable[Iterable[Awaited]]:
        for listener in (*self.listeners.values(), *self._old_listeners):
            yield listener.connections
        yield self.dialer.connections
        yield self.dialer.dials.values()

    def _tick(self, now: float) -> None:
        if self._next_tick:
            self._overload.observe(now - self._next_tick)
        self._next_tick = now + TICK
        self.reception.cache.stock.tick()
        for pool in self.pools.values():
            if pool.waiting:
                for waiter in [w for w in pool.waiting if isinstance(w, Exchange)]:
                    if waiter.state == QUEUED and min(waiter.wait_until, waiter.deadline) <= now:
                        waiter.wait_expired()

    def _second(self, now: float) -> None:
        self.reception.refresh_date()
        self.reception.cache.second_passed(now)
        self.watch.limiter.second_passed(now)
        self.entrance.second_passed(now)
        self.issuers.second_passed(now)
        self.ranges.second_passed(now)
        self._look_at_certificates()
        self._look_at_tags()
        for pool in self.pools.values():
            pool.tick(now)
        self._old_listeners = [listener for listener in self._old_listeners if listener.connections]
        for server, (until, grace) in list(self._leaving.items()):
            if server.inflight == 0:
                del self._leaving[server]
                self._retire_tally(server)
            else:
                tunnels = [c for c in self.dialer.connections if c.server is server and c.tunnelled]
                self._close_some(tunnels, until - now, grace)
        if self._farewell is not None:
            until, grace = self._farewell
            self._close_some([c for c in self.dialer.connections if c.tunnelled], until - now, grace)

    def _look_at_tags(self) -> None:
        """Say it once of a route whose answers have more tags than the CDN's field has room for."""
        for name, tally in self._route_tallies.items():
            if tally.tags_left_out and name not in self._told_of_tags:
                self._told_of_tags.add(name)
                why = "the CDN's field has no room for all tags of an answer: a purge of the others does not reach it"
                self.views.on_event(TAGS_LEFT_OUT, name, why)

    def _close_some(self, tunnels: list[UpstreamConnection], left: float, grace: float) -> None:
        for connection in tunnels[: due(len(tunnels), left, grace)]:
            if left > 0:
                connection.close()
            else:
                connection.cut()

    def _look_at_certificates(self) -> None:
        """See in a thread whether files have changed, since a disk may take its time."""
        watched = [one.credentials for one in self.listeners.values() if one.credentials is not None]
        if watched and self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.run_in_executor(None, lambda: [(one, one.look()) for one in watched])
            self._looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Future[list[tuple[Watched, Credentials | Unusable | None]]]) -> None:
        self._looking = None
        if not looking.cancelled():
            for watched, found in looking.result():
                watched.take(found)

    # Figures.

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        """Put purges in force on every level of the cache."""
        return await self.reception.cache.stock.purge_all(purges)

    async def rehearse(self, purges: Sequence[Purge], most: int) -> Met:
        """What purges would meet in memory, and at most so many of the URLs."""
        rehearsal = Rehearsal(self.reception.cache.stock.memory, purges, most)
        for _ in rehearsal.steps(SURVEYED):
            await asyncio.sleep(0)
        return rehearsal.met()

    def limited_keys(self) -> dict[str, tuple[KeyReport, ...]]:
        """By policy, the keys that an operator has said something of, and those that were refused most."""
        now = monotonic()
        return {name: top_keys(one, self._secret, now) for name, one in self.watch.limiter.policies.items()}

    def rule(self, ruling: Ruling) -> NamedKey:
        """Do what an operator says of a key of a limit. UnknownKey, ValueError: there is no such key."""
        return self.watch.limiter.obey(ruling, self._secret, monotonic())

    async def contents(self, most: int) -> Contents:
        """The URLs and tags that take most of the cache, by going through all of it."""
        survey = Survey(self.reception.cache.stock.memory, most)
        for _ in survey.steps(SURVEYED):
            await asyncio.sleep(0)
        return survey.contents(monotonic())

    def report(self) -> Report:
        """How things stand, with the live tallies in it."""
        now = monotonic()
        stock = self.reception.cache.stock
        return Report(
            generation=self.snapshot.generation if self.snapshot else 0,
            started=self.started,
            now=now,
            listeners=self._listener_tallies,
            routes=self._route_tallies,
            pools={name: of_pool(pool, now, self._past(name)) for name, pool in self.pools.items()},
            certificates=tuple(
                of_certificate(name, certificate, listener.credentials.current.loaded)
                for name, listener in self.listeners.items()
                if listener.credentials is not None
                for certificate in listener.credentials.current.certificates
            ),
            cache=stock.report(self._shared.report()) if self._is_cache_used() else None,
            redis=self._redis.report(),
            limits=self.watch.report(),
            auth=self.entrance.tallies,
            issuers=self.issuers.tallies,
            ranges=self.ranges.report(),
            require_cdn=self.watch.cdn,
        )

    def _is_cache_used(self) -> bool:
        stock = self.reception.cache.stock
        return self.reception.table.caches or stock.memory.figures().stored > 0

    def _past(self, pool: str) -> ServerTally | None:
        """What servers had counted that have left the pool, or are leaving it."""
        tallies = [server.tally for server in self._leaving if server.key[0] == pool]
        if pool in self._retired:
            tallies.append(self._retired[pool])
        return merge(tallies) if tallies else None

    @property
    def connections(self) -> int:
        """Client connections that are open, on listeners that have left the configuration too."""
        return sum(tally.open for tally in self._listener_tallies.values())

    # The end.

    async def drain(self, grace: float = NEVER) -> None:
        """Stop accepting; every answer from now on is the last one of its connection.

        Tunnels are closed over the second half of `grace` seconds, so that they do not all come back elsewhere at once.
        """
        self._draining = True
        if grace != NEVER:
            self._farewell = monotonic() + grace, grace
        for listener in self.listeners.values():
            await listener.stop()

    async def close(self) -> None:
        """End what is still under way and let everything go."""
        self.dialer.closing = True
        for listener in (*self.listeners.values(), *self._old_listeners):
            await listener.close()
        for dial in list(self.dialer.dials.values()):
            self.dialer.gave_up(dial.exchange)
        for connection in list(self.dialer.connections):
            connection.cut()
        self._sweeper.stop()
        await self._shared.close()
        await self.watch.shared.close()
        await self.issuers.close()
        await self.ranges.close()
        self.entrance.close()
        await self._redis.close()
        if self._looking is not None:
            await asyncio.wait([self._looking])
        await asyncio.sleep(0)


def _set_marks(server: Server, snapshot: Snapshot) -> bool:
    """Whether its checks pass again after they had failed."""
    was_down = server.down
    server.checking = server.key in snapshot.checking
    server.down = server.key in snapshot.down
    server.drained = server.key in snapshot.drained
    server.maintenance = server.key in snapshot.maintenance
    return was_down and not server.down


def _check_strategies(config: Config) -> None:
    problems = []
    for name, pool in config.pools.items():
        try:
            load_strategy(pool.strategy)
        except StrategyError as error:
            problems.append(f"pools.{name}.strategy: {error}")
    if problems:
        raise PlaneError(problems)
