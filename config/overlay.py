"""What the admin API changed, kept apart from the file, so that a reload keeps both and each can be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field, JsonValue

from config.diff import Change, diff
from config.document import leaves
from config.masking import masked
from config.problems import path_text
from config.schema import Config, Health, Model, Pool, Server

ServerState = Literal["drained", "maintenance"]
ServerKey = tuple[str, str]
"""Pool name and server name."""
T = TypeVar("T")


class PoolOverlay(Model):
    """The changes to one pool."""

    servers: dict[str, Server] | None = None
    """In place of all the file's servers; then `added`, `removed` and `weights` are empty."""
    added: dict[str, Server] = Field(default_factory=dict)
    """Beside the file's servers, or in place of those of the same name."""
    removed: frozenset[str] = frozenset()
    weights: dict[str, Annotated[int, Field(ge=1, le=1000)]] = Field(default_factory=dict)
    """Of servers in the file."""
    strategy: str | None = None
    health: Health | None = None
    states: dict[str, ServerState] = Field(default_factory=dict)
    """drained: finish what is under way, take nothing new; maintenance: not probed either."""


class Overlay(Model):
    """All changes. Never edited: each function here returns another one."""

    pools: dict[str, PoolOverlay] = Field(default_factory=dict)
    """Those of single servers and pools, over what the patch makes of the file."""
    patch: dict[str, JsonValue] = Field(default_factory=dict)
    """A merge patch (RFC 7396) over the file, in its long form: see `config.patch`."""

    @property
    def is_empty(self) -> bool:
        return not self.pools and not self.patch


def initialize(
    overlay: Overlay,
    pool: str,
    servers: Mapping[str, Server],
    strategy: str | None = None,
    health: Health | None = None,
) -> Overlay:
    """Put these servers in place of the pool's; None keeps the strategy or health settings it has."""
    old = overlay.pools.get(pool, PoolOverlay())
    new = PoolOverlay(servers=dict(servers), strategy=strategy or old.strategy, health=health or old.health)
    return _changed(overlay, pool, new)


def add_server(overlay: Overlay, pool: str, name: str, server: Server) -> Overlay:
    """Add a server, or replace the one of that name."""
    old = overlay.pools.get(pool, PoolOverlay())
    if old.servers is not None:
        return _changed(overlay, pool, _but(old, servers={**old.servers, name: server}))
    new = _but(old, added={**old.added, name: server}, removed=old.removed - {name}, weights=_less(old.weights, name))
    return _changed(overlay, pool, new)


def remove_server(overlay: Overlay, config: Config, pool: str, name: str) -> Overlay:
    """Take a server out; `config` is the file's, which may have it."""
    old = overlay.pools.get(pool, PoolOverlay())
    new = _but(
        old,
        servers=None if old.servers is None else _less(old.servers, name),
        added=_less(old.added, name),
        weights=_less(old.weights, name),
        states=_less(old.states, name),
    )
    if old.servers is None and pool in config.pools and name in config.pools[pool].servers:
        new = _but(new, removed=old.removed | {name})
    return _changed(overlay, pool, new)


def set_weight(overlay: Overlay, pool: str, name: str, weight: int) -> Overlay:
    old = overlay.pools.get(pool, PoolOverlay())
    if old.servers is not None and name in old.servers:
        server = old.servers[name].model_copy(update={"weight": weight})
        return _changed(overlay, pool, _but(old, servers={**old.servers, name: server}))
    if name in old.added:
        server = old.added[name].model_copy(update={"weight": weight})
        return _changed(overlay, pool, _but(old, added={**old.added, name: server}))
    return _changed(overlay, pool, _but(old, weights={**old.weights, name: weight}))


def set_strategy(overlay: Overlay, pool: str, strategy: str | None) -> Overlay:
    """Another strategy; None is the file's again."""
    return _changed(overlay, pool, _but(overlay.pools.get(pool, PoolOverlay()), strategy=strategy))


def set_state(overlay: Overlay, pool: str, name: str, state: ServerState | None) -> Overlay:
    """Drain a server or put it into maintenance; None makes it ready again."""
    old = overlay.pools.get(pool, PoolOverlay())
    states = _less(old.states, name) if state is None else {**old.states, name: state}
    return _changed(overlay, pool, _but(old, states=states))


def cleared(overlay: Overlay, pool: str | None = None) -> Overlay:
    """Without the changes to a pool, or without any."""
    if pool is None:
        return Overlay()
    overlay = _changed(overlay, pool, PoolOverlay())
    pools = overlay.patch.get("pools")
    if not isinstance(pools, dict) or pool not in pools:
        return overlay
    left = _less(pools, pool)
    patch = {**overlay.patch, "pools": left} if left else _less(overlay.patch, "pools")
    return overlay.model_copy(update={"patch": patch})


