"""What one field cannot know: names that must exist, addresses that must differ, keys that must be there."""

from __future__ import annotations

import re
from datetime import date
from importlib.util import find_spec
from typing import get_args

from config.addresses import Address, server_address
from config.alerts_checks import check_alerts
from config.analytics_checks import check_analytics
from config.auth_checks import check_auth
from config.browser_checks import check_browser_fields
from config.cache_checks import check_cache
from config.cdn_checks import check_cdn
from config.database_checks import check_databases
from config.document import document
from config.field_checks import edited_fields, message_fields, own_field
from config.findings import Findings
from config.guard_checks import check_guards
from config.nodes import Table, tree_of
from config.patterns import NAME, PLUGIN, TOKEN
from config.problems import Path, Problem, Unfit, in_order, listed, nearest
from config.redis_checks import check_redis
from config.require_cdn_checks import check_require_cdn
from config.route_checks import check_routes
from config.schema import Admin, Compress, Config, Headers, Limits, Listener, Pool, ServerTls, StrategyName, Timeouts

STRATEGIES: tuple[str, ...] = get_args(StrategyName)
_PATTERN = 1000
"""Characters of a regular expression: far more than anybody writes, and a bound on what compiling one takes."""


def check(config: Config, found: Findings) -> None:
    """Everything that is wrong with a configuration whose single values are right."""
    for group in ("listeners", "pools", "routes"):
        for name in found.written(group):
            _check_name(name, (group, name), found)
    _check_listeners(config, found)
    for name, pool in config.pools.items():
        _check_pool(pool, ("pools", name), config, found)
    check_routes(config, found)
    for name, route in config.routes.items():
        _check_headers(route.headers, ("routes", name, "headers"), found)
    for name in found.written("cache", "rules"):
        _check_name(name, ("cache", "rules", name), found)
    check_cache(config, found)
    for name in found.written("rate_limits"):
        _check_name(name, ("rate_limits", name), found)
    check_guards(config, found)
    check_auth(config, found)
    check_browser_fields(config, found)
    _check_admin(config.admin, found)
    for position, item in enumerate(config.logs.access.redact):
        if item != "user" and not item.startswith("query:"):
            path = ("logs", "access", "redact", position)
            found.add(path, 'must be such as "query:token", or "user"; header fields are never logged', came=True)
    check_alerts(config, found)
    check_analytics(config, found)
    check_cdn(config, found)
    check_require_cdn(config, found)
    check_redis(config.redis, found)
    check_databases(config, found)
    _check_early(config, found)
    _check_cookies(config, found)
    _check_shares(config, found)
    _check_compression(config, found)
    _check_unused(config, found)


EARLY = {
    "timeouts": ("request_head", "request_body_idle", "keep_alive", "tls_handshake"),
    "limits": (
        "head",
        "header_count",
        "uri",
        "body_rate",
        "connections",
        "connections_total",
        "connections_per_client",
        "lag",
    ),
}
"""What holds before a request's route is known."""


def _check_early(config: Config, found: Findings) -> None:
    """Values that would be taken and have no effect where they were written, since they differ from what holds."""
    whole: tuple[tuple[str, Timeouts | Limits], ...] = (("timeouts", config.timeouts), ("limits", config.limits))
    for group, members in (("pools", config.pools), ("routes", config.routes)):
        for name, member in members.items():
            for part, standing in whole:
                written = getattr(member, part, None)  # pools have no limits; a route's timeouts may be None
                for key in EARLY[part] if written is not None else ():
                    if getattr(written, key) != getattr(standing, key):
                        message = f"holds before a request has a route: write it under defaults.{part}"
                        found.add((group, name, part, key), message)
    for name, route in config.routes.items():
        pool = config.pools.get(route.pool or "")
        if route.retries is not None and pool is not None and route.retries.budget != pool.retries.budget:
            found.add(
                ("routes", name, "retries", "budget"), "is one for all requests: write it under the pool's retries"
            )


def _check_cookies(config: Config, found: Findings) -> None:
    """Sticky cookies of one name, under one host, overwrite each other."""
    first: dict[str, str] = {}
    for group, members in (("pools", config.pools), ("routes", config.routes)):
        for name, member in members.items():
            if member.sticky is None:
                continue
            path = (group, name, "sticky", "cookie")
            other = first.setdefault(member.sticky.cookie, f"{group}.{name}")
            if other != f"{group}.{name}":
                found.warn(path, f"is the cookie of {other} too: under one host they overwrite each other")


