"""The server with the fewest requests in flight."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from random import Random

from balancer.server import Server
from balancer.strategy.round_robin import RoundRobin
from balancer.strategy.weights import weights_of


class LeastConnections:
    """Takes the server with the fewest requests in flight for its weight.

    Counts requests and not connections: an idle keep-alive connection is no work. Idle servers take turns by
    weight, since at low load nearly every pick is a tie and a fixed order would give the first server
    everything; other ties are drawn by weight.
    """

    __slots__ = ("_members", "_rng", "_turns", "servers")

    keyed = False
    reason = "fewest requests in flight for its weight"

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = tuple(servers)
        self._members = tuple(zip(self.servers, weights_of(servers), strict=True))
        self._turns = RoundRobin(servers, rng)
        self._rng = rng

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        members: Sequence[tuple[Server, float]] = self._members
        if tried:
            members = [member for member in members if member[0] not in tried]
        else:
            turn = self._turns.pick(key, now)
            if turn is None or not turn.inflight:
                return turn  # nobody can have less
        best = None
        low = inf
        tied = 0.0
        for server, weight in members:
            load = server.inflight / weight
            if load < low:
                best = server
                low = load
                tied = weight
            elif load == low:
                # Each of those that tie ends up as the pick as often as its share of their weights.
                tied += weight
                if self._rng.random() * tied < weight:
                    best = server
        return best

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        return {"score": server.inflight / dict(self._members)[server]}
