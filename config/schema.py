"""What an operator may write: frozen pydantic models of `balancer.yaml`, in the words of the file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from config.alerts import AlertRule, Alerts, Webhook
from config.analytics import Analytics, AppDatabase, EventMatch, EventRule
from config.auth import ApiKey, ApiKeys, Auth, Basic, ForwardAuth, Jwt
from config.cache import Bypass, Cache, CacheKey, CacheRule, Compress, Heuristic, RouteCache
from config.cdn import Cdn, RequireCdn
from config.databases import Database
from config.error_page import PageFile
from config.guards import Access, RateLimit, RouteLimit
from config.pool import (
    ActiveChecks,
    ClientCertificate,
    Connections,
    Cookie,
    HashKey,
    HeaderEdits,
    Headers,
    Health,
    Interval,
    Limits,
    Method,
    Model,
    PassiveChecks,
    Pool,
    Positive,
    ResponseTime,
    Retries,
    RetryBudget,
    RetryReason,
    Server,
    ServerTls,
    Sticky,
    StrategyName,
    Timeouts,
)
from config.problems import Unfit
from config.protection import RequestBody, Scanners, SecurityHeaders
from config.rates import Rate
from config.values import Address, Duration, FilePath, KeyHash, Network, Share, TrustedProxy

__all__ = [
    "Access",
    "AccessLog",
    "ActiveChecks",
    "Admin",
    "AdminKey",
    "AdminRateLimit",
    "AlertRule",
    "Alerts",
    "Analytics",
    "ApiKey",
    "ApiKeys",
    "AppDatabase",
    "Auth",
    "Basic",
    "Bypass",
    "Cache",
    "CacheKey",
    "CacheRule",
    "Cdn",
    "CertificateFiles",
    "ClientCertificate",
    "Compress",
    "Config",
    "Connections",
    "Cookie",
    "Database",
    "Defaults",
    "Errors",
    "EventMatch",
    "EventRule",
    "ForwardAuth",
    "HashKey",
    "HeaderEdits",
    "Headers",
    "Health",
    "Heuristic",
    "Interval",
    "Jwt",
    "Limits",
    "Listener",
    "ListenerTls",
    "Logs",
    "Maintenance",
    "Match",
    "Method",
    "Metrics",
    "Model",
    "PassiveChecks",
    "Pool",
    "Positive",
    "RateLimit",
    "Redirect",
    "Redis",
    "RequestBody",
    "RequireCdn",
    "Respond",
    "ResponseTime",
    "Retries",
    "RetryBudget",
    "RetryReason",
    "Rewrite",
    "Route",
    "RouteLimit",
    "Scanners",
    "SecurityHeaders",
    "Server",
    "ServerTls",
    "Shutdown",
    "Sticky",
    "StrategyName",
    "Timeouts",
    "Webhook",
]


class CertificateFiles(Model):
    """A certificate and its key, both as PEM files. Relative paths begin at the working directory."""

    cert: Annotated[FilePath, Field(examples=["/etc/balancer/site.pem"])]
    """The certificate, and after it those that lead to a known authority. Read again when the file changes."""
    key: Annotated[FilePath, Field(examples=["/etc/balancer/site.key"])]
    """The private key, without a passphrase."""


class ListenerTls(Model):
    """TLS on a listener."""

    certificates: Annotated[tuple[CertificateFiles, ...], Field(min_length=1)]
    """The one that has the name a client asks for is shown, and the first to those that ask for another or none."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""
    client_ca: FilePath | None = None
    """A PEM file of authorities: clients must then have a certificate that one of them has issued."""
    client_subject: str = "X-Client-Subject"
    """The field in which servers are told whose certificate it was. Nobody else can send it."""


class Listener(Model):
    """One address that takes traffic."""

    address: Address
    """":8080", "127.0.0.1:8080", "[::1]:8080" or "unix:/run/balancer.sock"."""
    redirect: str | None = None
    """Answer every request with a 308 to the same host and path on the port of the listener of this name, or to
    the same path after this start of URLs: "https://example.com"."""
    tls: ListenerTls | None = None
    """null: plain HTTP."""
    proxy_protocol: Literal["refuse", "accept", "require"] = "refuse"
    """Whether connections from `trusted_proxies` may, or must, begin with a PROXY protocol header (version 1 or 2)."""


class Match(Model):
    """Which requests a route takes; every condition must hold."""

    host: tuple[str, ...] = ()
    """"example.com" or "*.example.com" (any depth below); none: every host."""
    path: Annotated[str, Field(pattern=r"^/", examples=["/exact", "/prefix/**"])] = "/**"
    """"/exact", "/prefix/**", "/users/{id}"; the most specific route wins."""
    methods: frozenset[Method] = frozenset()
    headers: dict[str, str] = Field(default_factory=dict)
    """Field name to exact value, or "*" for present."""


