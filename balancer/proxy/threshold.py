"""A connection before it may ask for anything: whose it is, and whether it speaks TLS."""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic
from typing import Final, Protocol, cast

from balancer.http1 import canned
from balancer.http1.proxy_protocol import NoPreamble, Preamble, could_begin, parse
from balancer.proxy.client_connection import LAST_CALL, ClientConnection, Door
from balancer.proxy.tls_layer import CUT_SHORT, LATE, TlsLayer
from balancer.tls.contexts import Contexts
from balancer.tls.hello import server_name
from balancer.tls.subject import NoSubject, subject

HANDSHAKE: Final = 0x16  # the first byte of TLS: a record that is part of a handshake (RFC 8446 section 5.1)
FAREWELL: Final = 1.0  # seconds in which a last answer can be taken
TLS_HERE: Final = "this port speaks TLS: use https://"


class Gate(Door, Protocol):
    """A listener that wants to know more of its clients before it lets them in."""

    handshake_time: float
    proxy_protocol: str
    """refuse, accept or require."""

    @property
    def contexts(self) -> Contexts | None:
        """What TLS is spoken with now; None for plain HTTP."""

    def admit(self, connection: ClientConnection | Threshold) -> bool: ...

    def left(self, connection: ClientConnection | Threshold) -> None: ...

    def let_in(self, threshold: Threshold, connection: ClientConnection) -> bool:
        """One that has been admitted goes on as this connection, unless there are too many of its address."""


class Threshold(asyncio.Protocol):
    """Looks at the first bytes: reads a PROXY protocol header, begins TLS, and lets a ClientConnection in.

    It counts as one of the listener's connections from the start, so that those in a handshake do, too. Listeners
    with neither have none of these.
    """

    __slots__ = (
        "_announced",
        "_buffer",
        "_connection",
        "_door",
        "_layer",
        "_leaving",
        "_told",
        "_transport",
        "address",
        "deadline",
        "network",
    )

    def __init__(self, door: Gate) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self.address = ""  # the peer's
        self.network: bytes | None = None  # under which it was counted in (owner: the listener)
        self._told: Preamble | None = None  # what a proxy has said of the client
        self._announced = False  # the PROXY header, if there may be one, is behind us
        self._buffer = b""
        self._leaving = False  # it has been sent away
        self._layer: TlsLayer | None = None  # once TLS has begun: from then on it has the transport
        self._connection: ClientConnection | None = None  # what will go on inside of it
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        door = self._door
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) and peer else "unix"
        self.deadline = monotonic() + (door.head_time if door.contexts is None else door.handshake_time)
        if not door.admit(self):
            self._transport.abort()
        elif door.proxy_protocol == "refuse":
            self._announced = True
        elif door.proxy_protocol == "require" and not door.trusts(self.address):
            door.tally.rejected["proxy-protocol"] += 1
            self._transport.abort()  # whatever it says of others, it is not believed

    def data_received(self, data: bytes) -> None:
        if self._leaving:
            return
        self._buffer += data  # the parser bounds what is waited for
        if self._announced or self._read_preamble():
            self._announced = True
            self._greet()

    def _read_preamble(self) -> bool:
        """Whether what follows the header, or stands in its place, may be looked at."""
        door = self._door
        if not could_begin(self._buffer):
            if door.proxy_protocol != "require":
                return True
            self._send_away("proxy-protocol", "connections must begin with the PROXY protocol here")
            return False
        try:
            preamble = parse(self._buffer)
        except NoPreamble as fault:
            self._send_away("proxy-protocol", str(fault))
            return False
        if preamble is None:
            return False
        if not door.trusts(self.address):
            self._send_away("proxy-protocol", "only trusted proxies may speak the PROXY protocol here")
            return False
        if preamble.source is not None:
            self._told = preamble
        self._buffer = self._buffer[preamble.consumed :]
        return True

    def _greet(self) -> None:
        door, transport = self._door, self._transport
        assert transport is not None
        contexts = door.contexts
        if contexts is None:
            data, self._buffer = self._buffer, b""
            connection = self._client()
            if not door.let_in(self, connection):
                self._leaving = True
                transport.abort()
                return
            transport.set_protocol(connection)
            connection.connection_made(transport)
            if data and not transport.is_closing():
                connection.data_received(data)
        elif not self._buffer:
            pass  # it has said nothing yet
        elif self._buffer[0] == HANDSHAKE:
            name = server_name(self._buffer) if contexts.by_name else b""
            if name is not None:  # else more of it is to come
                self._begin_tls(contexts.of(name))
        elif b"A" <= self._buffer[:1] <= b"Z":
            self._send_away("plain-http", TLS_HERE)
        else:
            door.tally.rejected["not-tls"] += 1
            transport.abort()

    def _client(self) -> ClientConnection:
        """The connection it goes on as."""
        told = self._told
        if told is None or told.source is None:
            return ClientConnection(self._door, self.address)
        connection = ClientConnection(self._door, told.source[0])
        connection.introduced = told.source, told.destination
        return connection

    def _begin_tls(self, context: ssl.SSLContext) -> None:
        assert self._transport is not None
        data, self._buffer = self._buffer, b""
        self._connection = self._client()
        self._layer = TlsLayer(
            context, self._connection, server_side=True, established=self._established, failed=self._failed
        )
        self._transport.set_protocol(self._layer)
        self._layer.connection_made(self._transport)
        self._layer.data_received(data)

    def _established(self, layer: TlsLayer) -> None:
        connection, door = self._connection, self._door
        assert connection is not None
        assert layer.tls is not None
        if door.subject_field:
            certificate = layer.tls.getpeercert(binary_form=True)
            try:
                whose = subject(certificate or b"")
            except NoSubject as fault:
                layer.refuse(str(fault))
                return
            if whose:
                connection.vouched = (door.subject_field, whose)
        connection.tls = layer.tls.version() or ""
        self._layer = self._connection = None
        door.tally.handshakes += 1
        if not door.let_in(self, connection):
            layer.abort()

    def _failed(self, reason: str) -> None:
        if self._connection is not None:  # else the handshake was counted as a good one
            self._door.tally.handshake_errors[kind_of(reason)] += 1
        self._layer = self._connection = None
        self._door.left(self)

    def _send_away(self, counted: str, reason: str) -> None:
        """Answer in plain HTTP, which those who come here by mistake understand, and close."""
        transport = self._transport
        assert transport is not None
        door = self._door
        door.tally.rejected[counted] += 1
        self._leaving = True
        self._buffer = b""
        self.deadline = monotonic() + FAREWELL
        body = canned.problem(400, reason, b"")
        transport.write(canned.answer(400, body, date=door.date, persistent=False))
        if transport.can_write_eof():
            transport.write_eof()  # and read on for a moment, so that no reset overtakes the answer
        else:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._door.left(self)

    # What the listener and the sweeper ask.

    def overdue(self) -> None:
        self.deadline = monotonic() + FAREWELL
        if self._layer is not None:
            self._layer.overdue()
        else:
            self.cut()

    def last_call(self) -> None:
        self.deadline = min(self.deadline, monotonic() + LAST_CALL)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def kind_of(reason: str) -> str:
    """Why a handshake has failed, as a word to count by."""
    if reason in _KINDS:
        return _KINDS[reason]
    if "alert" in reason:
        return "refused-by-client"
    return "client-certificate" if "certificate" in reason else "malformed"


_KINDS: Final = {
    LATE: "timeout",
    CUT_SHORT: "closed",
    "unsupported protocol": "unsupported",
    "no shared cipher": "unsupported",
    "no suitable key share": "unsupported",
    "version too low": "unsupported",
}
