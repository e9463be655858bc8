"""Strategies: which of the servers in rotation a request is sent to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from random import Random

from balancer.server import Server
from balancer.strategy.contract import Build, OnError, Strategy, StrategyError
from balancer.strategy.hashing import Hash, key_of
from balancer.strategy.least_connections import LeastConnections
from balancer.strategy.plugin import load_plugin
from balancer.strategy.preview import figures, preview
from balancer.strategy.random import RandomChoice
from balancer.strategy.response_time import ResponseTime
from balancer.strategy.round_robin import RoundRobin
from balancer.strategy.two_choices import TwoChoices
from config.schema import Pool

__all__ = [
    "STRATEGIES",
    "Strategy",
    "StrategyError",
    "build",
    "figures",
    "key_of",
    "load_strategy",
    "preview",
]

STRATEGIES: dict[str, Callable[[Sequence[Server], Random], Strategy]] = {
    "round-robin": RoundRobin,
    "least-connections": LeastConnections,
    "response-time": ResponseTime,
    "two-choices": TwoChoices,
    "random": RandomChoice,
    "hash": Hash,
}
"""The built-in ones; each can be made from servers and a Random alone."""


def build(settings: Pool, servers: Sequence[Server], rng: Random, on_error: OnError) -> Strategy:
    """The strategy that a pool's settings name, over the servers in rotation; StrategyError if there is none.

    `on_error` is told of every fault of a user's own strategy; the built-in ones have none.
    """
    return load_strategy(settings.strategy)(servers, rng, settings, on_error)


@cache
def load_strategy(name: str) -> Build:
    """What builds the strategy of a built-in name or of a dotted path `package.module:Class`.

    Raises StrategyError, with what to do, when there is no such strategy or it cannot work. What was found is
    kept, since rebuilding must not import; changed code takes effect with a restart.
    """
    if ":" in name:
        return load_plugin(name)
    if name == "hash":
        return lambda servers, rng, settings, on_error: Hash(servers, rng, settings)
    if name in STRATEGIES:
        made = STRATEGIES[name]
        return lambda servers, rng, settings, on_error: made(servers, rng)
    raise StrategyError(f"there is no strategy {name!r}{_hint(name)}")


def _hint(name: str) -> str:
    near = get_close_matches(name.lower().replace("_", "-"), STRATEGIES, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    module, dot, last = name.rpartition(".")
    if dot:
        return f"; a class of your own is written {module}:{last}"
    return f"; use {', '.join(STRATEGIES)}, or package.module:Class for a class of your own"
