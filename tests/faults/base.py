"""The base state: what a plane holds when nothing is under way, and that it comes back to it."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from balancer.caching.fetch import Fetch, Past, Unsafe
from balancer.caching.fill import Fill
from balancer.caching.follower import Follower
from balancer.compression.packing import ROOM
from balancer.plane import Plane
from balancer.proxy.client_connection import ClientConnection
from balancer.proxy.exchange import Exchange
from balancer.proxy.upstream_connection import UpstreamConnection

PATIENCE = 8.0
_EXCHANGES = (Exchange, Fetch, Past, Unsafe, Follower)
_KEPT = (*_EXCHANGES, ClientConnection, UpstreamConnection, Fill)


def descriptors(pid: int | str = "self") -> int:
    """Open descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/smaps_rollup names no Rss")


def _held() -> Counter[str]:
    """The objects of connections that anything refers to."""
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects() if type(one) in _KEPT)


@dataclass(frozen=True, slots=True)
class Base:
    """Everything that could be left over, counted."""

    descriptors: int
    tasks: int
    clients: int
    counted_clients: int
    upstream: int
    dials: int
    inflight: int
    tunnels: int
    waiting: int
    fills: int
    growing: int
    lookups: int
    coders: int
    others: Counter[str] = field(default_factory=Counter, compare=False)
    """Objects of earlier tests that are kept by something else, such as the traceback of one that failed."""

    @classmethod
    def of(cls, plane: Plane) -> Base:
        """As it is now, idle connections to servers left out: they are closed first."""
        servers = [server for pool in plane.pools.values() for server in pool.servers.values()]
        for server in servers:
            plane.dialer.close_idle(server)
        return cls(
            descriptors=descriptors(),
            tasks=len(asyncio.all_tasks()),
            clients=sum(len(listener.connections) for listener in plane.listeners.values()),
            counted_clients=plane.connections,
            upstream=len(plane.dialer.connections),
            dials=len(plane.dialer.dials),
            inflight=sum(server.inflight for server in servers),
            tunnels=sum(server.tunnels for server in servers),
            waiting=sum(len(pool.waiting) for pool in plane.pools.values()),
            fills=sum(map(len, plane.reception.cache.stock.fills.values())),
            growing=plane.reception.cache.stock._growing,
            lookups=len(plane.reception.cache._tasks),
            coders=ROOM.held,
        )

    @classmethod
    async def settled(cls, plane: Plane) -> Base:
        """Once it has been the same for a while."""
        last = cls.of(plane)
        same = 0
        while same < 5:
            await asyncio.sleep(0.02)
            now = cls.of(plane)
            same = same + 1 if now == last else 0
            last = now
        held = _held()
        held.subtract(ClientConnection=last.clients, UpstreamConnection=last.upstream, Exchange=last.clients)
        return replace(last, others=+held)

    async def is_back(self, plane: Plane) -> None:
        """Wait until the plane holds this again, and no more objects than connections."""
        end = asyncio.get_running_loop().time() + PATIENCE
        # Fewer descriptors are what earlier tests had left, collected meanwhile.
        while (now := Base.of(plane)) != replace(self, descriptors=min(self.descriptors, now.descriptors)):
            if asyncio.get_running_loop().time() > end:
                left = {
                    name: (asdict(self)[name], value)
                    for name, value in asdict(now).items()
                    if asdict(self)[name] != value
                }
                tasks = [str(task.get_coro()) for task in asyncio.all_tasks()]
                raise AssertionError(f"left over, as (before, after): {left}; the tasks are {tasks}")
            await asyncio.sleep(0.02)
        kept = _held()
        kept.subtract(self.others)
        assert kept["ClientConnection"] <= self.clients, kept
        assert kept["UpstreamConnection"] <= self.upstream, kept
        assert sum(kept[kind.__name__] for kind in _EXCHANGES) <= self.clients, kept
        assert kept["Fill"] <= 0, kept
