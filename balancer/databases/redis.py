"""What is told of a Redis, from what it says in INFO. Fields come and go with versions: each may be missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from balancer.databases.figures import share
from balancer.redis_link import RedisState
from balancer.telemetry.database_figures import RedisDetails, RedisKeyspace, RedisReplica

RATES: Final = {
    "total_commands_processed": "commands_per_s",
    "total_connections_received": "connections_per_s",
    "keyspace_hits": "hits_per_s",
    "keyspace_misses": "misses_per_s",
    "expired_keys": "expired_keys_per_s",
    "evicted_keys": "evicted_keys_per_s",
    "rejected_connections": "rejected_connections_per_s",
    "total_net_input_bytes": "network_input_bytes_per_s",
    "total_net_output_bytes": "network_output_bytes_per_s",
}
MOST: Final = 100
"""Replicas, and databases, that are told of."""


def details(state: RedisState, before: RedisState | None) -> RedisDetails | None:
    """None unless it has answered. `before` is the look before it, which was answered too."""
    info = state.info
    if not state.ok or not info:
        return None
    hits, misses = _whole(info, "keyspace_hits"), _whole(info, "keyspace_misses")
    rates = _rates(state, before)
    found, lost = rates.get("hits_per_s", 0.0), rates.get("misses_per_s", 0.0)
    replicas = list(_replicas(info))
    heard = _whole(info, "master_last_io_seconds_ago")
    saved, logged = info.get("rdb_last_bgsave_status"), info.get("aof_last_write_status")
    link = info.get("master_link_status")
    return RedisDetails(
        version=info.get("valkey_version") or info.get("redis_version"),
        role=info.get("role"),
        uptime=_whole(info, "uptime_in_seconds"),
        clients=_whole(info, "connected_clients"),
        max_clients=_whole(info, "maxclients"),
        blocked_clients=_whole(info, "blocked_clients"),
        used_memory=_whole(info, "used_memory"),
        used_memory_rss=_whole(info, "used_memory_rss"),
        max_memory=_whole(info, "maxmemory"),
        memory_policy=info.get("maxmemory_policy"),
        fragmentation_ratio=_number(info.get("mem_fragmentation_ratio")),
        hits=hits,
        misses=misses,
        hit_ratio=share(hits, hits + misses) if hits is not None and misses is not None else None,
        hit_ratio_recent=share(found, found + lost),
        operations_per_second=_number(info.get("instantaneous_ops_per_sec")),
        expired_keys=_whole(info, "expired_keys"),
        evicted_keys=_whole(info, "evicted_keys"),
        rejected_connections=_whole(info, "rejected_connections"),
        network_input_bytes=_whole(info, "total_net_input_bytes"),
        network_output_bytes=_whole(info, "total_net_output_bytes"),
        rdb_ok=saved == "ok" if saved is not None else None,
        rdb_changes=_whole(info, "rdb_changes_since_last_save"),
        aof=info["aof_enabled"] == "1" if "aof_enabled" in info else None,
        aof_ok=logged == "ok" if logged is not None else None,
        replicas=replicas,
        link_up=link == "up" if link is not None else None,
        link_heard_s=float(heard) if heard is not None and heard >= 0 else None,
        lag_bytes=_lag(info, replicas),
        slow_commands=state.slow,
        keyspace=dict(_keyspace(info)),
        rates=rates,
    )


def _rates(state: RedisState, before: RedisState | None) -> dict[str, float]:
    """Per second; none where a counter went back, as the server has begun anew or was told to."""
    if before is None or state.at <= before.at or state.info.get("run_id") != before.info.get("run_id"):
        return {}
    rates = {}
    for field, name in RATES.items():
        now, then = _whole(state.info, field), _whole(before.info, field)
        if now is None or then is None:
            continue
        if now < then:
            return {}
        rates[name] = round((now - then) / (state.at - before.at), 4)
    return rates


def _replicas(info: Mapping[str, str]) -> Iterator[RedisReplica]:
    """`slave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=1`"""
    written = _whole(info, "master_repl_offset")
    for number in range(MOST):
        line = info.get(f"slave{number}")
        if line is None:
            return
        said = _pairs(line)
        read, lag = _whole(said, "offset"), _number(said.get("lag"))
        host, port = said.get("ip", "?"), said.get("port", "?")
        yield RedisReplica(
            address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            state=said.get("state"),
            lag_bytes=max(0, written - read) if written is not None and read is not None else None,
            lag_s=lag if lag is not None and lag >= 0 else None,
        )


def _lag(info: Mapping[str, str], replicas: list[RedisReplica]) -> int | None:
    if info.get("role") == "slave":
        heard, applied = _whole(info, "slave_read_repl_offset"), _whole(info, "slave_repl_offset")
        return max(0, heard - applied) if heard is not None and applied is not None else None
    return max((one.lag_bytes for one in replicas if one.lag_bytes is not None), default=None)


def _keyspace(info: Mapping[str, str]) -> Iterator[tuple[str, RedisKeyspace]]:
    """`db0:keys=3,expires=1,avg_ttl=0`"""
    names = [name for name in info if name.startswith("db") and name[2:].isdigit()]
    for name in names[:MOST]:
        said = _pairs(info[name])
        keys = _whole(said, "keys")
        if keys is not None:
            yield name, RedisKeyspace(keys=keys, expires=_whole(said, "expires"))


def _pairs(line: str) -> dict[str, str]:
    return {name: value for name, found, value in (part.partition("=") for part in line.split(",")) if found}


def _whole(info: Mapping[str, str], name: str) -> int | None:
    try:
        return int(info.get(name, ""))
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if found == found and abs(found) != float("inf") else None
