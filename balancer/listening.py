"""A listener: aiohttp's server machinery, making our connections instead of its own request handlers."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from balancer.http1.fields import usual
from balancer.http1.head import RequestHead
from balancer.limits.crowd import Crowd, client_network
from balancer.proxy.client_connection import ClientConnection
from balancer.proxy.threshold import Threshold
from balancer.ranges.trust import Trust
from balancer.tally import ListenerTally
from balancer.tls.contexts import Contexts
from balancer.tls.credentials import Watched
from config.auth import own_fields
from config.schema import Config
from config.schema import Listener as ListenerSettings

if TYPE_CHECKING:
    from balancer.proxy.sides import Serving

BACKLOG = 1024
NO_RATE = 1e-6
"""Bytes a second that anybody manages: a minimum of 0 is none."""


class Desk(Protocol):
    """Who takes the requests of all listeners."""

    def open(self, listener: Listener, client: ClientConnection, head: RequestHead) -> Serving | None: ...

    def refused(self, listener: Listener, client: ClientConnection, status: int, size: int) -> None: ...


class _Server(web.Server):
    """aiohttp's server with our protocol in the place of its request handler."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(_never_called)
        self._listener = listener

    def __call__(self) -> ClientConnection | Threshold:  # type: ignore[override]  # our own protocols are the point
        listener = self._listener
        return ClientConnection(listener) if listener.plain else Threshold(listener)

    def pre_shutdown(self) -> None:
        """Connections have had their last call already."""

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # aiohttp's signature
        for connection in list(self._listener.connections):
            connection.cut()


