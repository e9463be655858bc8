"""The less busy of two servers drawn by lot."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random

from balancer.server import Server
from balancer.strategy.weights import bounds_of, draw, weights_of


class TwoChoices:
    """Draws two servers and takes the one with fewer requests in flight for its weight.

    Nearly as even as comparing all of them, at a cost that does not grow with the pool; and since no server
    is everybody's favourite, many balancers do not all run to the one that is idle. The first is drawn by
    weight and wins a tie, so an idle pool is shared by weight too; the second is any other.
    """

    __slots__ = ("_bounds", "_others", "_ring", "_rng", "_weights", "servers")

    keyed = False
    reason = "the less busy of two drawn by lot"

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = tuple(servers)
        weights = weights_of(servers)
        self._bounds = bounds_of(weights)
        self._weights = weights * 2
        self._ring = self.servers * 2  # so that counting on from the first one never runs off the end
        self._others = len(self.servers) - 1
        self._rng = rng

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        if tried:
            return self._among([server for server in self.servers if server not in tried])
        others = self._others
        if others < 1:
            return self.servers[0] if self.servers else None
        rng = self._rng
        one = draw(self._bounds, rng)
        two = one + 1 + int(rng.random() * others)
        first = self._ring[one]
        second = self._ring[two]
        if second.inflight * self._weights[one] < first.inflight * self._weights[two]:
            return second
        return first

    def _among(self, servers: Sequence[Server]) -> Server | None:
        """A pick from fewer servers than it was built over: for retries, and while some are at their cap."""
        return TwoChoices(servers, self._rng).pick(0, 0.0)

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        return {"score": server.inflight / self._weights[self.servers.index(server)]}