def _check_shares(config: Config, found: Findings) -> None:
    """Shares are taken in proportion, but who writes 0.9 and 0.05 has probably mistyped one."""
    for name, route in config.routes.items():
        if route.split and abs((total := sum(route.split.values())) - 1.0) > 1e-6 and total > 0:
            found.warn(("routes", name, "split"), f"adds up to {total:g}; the shares are taken in proportion to that")


def _check_compression(config: Config, found: Findings) -> None:
    """Codings that are offered to nobody, since what makes them is not installed."""
    places: list[tuple[Path, Compress | None]] = [(("compress",), config.compress)]
    places += [(("routes", name, "compress"), route.compress) for name, route in config.routes.items()]
    for path, settings in places:
        if settings is None or (settings == config.compress and len(path) > 1):
            continue
        if not settings.codings and not found.lost((*path, "codings")):
            found.add((*path, "codings"), "must have one at least; `compress: false` switches it off")
        missing = [coding for coding in settings.codings if coding in OPTIONAL and not _installed(coding)]
        if missing:
            message = f"cannot offer {listed(missing, 'and')} here: install balancer[compression]"
            found.warn((*path, "codings"), message)


OPTIONAL = {"br": ("brotli",), "zstd": ("compression.zstd", "backports.zstd")}
"""What makes a coding: one of these modules. Python itself makes gzip, and zstd from 3.14 on."""


def _installed(coding: str) -> bool:
    for module in OPTIONAL[coding]:
        try:
            if find_spec(module) is not None:
                return True
        except ModuleNotFoundError:  # not even what it would be part of
            continue
    return False


def faults(config: Config, source: str = "configuration") -> tuple[Problem, ...]:
    """The same for a configuration that is in no file, such as one that the admin API would make."""
    tree = tree_of(document(config, mask=False), source)
    assert isinstance(tree, Table)  # a configuration is a mapping
    found = Findings(tree, tree)
    check(config, found)
    return in_order(found.problems)


def _check_name(name: str, path: Path, found: Findings) -> None:
    if not NAME.fullmatch(name):
        found.add(path, "must have a name of at most 128 letters, digits and . _ - : characters")


def _check_listeners(config: Config, found: Findings) -> None:
    taken: list[tuple[Path, Address]] = []
    for name, listener in config.listeners.items():
        taken.append((("listeners", name, "address"), listener.address))
        _check_edge(name, listener, config, found)
        path: Path = ("listeners", name, "redirect")
        to = listener.redirect
        if to is None or re.fullmatch(r"https?://[A-Za-z0-9_.\[\]:-]+", to):
            continue
        if to == name:
            found.add(path, "must lead to another listener than itself")
        elif to not in found.written("listeners"):
            close = nearest(to, found.written("listeners"))
            hint = f'did you mean "{close}"?' if close else ""
            message = 'must be the name of a listener, or a start of URLs such as "https://example.com"'
            found.add(path, message, came=True, hint=hint)
    if not found.unseen(("admin", "listen")):
        taken.append((("admin", "listen"), config.admin.listen))
    if config.metrics.listen is not None:
        taken.append((("metrics", "listen"), config.metrics.listen))
    for position, (path, address) in enumerate(taken):
        for other, earlier in taken[:position]:
            if address.overlaps(earlier):
                found.add(path, f"must not listen where {found.spot(other)} listens already", came=True)
                break


def _check_edge(name: str, listener: Listener, config: Config, found: Findings) -> None:
    """What stands before the first request: TLS and the PROXY protocol."""
    path: Path = ("listeners", name)
    if listener.tls is not None:
        own_field(listener.tls.client_subject, (*path, "tls", "client_subject"), found)
    if listener.proxy_protocol == "refuse":
        return
    if listener.address.path:
        message = "must be refuse on a Unix socket: its clients have no address that `trusted_proxies` could name"
        found.add((*path, "proxy_protocol"), message)
    elif not config.trusted_proxies and not found.lost(("trusted_proxies",)):
        message = "needs `trusted_proxies`: nobody else's PROXY protocol header is believed"
        found.add((*path, "proxy_protocol"), message)