class Redirect(Model):
    """An answer that sends the client elsewhere."""

    to: str
    """May use the path's captures and {host}, {path}, {query}."""
    status: Literal[301, 302, 303, 307, 308] = 308


class Respond(Model):
    """A fixed answer."""

    status: Annotated[int, Field(ge=200, le=599)] = 200
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = Field(default_factory=dict)


class Rewrite(Model):
    """Another path for the server; the client's query is kept."""

    strip_prefix: str | None = None
    add_prefix: str | None = None
    path: str | None = None
    """A whole new path; may use the path's captures: "/v2/{rest}"."""


class Maintenance(Model):
    """A fixed answer while work is under way."""

    enabled: bool = True
    status: Annotated[int, Field(ge=400, le=599)] = 503
    body: str = "Down for maintenance. Please come back soon.\n"
    content_type: str = "text/plain; charset=utf-8"
    retry_after: Duration = 60.0
    allow: tuple[Network, ...] = ()
    """Clients that are let through all the same."""


class Route(Model):
    """What happens to the requests that match. Exactly one of pool, split, redirect, respond."""

    match: Match = Match()
    pool: str | None = None
    split: dict[str, Share] | None = None
    """Pool name to share; shares are taken in proportion to their sum."""
    sticky: Sticky | None = None
    """Keeps a client in its lane of a split."""
    redirect: Redirect | None = None
    respond: Respond | None = None
    rewrite: Rewrite | None = None
    upgrades: tuple[Annotated[str, Field(pattern=r"^([!#$%&'*+.^_`|~0-9A-Za-z/-]+|\*)$")], ...] = ("websocket",)
    """Protocols that a client may switch to; [] for none, ["*"] for any. Never h2c or another HTTP."""
    maintenance: Maintenance | None = None
    """true, false, or the answer in detail."""
    cache: RouteCache | None = None
    """true, false, or one of `cache.rules`; null: as `cache.enabled` says."""
    compress: Compress | None = None
    """true, false, or in detail; without it as `compress` at the top says."""
    headers: Headers = Headers()
    timeouts: Timeouts | None = None
    """Merged over the pool's."""
    retries: Retries | None = None
    limits: Limits = Limits()
    rate_limit: tuple[RouteLimit, ...] = ()
    """Policies of `rate_limits`, each by its name or as {policy: NAME, cost: 5}; all must let a request pass."""
    access: Access | None = None
    """Which clients may come; without it as `access` at the top says."""
    auth: tuple[str, ...] = ()
    """One or several of `auth`: any of them lets a request pass; none: everybody may."""
    methods: tuple[Method, ...] = ()
    """Those that are taken; others get 405. None: all. (`match.methods` decides which route a request takes.)"""
    request_body: RequestBody | None = None
    """Which bodies are taken; null: all."""
    refuse_scanners: Scanners | None = None
    """true, false, or in detail; without it as `refuse_scanners` at the top says."""
    security_headers: SecurityHeaders | None = None
    """true, false, or in detail; without it as `security_headers` at the top says."""


class Redis(Model):
    """A Redis or Valkey server, what sentinels know as one, or a cluster."""

    url: str = ""
    """redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://; empty: everything stays local."""
    timeout: Positive = 0.1
    """Whoever waits for an answer goes on without after this long."""
    tls: ServerTls = ServerTls()
    """What servers are believed, and what they are shown, where the URL says TLS."""
    prefix: Annotated[str, Field(pattern=r"^[!-z|~]{0,64}$", examples=["balancer:"])] = "balancer:"
    """What all keys and channels begin with. Balancers with the same prefix share them."""


class AdminKey(Model):
    """One credential of the admin API; only its hash is written down."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["alice", "deploy-1"])]
    hash: KeyHash
    role: Literal["viewer", "operator", "admin"] = "viewer"
    expires: str | None = None
    """A date such as 2027-01-31, the last day on which it works, by UTC."""
    networks: tuple[Network, ...] = ()
    """Where it may be used from; none: from everywhere. Whoever comes by a Unix socket comes from 127.0.0.1."""


class AdminRateLimit(Model):
    """A rate with a burst."""

    rate: Rate = Rate.of("20/s")
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Requests that may come at once after a pause."""


class Admin(Model):
    """The admin API's own listener."""

    listen: Address = Address.of("127.0.0.1:9900")
    keys: tuple[AdminKey, ...] = ()
    """None set: ADMIN_API_KEY, else one is made and printed once."""
    tls: CertificateFiles | None = None
    """The certificate with which the API speaks TLS, and nothing else; read again when its files change."""
    insecure: bool = False
    """Allows an address other than loopback or a socket without TLS: keys can then be read on the way."""
    rate_limit: AdminRateLimit | None = AdminRateLimit()
    """How many requests one key, or one address without a key, may make. null: as many as it likes."""
    hosts: tuple[str, ...] = ()
    """Further names under which the API may be asked (Host), beside its own address and localhost."""
    state: FilePath = "var/overlay.yaml"
    """What the API changed; survives a restart. Keys that it made, and when keys were used, are beside it."""
    audit: FilePath | None = "audit.jsonl"
    """The audit trail: who changed what. A name without a slash is in the folder of `state`; null: only the last
    lines, in memory. Changes are refused while it cannot be written."""
    confirm: Annotated[Duration, Field(le=86400)] = 0.0
    """A change of the configuration through the API undoes itself unless it is confirmed within this time, or if
    errors rise meanwhile; 0: it stays at once."""


