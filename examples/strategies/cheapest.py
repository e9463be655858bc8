"""Fills the cheapest servers first: a strategy of one's own, complete.

Name it in `balancer.yaml`, and say which servers are cheap by what they are called:

    pools:
      app:
        strategy: examples.strategies.cheapest:Cheapest
        servers:
          own-1: http://10.0.0.11:8000
          spot-1: http://10.0.1.11:8000
          cloud-1: http://10.0.2.11:8000

`balancer check` tells whether the class can be used.
"""

from collections.abc import Collection, Sequence
from random import Random

from balancer.server import Server

CHEAPEST_FIRST = ("own", "spot", "cloud")
ROOM = 50  # requests that a server may have in flight before the next dearer one is used


class Cheapest:
    """Takes the cheapest server that has room, and when none has, the least busy one."""

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = sorted(servers, key=lambda server: price(server.name))

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        left = [server for server in self.servers if server not in tried]
        roomy = (server for server in left if server.inflight < ROOM)
        return next(roomy, min(left, key=lambda server: server.inflight, default=None))


def price(name: str) -> int:
    """The place of a server's kind among the prices; unknown kinds are the dearest."""
    kind = name.partition("-")[0]
    return CHEAPEST_FIRST.index(kind) if kind in CHEAPEST_FIRST else len(CHEAPEST_FIRST)
