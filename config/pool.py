"""Pools as an operator may write them, with everything that pools, routes and `defaults` have in common."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from config.values import Duration, DurationOrNone, FilePath, Share, Size, StatusSet

StrategyName = Literal["round-robin", "least-connections", "response-time", "two-choices", "random", "hash"]
RetryReason = Literal["connect", "reset-before-response", "stale-connection"]
Method = Annotated[str, Field(pattern=r"^[A-Z][A-Z-]*$", examples=["GET", "POST"])]
Cookie = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", examples=["lb", "lane"])]
Positive = Annotated[Duration, Field(gt=0)]
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_SERVER_NAME = rf"^(({_LABEL}\.)*{_LABEL}|[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)$"
"""A host name, or an IP address without brackets."""
Interval = Annotated[Duration, Field(ge=0.01)]
"""Time between two rounds of work: less than 10 ms would keep a core busy."""


class Model(BaseModel):
    """The base of every part: frozen, and refusing keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Timeouts(Model):
    """How long each step may take."""

    connect: Positive = 3.0
    """Opening a connection to a server."""
    first_byte: Positive = 30.0
    """From the last request byte sent to the first response byte."""
    idle: Positive = 60.0
    """Without a byte in either direction while a response is under way."""
    tunnel: Positive = 3600.0
    """Without a byte in either direction of an upgraded connection (WebSocket)."""
    total: Positive | None = None
    """From a request's complete head to its response's last byte; null: no limit."""
    request_head: Positive = 10.0
    """From the first byte of a request to the end of its head. Of `defaults` only: no route is known yet."""
    request_body_idle: Positive = 30.0
    """Between two pieces of a request body. Of `defaults` only."""
    keep_alive: Duration = 75.0
    """An idle client connection is kept this long. Of `defaults` only."""
    tls_handshake: Positive = 10.0
    """From a client's connection to the end of its TLS handshake. Of `defaults` only."""


class Limits(Model):
    """How much one client may send or hold."""

    head: Size = 32 * 1024
    """Bytes of a request or response head; larger requests get 431. Of `defaults` only, as all but `body`."""
    header_count: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Fields of one head; more get 431."""
    uri: Size = 8 * 1024
    """Bytes of a request target; longer ones get 414."""
    body: Size = 100 * 1024 * 1024
    """Bytes of a request body; larger ones get 413."""
    body_rate: Size = 500
    """Bytes a second that a request's body must come at, and an answer be taken at, on average; 0: no minimum."""
    connections: Annotated[int, Field(ge=1)] = 10_000
    """Open client connections of one listener; further ones are closed at once and counted."""
    connections_total: Annotated[int, Field(ge=1)] | None = None
    """The same of all listeners together; null: as many as there are file descriptors for."""
    connections_per_client: Annotated[int, Field(ge=1)] | None = None
    """The same of one IPv4 address or IPv6 /64, trusted proxies apart; null: half of `connections`."""
    lag: Positive | None = 0.5
    """Requests are turned away with 503, as many as it takes, while the process is behind by more than this."""


class RetryBudget(Model):
    """Retries allowed as a share of requests, so that a failing pool is not hit several times as hard."""

    ratio: Share = 0.2
    minimum: Annotated[float, Field(ge=0)] = 3.0
    """Retries per second that are always allowed."""


class Retries(Model):
    """When a request that failed before its first response byte is tried on another server."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Servers tried in all, the first included. A stale pooled connection is replaced without counting."""
    when: frozenset[RetryReason] = frozenset(("connect", "reset-before-response", "stale-connection"))
    statuses: frozenset[Annotated[int, Field(ge=500, le=599)]] = frozenset()
    """Answers that are tried elsewhere, for idempotent methods: [502, 503]."""
    methods: frozenset[Method] = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
    """Methods that may be sent again once bytes have gone to a server."""
    replay_body: Size = 64 * 1024
    """A request body up to this size is kept so that it can be sent again."""
    budget: RetryBudget = RetryBudget()


class ActiveChecks(Model):
    """Probes that ask each server whether it is well."""

    path: Annotated[str, Field(pattern=r"^/[^\s#]*$", examples=["/", "/healthz"])] = "/"
    method: Method = "GET"
    headers: dict[str, str] = {}
    """May carry credentials: {Authorization: "Bearer ${HEALTH_TOKEN}"}."""
    tcp: bool = False
    """Only open a connection, send nothing."""
    interval: Interval = 30.0
    unhealthy_interval: Interval = 5.0
    """While a server is not up or not yet checked."""
    jitter: Share = 0.1
    timeout: Positive = 5.0
    expect: StatusSet = StatusSet.of("200-399")
    body: str | None = None
    """A regular expression that the first 64 KiB of the body must match."""
    rise: Annotated[int, Field(ge=1)] = 2
    fall: Annotated[int, Field(ge=1)] = 3


class PassiveChecks(Model):
    """What live traffic says about a server."""

    failures: Annotated[int, Field(ge=1)] = 5
    share: Share = 0.5
    """Ejected when `failures` answers in a row failed, or in `window` as many and at least this share of all."""
    window: Positive = 10.0
    eject: Positive = 10.0
    """The first ejection; each further one is longer by as much."""
    eject_max: Positive = 300.0
    statuses: frozenset[Annotated[int, Field(ge=400, le=599)]] = frozenset((502, 503, 504))
    """Answers that count as failures, beside failed connections, resets and timeouts."""