async def _never_called(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("requests of a traffic listener do not pass through aiohttp")


class Listener:
    """One address that takes traffic, and the door its clients' connections see."""

    def __init__(
        self,
        name: str,
        settings: ListenerSettings,
        config: Config,
        tally: ListenerTally,
        desk: Desk,
        crowd: Crowd,
        trust: Trust,
        credentials: Watched | None = None,
    ) -> None:
        """`crowd` and `trust` are those of all listeners; `credentials` are there if the settings ask for TLS."""
        self.name = name
        self._crowd = crowd
        self._trust = trust
        self.tally = tally
        self.connections: set[ClientConnection | Threshold] = set()
        self.closing = False
        self.date = b""
        self._desk = desk
        self._runner: web.ServerRunner | None = None
        self._bound: list[socket.socket] = []
        self._sites: list[web.BaseSite] = []
        self.configure(settings, config, credentials)

    def configure(self, settings: ListenerSettings, config: Config, credentials: Watched | None) -> None:
        """Take over a new configuration of the same address. Connections that are open keep what they began with."""
        self.settings = settings
        self.credentials = credentials
        self.scheme = b"http" if credentials is None else b"https"
        self.proxy_protocol: str = settings.proxy_protocol
        self.plain = credentials is None and settings.proxy_protocol == "refuse"
        tls = settings.tls
        self.subject_field = tls.client_subject.encode("ascii") if tls is not None and tls.client_ca else b""
        self.reserve(config)
        limits, timeouts = config.limits, config.timeouts
        self.longest_head = limits.head
        self.longest_target = limits.uri
        self.most_fields = limits.header_count
        self.most_connections = limits.connections
        self.head_time = timeouts.request_head
        self.handshake_time = timeouts.tls_handshake
        self.keep_alive = timeouts.keep_alive
        self.body_idle = timeouts.request_body_idle
        self.body_rate = float(limits.body_rate) or NO_RATE
        self.write_idle = timeouts.idle

    def reserve(self, config: Config) -> None:
        """Keep all clients from speaking in the fields that tell whose certificate one has, or who has been let in.

        Connections that are open are no exception, as they are in other things: one that was opened before the
        first of these fields came up could else forge it for as long as it lives.
        """
        asking = [tls for one in config.listeners.values() if (tls := one.tls) is not None and tls.client_ca]
        self.reserved = frozenset(usual(tls.client_subject.lower().encode("ascii")) for tls in asking)
        self.owned = frozenset(usual(name.lower().encode("ascii")) for name in own_fields(config.auth))
        for connection in self.connections:
            if isinstance(connection, ClientConnection):
                connection.reserve()

    def bind(self) -> None:
        """Take the address: from now on clients wait in the kernel's queue until `serve`. Raises OSError."""
        address = self.settings.address
        if address.path:
            remove_stale_socket(address.path)
            self._bound = [_bound(socket.AF_UNIX, address.path)]
            return
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        failures = []
        for family, where in dict.fromkeys((one[0], one[4]) for one in found):
            try:
                self._bound.append(_bound(family, where))
            except OSError as error:
                # "Every interface" means those there are: without IPv6, its half is not missed.
                if address.host or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    self._unbind()
                    raise
                failures.append(error)
        if not self._bound:
            raise failures[0]

    async def serve(self) -> None:
        """Accept clients on what `bind` took."""
        self._runner = web.ServerRunner(_Server(self))
        await self._runner.setup()
        for bound in self._bound:
            site = web.SockSite(self._runner, bound, backlog=BACKLOG)
            await site.start()
            self._sites.append(site)

    def _unbind(self) -> None:
        for bound in self._bound:
            bound.close()
        self._bound.clear()

    @property
    def port(self) -> int:
        """The port that is really bound, when the configured one is 0."""
        if not self._bound or self._bound[0].family == socket.AF_UNIX:
            return 0
        return int(self._bound[0].getsockname()[1])

    async def stop(self) -> None:
        """Accept no more; every connection closes after its next answer, or soon when none is asked for."""
        self.closing = True
        sites, self._sites = self._sites, []
        for site in sites:
            await site.stop()
        self._unbind()
        for connection in self.connections:
            connection.last_call()

    async def close(self) -> None:
        """End what is still open."""
        await self.stop()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
            await asyncio.sleep(0)  # aborted transports report on the loop's next turn
        if self.settings.address.path:
            remove_stale_socket(self.settings.address.path)

    # The door's side.

    @property
    def contexts(self) -> Contexts | None:
        return self.credentials.current.contexts if self.credentials is not None else None

    def admit(self, connection: ClientConnection | Threshold) -> bool:
        tally = self.tally
        if connection in self.connections:
            return True  # see `let_in`
        tally.connections += 1
        if self.closing:
            return False
        network = None if self.trusts(connection.address) else client_network(connection.address)
        refusal = "too-many-connections" if tally.open >= self.most_connections else self._crowd.enter(network)
        if refusal is not None:
            tally.rejected[refusal] += 1
            return False
        connection.network = network
        self.connections.add(connection)
        tally.open += 1
        return True

    def let_in(self, threshold: Threshold, connection: ClientConnection) -> bool:
        """A client goes on as a connection of ours, perhaps under an address that a proxy has told.

        It has been counted already; False when there are too many of that address.
        """
        if threshold not in self.connections:
            return False
        connection.network = threshold.network
        if connection.address != threshold.address:
            network = None if self.trusts(connection.address) else client_network(connection.address)
            refusal = self._crowd.move(threshold.network, network)
            if refusal is not None:
                self.tally.rejected[refusal] += 1
                return False
            connection.network = network
        self.connections.discard(threshold)
        self.connections.add(connection)
        connection.last = self.closing
        return True

    def left(self, connection: ClientConnection | Threshold) -> None:
        if connection in self.connections:
            self.connections.discard(connection)
            self.tally.open -= 1
            self._crowd.leave(connection.network)

    def trusts(self, address: str) -> bool:
        return address in self._trust.proxies

    def open(self, client: ClientConnection, head: RequestHead) -> Serving | None:
        return self._desk.open(self, client, head)

    def refused(self, client: ClientConnection, status: int, size: int) -> None:
        self._desk.refused(self, client, status, size)


def _bound(family: int, where: str | tuple[object, ...]) -> socket.socket:
    """A socket that listens, and on which nothing is accepted yet."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        if family != socket.AF_UNIX:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(where)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def remove_stale_socket(path: str) -> None:
    """A socket left behind by a process that was killed keeps the address busy; one that is served is left alone."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
