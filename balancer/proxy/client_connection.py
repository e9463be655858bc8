"""A client's connection: bytes in and out, and where one request ends and the next begins."""

from __future__ import annotations

import asyncio
import ipaddress
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, cast

from balancer.http1 import canned
from balancer.http1.faults import ClientFault
from balancer.http1.framing import BadChunk, ChunkedReader, CountedReader
from balancer.http1.head import END, RequestFields, RequestHead, parse_request
from balancer.proxy.sides import NEVER, UpstreamSide
from balancer.tally import ListenerTally

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

LINGER: Final = 2.0  # seconds to go on reading after a last answer, so that a reset does not overtake it (RFC 9112 9.6)
LAST_CALL: Final = 1.0  # seconds that a closing listener's idle connections have left
LINGER_BYTES: Final = 1024 * 1024
MEMORABLE: Final = 1536  # bytes of a head: longer ones are not kept, so that idle connections stay small
PIPELINE_BYTES: Final = 64 * 1024  # of requests read ahead while one is under way


class Door(Protocol):
    """The listener a client came in by, as its connections see it."""

    name: str
    scheme: bytes
    tally: ListenerTally
    longest_head: int
    longest_target: int
    most_fields: int
    head_time: float
    keep_alive: float
    body_idle: float
    write_idle: float
    date: bytes

    def admit(self, connection: ClientConnection) -> bool:
        """A client has connected; False when there are too many."""

    def left(self, connection: ClientConnection) -> None: ...

    def trusts(self, address: str) -> bool:
        """Whether the peer is one of `trusted_proxies`."""

    def open(self, client: ClientConnection, head: RequestHead) -> Exchange | None:
        """Take a request: the exchange to feed, not yet started; None when it has been answered already."""


