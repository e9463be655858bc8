"""A whole proxied request without a kernel: what is left is our own work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count, cycle
from random import Random

from balancer.limits.crowd import Crowd
from balancer.listening import Listener
from balancer.plane import Plane
from balancer.proxy.client_connection import ClientConnection
from balancer.proxy.upstream_connection import UpstreamConnection
from balancer.reception import Views
from balancer.server import Server
from balancer.snapshot import Snapshot
from balancer.tally import ListenerTally
from config.rates import Rate
from config.schema import Auth, Config, Pool, RateLimit, Route, RouteLimit
from config.schema import Listener as ListenerSettings
from config.schema import Server as ServerSettings
from config.values import Address


class _Transport(asyncio.Transport):
    """Takes what it is given, at once, and counts it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 40000)})
        self.taken = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.taken += len(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


def exchange(
    request: bytes | Sequence[bytes], answer: bytes, *, limited: bool = False, auth: Auth | None = None
) -> Callable[[], object]:
    """A call that takes a request through the proxy and its answer back, on connections that are kept.

    `limited`: its route has a limit, which lets everything pass. `auth`: it asks who the request is from. Of several
    requests each comes in its turn.
    """
    stage = _Stage(caches=False, limited=limited, auth=auth)
    turns = cycle([request] if isinstance(request, bytes) else request)

    def once() -> None:
        stage.ask(next(turns), answer)

    return once


def hit(request: bytes, answer: bytes) -> Callable[[], object]:
    """A call that has a request answered from memory: `answer` is stored."""
    stage = _Stage(caches=True)
    stage.ask(request, answer)

    def once() -> None:
        stage.ask(request, None)

    return once


def miss(request: Callable[[int], bytes], answer: bytes, *, caches: bool) -> Callable[[], object]:
    """A call that has a server asked for what it was never asked for; `request` makes them by their number."""
    stage = _Stage(caches=caches)
    turns = count()

    def once() -> None:
        stage.ask(request(next(turns)), answer)

    return once


class _Stage:
    """A plane between a client and a server, whose connections are kept."""

    def __init__(self, *, caches: bool, limited: bool = False, auth: Auth | None = None) -> None:
        with asyncio.Runner() as runner:  # a plane needs a loop to be made, and none for what is measured
            plane, server, listener = runner.run(_plane(caches=caches, limited=limited, auth=auth))
        self._client = ClientConnection(listener)
        self._upstream = UpstreamConnection(plane.dialer, server)
        self._to_client, self._to_server = _Transport(), _Transport()
        self._client.connection_made(self._to_client)
        self._upstream.connection_made(self._to_server)
        plane.dialer.idle(self._upstream)

    def ask(self, request: bytes, answer: bytes | None) -> None:
        """One request; None: no server is to be asked."""
        before, asked = self._to_client.taken, self._to_server.taken
        self._client.data_received(request)
        if (self._to_server.taken == asked) != (answer is None):
            raise RuntimeError("the server was asked" if answer is None else "the server was not asked")
        if answer is not None:
            self._upstream.data_received(answer)
        if self._to_client.taken == before:
            raise RuntimeError("the request was not answered")


async def _plane(*, caches: bool, limited: bool, auth: Auth | None) -> tuple[Plane, Server, Listener]:
    settings = Pool.model_validate(
        {"servers": {"a": ServerSettings(url="http://127.0.0.1:80")}, "health": {"active": None}}
    )
    plane = Plane(Views(), b"a secret of thirty-two bytes....", Random(1))
    limits = {"all": RateLimit(rate=Rate.of("100000000/s"))}
    chosen = (RouteLimit(policy="all"),) if limited else ()
    ways = {} if auth is None else {"it": auth}
    routes = {"all": Route(pool="app", cache=caches, rate_limit=chosen, auth=tuple(ways))}
    config = Config(listeners={}, pools={"app": settings}, routes=routes, rate_limits=limits, auth=ways)
    await plane.apply(Snapshot(1, config))
    address = ListenerSettings(address=Address.of("127.0.0.1:80"))  # it is not opened
    listener = Listener("main", address, config, ListenerTally(), plane.reception, Crowd(1, 1), plane.trust)
    return plane, plane.pools["app"].servers["a"], listener
