"""Answers of the admin API, made from its own models, so that these tests read what it really writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from api.answers import (
    LastCheck,
    PoolStatus,
    Provisional,
    ServerChecks,
    ServerLatency,
    ServerStatus,
    SharedLimitsStatus,
    State,
    Status,
    Totals,
    Weight,
)
from api.cache_models import CacheStats, KeyAnswer, PurgeAnswer, PurgedAnswer, TagAnswer
from balancer.telemetry.figures import HitRatio, Latency, Quantiles, Rate

NOW = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)


def server(
    name: str,
    state: State = "up",
    reason: str = "200 in 2 ms",
    *,
    pool: str = "app",
    since: timedelta | None = timedelta(hours=3),
    weight: Weight | None = None,
    backup: bool = False,
    in_flight: int = 4,
    tunnels: int = 0,
    errors: int = 0,
    p50: float | None = 0.0012,
    p99: float | None = 0.015,
    checked: timedelta | None = timedelta(seconds=2),
) -> ServerStatus:
    up = state == "up"
    last = LastCheck(at=NOW - checked, ok=up, status=200, reason=reason, seconds=0.002) if checked else None
    return ServerStatus(
        pool=pool,
        name=name,
        url=f"http://{name}",
        state=state,
        reason=reason,
        since=NOW - since if since is not None else None,
        in_rotation=up,
        weight=weight or Weight(set=1, effective=1.0 if up else 0.0),
        backup=backup,
        max_connections=0,
        in_flight=in_flight,
        tunnels=tunnels,
        idle_connections=8,
        requests=12345,
        responses={"2xx": 12345},
        failures={},
        errors=errors,
        latency=ServerLatency(ewma=p50, p50=p50, p95=p99, p99=p99, reason=None),
        checks=ServerChecks(passed=7, failed=0, last=last),
        ejections=0,
        ejected_until=None,
    )


def pool(*servers: ServerStatus, name: str = "app", panic: bool = False, queue: int = 0) -> PoolStatus:
    return PoolStatus(
        name=name,
        strategy="round-robin",
        panic=panic,
        queue=queue,
        up=sum(server.state == "up" for server in servers),
        servers={server.name: server for server in servers},
    )


def status(
    *pools: PoolStatus,
    shared_limits: SharedLimitsStatus | None = None,
    provisional: Provisional | None = None,
    unknown_cdns: Sequence[str] = (),
) -> dict[str, object]:
    servers = [server for pool in pools for server in pool.servers.values()]
    made = Status(
        generation=3,
        at=NOW,
        strategy="round-robin",
        pools={pool.name: pool for pool in pools},
        totals=Totals(
            pools=len(pools),
            servers=len(servers),
            up=sum(server.state == "up" for server in servers),
            in_flight=sum(server.in_flight for server in servers),
            idle_connections=8,
            requests=98765,
            errors=sum(server.errors for server in servers),
            client_connections=200,
        ),
        unknown_cdns=list(unknown_cdns),
        shared_limits=shared_limits,
        provisional=provisional,
    )
    document: dict[str, object] = json.loads(made.model_dump_json())
    return document


def rate(per_second: float) -> dict[str, object]:
    made = Rate(total=98765, per_second=per_second, per_second_1m=None, per_second_5m=None)
    return made.model_dump()


def cache_stats(**changes: object) -> dict[str, object]:
    """What the cache says of itself; by default that there is one, with a little in it."""
    fields: dict[str, object] = {
        "at": NOW,
        "enabled": True,
        "entries": 1843,
        "bytes": 48 * 2**20,
        "limit": 64 * 2**20,
        "history": [],
        "hit_ratio": HitRatio(now=0.94, five_minutes=0.931, hour=0.9991, since_start=None),
        "requests": {"miss": 6120, "hit": 91022, "bypass": 44},
        "routes": {},
        "fills": 6120,
        "fills_under_way": 1,
        "collapsed": 310,
        "waiting": 0,
        "refreshes": 0,
        "uncacheable": 0,
        "stored": 6000,
        "not_stored": {"private": 44},
        "evicted": 120,
        "invalidated": 0,
        "purges": {},
        "purges_pending": 0,
        "purged": 0,
        "overflows": 0,
        "redis": None,
        "top_keys": [
            KeyAnswer(url="https://h/", variants=2, hits=9120, bytes=31744, status=200, age=18.0, ttl=42.0),
            KeyAnswer(url="https://h/posts", variants=1, hits=4711, bytes=700, status=200, age=480.0, ttl=-3.0),
        ],
        "top_tags": [TagAnswer(tag="posts", entries=310)],
    }
    document: dict[str, object] = json.loads(CacheStats.model_validate({**fields, **changes}).model_dump_json())
    return document


def receipt(*items: PurgedAnswer) -> dict[str, object]:
    """The receipt of a purge with these items."""
    levels = [level for item in items for level in item.levels]
    made = PurgeAnswer(ok=all(level.ok for level in levels), levels=levels, items=list(items))
    document: dict[str, object] = json.loads(made.model_dump_json())
    return document


def metrics(**per_second: float) -> dict[str, object]:
    """As much as `balancer status` reads of the figures; the rate of each server of the pool `app`."""
    last_minute = Quantiles(p50=0.0012, p90=0.01, p99=0.0154, max=0.02)
    servers = {name: {"requests": rate(value)} for name, value in per_second.items()}
    return {
        "requests": rate(sum(per_second.values())),
        "latency": Latency(last_minute=last_minute, since_start=last_minute).model_dump(),
        "pools": {"app": {"servers": servers}},
    }
