"""The server that answers soonest, as far as it can be told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import inf
from random import Random

from balancer.server import Server
from balancer.strategy.weights import bounds_of, draw, weights_of

SMALL = 8
"""Up to this many servers all are compared, beyond it two drawn by lot (see the class)."""
TRIALS = 3
"""Requests in flight that a server may have before its first answer: one could hang, so more than one."""
RESOLUTION = 1e-4
"""Seconds added to each latency: nobody is so fast, or unheard of so long, that load does not count."""


class ResponseTime:
    """Takes the server with the least latency times requests in flight (the new one counted) for its weight.

    Latency is a peak-sensitive average, into which a penalty goes for each error; so a server that fails fast
    is slow. Three rules keep it from being misled:

    A server that has not answered yet is tried first, but with no more than `TRIALS` requests at a time. It
    gets more only if the choice is otherwise one that has just failed: then its latency is guessed.

    An average that nothing renews fades, so a server that was slow or failing is tried again: after 46 s when
    the penalty is a hundred times the others' latency and `decay` is 10 s. The fading starts anew with each
    request it is sent, so that it is tried with one request and not with all there are until the first
    answer.

    In small pools all servers are compared. Of two drawn by lot the best of three servers would be left out a
    third of the time, and two bad ones out of three get that third whatever they do. Since requests in flight
    are counted here and at once, the best is not overrun. In large pools two are drawn: comparing all would
    cost more than it gains, and no server can get more than its share of the draws, however good it looks.
    """

    __slots__ = ("_asked", "_bounds", "_rng", "_weights", "servers")

    keyed = False
    reason = "soonest answer expected, by latency and requests in flight"

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = tuple(servers)
        self._weights = weights_of(servers)
        self._bounds = bounds_of(self._weights)
        self._asked = [0.0] * len(self.servers)  # when each was last picked
        self._rng = rng

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        candidates: Sequence[int] = range(len(self.servers))
        if tried:
            candidates = [index for index in candidates if self.servers[index] not in tried]
            if len(candidates) > SMALL:
                candidates = self._rng.sample(candidates, 2)
        elif len(candidates) > SMALL:
            candidates = self._two()
        best = self._lowest(candidates, now)
        if best is None:
            return None
        if self._awaited(best):
            best = self._instead(best, candidates, now)
        self._asked[best] = now
        return self.servers[best]

    def _awaited(self, index: int) -> bool:
        """Whether it has had its trials and is yet to answer."""
        server = self.servers[index]
        return not server.latency.measured and server.inflight >= TRIALS

    def _instead(self, awaited: int, candidates: Iterable[int], now: float) -> int:
        """The best that is not awaited, unless it has just failed."""
        best = self._lowest([index for index in candidates if not self._awaited(index)], now)
        return awaited if best is None or self.servers[best].latency.failing else best

    def _two(self) -> tuple[int, int]:
        """One drawn by weight and any other."""
        count = len(self.servers)
        one = draw(self._bounds, self._rng)
        return one, (one + 1 + int(self._rng.random() * (count - 1))) % count

    def _lowest(self, candidates: Iterable[int], now: float) -> int | None:
        best = None
        low = inf
        ties = 1
        for index in candidates:
            score = self._score(index, now)
            if score < low:
                best = index
                low = score
                ties = 1
            elif score == low:  # as among servers that have not answered yet
                ties += 1
                if self._rng.random() * ties < 1.0:
                    best = index
        return best

    def _score(self, index: int, now: float) -> float:
        server = self.servers[index]
        latency = server.latency
        # For its trials, it counts as an instant answer.
        expected = latency.at(now, self._asked[index]) if latency.measured or server.inflight >= TRIALS else 0.0
        return (expected + RESOLUTION) * (server.inflight + 1) / self._weights[index]

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        index = self.servers.index(server)
        return {} if self._awaited(index) else {"score": self._score(index, now)}