def _check_pool(pool: Pool, path: Path, config: Config, found: Findings) -> None:
    if not pool.servers and not found.lost((*path, "servers")):
        found.add((*path, "servers"), "must have at least one server, such as http://10.0.0.11:8000")
    seen: dict[Address, str] = {}
    for name, server in pool.servers.items():
        _check_name(name, (*path, "servers", name), found)
        place = (*path, "servers", name, "url")
        try:
            address = server_address(server.url)
        except Unfit as error:
            found.add(place, error.expected, came=True)
            continue
        if address in seen:
            # A server without a name of its own has that of its URL.
            other = "a server above" if found.outside((*path, "servers", seen[address], "url")) else seen[address]
            found.add(place, f"must be another address than that of {other}", came=True)
        seen.setdefault(address, name)
        for listener, settings in config.listeners.items():
            # Elsewhere the same port is another machine's.
            if address.is_loopback and address.overlaps(settings.address):
                found.add(place, f"must not be the listener {listener} of this balancer itself", came=True)
    _check_strategy(pool.strategy, (*path, "strategy"), found)
    _check_tls(pool, (*path, "tls"), found)
    _check_headers(pool.headers, (*path, "headers"), found)
    active = pool.health.active
    if active is not None:
        message_fields(active.headers, (*path, "health", "active", "headers"), found, host=True)
        if active.body is not None:
            _check_pattern(active.body, (*path, "health", "active", "body"), found)


def _check_tls(pool: Pool, path: Path, found: Findings) -> None:
    if pool.servers and not any(server.url[:6].lower() == "https:" for server in pool.servers.values()):
        if pool.tls != ServerTls() and not found.unseen((*path[:-1], "servers")):
            found.warn(path, "has no effect: no server of this pool has an https:// URL")
    elif not pool.tls.verify:
        found.warn((*path, "verify"), "is false: whoever answers is believed to be the server")


def _check_pattern(pattern: str, path: Path, found: Findings) -> None:
    if len(pattern) > _PATTERN:
        found.add(path, f"must be at most {_PATTERN} characters")
        return
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        # Its reason quotes the pattern.
        reason = "" if found.outside(path) else f": {error}"
        found.add(path, f"must be a regular expression{reason}", came=True)


def _check_strategy(strategy: str, path: Path, found: Findings) -> None:
    if strategy in STRATEGIES or PLUGIN.fullmatch(strategy):
        return
    close = nearest(strategy, STRATEGIES)
    message = f"must be {listed((*STRATEGIES, 'your own as package.module:Class'))}"
    found.add(path, message, came=True, hint=f'did you mean "{close}"?' if close else "")


def _check_headers(headers: Headers, path: Path, found: Findings) -> None:
    for key, name in (("request_id", headers.request_id), ("via", headers.via)):
        if name is not None and not TOKEN.fullmatch(name):
            found.add((*path, key), "must be a token of letters, digits and hyphens", came=True)
    edited_fields(headers.request, (*path, "request"), found, response=False)
    edited_fields(headers.response, (*path, "response"), found, response=True)


def _check_admin(admin: Admin, found: Findings) -> None:
    if not admin.listen.is_loopback and not found.unseen(("admin", "insecure")):
        missing = []
        if not admin.keys and not found.lost(("admin", "keys")):
            missing.append("a key (in `keys`, or as ADMIN_API_KEY)")
        if admin.tls is None and not admin.insecure and not found.lost(("admin", "tls")):
            missing.append("`tls: {cert: ..., key: ...}` (or `insecure: true`: others can read keys)")
        if missing:
            message = f"must be a loopback address or a Unix socket, unless there is {listed(missing, 'and')}"
            found.add(("admin", "listen"), message, came=True)
        elif admin.tls is None and admin.insecure:
            message = "is true: whoever is on the way to the API can read keys; `tls: {cert: ..., key: ...}` ends that"
            found.warn(("admin", "insecure"), message)
    if admin.tls is not None and admin.listen.path:
        found.add(("admin", "tls"), "must be null on a Unix socket: what goes through it never leaves this machine")
    seen: set[str] = set()
    for position, key in enumerate(admin.keys):
        if len(key.id) > 50 and key.id.startswith("balancer_"):
            found.add(("admin", "keys", position, "id"), "must be a name for the key, and not a key")
        if key.id in seen:
            found.add(("admin", "keys", position, "id"), "must be another id than that of a key above", came=True)
        seen.add(key.id)
        try:
            date.fromisoformat(key.expires or "2000-01-01")
        except ValueError:
            found.add(("admin", "keys", position, "expires"), "must be a date such as 2027-01-31", came=True)


def _check_unused(config: Config, found: Findings) -> None:
    used = {name for route in config.routes.values() for name in (route.pool, *(route.split or ()))}
    used |= {auth.forward.pool for auth in config.auth.values() if auth.forward is not None}
    for name in config.pools:
        if name not in used and not found.problems and not found.unseen(("routes",)):
            found.warn(("pools", name), "is used by no route")
    chosen = {route.cache for route in config.routes.values()}
    for name in config.cache.rules:
        if name not in chosen and not found.problems and not found.unseen(("routes",)):
            found.warn(("cache", "rules", name), f"is used by no route: a route chooses it by `cache: {name}`")