class ClientConnection(asyncio.Protocol):
    """One client's connection. Requests on it are served one after the other, in the order they came."""

    __slots__ = (
        "_advancing",
        "_blocked",
        "_buffer",
        "_door",
        "_ended",
        "_half_closed",
        "_held",
        "_held_ahead",
        "_lingered",
        "_other",
        "_reader",
        "_remembered",
        "_transport",
        "about",
        "address",
        "deadline",
        "exchange",
        "last",
        "node",
        "scheme",
        "trusted",
        "tunnel_idle",
    )

    def __init__(self, door: Door) -> None:
        # For the connection's life.
        self._door = door
        self._transport: asyncio.Transport | None = None
        self.scheme = door.scheme
        self.address = ""
        self.trusted = False
        self.last = False
        self.about = b""
        self.node = b""
        self._remembered: RequestFields | None = None  # of the last request
        self._buffer = b""  # an incomplete head, or requests read ahead
        self._held = False  # the exchange's server takes no more
        self._held_ahead = False  # too much was read ahead
        self._half_closed = False  # of a tunnel: the client will send no more
        self._blocked = False  # the client does not take what we send
        self._advancing = False
        self._ended = False  # the last answer is out
        self._lingered = 0
        self.deadline = NEVER
        # For one request.
        self.exchange: Exchange | None = None
        self._reader: ChunkedReader | CountedReader | None = None  # while the body of a request is to come
        # For a tunnel.
        self._other: UpstreamSide | None = None
        self.tunnel_idle = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        door = self._door
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) and peer else "unix"
        self._describe()
        if door.admit(self):
            self.deadline = monotonic() + door.head_time
        else:
            self._transport.abort()

    def _describe(self) -> None:
        """What is said of this client to servers, worked out once."""
        address = self.address
        self.trusted = self._door.trusts(address)
        plain = address.encode("ascii")
        try:
            six = ipaddress.ip_address(address.partition("%")[0]).version == 6
            self.node = b'for="[%b]"' % plain if six else b"for=%b" % plain
        except ValueError:
            self.node = b"for=unknown"  # a Unix socket has no address (RFC 7239 section 6.2)
            plain = b"unknown"
        self.about = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (plain, self.scheme)

    # What comes from the client.

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self.deadline = monotonic() + self.tunnel_idle
            if self.exchange is not None:
                self.exchange.decision.bytes_in += len(data)
            self._other.send(data)
        elif self._reader is not None:
            self._body(data)
        elif self.exchange is not None:
            self._read_ahead(data)
        elif self._ended:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.cut()
        else:
            self._advance(self._buffer + data if self._buffer else data)

    def _read_ahead(self, data: bytes) -> None:
        """Requests that came before the one under way was answered wait their turn."""
        self._buffer += data
        if len(self._buffer) > PIPELINE_BYTES and not self._held_ahead and self._transport is not None:
            self._held_ahead = True
            self._transport.pause_reading()

    def _advance(self, data: bytes) -> None:
        """Serve the requests in `data` until one has to wait, or there is no whole head left."""
        self._advancing = True
        self._buffer = b""
        while data and self.exchange is None and not self._ended:
            end = data.find(END)
            if end < 0 or end > self._door.longest_head:
                self._incomplete(data, end)
                break
            try:
                head = parse_request(data[:end], self._door.most_fields, self._door.longest_target, self._remembered)
            except ClientFault as fault:
                self._refuse(fault.status, fault.reason)
                break
            self._remembered = head.common if end <= MEMORABLE else None
            data = data[end + 4 :]
            self.deadline = NEVER
            exchange = self._door.open(self, head)
            if exchange is None:
                continue
            self.exchange = exchange
            if head.common.has_body:
                self._reader = ChunkedReader() if head.common.chunked else CountedReader(head.common.length)
                self.deadline = monotonic() + self._door.body_idle
            exchange.start()
            if self._reader is not None and data:
                self._buffer = b""
                self._body(data)
                data, self._buffer = self._buffer, b""
        else:
            if data and not self._ended:
                self._buffer = data
        self._advancing = False
        if self.exchange is None and not self._ended and not self._buffer:
            self._rest()

    def _rest(self) -> None:
        """Nothing is under way and nothing half read: wait for the next request, unless there will be none."""
        if self.last:
            self._end()
        else:
            self.deadline = monotonic() + self._door.keep_alive

    def _incomplete(self, data: bytes, end: int) -> None:
        """Wait for the rest of a head, within its limits of size and time."""
        if data[:2] == b"\r\n" and len(data) > 2:  # one empty line before a request is tolerated (RFC 9112 section 2.2)
            data = data[2:]
        if len(data) > self._door.longest_head:
            line = data.find(b"\r\n")
            if line < 0 or line > self._door.longest_target + 32:
                self._refuse(414, f"the request target is longer than {self._door.longest_target} bytes")
            else:
                self._refuse(431, f"the request head is longer than {self._door.longest_head} bytes")
            return
        latest = monotonic() + self._door.head_time
        if self.deadline > latest:  # the first piece of it: later ones buy no more time
            self.deadline = latest
        self._buffer = data

    def _refuse(self, status: int, reason: str) -> None:
        """Answer what is no request; nothing after it is read as one."""
        door = self._door
        door.tally.rejected[f"status-{status}"] += 1
        body = canned.problem(status, reason, b"")
        self.send(canned.answer(status, body, date=door.date, persistent=False))
        self._end()

    def _body(self, data: bytes) -> None:
        """Pass on a piece of the request's body; what belongs to the next request is kept for later."""
        exchange = self.exchange
        reader = self._reader
        assert reader is not None
        try:
            pieces = reader.feed(data)
        except BadChunk as fault:
            self._reader = None
            if exchange is not None:
                exchange.client_fault(400, str(fault))
            return
        if reader.done:
            self._reader = None
            self.deadline = NEVER
            self._buffer = reader.rest
        else:
            self.deadline = monotonic() + self._door.body_idle
        if exchange is None:
            return
        if pieces:
            exchange.request_body(pieces)
        if reader.done and self.exchange is exchange:
            exchange.request_end(reader.trailers)

    def eof_received(self) -> bool:
        """The client will send no more.

        In a tunnel the other half goes on. Otherwise it has left: browsers close whole connections when a page is
        left, clients that close one half and wait are hardly known, and a server need not work for nobody.
        """
        if self._other is not None:
            self._half_closed = True
            self._other.end()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._ended = True
        self._door.left(self)
        other, self._other = self._other, None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()
        if other is not None:
            other.shut()

    def pause_writing(self) -> None:
        self._blocked = True
        if self._other is not None:
            self._other.hold()
        elif self.exchange is not None:
            self.exchange.client_full()
            self.deadline = monotonic() + self._door.write_idle

    def resume_writing(self) -> None:
        self._blocked = False
        if self._other is not None:
            self._other.resume()
        elif self.exchange is not None:
            self.exchange.client_drained()
            self.deadline = monotonic() + self._door.body_idle if self._reader is not None else NEVER

    # What the exchange asks.

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """Of a tunnel: the server will send no more; what the client still has to say is passed on."""
        if self._half_closed:
            self.shut()
        elif self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def shut(self) -> None:
        """Of a tunnel: the server is gone; send what is still to be sent, then close."""
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    def hold(self) -> None:
        if not self._held and self._transport is not None:
            self._held = True
            if self._reader is not None:
                self.deadline = NEVER  # it is the server that is slow
            if not self._held_ahead:
                self._transport.pause_reading()

    def resume(self) -> None:
        if self._held and self._transport is not None:
            self._held = False
            if self._reader is not None:
                self.deadline = monotonic() + self._door.body_idle
            if not self._held_ahead:
                self._transport.resume_reading()

    def finished(self, reusable: bool) -> None:
        self.exchange = None
        self.resume()
        if not reusable or self._reader is not None or self.last:
            self._end()
            return
        if self._held_ahead and self._transport is not None:
            self._held_ahead = False
            self._transport.resume_reading()
        if self._advancing:
            return
        if self._buffer:
            self._advance(self._buffer)
        else:
            self._rest()

    def _end(self) -> None:
        """The last answer has been given: let it arrive, then close."""
        if self._ended:
            return
        self._ended = True
        self._reader = None
        self._buffer = b""
        transport = self._transport
        if transport is None:
            return
        if not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self.deadline = monotonic() + LINGER

    def cut(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    def last_call(self) -> None:
        """The listener closes: what comes within LAST_CALL is still answered, as the last of this connection.

        Closing an idle connection at once would lose the request that may be on its way (RFC 9112 section 9.6).
        """
        self.last = True
        if self.exchange is None and not self._ended:
            self.deadline = min(self.deadline, monotonic() + LAST_CALL)

    def tunnel(self, upstream: UpstreamSide, idle: float) -> None:
        self._other = upstream
        self.tunnel_idle = idle
        self.deadline = monotonic() + idle
        self.resume()
        if self._buffer:
            data, self._buffer = self._buffer, b""
            upstream.send(data)

    def overdue(self) -> None:
        """The sweeper says that `deadline` has passed."""
        self.deadline = NEVER
        if self._reader is not None and self.exchange is not None and not self._blocked:
            self._reader = None
            self.exchange.client_fault(408, "the request body stopped coming")
        elif self._buffer and self.exchange is None and not self._ended:
            self._refuse(408, "the request head did not come in time")
        elif self._blocked or self._ended or self._other is not None:
            self.cut()
        elif self._transport is not None:
            self._ended = True
            self._transport.close()
