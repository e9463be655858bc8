"""Guards of routes: policies that exist and limit something, and costs that can be paid."""

from __future__ import annotations

from config.findings import Findings
from config.problems import Path, listed, nearest
from config.schema import Access, Config, RateLimit, Route

SHORTEST = 0.00001
LONGEST = 366 * 86400.0
"""Seconds between which Redis tells two requests apart, and that its numbers have the room for beside the date."""


def check_guards(config: Config, found: Findings) -> None:
    for name, policy in config.rate_limits.items():
        _check_policy(policy, ("rate_limits", name), config, found)
    _check_access(config.access, ("access",), found)
    for name, route in config.routes.items():
        _check_route(route, ("routes", name), config, found)
        _check_access(route.access, ("routes", name, "access"), found)
    used = {limit.policy for route in config.routes.values() for limit in route.rate_limit}
    for name in config.rate_limits:
        if name not in used and not found.problems and not found.unseen(("routes",)):
            found.warn(("rate_limits", name), f"limits nothing: a route chooses it by `rate_limit: {name}`")


def _check_policy(policy: RateLimit, path: Path, config: Config, found: Findings) -> None:
    lost = found.lost((*path, "rate")) or found.lost((*path, "concurrency"))
    if policy.rate is None and policy.concurrency is None and not lost:
        found.add(path, "must have a rate, such as 100/s, or a concurrency, such as 20, or both")
    if policy.rate is None and not found.lost((*path, "rate")):
        if policy.burst is not None:
            found.add((*path, "burst"), "must go with a rate, such as 100/s: it is what that lets through at once")
        if policy.shared:
            message = "must go with a rate: how many requests are under way each balancer counts for itself"
            found.add((*path, "shared"), message)
    for method, cost in policy.costs.items():
        if policy.rate is not None and cost > policy.most:
            message = f"must be at most the burst, {policy.most}: such a request would never pass"
            found.add((*path, "costs", method), message, came=True)
    seen: set[str] = set()
    for position, part in enumerate(policy.key):
        if part in seen:
            found.add((*path, "key", position), "is there twice")
        seen.add(part)
    if not policy.key and not found.lost((*path, "key")):
        found.add((*path, "key"), "must name what is counted apart, such as client; for all together write [route]")
    if (
        policy.shared
        and not config.redis.url
        and not found.unseen(("redis", "url"))
        and not found.lost(("redis", "url"))
    ):
        found.warn((*path, "shared"), "has no effect without redis.url: each balancer counts for itself")
    if policy.shared and policy.rate is not None:
        if policy.rate.interval < SHORTEST:
            message = f"must be at most {1 / SHORTEST:.0f}/s where it is shared: Redis counts in microseconds"
            found.add((*path, "rate"), message, came=True)
        elif policy.most * policy.rate.interval > LONGEST:
            message = "must come back within a year where it is shared"
            found.add((*path, "burst" if policy.burst is not None else "rate"), message, came=True)


def _check_route(route: Route, path: Path, config: Config, found: Findings) -> None:
    policies = found.written("rate_limits")
    seen: set[str] = set()
    for position, limit in enumerate(route.rate_limit):
        place: Path = (*path, "rate_limit", position)
        if limit.policy not in policies:
            close = nearest(limit.policy, policies)
            there = f"there is {listed(policies, 'and')}" if policies else "there is none yet: write them at the top"
            hint = f'did you mean "{close}"?' if close else there
            found.add((*place, "policy"), "must name one of `rate_limits`", came=True, hint=hint)
            continue
        if limit.policy in seen:
            found.add(place, f"has {limit.policy} a second time")
        seen.add(limit.policy)
        policy = config.rate_limits.get(limit.policy)
        if policy is not None:
            _check_identity(policy, limit.policy, route, place, config, found)
        if policy is not None and policy.rate is not None:
            dearest = limit.cost * max([1, *policy.costs.values()])
            if dearest > policy.most:
                message = f"makes a request take {dearest}, more than the burst of {limit.policy}, {policy.most}"
                found.add((*place, "cost"), message)


def _check_identity(policy: RateLimit, name: str, route: Route, path: Path, config: Config, found: Findings) -> None:
    """Keys by who it is, on a route where nobody is asked that: they would count by client without a word."""
    if found.unseen((*path[:-2], "auth")) or found.lost((*path[:-2], "auth")) != bool(route.auth):
        return
    ways = [config.auth[auth] for auth in route.auth if auth in config.auth]
    for part in policy.key:
        kind = part.partition(":")[0]
        if kind == "api-key" and not any(way.api_keys is not None for way in ways):
            needed = "API keys"
        elif kind == "jwt" and not any(way.jwt is not None for way in ways):
            needed = "tokens"
        else:
            continue
        how = f"its `auth` takes no {needed}" if route.auth else "it has no `auth`"
        found.warn(path, f"{name} counts by {part}, which no request of this route has, as {how}: it counts by client")


def _check_access(access: Access | None, path: Path, found: Findings) -> None:
    if access is None:
        return
    for position, network in enumerate(access.deny):
        if network.prefixlen == 0 and not access.allow:
            found.warn((*path, "deny", position), "lets nobody in")
    for position, network in enumerate(access.allow):
        if any(network.version == other.version and network.subnet_of(other) for other in access.deny):  # type: ignore[arg-type]  # of one version, which mypy can not see
            found.warn((*path, "allow", position), "is denied as well, and deny wins")
