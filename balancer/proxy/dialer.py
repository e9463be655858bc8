"""Connections to servers: found idle, or opened. Opening one is the only task in a request's path."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from socket import socket
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from balancer.proxy.reach import NoHandshake, reach
from balancer.proxy.sides import NEVER
from balancer.proxy.upstream_connection import UpstreamConnection
from balancer.server import OURS, Server
from balancer.server_tls import Way
from config.addresses import INTERNAL

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

RECENT: Final = 1.0
"""Seconds. An idle connection may be closed by its server at any moment, and a request that must not be sent twice
would be lost with it. Servers keep idle connections for two seconds and more (gunicorn 2, node 5, nginx 75), so
one that was in use this recently is safe."""


class Dial:
    """A connection being opened for an exchange."""

    __slots__ = ("deadline", "exchange", "task")

    def __init__(self, exchange: Exchange, deadline: float) -> None:
        self.exchange = exchange
        self.deadline = deadline
        self.task: asyncio.Task[None] | None = None

    def overdue(self) -> None:
        self.deadline = NEVER
        self.exchange.deadline_passed()


class Dialer:
    """Keeps one plane's connections to servers: each idle, or of one exchange, or half of a tunnel, or closing."""

    def __init__(self, longest_head: int, most_fields: int) -> None:
        self.longest_head = longest_head
        self.most_fields = most_fields
        self.connections: set[UpstreamConnection] = set()
        self.dials: dict[Exchange, Dial] = {}
        self.doors: dict[str, Callable[[], socket]] = {}  # by URL: how servers inside of this process are reached
        self.closing = False

    def connect(self, server: Server, exchange: Exchange, *, recent_only: bool, fresh: bool) -> None:
        """Give the exchange an idle connection at once, last used first, or begin to open one."""
        idle = cast("list[UpstreamConnection]", server.idle)
        if idle and not fresh and not (recent_only and monotonic() - idle[-1].idle_since > RECENT):
            connection = idle.pop()  # only open ones are in it: `closed` takes the others out
            connection.begin(exchange)
            exchange.upstream_ready(connection, True)
            return
        dial = Dial(exchange, min(monotonic() + exchange.route.connect, exchange.deadline))
        self.dials[exchange] = dial
        dial.task = asyncio.get_running_loop().create_task(self._open(server, dial))

    async def _open(self, server: Server, dial: Dial) -> None:
        loop = asyncio.get_running_loop()
        exchange = dial.exchange
        connection = UpstreamConnection(self, server)
        try:
            if connection.way is not None:
                await reach(server, connection.way, connection, exchange.client)
            elif server.port:
                await loop.create_connection(lambda: connection, server.host, server.port)
            elif server.host.startswith(INTERNAL):
                await loop.create_unix_connection(lambda: connection, sock=self._through(server.host))
            else:
                await loop.create_unix_connection(lambda: connection, server.host)
        except asyncio.CancelledError:
            # uvloop lets go of a connection that was made already without a word to its protocol.
            self.closed(connection)
            raise
        except NoHandshake as error:
            if self.dials.pop(exchange, None) is dial:
                exchange.upstream_failed("connect", str(error))
            return
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that no resolver takes
            if self.dials.pop(exchange, None) is not dial:
                return
            if isinstance(error, OSError) and error.errno in OURS:
                exchange.out_of_means(_why(error))
            else:
                exchange.upstream_failed("connect", _why(error))
            return
        if self.dials.pop(exchange, None) is not dial:
            connection.close()  # the exchange gave up while this task was about to run
            return
        server.tally.connects += 1
        if connection.gone:  # TLS may have had its end in the bytes of its beginning
            exchange.upstream_failed("connect", "it closed the connection after the TLS handshake")
            return
        connection.begin(exchange)
        exchange.upstream_ready(connection, False)

    def _through(self, name: str) -> socket:
        door = self.doors.get(name)
        if door is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody is there")
        return door()

    def gave_up(self, exchange: Exchange) -> None:
        dial = self.dials.pop(exchange, None)
        if dial is not None and dial.task is not None:
            dial.task.cancel()

    # The keeper's side.

    def opened(self, connection: UpstreamConnection) -> None:
        self.connections.add(connection)

    def closed(self, connection: UpstreamConnection) -> None:
        self.connections.discard(connection)
        self.not_idle(connection)

    def not_idle(self, connection: UpstreamConnection) -> None:
        if connection in connection.server.idle:
            connection.server.idle.remove(connection)

    def idle(self, connection: UpstreamConnection) -> None:
        server = connection.server
        keeping = server.keeping
        now = monotonic()
        if (
            self.closing
            or server.removed
            or server.maintenance
            or len(server.idle) >= keeping.idle_per_server
            or now - connection.born > keeping.lifetime
            or connection.way is not server.way  # made under another configuration
        ):
            connection.close()
            return
        way = connection.way
        if way is not None and not self._keeps(connection, way):
            connection.close()
            return
        connection.idle_since = now
        connection.deadline = now + keeping.idle
        server.idle.append(connection)

    def _keeps(self, connection: UpstreamConnection, way: Way) -> bool:
        """Whether it can serve another client; of TLS, remember what the next handshake is shorter with."""
        if way.proxy_protocol is not None:
            return False  # the server has been told who its client is
        if not connection.idle_since:
            way.session = connection.session() or way.session
        return True

    def close_idle(self, server: Server) -> None:
        """The server has left the rotation for good, or for maintenance."""
        for connection in cast("list[UpstreamConnection]", list(server.idle)):
            connection.close()


def _why(error: OSError | UnicodeError) -> str:
    """A few words for the client and the log, without addresses."""
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    if isinstance(error, OSError) and error.strerror:
        return f"connecting failed ({error.strerror})"
    return f"connecting failed ({type(error).__name__})"
