"""What a plane hands over when asked how it is doing: the one input of metrics, rates and JSON figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from balancer.pool import Pool
from balancer.server import Server, ServerKey
from balancer.tally import (
    AuthTally,
    Histogram,
    IssuerTally,
    ListenerTally,
    PoolTally,
    RequireCdnTally,
    RouteTally,
    ServerTally,
)
from balancer.telemetry import cache_report, limit_report, redis_report
from balancer.telemetry.cache_report import CacheReport
from balancer.telemetry.limit_report import LimitReport
from balancer.telemetry.ranges_report import RangesReport
from balancer.telemetry.redis_report import RedisReport
from balancer.telemetry.sums import Tally, add_up, merge
from balancer.tls.certificates import Certificate

STATES = ("up", "ejected", "down", "checking", "drained", "maintenance")
"""What `Server.state` may say; the further right, the farther from traffic."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """One server as one plane sees it."""

    name: str
    url: str
    state: str
    in_rotation: bool
    """Has traffic now: also when it is not up, while its pool fails open."""
    weight: float
    """As configured."""
    effective_weight: float
    """As the strategy uses it: less during slow start, 0 out of rotation."""
    backup: bool
    cap: int
    inflight: int
    idle: int
    tunnels: int
    latency: float | None
    """The moving average in seconds; None before the first answer."""
    ejected_until: float | None
    """Monotonic; None while not ejected."""
    tally: ServerTally


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One pool, with every server of the configuration in its order."""

    name: str
    strategy: str
    panic: bool
    queue: int
    tally: PoolTally
    servers: Sequence[ServerReport]
    retired: ServerTally = field(default_factory=ServerTally)
    """The sum over servers that have left the pool. Without it a pool's totals would fall when a server is
    removed, which Prometheus takes for a restart from zero and shows as a burst of traffic."""

    def tallies(self) -> Iterator[ServerTally]:
        """Everything that servers of this pool ever counted."""
        yield self.retired
        for server in self.servers:
            yield server.tally

    def codes(self) -> dict[int, int]:
        """Answers by status: its servers', those left for a retry included, and those that no server gave."""
        return add_up([*(tally.codes for tally in self.tallies()), self.tally.unserved])

    def failures(self) -> dict[str, int]:
        return add_up(tally.failures for tally in self.tallies())

    def retries(self) -> dict[str, int]:
        return add_up(tally.retries for tally in self.tallies())

    def latency(self) -> Histogram:
        return merge([tally.latency for tally in self.tallies()])


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """One certificate that a listener shows."""

    listener: str
    name: str
    """The first of `names`, or the subject without any."""
    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    key_type: str
    loaded: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """One plane, or the sum of several.

    The tallies in it are the live ones: read them before the loop runs on. Picklable, so that a plane in
    another process can send it.
    """

    generation: int
    """The snapshot that is in force."""
    started: float
    """Monotonic, as is `now`; on Linux the same clock in each process of a machine."""
    now: float
    listeners: dict[str, ListenerTally]
    routes: dict[str, RouteTally]
    pools: dict[str, PoolReport]
    certificates: tuple[CertificateReport, ...] = ()
    cache: CacheReport | None = None
    """None while no route is cached, and none was."""
    redis: RedisReport | None = None
    """None while nothing uses Redis."""
    limits: dict[str, LimitReport] = field(default_factory=dict)
    """By policy."""
    auth: dict[str, AuthTally] = field(default_factory=dict)
    """By name, those that have left the configuration included."""
    issuers: dict[str, IssuerTally] = field(default_factory=dict)
    """The same of those with `jwks`."""
    ranges: Mapping[str, RangesReport] = field(default_factory=dict)
    """By CDN, those that `trusted_proxies` names."""
    require_cdn: RequireCdnTally | None = None
    """None while requests need not come through one."""

    def servers(self) -> Iterator[tuple[ServerKey, ServerReport]]:
        for pool in self.pools.values():
            for server in pool.servers:
                yield (pool.name, server.name), server

    @property
    def connections(self) -> int:
        """Client connections open now."""
        return sum(listener.open for listener in self.listeners.values())

    @property
    def inflight(self) -> int:
        """Requests that a server has now, and those that wait for one."""
        return sum(pool.queue + sum(s.inflight for s in pool.servers) for pool in self.pools.values())


