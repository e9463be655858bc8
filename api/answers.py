"""What the load-balancer operations answer with."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.operation import Model

State = Literal["up", "ejected", "down", "checking", "drained", "maintenance"]


class Weight(Model):
    """A server's share of traffic."""

    set: int
    """As the operator said."""
    effective: float
    """As it counts now: less during slow start, 0 out of rotation."""


class ServerLatency(Model):
    """Seconds from the last byte of a request to the first byte of the answer."""

    ewma: float | None
    """A moving average that jumps up at once and comes down slowly; what `response-time` compares."""
    p50: float | None
    p95: float | None
    p99: float | None
    """Of the last minute, as are the other two."""
    reason: str | None
    """Why figures are null; null when none is."""


class LastCheck(Model):
    """How the last health check of a server went."""

    at: datetime
    ok: bool
    status: int | None
    """Of the answer; null without one, and for TCP checks."""
    reason: str
    seconds: float


class ServerChecks(Model):
    """Health checks since the server is watched."""

    passed: int
    failed: int
    last: LastCheck | None
    """null before the first, and for servers that are not checked."""


class ServerStatus(Model):
    """One server of a pool."""

    pool: str
    name: str
    url: str
    state: State
    reason: str
    """Why it is in this state."""
    since: datetime | None
    """When it came into this state; null where that is not known, as for marks that are older than the process."""
    in_rotation: bool
    """Whether it has traffic now: also when it is not up, while its pool fails open (`panic`)."""
    weight: Weight
    backup: bool
    max_connections: int
    """Requests in flight it may have; 0 means no cap."""
    in_flight: int
    tunnels: int
    """Upgraded connections (WebSocket)."""
    idle_connections: int
    requests: int
    """Sent to it, retries included."""
    responses: dict[str, int]
    """Its answers by class: {"2xx": 12}."""
    failures: dict[str, int]
    """Attempts without an answer, by kind: {"connect": 1}."""
    errors: int
    """Answers of 500 and more, and failures."""
    latency: ServerLatency
    checks: ServerChecks
    ejections: int
    ejected_until: datetime | None


class PoolStatus(Model):
    """One pool."""

    name: str
    strategy: str
    panic: bool
    """Too few of its servers are well: traffic goes to all that were ever checked."""
    queue: int
    """Requests that wait for a server."""
    up: int
    servers: dict[str, ServerStatus]


class Totals(Model):
    """The sum over every pool."""

    pools: int
    servers: int
    up: int
    in_flight: int
    idle_connections: int
    requests: int
    errors: int
    client_connections: int


class SharedLimitsStatus(Model):
    """Limits that balancers count together in Redis."""

    state: Literal["shared", "fallback"]
    """fallback: each balancer holds its share of them alone."""
    reason: str | None
    """Why; null while they are shared."""
    since: datetime | None
    instances: int
    """Balancers that are known to share them, this one included."""
    alone: dict[str, Literal["local", "allow", "deny"]]
    """What each of the policies does while they are not, by `on_redis_down`: local holds a share of it."""


class Provisional(Model):
    """A change that undoes itself at `until`, or if errors rise before, unless it is confirmed."""

    revision: int
    author: str
    since: datetime
    until: datetime
    seconds_left: float


class Status(Model):
    """The load balancer at this moment."""

    generation: int
    """The number of the configuration in force; each change counts it up."""
    at: datetime
    strategy: str
    """Of the pool `default`, or of the only or first one."""
    pools: dict[str, PoolStatus]
    totals: Totals
    shared_limits: SharedLimitsStatus | None
    """null where no limit is shared."""
    provisional: Provisional | None
    """The change of the configuration that is on trial; null when none is."""
    unknown_cdns: list[str]
    """Those of `trusted_proxies` whose networks are not known, while `require_cdn` refuses what does not come from
    them."""


class ServerList(Model):
    """Every server of a pool."""

    items: list[ServerStatus]
    next: None
    """Always null: a pool fits into one answer."""


class ProbeAnswer(Model):
    """What one server answered to a check that was just made."""

    pool: str
    server: str
    ok: bool | None
    """null when it was not asked."""
    status: int | None
    reason: str
    seconds: float | None
    verdict: Literal["checking", "up", "down"] | None
    """What is held of it after this result; `rise` or `fall` results in a row change it."""


class ProbeAnswers(Model):
    """The results of checks that were just made."""

    items: list[ProbeAnswer]
    next: None


class CertificateAnswer(Model):
    """One certificate that a listener shows now."""

    listener: str
    names: list[str]
    """The hosts it is for; "*.example.com" stands for one label in the place of the star."""
    issuer: str
    not_before: datetime
    not_after: datetime
    days_left: int
    """Whole days until it expires; negative afterwards."""
    key_type: str
    """Such as "ECDSA P-256"."""
    loaded: datetime
    """When its files were read last."""


class CertificateAnswers(Model):
    """The certificates of all listeners, in their order."""

    items: list[CertificateAnswer]
    next: None


class CandidateAnswer(Model):
    """One server, as the strategy sees it."""

    server: str
    state: State
    in_rotation: bool
    weight: float
    in_flight: int
    latency: float | None
    score: float | None
    """What the strategy compares, lowest first; null when it compares nothing."""


class StrategyAnswer(Model):
    """What one strategy would pick."""

    strategy: str
    server: str | None
    """null: none can be picked."""
    reason: str
    candidates: list[CandidateAnswer]


class OtherRoute(Model):
    """A route that does not take the request."""

    route: str
    reason: str


class ExplainedRoute(Model):
    """Which route takes a request. Guards, limits and the cache of the route are not asked."""

    route: str | None
    """null: none, and `reason` says what is answered."""
    reason: str
    pool: str | None
    """Where it goes; null: the route answers by itself, or splits its requests."""
    others: list[OtherRoute]


class NextServer(Model):
    """Whom the next request would get; no turn is spent on the question."""

    pool: str
    strategy: str
    """The pool's own."""
    server: str | None
    """What the pool's own strategy, or the one that was asked for, would pick."""
    reason: str
    strategies: list[StrategyAnswer]
