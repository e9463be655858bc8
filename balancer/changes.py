"""What an operator may change while the balancer runs: functions from what holds to another overlay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from config import overlay as overlays
from config.checks import STRATEGIES
from config.overlay import Overlay, ServerState
from config.problems import ConfigError, Problem, listed, path_text
from config.schema import Config, Health, Pool, Server


class Unknown(LookupError):
    """A pool or server that the configuration in force does not have."""


class Conflict(Exception):
    """A change that what is in force does not allow; nothing has changed."""


class Stale(Exception):
    """A change of what is not in force any more; nothing has changed."""


class Standing(NamedTuple):
    """What holds when a change is made."""

    file: Config
    """With the overlay's patch applied."""
    config: Config
    """In force: the same with the rest of the overlay merged in."""
    overlay: Overlay

    def pool(self, name: str) -> Pool:
        if name not in self.config.pools:
            raise Unknown(f"there is no pool {name!r}, but {', '.join(map(repr, self.config.pools))}")
        return self.config.pools[name]

    def server(self, pool: str, name: str) -> Server:
        servers = self.pool(pool).servers
        if name not in servers:
            raise Unknown(f"pool {pool!r} has no server {name!r}, but {', '.join(map(repr, servers))}")
        return servers[name]


SOCKET = "must be no socket, unless the configuration file names it"

Edit = Callable[[Standing], Overlay]
"""Raises Unknown, Conflict or ConfigError. It is called when its turn has come, and so judges by what holds then."""


def initialize(
    pool: str, servers: Mapping[str, Server], strategy: str | None = None, health: Health | None = None
) -> Edit:
    """Replace a pool's servers and forget their marks; None leaves strategy or health as they are.

    A strategy of one's own is code to be run, so it is the file that has to name it first: whoever holds a key
    may choose among what whoever owns the machine has put there.
    """

    def edit(standing: Standing) -> Overlay:
        own = standing.pool(pool).strategy
        known = {*STRATEGIES, own, *(each.strategy for each in standing.file.pools.values())}
        if strategy is not None and strategy not in known:
            message = f"must be {listed((*STRATEGIES, 'a strategy that the configuration file names'))}"
            raise ConfigError([Problem("the change", 0, 0, path_text(("pools", pool, "strategy")), message)])
        _check_sockets(standing, pool, servers)
        return overlays.initialize(standing.overlay, pool, servers, strategy, health)

    return edit


def add_server(pool: str, name: str, server: Server) -> Edit:
    def edit(standing: Standing) -> Overlay:
        if name in standing.pool(pool).servers:
            raise Conflict(f"pool {pool!r} has a server {name!r} already: PATCH changes it")
        _check_sockets(standing, pool, {name: server})
        return overlays.add_server(standing.overlay, pool, name, server)

    return edit


def _check_sockets(standing: Standing, pool: str, servers: Mapping[str, Server]) -> None:
    """Refuse sockets that the file does not name: behind one may be what rules the machine, such as a container engine.

    A network address is reached as from anywhere on the machine; a socket's file is guarded by who may open it, and the
    balancer may open more than whoever holds a key.
    """
    known = {each.url for one in standing.file.pools.values() for each in one.servers.values()}
    problems = [
        Problem("the change", 0, 0, path_text(("pools", pool, "servers", name, "url")), SOCKET)
        for name, server in servers.items()
        if server.url.lower().startswith("unix:") and server.url not in known
    ]
    if problems:
        raise ConfigError(problems)


def change_server(pool: str, name: str, settings: Mapping[str, int | bool | None]) -> Edit:
    """Other values for `weight`, `max_connections` and `backup`, as many of them as `settings` has."""

    def edit(standing: Standing) -> Overlay:
        server = standing.server(pool, name)
        weight = settings.get("weight")
        if settings.keys() == {"weight"} and weight is not None:
            return overlays.set_weight(standing.overlay, pool, name, weight)
        return overlays.add_server(standing.overlay, pool, name, server.model_copy(update=dict(settings)))

    return edit


def remove_server(pool: str, name: str) -> Edit:
    """It finishes what it has. A pool's last server stays: it would leave nobody to ask."""

    def edit(standing: Standing) -> Overlay:
        standing.server(pool, name)
        if len(standing.pool(pool).servers) == 1:
            raise Conflict(f"{name!r} is the last server of pool {pool!r}: drain it, or initialize the pool")
        return overlays.remove_server(standing.overlay, standing.file, pool, name)

    return edit


def set_state(pool: str, name: str, state: ServerState | None) -> Edit:
    """Drain a server or put it into maintenance; None makes it ready again."""

    def edit(standing: Standing) -> Overlay:
        standing.server(pool, name)
        return overlays.set_state(standing.overlay, pool, name, state)

    return edit


def clear(pool: str | None = None) -> Edit:
    """Take back every change to a pool, or every change: the file holds again."""

    def edit(standing: Standing) -> Overlay:
        if pool is not None and pool not in standing.overlay.pools:
            standing.pool(pool)
        return overlays.cleared(standing.overlay, pool)

    return edit
