"""A draw in proportion to weight."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random

from balancer.server import Server
from balancer.strategy.weights import bounds_of, draw, weights_of


class RandomChoice:
    """Draws a server, each as likely as its weight.

    It remembers nothing, so many balancers in front of the same servers never fall into step.
    """

    __slots__ = ("_bounds", "_rng", "_weights", "servers")

    keyed = False
    reason = "drawn by weight"

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = tuple(servers)
        self._weights = weights_of(servers)
        self._bounds = bounds_of(self._weights)
        self._rng = rng

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        if self.servers and not tried:
            return self.servers[draw(self._bounds, self._rng)]
        left = [index for index, server in enumerate(self.servers) if server not in tried]
        if not left:
            return None
        bounds = bounds_of([self._weights[index] for index in left])
        return self.servers[left[draw(bounds, self._rng)]]

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        return {"share": self._weights[self.servers.index(server)] / self._bounds[-1]}
