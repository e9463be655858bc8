"""What a strategy would do and why, without spending a turn."""

from __future__ import annotations

from copy import deepcopy

from balancer.server import Server
from balancer.strategy.contract import Strategy, StrategyError


def preview(strategy: Strategy, key: int, now: float) -> Server | None:
    """The server that `pick` would return now; raises StrategyError for a plug-in that cannot be copied.

    A copy of the strategy is asked, with its own random numbers but the same servers.
    """
    shared = {id(server): server for server in strategy.servers}
    try:
        twin = deepcopy(strategy, shared)
    except Exception as error:  # an outermost place: a plug-in's fields are the user's, and a lock cannot be copied
        raise StrategyError(f"cannot be asked without spending a turn: {type(error).__name__}: {error}") from error
    return twin.pick(key, now)


def figures(strategy: Strategy, server: Server, key: int, now: float) -> dict[str, float]:
    """What decides about one of the strategy's servers.

    `weight`, `inflight`, `latency` once it was measured, and the strategy's own; `score`, if it is there, is
    what the strategy compares: lowest wins.
    """
    known = {"weight": float(server.weight), "inflight": float(server.inflight)}
    if server.latency.measured:
        known["latency"] = server.latency.at(now)
    return known | strategy.figures(server, key, now)
