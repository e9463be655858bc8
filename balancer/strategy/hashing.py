"""The same server for the same key, as far as load allows."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from hashlib import blake2b
from math import ceil, log
from random import Random

from balancer.server import Server
from balancer.strategy.round_robin import RoundRobin
from balancer.strategy.weights import weights_of
from config.schema import HashKey, Pool

BUCKETS = 1 << 14
"""Keys fall into this many buckets. Another number would move nearly every key, so it stays."""
AT_ONCE = 6
"""Requests in flight that are no load whatever the share: what a browser asks for at once stays together."""
UNKNOWN = -1

_WORD = (1 << 64) - 1


def key_of(value: bytes) -> int:
    """The key of what a pool hashes by: the same in every process and on every machine, unlike `hash`."""
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "little")


class Hash:
    """Sends each key to one server, and to the next one on the key's own list while that server is too busy.

    Rendezvous hashing: each server draws a lot for each key, longer odds for less weight, and the servers in
    order of their lots are the key's list. When a server leaves, its keys move and no other; when it comes
    back, or its weight grows, keys move to it and nowhere else. A ring needs hundreds of points for each
    server to be as even and cannot follow weights without moving other keys; Maglev's table moves other keys
    as well and takes tens of milliseconds to lay out.

    What rendezvous costs, a look at every server, is paid once for each bucket of keys: its first server is
    remembered until rotation changes. Beyond `AT_ONCE`, no server gets more than `balance` times its share of
    the pool's requests in flight, the new one counted, so one hot key cannot sink its server. A request that
    has nothing to hash (key 0, such as a missing cookie) takes its turn as in round-robin.
    """

    __slots__ = ("_balance", "_first", "_seeds", "_shares", "_turns", "_weights", "servers")

    keyed = True
    reason = "first on the key's list that is not too busy"

    def __init__(self, servers: Sequence[Server], rng: Random, settings: Pool | None = None) -> None:
        self.servers = tuple(servers)
        self._balance = (settings.hash if settings else HashKey()).balance
        self._weights = weights_of(self.servers)
        total = sum(self._weights)
        self._shares = [weight / total for weight in self._weights]
        self._seeds = [key_of(server.name.encode()) for server in self.servers]
        self._first = array("i", [UNKNOWN]) * BUCKETS  # the index of each bucket's server, filled in as keys come
        self._turns = RoundRobin(servers, rng)

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        if not key or not self.servers:
            return self._turns.pick(key, now, tried)
        bucket = key % BUCKETS
        index = self._first[bucket]
        if index == UNKNOWN:
            index = self._first[bucket] = min(range(len(self.servers)), key=self._lots(bucket).__getitem__)
        server = self.servers[index]
        # While nearly idle it is within any limit, and the others need not be counted.
        if not tried and (server.inflight < AT_ONCE or server.inflight < self._limit(index, self._inflight())):
            return server
        return self._next_best(bucket, tried)

    def _next_best(self, bucket: int, tried: Collection[Server]) -> Server | None:
        """The first on the list that is left and not too busy; if all of those are too busy, the first."""
        lots = self._lots(bucket)
        inflight = self._inflight()
        left = [i for i in sorted(range(len(lots)), key=lots.__getitem__) if self.servers[i] not in tried]
        for index in left:
            if self.servers[index].inflight < self._limit(index, inflight):
                return self.servers[index]
        return self.servers[left[0]] if left else None

    def _lots(self, bucket: int) -> list[float]:
        """Each server's lot for a bucket, lowest first on its list: exponential, weight being the rate."""
        return [_lot(seed, bucket) / weight for seed, weight in zip(self._seeds, self._weights, strict=True)]

    def _inflight(self) -> int:
        return sum([server.inflight for server in self.servers])

    def _limit(self, index: int, inflight: int) -> int:
        """The requests in flight that a server may come to, of `inflight` and one more."""
        return max(ceil(self._balance * (inflight + 1) * self._shares[index]), AT_ONCE)

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        index = self.servers.index(server)
        figures = {"share": self._shares[index], "limit": float(self._limit(index, self._inflight()))}
        if key:
            figures["score"] = self._lots(key % BUCKETS)[index]
        return figures


def _lot(seed: int, bucket: int) -> float:
    """A variate of the exponential distribution that depends on nothing but its arguments."""
    # The finisher of SplitMix64 over the two, put together by its own odd constant.
    word = (seed + bucket * 0x9E3779B97F4A7C15) & _WORD
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _WORD
    return -log(((word ^ word >> 31) + 0.5) / 2.0**64)
