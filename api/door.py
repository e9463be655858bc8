"""The way in to the admin API: how long a connection may take over what, and how many there may be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from api.protocol import Protocol
from config.values import Address

Layer = Callable[[asyncio.Protocol], asyncio.Protocol]
"""Puts TLS before a protocol: what it makes is the protocol to the connection, and the transport to that one."""
_TOLD = b"this port speaks TLS: use https://\n"
TLS_HERE = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_TOLD), _TOLD)
)
"""For whoever asks in plain HTTP, perhaps with a key that has now been read on the way."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for what a client has to do, and how many clients there may be."""

    head: float = 10.0
    """From the first byte of a request, or from the connection's beginning, to the end of its head."""
    body: float = 30.0
    """From there to the end of its body."""
    idle: float = 75.0
    """From the end of the work for a request to the next one, so also for taking the answer."""
    connections: int = 256
    """Open ones; a descriptor that the admin API holds is one that traffic may lack."""


PATIENCE = Patience()


class Door:
    """Every connection of one listener, each with the time until which it has to have got on.

    aiohttp itself waits for a head and for the reader of an answer as long as it takes. So its protocol is put behind
    one that watches the bytes, and `attending`, around each request, says when a head is complete. The handler's own
    time is not counted: `?wait=` may take its time.
    """

    def __init__(self, patience: Patience, refused: Callable[[int], None] = lambda _status: None) -> None:
        """`refused` is called with the status of each answer that no operation gave: the request was not to be read."""
        self.patience = patience
        self._refused = refused
        self._visitors: dict[asyncio.BaseTransport, Visitor] = {}  # the one that came first is first
        self._layered: dict[asyncio.BaseTransport, Visitor] = {}  # those with TLS, by what aiohttp has for a transport

    def __len__(self) -> int:
        return len(self._visitors)

    def __iter__(self) -> Iterator[Visitor]:
        return iter(self._visitors.values())

    def factory(self, server: web.Server, layer: Layer | None = None) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of a new connection. TLS is within it: a handshake takes a place, and has an end."""
        if layer is None:
            return lambda: Visitor(self, Protocol(server, self._refused))
        return lambda: Visitor(self, layer(Protocol(server, self._refused)), speaks_tls=True)

    @contextmanager
    def attending(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """Around the work for one request."""
        visitor = self._visitor(transport)
        if visitor is None:  # it came in some other way, or has left
            yield
            return
        visitor.begin()
        try:
            yield
        finally:
            visitor.end()

    @contextmanager
    def hearing(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """Around the wait for a body, within `attending`: who keeps it back makes room as who says nothing does.

        Otherwise whoever can reach the port could hold every place with bodies that do not come, without a key.
        """
        visitor = self._visitor(transport)
        if visitor is None:
            yield
            return
        visitor.hear()
        try:
            yield
        finally:
            visitor.begin()

    def _visitor(self, transport: asyncio.BaseTransport | None) -> Visitor | None:
        if transport is None:
            return None
        return self._visitors.get(transport) or self._layered.get(transport)

    def admit(self, visitor: Visitor, transport: asyncio.Transport) -> bool:
        """Whether there is room; the connection that has been idle longest makes it."""
        if len(self._visitors) >= self.patience.connections:
            idle = (each for each in self._visitors.values() if not each.attended)
            oldest = min(idle, key=lambda each: each.since, default=None)
            if oldest is None:
                return False
            oldest.leave()
        self._visitors[transport] = visitor
        if isinstance(visitor.inner, asyncio.BaseTransport):
            self._layered[visitor.inner] = visitor
        return True

    def forget(self, transport: asyncio.BaseTransport) -> None:
        visitor = self._visitors.pop(transport, None)
        if visitor is not None and isinstance(visitor.inner, asyncio.BaseTransport):
            self._layered.pop(visitor.inner, None)


class Visitor(asyncio.Protocol):
    """One connection: passes everything on to aiohttp's protocol, and ends it when its time is over."""

    def __init__(self, door: Door, inner: asyncio.Protocol, *, speaks_tls: bool = False) -> None:
        self.attended = False  # a request is being worked on
        self.awaited = False  # by a request that has begun: its body
        self.since = 0.0  # when that last changed, by the loop's clock
        self._door = door
        self.inner = inner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None  # None: refused or gone
        self._timer: asyncio.TimerHandle | None = None
        self._begun = True  # a head has begun to come, or is due
        self._tls_due = speaks_tls  # nothing has come yet, and TLS should

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        if not self._door.admit(self, stream):
            stream.abort()
            return
        self._transport = stream
        self.since = self._loop.time()
        self._give(self._door.patience.head)
        self.inner.connection_made(stream)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._tls_due:
            self._tls_due = False
            if b"A" <= data[:1] <= b"Z":  # the beginning of a method; a TLS record begins with 0x16
                self._transport.write(TLS_HERE)
                self._transport.close()
                return
        if not self._begun:
            self._begun = True
            self._give(self._door.patience.head)
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        transport, self._transport = self._transport, None
        self._give(None)
        if transport is not None:
            self._door.forget(transport)
            self.inner.connection_lost(exc)

    def begin(self) -> None:
        """A head is complete, or a body."""
        self.attended = self._begun = True
        self.awaited = False
        self.since = self._loop.time()
        self._give(None)

    def hear(self) -> None:
        """The client has to go on."""
        self.attended, self.awaited = False, True
        self.since = self._loop.time()

    def end(self) -> None:
        """The answer is on its way."""
        self.attended = self._begun = False
        self.since = self._loop.time()
        self._give(self._door.patience.idle)

    def leave(self) -> None:
        """End the connection at once: an orderly end would wait for whoever does not read."""
        if self._transport is not None:
            self._door.forget(self._transport)
            self._transport.abort()

    def _give(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and self._transport is not None:
            self._timer = self._loop.call_later(seconds, self.leave)


DOOR = web.AppKey("door", Door)


class Site(web.BaseSite):
    """The address that a door is at. A socket's file is there as long as the site is open, and no longer."""

    def __init__(self, runner: web.AppRunner, address: Address, layer: Layer | None = None) -> None:
        super().__init__(runner)
        self._layer = layer
        self._door = runner.app[DOOR]
        self._address = address

    @property
    def name(self) -> str:
        return str(self._address)

    async def start(self) -> None:
        """OSError: it can not be opened."""
        await super().start()
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None  # a site can not be made before the runner is set up
        factory = self._door.factory(server, self._layer)
        if self._address.path:
            self._server = await loop.create_unix_server(factory, self._address.path)
            os.chmod(self._address.path, 0o660)
        else:
            self._server = await loop.create_server(factory, self._address.host or None, self._address.port)

    async def stop(self) -> None:
        opened = self._server is not None
        await super().stop()
        if opened and self._address.path:
            with suppress(FileNotFoundError):  # newer versions of asyncio have done it
                os.unlink(self._address.path)
