"""Which route a request takes, and what is worked out of each route when the table is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from balancer.cache.rules import BY_RFC, Rule, compile_rule
from balancer.compression import Compression
from balancer.guards.guard import Guard
from balancer.http1.edits import Edits
from balancer.http1.head import RequestHead
from balancer.http1.paths import climbs, is_doubtful, match_path, other_readings
from balancer.http1.tag_fields import TagFields
from balancer.pool import Pool
from balancer.routing.answers import FixedAnswer, rewriter
from balancer.routing.keys import hash_key
from balancer.strategy.split import Split
from balancer.tally import RouteTally
from config.cdn import secret_fields
from config.schema import Cache, CacheRule, Config, Match
from config.schema import Pool as PoolSettings
from config.schema import Route as RouteSettings


class Route:
    """One route over one pool, with everything precompiled. A split route has one of these for each of its pools."""

    __slots__ = (
        "attempts",
        "body_limit",
        "cache",
        "closed",
        "compress",
        "connect",
        "edits",
        "failure_statuses",
        "first_byte",
        "fixed",
        "guard",
        "idle",
        "key",
        "lanes",
        "maintenance",
        "name",
        "pool",
        "replay_body",
        "retry_methods",
        "retry_statuses",
        "retry_when",
        "rewrite",
        "split",
        "tally",
        "total",
        "traces",
        "tunnel",
    )

    def __init__(
        self,
        name: str,
        settings: RouteSettings,
        pool: Pool,
        tally: RouteTally,
        tags: TagFields | None = None,
        gone: Iterable[str] = (),
    ) -> None:
        """`gone` are fields of clients that servers are not told."""
        timeouts = settings.timeouts or pool.settings.timeouts
        retries = settings.retries or pool.settings.retries
        self.name = name
        self.pool = pool
        self.tally = tally
        self.edits = Edits(settings.headers, settings.upgrades, settings.security_headers, tags, gone)
        self.rewrite = rewriter(settings.rewrite, settings.match.path) if settings.rewrite else None
        self.body_limit = settings.limits.body
        self.connect = timeouts.connect
        self.total = timeouts.total
        self.first_byte = timeouts.first_byte
        self.idle = timeouts.idle
        self.tunnel = timeouts.tunnel
        self.attempts = retries.attempts
        self.retry_when = retries.when
        self.retry_statuses = retries.statuses
        self.traces = "TRACE" in settings.match.methods  # asked for by name: otherwise TRACE is refused
        self.retry_methods = frozenset(method.encode("ascii") for method in retries.methods)
        self.replay_body = retries.replay_body
        passive = pool.settings.health.passive
        self.failure_statuses = passive.statuses if passive else frozenset[int]()
        self.key: Callable[[RequestHead, str], int] | None = hash_key(pool.strategy, pool.settings.hash.key)
        self.cache: Rule | None = None  # None: its answers are not cached
        self.compress = Compression(settings.compress) if settings.compress is not None else None
        # Set on the route that the table holds, not on its lanes.
        self.guard: Guard | None = None  # None: whoever comes is let in
        self.closed = bool(settings.auth) or settings.access is not None  # it matters who comes
        self.fixed: FixedAnswer | None = None  # a redirect or a fixed answer
        self.maintenance: FixedAnswer | None = None
        self.split: Split | None = None
        self.lanes: dict[str, Route] = {}


class _Rule(NamedTuple):
    route: Route
    methods: frozenset[bytes]
    headers: tuple[tuple[bytes, bytes | None], ...]  # None: present is enough

    def takes(self, head: RequestHead) -> bool:
        if self.methods and head.method not in self.methods:
            return False
        for name, wanted in self.headers:
            value = head.value(name)
            if value is None or (wanted is not None and value != wanted):
                return False
        return True


class _Node:
    """A step of paths: its literal successors, one for any segment, and the rules that end here."""

    __slots__ = ("any", "below", "here", "literal")

    def __init__(self) -> None:
        self.literal: dict[bytes, _Node] = {}
        self.any: _Node | None = None
        self.here: list[_Rule] = []
        self.below: list[_Rule] = []  # of patterns that end in /**

    def add(self, pattern: str, rule: _Rule) -> None:
        node = self
        segments = pattern[1:].encode("utf-8").split(b"/")
        below = segments[-1] == b"**"
        for segment in segments[:-1] if below else segments:
            if segment[:1] == b"{" and segment[-1:] == b"}":
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        rules = node.below if below else node.here
        rules.append(rule)
        # More conditions are more specific.
        rules.sort(key=lambda r: -(len(r.headers) * 2 + bool(r.methods)))

    def find(self, segments: list[bytes], at: int, head: RequestHead) -> Route | None:
        """The most specific rule: a literal segment beats {name}, which beats /**; conditions that fail fall back."""
        if at == len(segments):
            for rule in self.here:
                if rule.takes(head):
                    return rule.route
        else:
            found = None
            literal = self.literal.get(segments[at])
            if literal is not None:
                found = literal.find(segments, at + 1, head)
            if found is None and self.any is not None and segments[at]:
                found = self.any.find(segments, at + 1, head)
            if found is not None:
                return found
        for rule in self.below:
            if rule.takes(head):
                return rule.route
        return None


class TwoWays(ValueError):
    """The path of a request can be read in two ways, and a rule would hold in one of them only."""


class RouteTable:
    """All routes of a configuration. `match` is the only thing a request asks."""

    def __init__(self, routes: Mapping[str, tuple[Route, Match]], *, folds: bool = True) -> None:
        """`folds`: servers that do not tell small letters from capitals are thought of."""
        self.routes = {name: route for name, (route, _) in routes.items()}
        self._hosts: dict[bytes, _Node] = {}
        self._wildcards: dict[bytes, _Node] = {}  # by suffix with its dot: b".example.com"
        self._rest = _Node()
        self._only: Route | None = None
        self.caches = any(r.cache is not None for route, _ in routes.values() for r in (route, *route.lanes.values()))
        """Whether there is a route whose answers are cached."""
        for route, match in routes.values():
            self._add(route, match)
        self._folded: RouteTable | None = None  # the same without capitals, where a route is closed
        self._capitals = False  # there are some in its paths
        if folds and len(routes) > 1 and any(route.closed for route, _ in routes.values()):
            alike = _alike(routes)
            folded = {n: (r, _without_capitals(m)) for n, (r, m) in routes.items() if n not in alike}
            self._folded = RouteTable(folded, folds=False)
            self._capitals = any(match.path != match.path.lower() for _, match in routes.values())
        if len(routes) == 1:
            route, match = next(iter(routes.values()))
            if match == Match() and route.rewrite is None:
                self._only = route

    def _add(self, route: Route, match: Match) -> None:
        headers = tuple(
            (n.lower().encode(), None if v == "*" else v.encode("latin-1")) for n, v in match.headers.items()
        )
        rule = _Rule(route, frozenset(m.encode("ascii") for m in match.methods), headers)
        for host in match.host:
            name = host.lower().encode("ascii")
            if name.startswith(b"*."):
                self._wildcards.setdefault(name[1:], _Node()).add(match.path, rule)
            else:
                self._hosts.setdefault(name, _Node()).add(match.path, rule)
        if not match.host:
            self._rest.add(match.path, rule)

    def match(self, head: RequestHead) -> Route | None:
        """The route of a request, or None. An exact host beats a wildcard, a longer wildcard a shorter one.

        Raises TwoWays when the path can be read in ways that lead to different routes.
        """
        if self._only is not None:
            return self._only
        target = head.target
        path = match_path(target)
        route = self._find(path, head)
        readings: Sequence[bytes] = ()
        if is_doubtful(target):
            readings = tuple(other_readings(target, path))
            for reading in readings:
                if self._find(reading, head) is not route:
                    raise TwoWays
        folded = self._folded
        if folded is not None and (readings or self._capitals or path != path.lower()):
            for reading in (path, *readings):
                meant = folded._find(reading.lower(), head)
                if meant is not route and meant is not None and meant.closed:
                    raise TwoWays  # a server that takes /Admin for /admin would let in who is kept out there
        if route is not None and route.rewrite is not None and climbs(target):
            raise TwoWays
        return route

    def _find(self, path: bytes, head: RequestHead) -> Route | None:
        segments = path[1:].split(b"/")
        if self._hosts or self._wildcards:
            host = _host_name(head.host)
            node = self._hosts.get(host)
            if node is not None and (found := node.find(segments, 0, head)) is not None:
                return found
            if self._wildcards:
                dot = host.find(b".", 1)
                while dot > 0:
                    node = self._wildcards.get(host[dot:])
                    if node is not None and (found := node.find(segments, 0, head)) is not None:
                        return found
                    dot = host.find(b".", dot + 1)
        return self._rest.find(segments, 0, head)


def _alike(routes: Mapping[str, tuple[Route, Match]]) -> frozenset[str]:
    """The names of routes whose paths differ in nothing but capitals: that is on purpose."""
    written: dict[str, set[str]] = {}
    for _, match in routes.values():
        written.setdefault(match.path.lower(), set()).add(match.path)
    return frozenset(name for name, (_, match) in routes.items() if len(written[match.path.lower()]) > 1)


def _without_capitals(match: Match) -> Match:
    return match.model_copy(update={"path": match.path.lower()})


def _host_name(host: bytes) -> bytes:
    """A Host field's value without port, in lower case and without the root's dot."""
    if host[:1] == b"[":
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].rstrip(b".").lower()


def build_table(
    config: Config,
    pools: Mapping[str, Pool],
    tallies: dict[str, RouteTally],
    rng: Random,
    secret: bytes,
    guard: Callable[[str, RouteSettings], Guard | None] = lambda name, settings: None,
) -> RouteTable:
    """Compile a configuration. `tallies` keeps the counts of routes by name over reloads; `secret` keys the cookies.

    `guard` makes what stands before a route.
    """
    routes: dict[str, tuple[Route, Match]] = {}
    rules: dict[str | None, Rule] = {}
    nowhere = Pool("", rng, secret, lambda *_: None)  # for routes that answer by themselves
    nowhere.configure(PoolSettings(servers={}), (), 0.0)
    for name, settings in config.routes.items():
        tally = tallies.setdefault(name, RouteTally())
        cdn = config.cdn
        tags = TagFields(cdn, config.cache.tags, tally) if cdn is not None and cdn.tags else None
        gone = secret_fields(config.require_cdn)
        names = [settings.pool] if settings.pool else list(settings.split or ())
        lanes = {pool: Route(name, settings, pools[pool], tally, tags, gone) for pool in names}
        for lane in lanes.values():
            lane.cache = _rule(settings.cache, config.cache, rules)
        if lanes:
            route = lanes[names[0]]
        else:
            route = Route(name, settings, nowhere, tally, tags, gone)
            route.fixed = FixedAnswer.of(settings)
        if settings.split:
            route = Route(name, settings, pools[names[0]], tally, tags, gone)
            route.lanes = lanes
            route.split = Split(name, settings.split, rng, settings.sticky, secret)
        if settings.maintenance is not None and settings.maintenance.enabled:
            route.maintenance = FixedAnswer.for_maintenance(settings.maintenance)
        route.guard = guard(name, settings)
        routes[name] = route, settings.match
    return RouteTable(routes)


def _rule(chosen: bool | str | None, cache: Cache, rules: dict[str | None, Rule]) -> Rule | None:
    """The rule by which a route is cached, compiled once for all routes that have it."""
    if chosen is False or (chosen is None and not cache.enabled):
        return None
    named = chosen if isinstance(chosen, str) else None
    rule = rules.get(named)
    if rule is None:
        rule = rules[named] = compile_rule(named or BY_RFC, CacheRule() if named is None else cache.rules[named], cache)
    return rule
