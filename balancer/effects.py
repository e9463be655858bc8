"""What a change of the configuration does, in sentences for whoever is about to make it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from pydantic import BaseModel

from balancer.reloads import AT_START_ONLY, restart_required
from balancer.telemetry.report import PoolReport, Report, ServerReport
from config.schema import Config, Pool, Route

MOST = 200
"""Sentences that are told; a change of more is a new configuration, and nobody reads on."""
M = TypeVar("M", bound=BaseModel)
_TOLD_APART = ("listeners", "pools", "routes", "limits", "timeouts")


def effects(before: Config, after: Config, report: Report) -> tuple[str, ...]:
    """What going from one configuration to the other does now, by what `report` says is under way."""
    told = [
        *_listeners(before, after, report),
        *_pools(before, after, report),
        *_routes(before, after),
        *_rest(before, after),
        *_restarts(before, after),
    ]
    if len(told) > MOST:
        return (*told[:MOST], f"and {len(told) - MOST} more")
    return tuple(told)


def _listeners(before: Config, after: Config, report: Report) -> Iterator[str]:
    for name, old, new in _pairs(before.listeners, after.listeners):
        tally = report.listeners.get(name)
        open_ = _counted(tally.open if tally is not None else 0, "connection")
        if new is None:
            yield f"listener {name}: closed; its {open_} finish what is under way"
        elif old is None:
            yield f"listener {name}: opened at {new.address}"
        else:
            if old.address != new.address:
                yield f"listener {name}: moves from {old.address} to {new.address}; its {open_} finish their work"
            if other := _others(old, new, "address"):
                yield f"listener {name}: other {other} for new connections"


def _pools(before: Config, after: Config, report: Report) -> Iterator[str]:
    for name, old, new in _pairs(before.pools, after.pools):
        now = report.pools.get(name)
        if new is None:
            yield f"pool {name}: leaves, {_under_way(_inflight(now), 'its')}"
        elif old is None:
            yield f"pool {name}: is new, with {_counted(len(new.servers), 'server')}; each {_begins(new)}"
        else:
            yield from _pool(name, old, new, now)


def _pool(name: str, old: Pool, new: Pool, now: PoolReport | None) -> Iterator[str]:
    reports = {server.name: server for server in now.servers} if now is not None else {}
    for server, was, is_ in _pairs(old.servers, new.servers):
        if is_ is None:
            yield f"pool {name}: server {server} leaves, {_under_way(_busy(reports.get(server)), 'its')}"
        elif was is None:
            yield f"pool {name}: server {server} comes, and {_begins(new)}"
        elif was.url != is_.url:
            done = _under_way(_busy(reports.get(server)), "the old one's")
            yield f"pool {name}: server {server} is another one, {is_.url}, which {_begins(new)}; {done}"
        else:
            if was.weight != is_.weight:
                yield f"pool {name}: server {server} has weight {is_.weight} instead of {was.weight}"
            if other := _others(was, is_, "url", "weight"):
                yield f"pool {name}: server {server} has other {other}"
    if old.strategy != new.strategy:
        yield f"pool {name}: picks by {new.strategy} instead of {old.strategy}"
    if old.tls != new.tls or old.proxy_protocol != new.proxy_protocol:
        yield f"pool {name}: idle connections to its servers are closed, and new ones made in the new way"
    if other := _others(old, new, "servers", "strategy", "tls", "proxy_protocol"):
        yield f"pool {name}: other {other} for new requests"


def _routes(before: Config, after: Config) -> Iterator[str]:
    for name, old, new in _pairs(before.routes, after.routes):
        if new is None:
            yield f"route {name}: leaves; requests under way finish"
        elif old is None:
            yield f"route {name}: is new, and {_does(new)}"
        else:
            if _target(old) != _target(new):
                yield f"route {name}: {_does(new)} instead of what it did, from the next request on"
            if other := _others(old, new, "pool", "split", "redirect", "respond"):
                yield f"route {name}: other {other} from the next request on"
        if old is not None and _cached(old, before) and (new is None or _stored(old, before) != _stored(new, after)):
            yield f"route {name}: cached answers dropped"


def _rest(before: Config, after: Config) -> Iterator[str]:
    """Groups without members of their own."""
    for group in Config.model_fields:
        old, new = getattr(before, group), getattr(after, group)
        if group in _TOLD_APART or old == new:
            continue
        if isinstance(old, BaseModel) and isinstance(new, BaseModel):
            for key in type(old).model_fields:
                if getattr(old, key) != getattr(new, key) and f"{group}.{key}" not in AT_START_ONLY:
                    yield f"{group}: the new {key.replace('_', ' ')} holds at once"
        else:
            yield f"{group.replace('_', ' ')}: what is new holds at once"
    for group in ("limits", "timeouts"):
        if other := _others(getattr(before, group), getattr(after, group)):
            yield f"defaults: other {group} ({other}) for new connections"


def _restarts(before: Config, after: Config) -> Iterator[str]:
    for path in restart_required(before, after):
        yield f"restart needed: {path} takes effect at the next start"


def _pairs(before: Mapping[str, M], after: Mapping[str, M]) -> Iterator[tuple[str, M | None, M | None]]:
    """Those that differ; those that leave come first."""
    yield from ((name, old, None) for name, old in before.items() if name not in after)
    yield from ((name, before.get(name), new) for name, new in after.items() if before.get(name) != new)


def _others(old: BaseModel, new: BaseModel, *apart: str) -> str:
    """The fields that differ, in words."""
    return ", ".join(
        key.replace("_", " ")
        for key in type(old).model_fields
        if key not in apart and getattr(old, key) != getattr(new, key)
    )


def _busy(server: ServerReport | None) -> int:
    return server.inflight + server.tunnels if server is not None else 0


def _inflight(pool: PoolReport | None) -> int:
    return pool.queue + sum(map(_busy, pool.servers)) if pool is not None else 0


def _under_way(count: int, whose: str) -> str:
    if not count:
        return "with nothing under way"
    return f"{whose} {_counted(count, 'request')} under way finish{'es' if count == 1 else ''}"


def _begins(pool: Pool) -> str:
    """When a server that is new has its first request."""
    if pool.health.active is None or pool.health.start == "up":
        return "gets traffic at once"
    return "gets traffic once its first check has passed"


def _target(route: Route) -> tuple[object, ...]:
    return route.pool, route.split, route.redirect, route.respond


def _does(route: Route) -> str:
    if route.redirect is not None:
        return f"redirects to {route.redirect.to}"
    if route.respond is not None:
        return f"answers {route.respond.status} itself"
    return f"goes to {' and '.join(route.split or [str(route.pool)])}"


def _cached(route: Route, config: Config) -> bool:
    return bool(config.cache.enabled if route.cache is None else route.cache) and _target(route)[2:] == (None, None)


def _stored(route: Route, config: Config) -> tuple[object, ...]:
    """What stored answers of a route are kept by: others are not found any more."""
    rule = config.cache.rules.get(route.cache) if isinstance(route.cache, str) else None
    kept = (rule.key, rule.ignore_query) if rule is not None else None
    return _cached(route, config), route.pool, route.split, kept


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
