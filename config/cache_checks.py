"""The cache: rules that exist where routes choose them, and nothing in one that could never have an effect."""

from __future__ import annotations

import re

from config.cdn_routes import FILES
from config.findings import Findings
from config.problems import Path, listed, nearest
from config.schema import Cache, CacheRule, Config, Route
from config.values import size_text

_PARAMETER = re.compile(r"[!-~]+")
_NOT_IN_ONE = frozenset("&=?#;+")
_STARS = 4
"""Of one pattern for query parameters: more than anybody needs."""
_SMALLEST_PART = 2
"""The store in memory takes nothing that would fill more than one of so many parts of it."""
_OWN = {
    "cookie": "name the cookies in key.cookies: all cookies together are those of one client",
    "host": "the host is part of every key",
    "accept-encoding": "answers that differ by it say so in Vary",
    "range": "parts are taken of the whole stored answer",
    "if-range": "parts are taken of the whole stored answer",
}
_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "cache-control", "pragma")
_OF_A_CONNECTION = (
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


def check_cache(config: Config, found: Findings) -> None:
    cache = config.cache
    _check_sizes(cache, found)
    for name, rule in cache.rules.items():
        path: Path = ("cache", "rules", name)
        if name in ("true", "false"):
            found.add(path, f"must have another name: `cache: {name}` on a route is a switch")
        _check_rule(rule, path, found)
    for name, route in config.routes.items():
        _check_choice(route, ("routes", name), found)


def _check_sizes(cache: Cache, found: Findings) -> None:
    most = cache.memory // _SMALLEST_PART
    written = [key for key in ("max_object", "memory") if key in found.written("cache")]
    if written and cache.max_object > most and not any(found.unseen(("cache", key)) for key in written):
        message = f"is more than a half of `memory`, which keeps no answer of more than {size_text(most)}"
        if "max_object" not in written:
            message = f"keeps no answer of more than {size_text(most)}, though `max_object` allows it"
        found.warn(("cache", written[0]), message)


def _check_rule(rule: CacheRule, path: Path, found: Findings) -> None:
    for position, pattern in enumerate(rule.ignore_query):
        place = (*path, "ignore_query", position)
        if not _PARAMETER.fullmatch(pattern) or not _NOT_IN_ONE.isdisjoint(pattern):
            message = "must be the name of a query parameter such as fbclid or utm_*, with other characters as %XX"
            found.add(place, message, came=True)
        elif pattern.count("*") > _STARS:
            found.add(place, f"must have at most {_STARS} *", came=True)
        elif not pattern.strip("*") and path[-1] != FILES:  # whose rule goes without saying
            found.warn(place, "ignores every parameter: all queries of a path get the same answer")
    seen: set[str] = set()
    for position, name in enumerate(rule.key.headers):
        lower = name.lower()
        place = (*path, "key", "headers", position)
        if lower in _OWN:
            found.add(place, f"must be another field than {name}: {_OWN[lower]}")
        elif lower in _CONDITIONS:
            found.add(place, f"must be another field than {name}: by it a client asks the cache itself")
        elif lower in _OF_A_CONNECTION:
            found.add(place, f"must be another field than {name}: it belongs to one connection")
        if lower in seen:
            found.add(place, "is there twice, as field names do not tell small letters from capitals")
        seen.add(lower)
    for position, name in enumerate(rule.key.cookies):
        if name in rule.bypass.cookies:
            found.warn((*path, "key", "cookies", position), "tells nothing apart: requests with it bypass the cache")


def _check_choice(route: Route, path: Path, found: Findings) -> None:
    if not route.cache:
        return
    place = (*path, "cache")
    action = "redirect" if route.redirect is not None else "respond" if route.respond is not None else ""
    if action and route.pool is None and route.split is None:
        found.add(place, f"must go with pool or split; a {action} has nothing that could be cached")
    rules = found.written("cache", "rules")
    if isinstance(route.cache, str) and route.cache not in rules:
        close = nearest(route.cache, (*rules, "true", "false"))
        there = f"there is {listed(rules, 'and')}" if rules else "there is none; `cache: true` caches by RFC 9111"
        message = "must be true, false or the name of one of `cache.rules`"
        found.add(place, message, came=True, hint=f'did you mean "{close}"?' if close else there)