class Health(Model):
    """How a pool finds out which of its servers may have traffic; `false` switches one of the two off."""

    active: ActiveChecks | None = ActiveChecks()
    passive: PassiveChecks | None = PassiveChecks()
    start: Literal["checking", "up"] = "checking"
    """checking: no traffic before the first passed check; up: traffic at once."""
    keep_at_least: Share = 0.5
    """With fewer usable servers, traffic goes to all that were ever checked, and the metric panic is 1."""
    slow_start: Duration = 0.0
    """A server that comes up takes its full share only after this long."""


class Connections(Model):
    """Connections to the servers of a pool."""

    per_server: Annotated[int, Field(ge=0)] = 0
    """Requests in flight per server; 0 means no cap."""
    idle_per_server: Annotated[int, Field(ge=0)] = 64
    idle: Duration = 60.0
    lifetime: Positive = 600.0
    queue: Annotated[int, Field(ge=0)] = 1000
    """Requests that may wait when all servers are at their cap or not yet checked."""
    queue_wait: Duration = 5.0


class HeaderEdits(Model):
    """Changes to a message's header fields: remove first, then set (replaces), then add."""

    remove: tuple[str, ...] = ()
    set: dict[str, str] = {}
    add: dict[str, str] = {}


class Headers(Model):
    """What servers learn about the client, and further edits. Those of defaults, pool and route add up."""

    forwarded: Literal["x-forwarded", "forwarded", "both", "none"] = "both"
    """Which fields carry the client's address, scheme and host."""
    request_id: str | None = "X-Request-Id"
    via: str | None = "balancer"
    server: Literal["pass", "remove"] = "pass"
    """What becomes of the server's own `Server` field."""
    trace: bool = True
    """Pass `traceparent` on, or begin one."""
    request: HeaderEdits = HeaderEdits()
    response: HeaderEdits = HeaderEdits()


class Server(Model):
    """One member of a pool."""

    url: str
    """http://host:port, https://host:port, or unix:/path of a socket."""
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    max_connections: Annotated[int, Field(ge=0)] | None = None
    """Requests in flight; null takes `connections.per_server`, 0 means no cap."""
    backup: bool = False
    """Used only when no other server of the pool may be."""


class ResponseTime(Model):
    """Settings of the response-time strategy."""

    decay: Positive = 10.0
    start: Positive = 0.030
    """The latency that a server without a measurement is taken to have."""
    penalty: Positive = 5.0
    """An error or a 429 counts as an answer that took this long."""


class HashKey(Model):
    """Settings of the hash strategy."""

    key: Annotated[
        str,
        Field(
            pattern=r"^(client|path|(header|cookie|query):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
            examples=["client", "path", "cookie:session"],
        ),
    ] = "client"
    """client | header:NAME | cookie:NAME | path | query:NAME"""
    balance: Annotated[float, Field(ge=1.05)] = 1.25
    """No server gets more than this many times its fair share of requests in flight."""


class Sticky(Model):
    """Keeps a client on one server by a cookie."""

    cookie: Cookie = "lb"
    ttl: DurationOrNone = None
    """null: until the browser closes."""
    secure: bool = False


class ClientCertificate(Model):
    """What the balancer shows to servers that ask who it is. Relative paths begin at the working directory."""

    cert: Annotated[FilePath, Field(examples=["/etc/balancer/client.pem"])]
    """A PEM file: the certificate, and after it those that lead to an authority the servers know."""
    key: Annotated[FilePath, Field(examples=["/etc/balancer/client.key"])]
    """A PEM file of its private key, without a passphrase."""


class ServerTls(Model):
    """TLS towards the https servers of a pool. Files are read again on a reload."""

    verify: bool = True
    """false: whoever answers is believed to be the server."""
    ca: Annotated[FilePath, Field(examples=["/etc/balancer/internal-ca.pem"])] | None = None
    """A PEM file of the authorities, or the very certificates, that are trusted; null: those the system trusts."""
    server_name: Annotated[str, Field(pattern=_SERVER_NAME, examples=["app.internal"])] | None = None
    """The name that servers are asked for, and that their certificates must have; null: the host of their URL."""
    certificate: ClientCertificate | None = None
    """Shown to servers that ask for one."""


class Pool(Model):
    """Servers that share work, and how."""

    servers: dict[str, Server]
    """By name; a list of addresses names each by host:port."""
    strategy: Annotated[str, Field(examples=list(get_args(StrategyName)))] = "round-robin"
    """One of the built-in names or a dotted path `package.module:Class`."""
    response_time: ResponseTime = ResponseTime()
    hash: HashKey = HashKey()
    sticky: Sticky | None = None
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    health: Health = Health()
    connections: Connections = Connections()
    headers: Headers = Headers()
    tls: ServerTls = ServerTls()
    proxy_protocol: Literal["v1", "v2"] | None = None
    """Each connection to a server begins with the client's address, as PROXY protocol of this version, and is closed
    after one request; health checks begin with their own."""
