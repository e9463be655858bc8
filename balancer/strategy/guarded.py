"""A user's strategy behind a guard, so that its faults never reach a request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from random import Random
from typing import Any

from balancer.server import Server
from balancer.strategy.contract import OnError, Plugin, StrategyError
from balancer.strategy.round_robin import RoundRobin

PATIENCE = 10
"""Faults in a row that switch a plug-in off: one odd request must not; what is broken must not go on."""


class Guarded:
    """A plug-in and the round-robin that stands in for it.

    A pick falls back when the plug-in raises, or names anything but one of its servers that is left. Each
    fault is told to `on_error`. After `PATIENCE` faults in a row, or one in its constructor, the plug-in is
    off until the strategy is built anew, which happens with the next change of rotation, weights or
    configuration.
    """

    __slots__ = ("_fallback", "_faults", "_known", "_name", "_on_error", "_plugin", "keyed", "servers")

    def __init__(
        self,
        name: str,
        construct: Callable[[], Plugin],
        servers: Sequence[Server],
        rng: Random,
        on_error: OnError,
    ) -> None:
        self.servers = tuple(servers)
        self.keyed = False
        self._name = name
        self._known = frozenset(servers)
        self._fallback = RoundRobin(servers, rng)
        self._on_error = on_error
        self._faults = 0  # in a row
        self._plugin: Plugin | None = None  # None: off
        try:
            self._plugin = construct()
            self.keyed = bool(getattr(self._plugin, "keyed", False))
        except Exception as error:  # an outermost place: the code is the user's, and may raise anything
            self._plugin = None
            on_error(error)

    @property
    def reason(self) -> str:
        if self._plugin is None:
            return f"next in turn, as {self._name} is off after its errors"
        return f"the choice of {self._name}"

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        if self._plugin is not None:
            try:
                server = self._plugin.pick(key, now, tried)
                if isinstance(server, Server) and server in self._known and server not in tried:
                    self._faults = 0
                    return server
                fault = self._fault(server, tried)
            except Exception as error:  # an outermost place: the code is the user's, and may raise anything
                fault = error
            if fault is not None:
                self._failed(fault)
        return self._fallback.pick(key, now, tried)

    def _fault(self, picked: object, tried: Collection[Server]) -> Exception | None:
        """What is wrong with a pick that is not to be used; nothing, if there was nobody left to pick."""
        left = sum(server not in tried for server in self.servers)
        if picked is None:
            return (
                StrategyError(f"{self._name}.pick returned None while {left} of its servers were left")
                if left
                else None
            )
        if isinstance(picked, Server) and picked in self._known:
            return StrategyError(f"{self._name}.pick returned {picked!r}, which is among `tried`: leave those out")
        return StrategyError(f"{self._name}.pick returned {picked!r}, which is none of the servers it was built over")

    def _failed(self, error: Exception) -> None:
        self._faults += 1
        self._on_error(error)
        if self._faults == PATIENCE:
            self._plugin = None
            self._on_error(
                StrategyError(f"{self._name} failed {PATIENCE} times in a row: round-robin stands in until a rebuild")
            )

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        """The plug-in's own figures if it gives any. Faults here are not counted: no request is at stake."""
        told = getattr(self._plugin, "figures", None)
        if told is None:
            return {}
        try:
            return {str(name): float(value) for name, value in told(server, key, now).items()}
        except Exception:  # an outermost place: the code is the user's, and may raise anything
            return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Guarded:
        """A copy for a preview: it tells nobody of its faults, and the pool is not copied with `on_error`."""
        twin = Guarded.__new__(Guarded)
        twin.servers = self.servers
        twin.keyed = self.keyed
        twin._name = self._name
        twin._known = self._known
        twin._fallback = deepcopy(self._fallback, memo)
        twin._on_error = _ignore
        twin._faults = self._faults
        twin._plugin = deepcopy(self._plugin, memo)
        return twin


def _ignore(error: Exception) -> None:
    """Nobody is told."""
