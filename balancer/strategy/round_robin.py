"""Turns in proportion to weight."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from math import gcd
from random import Random

from balancer.server import Server
from balancer.strategy.weights import weights_of

LONGEST = 1024
"""Turns of one cycle, unless there are more servers: laying it out takes about a millisecond."""
FINE = 32
"""Turns of the lightest server where weights must be rounded: a share is then off by at most 1/64 of itself,
unless the cycle would get too long."""


class RoundRobin:
    """Takes turns in proportion to weight, spreading each server's turns evenly.

    The order of one whole cycle is fixed when the strategy is built, so a pick is one index. It begins
    anywhere in the cycle: rotation may change often, and beginning at the front would favour the first server
    each time.
    """

    __slots__ = ("_cycle", "_last", "_turn", "servers")

    keyed = False
    reason = "next in turn"

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = tuple(servers)
        order = smooth(whole_turns(weights_of(servers)))
        # Over no servers, every turn is nobody's.
        self._cycle: tuple[Server | None, ...] = tuple(self.servers[index] for index in order) or (None,)
        self._last = len(self._cycle) - 1
        self._turn = rng.randrange(len(self._cycle))

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        turn = self._turn
        self._turn = turn + 1 if turn < self._last else 0
        server = self._cycle[turn]
        if not tried or server not in tried:
            return server
        return self._untried(tried)

    def _untried(self, tried: Collection[Server]) -> Server | None:
        """The next in turn that is left. Its turn is spent too, so that retries spread out."""
        for _ in self._cycle:
            server = self._cycle[self._turn]
            self._turn = self._turn + 1 if self._turn < self._last else 0
            if server not in tried:
                return server
        return None

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        turns = [turn for turn, owner in enumerate(self._cycle) if owner is server]
        wait = min((turn - self._turn) % len(self._cycle) for turn in turns)
        return {"score": wait, "turns": len(turns), "cycle": len(self._cycle)}


def whole_turns(weights: Sequence[float]) -> list[int]:
    """The turns that each weight gets in one cycle: exact for whole weights in a cycle of bearable length."""
    if not weights:
        return []
    if all(weight.is_integer() for weight in weights):
        exact = _reduced([int(weight) for weight in weights])
        if sum(exact) <= LONGEST:
            return exact
    scale = min(FINE / min(weights), LONGEST / sum(weights))
    return _reduced([max(1, round(weight * scale)) for weight in weights])


def _reduced(turns: list[int]) -> list[int]:
    divisor = gcd(*turns)
    return [count // divisor for count in turns]


def smooth(turns: Sequence[int]) -> list[int]:
    """An order of one cycle, as indexes: at every point each has had its share so far, rounded up or down.

    Each turn is a job for one slot: the k-th of n turns must not come before k n-ths of the cycle nor after k
    + 1. The earliest deadline goes first, which finds such an order whenever there is one; and there always
    is.
    """
    length = sum(turns)
    coming = [(0, index, 0) for index in range(len(turns))]  # (first slot allowed, index, k)
    ready: list[tuple[int, int, int]] = []  # (deadline, index, k)
    order = []
    for slot in range(length):
        while coming and coming[0][0] <= slot:
            _, index, k = heappop(coming)
            heappush(ready, (-(-(k + 1) * length // turns[index]), index, k))
        _, index, k = heappop(ready)
        order.append(index)
        if k + 1 < turns[index]:
            heappush(coming, ((k + 1) * length // turns[index], index, k + 1))
    return order