def _free(path: str) -> str:
    """A path of the admin listener that is nobody else's."""
    if path in ("/", "/livez", "/readyz", "/openapi.json") or path.startswith("/api/"):
        raise Unfit("must not be a path that the admin API has: write /metrics, say", path)
    return path


class Metrics(Model):
    """Where Prometheus scrapes."""

    listen: Address | None = None
    """null: on the admin listener; an address gives Prometheus a port with nothing else on it."""
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*$", examples=["/metrics"]), AfterValidator(_free)] = (
        "/metrics"
    )
    open: bool = True
    """Whether the admin listener's metrics need no key."""
    max_series: Annotated[int, Field(ge=100)] = 5000


class AccessLog(Model):
    """One line per request."""

    to: Annotated[
        str,
        Field(pattern=r"^(stdout|stderr|none|.*[./].*)$", examples=["stdout", "none", "/var/log/access.log"]),
    ] = "stdout"
    """stdout, stderr, none or a file's path, with a slash or a dot in it (reopened on SIGUSR1)."""
    sample: Share = 1.0
    """The share of successful, fast requests that is written; errors always are."""
    redact: tuple[str, ...] = (
        "query:token",
        "query:key",
        "query:password",
        "query:secret",
        "query:access_token",
        "query:api_key",
    )
    """Query parameters whose values are masked; "user" masks who it was. Header fields are never logged."""


class Logs(Model):
    """The program's own log goes to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON otherwise."""
    access: AccessLog = AccessLog()


class Errors(Model):
    """What the balancer answers itself when something goes wrong."""

    page: PageFile | None = None
    """A file of HTML for browsers, with {status}, {title}, {detail} and {request_id}; at most 64 KiB, read at each
    reload. A relative path begins at the folder of the configuration. null: a page of the balancer's own."""


class Shutdown(Model):
    """What SIGTERM does: readiness off, `delay`, stop accepting, finish, exit inside `grace`."""

    delay: Duration = 0.0
    grace: Duration = 30.0
    tunnel_grace: Duration = 300.0
    """How long tunnels to a server that a reload removed may stay. At shutdown, `grace` bounds them too."""


class Defaults(Model):
    """What every pool and route begins with, merged deeply: defaults, then the pool, then the route."""

    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    retries: Retries = Retries()
    health: Health = Health()
    connections: Connections = Connections()
    headers: Headers = Headers()


class Config(Model):
    """A whole configuration, short forms already widened and defaults merged into pools and routes."""

    listeners: dict[str, Listener]
    pools: dict[str, Pool]
    routes: dict[str, Route]
    trusted_proxies: tuple[TrustedProxy, ...] = ()
    """Networks whose word on clients is believed: as they are, or cloudflare, cloudfront, bunny for those of a CDN."""
    limits: Limits = Limits()
    """`defaults.limits`: holds before a request's route is known (head, uri, header_count, connections)."""
    timeouts: Timeouts = Timeouts()
    """`defaults.timeouts`: the same (request_head, keep_alive, tls_handshake)."""
    cache: Cache = Cache()
    compress: Compress | None = None
    """What routes have that do not say; merged over by those that do."""
    rate_limits: dict[str, RateLimit] = Field(default_factory=dict)
    """Policies by name, which routes choose."""
    access: Access | None = None
    """For all routes that do not say."""
    auth: dict[str, Auth] = Field(default_factory=dict)
    """Ways to be let in, by name, which routes choose."""
    refuse_scanners: Scanners | None = None
    """For all routes that do not say; merged over by those that do."""
    security_headers: SecurityHeaders | None = None
    """The same."""
    cdn: Cdn | None = None
    """Files and pictures close to their readers; true: by the balancer itself. null: none."""
    require_cdn: RequireCdn | None = None
    """log or refuse what did not come through the CDNs of `trusted_proxies`, or in detail. null: all are served."""
    databases: dict[str, Database] = Field(default_factory=dict)
    """Those whose figures are told with the traffic's, by name. DATABASE_URL is the one called app."""
    alerts: Alerts | None = None
    """Messages when something is wrong. null: none."""
    analytics: Analytics | None = None
    """How the site and its community are doing. null: nothing is counted."""
    redis: Redis = Redis()
    admin: Admin = Admin()
    metrics: Metrics = Metrics()
    logs: Logs = Logs()
    errors: Errors = Errors()
    shutdown: Shutdown = Shutdown()