def of_server(server: Server, in_rotation: bool, now: float) -> ServerReport:
    return ServerReport(
        name=server.name,
        url=server.url,
        state=server.state,
        in_rotation=in_rotation,
        weight=server.weight_set,
        effective_weight=server.weight if in_rotation else 0.0,
        backup=server.backup,
        cap=server.cap,
        inflight=server.inflight,
        idle=len(server.idle),
        tunnels=server.tunnels,
        latency=server.latency.at(now) if server.latency.measured else None,
        ejected_until=server.ejected_until if server.ejected else None,
        tally=server.tally,
    )


def of_certificate(listener: str, certificate: Certificate, loaded: datetime) -> CertificateReport:
    return CertificateReport(
        listener=listener,
        name=certificate.name,
        names=certificate.names,
        issuer=certificate.issuer,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        key_type=certificate.key_type,
        loaded=loaded,
    )


def of_pool(pool: Pool, now: float, retired: ServerTally | None = None) -> PoolReport:
    """`retired` is the sum over the servers that have left the pool, None when none has."""
    return PoolReport(
        name=pool.name,
        strategy=pool.settings.strategy,
        panic=pool.panic,
        queue=len(pool.waiting),
        tally=pool.tally,
        servers=tuple(of_server(server, server in pool.rotation, now) for server in pool.servers.values()),
        retired=retired or ServerTally(),
    )


def add(reports: Sequence[Report]) -> Report:
    """The sum of several planes; at least one. The tallies of a sum are its own."""
    first, *others = reports
    if not others:
        return first
    required = [report.require_cdn for report in reports if report.require_cdn is not None]
    return Report(
        generation=min(report.generation for report in reports),  # what is in force everywhere
        started=min(report.started for report in reports),
        now=max(report.now for report in reports),
        listeners=_by_name([report.listeners for report in reports]),
        routes=_by_name([report.routes for report in reports]),
        pools={
            name: _add_pools([report.pools[name] for report in reports if name in report.pools])
            for name in _names(report.pools for report in reports)
        },
        certificates=first.certificates,  # all planes read the same files
        cache=cache_report.add([report.cache for report in reports if report.cache is not None]),
        redis=redis_report.add([report.redis for report in reports if report.redis is not None]),
        limits={
            name: limit_report.add([report.limits[name] for report in reports if name in report.limits])
            for name in _names(report.limits for report in reports)
        },
        auth=_by_name([report.auth for report in reports]),
        issuers=_by_name([report.issuers for report in reports]),
        require_cdn=merge(required) if required else None,
        ranges=first.ranges,  # one process fetches them for all of its planes
    )


def _add_pools(pools: Sequence[PoolReport]) -> PoolReport:
    servers = [{server.name: server for server in pool.servers} for pool in pools]
    return replace(
        pools[0],
        panic=any(pool.panic for pool in pools),
        queue=sum(pool.queue for pool in pools),
        tally=merge([pool.tally for pool in pools]),
        servers=tuple(_add_servers([s[name] for s in servers if name in s]) for name in _names(servers)),
        retired=merge([pool.retired for pool in pools]),
    )


def _add_servers(servers: Sequence[ServerReport]) -> ServerReport:
    """Of different states the one farthest from traffic is told: ejected in one plane is not simply up."""
    return replace(
        servers[0],
        state=max((server.state for server in servers), key=STATES.index),
        in_rotation=any(server.in_rotation for server in servers),
        effective_weight=sum(server.effective_weight for server in servers) / len(servers),
        inflight=sum(server.inflight for server in servers),
        idle=sum(server.idle for server in servers),
        tunnels=sum(server.tunnels for server in servers),
        latency=_average(servers),
        ejected_until=max((s.ejected_until for s in servers if s.ejected_until is not None), default=None),
        tally=merge([server.tally for server in servers]),
    )


def _average(servers: Sequence[ServerReport]) -> float | None:
    """The mean of the planes' moving averages, each counting by the requests it is made of."""
    measured = [(s.latency, max(1, s.tally.requests)) for s in servers if s.latency is not None]
    if not measured:
        return None
    return sum(latency * share for latency, share in measured) / sum(share for _, share in measured)


def _names(maps: Iterable[Mapping[str, object]]) -> dict[str, None]:
    """Every name once, in the order they are first met."""
    return dict.fromkeys(name for names in maps for name in names)


def _by_name(maps: Sequence[Mapping[str, Tally]]) -> dict[str, Tally]:
    return {name: merge([tallies[name] for tallies in maps if name in tallies]) for name in _names(maps)}
