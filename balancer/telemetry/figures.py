"""The answer of GET /api/monitoring/metrics: how much, how fast and how well, as numbers of this moment."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from balancer.tally import RELATIVE_ERROR


class Part(BaseModel):
    """The base of what is told. What is not known is null, and `reason` beside it says why."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Rate(Part):
    """How many, and how many per second."""

    total: int
    """Since the start."""
    per_second: float | None
    """Over the last second or so."""
    per_second_10s: float | None = None
    per_second_1m: float | None
    per_second_5m: float | None
    reason: str | None = None


class ErrorKinds(Part):
    """Errors by whose fault they are."""

    client: Rate
    """Other answers of 400 to 499."""
    upstream: Rate
    """Other answers of 500 and more; of a server also the attempts that brought no answer."""
    timeout: Rate
    """408 and 504; of a server also the attempts that took too long."""
    limit: Rate
    """413, 414, 429 and 431."""


class Errors(Part):
    """Answers of 400 and more, told apart in two ways."""

    by_class: dict[str, Rate]
    """"4xx" and "5xx"."""
    by_kind: ErrorKinds


class Quantiles(Part):
    """Seconds that so many requests did not exceed.

    Right to within `relative_error` between 0.1 ms and 60 s, which stands for 60 and more. They are of histograms with
    the same bounds everywhere, so that those of several servers can be added.
    """

    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None
    relative_error: float = RELATIVE_ERROR
    reason: str | None = None


class Latency(Part):
    """How long it took."""

    last_minute: Quantiles
    since_start: Quantiles


class Traffic(Part):
    """What is told of everything, of a route, of a pool and of a server alike."""

    requests: Rate
    """Answered; of pools and servers each attempt counts."""
    errors: Errors
    latency: Latency
    """Routes and the whole: from the request's complete head to the response's last byte. Pools and servers: from the
    request's last byte to the response's first one."""


class Volume(Part):
    """Bytes of bodies, as the balancer sees it."""

    received: Rate
    sent: Rate


class Checks(Part):
    """What the prober found."""

    passed: int
    failed: int
    last_ok: bool | None
    last_seconds: float | None
    reason: str | None
    """What the last check saw, or why there is none."""


class ServerFigures(Traffic):
    """One server."""

    url: str
    state: str
    in_rotation: bool
    weight: float
    effective_weight: float
    in_flight: int
    idle_connections: int
    tunnels: int
    average: float | None
    """The moving average of its latency that `response-time` goes by; null before its first answer."""
    bytes: Volume
    failures: dict[str, int]
    """Attempts without a whole answer, by kind."""
    retries: dict[str, int]
    """Requests that went on to another server, by reason."""
    ejections: int
    checks: Checks


class PoolFigures(Traffic):
    """One pool."""

    strategy: str
    panic: bool
    in_flight: int
    queue: int
    """Requests that wait now."""
    queued: int
    """Requests that had to wait."""
    queue_timeouts: int
    unserved: dict[str, int]
    """Answers that no server gave, by status."""
    retries: dict[str, int]
    bytes: Volume
    servers: dict[str, ServerFigures]


class ListenerFigures(Part):
    """One listener."""

    connections: int
    """Open now."""
    accepted: int
    rejected: dict[str, int]
    """By reason."""
    tunnels: int
    requests: Rate
    bytes: Volume


class HitRatio(Part):
    """The share of what the cache was asked for that it had, or got along with another request."""

    now: float | None
    """Over the last second or so; null, as the others, when nothing was asked for in this time."""
    five_minutes: float | None
    hour: float | None
    since_start: float | None


class SecondLevelFigures(Part):
    """The level of the cache that is shared with other balancers, in Redis."""

    state: str
    """up; open or half-open while it fails and is not used; deaf: it is used, and purges of others are not heard."""
    up: bool
    """It is used."""
    reason: str | None
    """Why its state is not up; null when it is."""
    latency: Quantiles
    """Of commands that were answered, since the start."""
    commands: dict[str, int]
    """By result."""
    results: dict[str, int]
    """What came of answers that were looked for or stored there."""
    gaps: int
    """Times that purges of others may have been missed, and all of memory was dropped."""
    owed: int
    """Purges that Redis has yet to be told of."""


class CacheFigures(Part):
    """The cache. All counts are since the start."""

    entries: int
    """Stored answers."""
    bytes: int
    """What they take, with what it takes to find them."""
    limit: int
    hit_ratio: HitRatio
    requests: dict[str, int]
    """Requests of cached routes by what the cache did."""
    routes: dict[str, dict[str, int]]
    """The same by route."""
    fills: int
    """Answers that servers were asked for on behalf of the cache."""
    fills_under_way: int
    collapsed: int
    """Requests that waited for one of them."""
    waiting: int
    """Requests that wait now."""
    refreshes: int
    """Fills for what was served stale meanwhile."""
    uncacheable: int
    """Places whose requests do not wait for each other for a while, as an answer was for one of them only."""
    stored: int
    not_stored: dict[str, int]
    """Answers that might not be stored, by reason."""
    evicted: int
    """Stored answers that made room for others."""
    invalidated: int
    """Stored answers that a request has changed."""
    purges: dict[str, int]
    """By kind."""
    purges_pending: int
    """Purges in force whose answers have not all been given back yet."""
    purged: int
    """Stored answers that purges have met, as far as they have been given back."""
    overflows: int
    """Times that everything was purged, as more purges came at once than can be kept in mind."""
    redis: SecondLevelFigures | None
    """null: there is no second level."""


class ProcessUse(Part):
    """What the process uses."""

    cpu_seconds: float
    resident_bytes: int | None
    open_descriptors: int | None
    max_descriptors: int | None
    loop: str
    """uvloop or asyncio."""
    loop_lag: float | None
    """Seconds the event loop was late the last time."""
    loop_lag_worst: float | None
    """In the last minute."""
    reason: str | None = None


class FailedRequest(Part):
    """One request that went wrong. Its query is not kept, for it may hold secrets."""

    at: datetime
    listener: str
    client: str
    method: str
    host: str
    path: str
    status: int
    route: str
    pool: str
    server: str
    attempts: int
    reasons: list[tuple[str, str]]
    """Servers that were left for another one, and why."""
    outcome: str
    seconds: float
    queued: float
    """Seconds of them that it waited for a server."""
    cache: str
    """What the cache did; empty on routes without one."""
    guarded: str
    """Why a guard of the route refused it; empty when none did."""
    request_id: str


class Figures(Traffic):
    """The whole."""

    at: datetime
    uptime: float
    generation: int
    """The number of the state in force."""
    connections: int
    """Client connections open now."""
    in_flight: int
    """Requests that a server has now, and those that wait for one."""
    bytes: Volume
    listeners: dict[str, ListenerFigures]
    routes: dict[str, Traffic]
    pools: dict[str, PoolFigures]
    cache: CacheFigures | None
    """null while no route is cached, and none was."""
    process: ProcessUse
    last_errors: list[FailedRequest]
    """The latest first."""