def merge(config: Config, overlay: Overlay) -> Config:
    """The file's configuration, already patched, with the changes over it; the same object when they change nothing.

    Changes to what is no longer in the file have no effect, and those that would leave a pool without any
    server have none either: see `stale`.
    """
    pools = {name: _merged(pool, overlay.pools.get(name)) for name, pool in config.pools.items()}
    if all(pools[name] is pool for name, pool in config.pools.items()):
        return config
    return config.model_copy(update={"pools": pools})


def marks(config: Config, overlay: Overlay, state: ServerState) -> frozenset[ServerKey]:
    """The servers in a state; `config` is the merged one."""
    return frozenset(
        (pool, name)
        for pool, changes in overlay.pools.items()
        for name, marked in changes.states.items()
        if marked == state and pool in config.pools and name in config.pools[pool].servers
    )


def stale(config: Config, overlay: Overlay) -> tuple[Change, ...]:
    """The changes without effect on this configuration, the patched file's: what they are about is not there."""
    return tuple(change for pool, changes in overlay.pools.items() for change in _stale(config, pool, changes))


def describe(file: Config, overlay: Overlay, patched: Config | None = None) -> tuple[Change, ...]:
    """Everything that the overlay says over the file's configuration, value by value.

    `patched` is that configuration with the overlay's patch applied; None where there is none.
    """
    config = file if patched is None else patched
    after = merge(config, overlay)
    states = tuple(
        Change(path_text(("pools", pool, "servers", name, "state")), "ready", state)
        for pool, changes in overlay.pools.items()
        for name, state in changes.states.items()
        if pool in after.pools and name in after.pools[pool].servers
    )
    return (*diff(file, after), *states, *stale(config, overlay))


def patched(overlay: Overlay, patch: Mapping[str, JsonValue], pools: Mapping[str, PoolOverlay]) -> Overlay:
    """With another patch, and with these changes to pools left."""
    left = {name: changes for name, changes in pools.items() if changes != PoolOverlay()}
    return overlay.model_copy(update={"patch": dict(patch), "pools": left})


def stateless(overlay: Overlay) -> Overlay:
    """Without states of servers, which are no part of the configuration."""
    pools = {name: _but(changes, states={}) for name, changes in overlay.pools.items()}
    return patched(overlay, overlay.patch, pools)


def with_states(overlay: Overlay, other: Overlay) -> Overlay:
    """With the states of servers that another overlay has."""
    names = dict.fromkeys((*overlay.pools, *other.pools))
    nothing = PoolOverlay()
    pools = {
        name: _but(overlay.pools.get(name, nothing), states=other.pools.get(name, nothing).states) for name in names
    }
    return patched(overlay, overlay.patch, pools)


def only_states(changes: PoolOverlay) -> PoolOverlay:
    """The changes that no configuration could say: which servers are drained or in maintenance."""
    return PoolOverlay(states=changes.states)


def _merged(pool: Pool, changes: PoolOverlay | None) -> Pool:
    if changes is None:
        return pool
    servers = _servers(pool, changes)
    update: dict[str, object] = {} if servers == pool.servers else {"servers": servers}
    if changes.strategy is not None and changes.strategy != pool.strategy:
        update["strategy"] = changes.strategy
    if changes.health is not None and changes.health != pool.health:
        update["health"] = changes.health
    return pool.model_copy(update=update) if update else pool


def _servers(pool: Pool, changes: PoolOverlay) -> dict[str, Server]:
    base = pool.servers if changes.servers is None else changes.servers
    servers = {name: server for name, server in base.items() if name not in changes.removed} | changes.added
    if not servers:
        servers = dict(pool.servers)
    for name, weight in changes.weights.items():
        if name in servers:
            servers[name] = servers[name].model_copy(update={"weight": weight})
    return servers


def _stale(config: Config, name: str, changes: PoolOverlay) -> Iterator[Change]:
    pool = config.pools.get(name)
    if pool is None:
        for path, value in leaves(changes.model_dump(exclude_defaults=True)):
            whole = ("pools", name, *path)
            yield Change(path_text(whole), None, masked(whole, str(value)), stale=True)
        return
    servers = _servers(pool, changes)
    for server in sorted(changes.removed):
        if server not in pool.servers or server in servers:
            yield Change(path_text(("pools", name, "servers", server)), None, "removed", stale=True)
    for server, weight in changes.weights.items():
        if server not in servers:
            yield Change(path_text(("pools", name, "servers", server, "weight")), None, str(weight), stale=True)
    for server, state in changes.states.items():
        if server not in servers:
            yield Change(path_text(("pools", name, "servers", server, "state")), None, state, stale=True)


def _changed(overlay: Overlay, pool: str, changes: PoolOverlay) -> Overlay:
    pools = {**overlay.pools, pool: changes}
    return overlay.model_copy(update={"pools": pools if changes != PoolOverlay() else _less(pools, pool)})


def _but(changes: PoolOverlay, **update: object) -> PoolOverlay:
    return changes.model_copy(update=update)


def _less(mapping: Mapping[str, T], name: str) -> dict[str, T]:
    return {key: value for key, value in mapping.items() if key != name}
