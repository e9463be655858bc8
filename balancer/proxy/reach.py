"""Opens connections to servers that do not begin with a request: with a PROXY preamble, with TLS, or with both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from balancer.http1.proxy_protocol import encode_v1, encode_v2
from balancer.proxy.tls_layer import TlsLayer
from balancer.proxy.upstream_connection import UpstreamConnection, last_words
from balancer.server import Server
from balancer.server_tls import Way, explain

if TYPE_CHECKING:
    from balancer.proxy.sides import ClientSide

ENCODE: Final = {"v1": encode_v1, "v2": encode_v2}
CUT_SHORT: Final = "it closed the connection during the TLS handshake"


class NoHandshake(Exception):
    """TLS could not be agreed on; the text says why in words for the client, without names and addresses."""


class _Layer(TlsLayer):
    """TLS towards a server; what it is told of the client goes before it."""

    __slots__ = ("_preamble",)

    def __init__(self, way: Way, connection: UpstreamConnection, preamble: bytes, done: asyncio.Future[bool]) -> None:
        assert way.context is not None
        super().__init__(
            way.context,
            connection,
            server_side=False,
            server_hostname=way.name,
            established=lambda _: _settle(done, True),
            failed=lambda _: _settle(done, False),
            session=way.session,
        )
        self._preamble = preamble

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._preamble:
            cast(asyncio.WriteTransport, transport).write(self._preamble)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        transport = self._transport
        if isinstance(exc, OSError) and transport is not None and (words := last_words(transport)):
            self.data_received(words)
            exc = self._lost_by or exc  # an alert says more than a reset
        super().connection_lost(exc)


def _settle(done: asyncio.Future[bool], ok: bool) -> None:
    if not done.done():  # else nobody waits any more
        done.set_result(ok)


async def reach(server: Server, way: Way, connection: UpstreamConnection, client: ClientSide) -> None:
    """Open `connection` for this client. Raises NoHandshake, and what connecting raises."""
    preamble = ENCODE[way.proxy_protocol](*client.ends()) if way.proxy_protocol is not None else b""
    if way.context is None:
        (await _connected(server, connection)).write(preamble)
        return
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    layer = _Layer(way, connection, preamble, done)
    try:
        await _connected(server, layer)
        ok = await done
    except asyncio.CancelledError:  # the time for connecting is over, or the client has left
        layer.abort()
        raise
    if not ok:
        raise NoHandshake(CUT_SHORT if layer.fault is None else explain(layer.fault))


async def _connected(server: Server, protocol: asyncio.Protocol) -> asyncio.WriteTransport:
    loop = asyncio.get_running_loop()
    factory: Callable[[], asyncio.Protocol] = lambda: protocol  # noqa: E731  # each of the two wants a factory
    if server.port:
        transport, _ = await loop.create_connection(factory, server.host, server.port)
    else:
        transport, _ = await loop.create_unix_connection(factory, server.host)
    return cast(asyncio.WriteTransport, transport)
