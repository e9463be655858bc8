"""A client's connection: bytes in and out, and where one request ends and the next begins."""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import socket
import struct
import termios
from time import monotonic
from typing import Final, Protocol, cast

from balancer.http1 import canned
from balancer.http1.belief import unreserved, vet
from balancer.http1.faults import ClientFault
from balancer.http1.framing import BadChunk, ChunkedReader, CountedReader
from balancer.http1.head import END, RequestFields, RequestHead, parse_request, refuse_early
from balancer.http1.proxy_protocol import Endpoint
from balancer.proxy.sides import MANY_PIECES, NEVER, SLICE, Serving, UpstreamSide
from balancer.tally import ListenerTally

RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER for no time at all: what is not sent is dropped
LINGER: Final = 5.0  # seconds to go on reading after a last answer, so that a reset does not overtake it (RFC 9112 9.6)
LAST_CALL: Final = 1.0  # seconds that a closing listener's idle connections have left
MEMORABLE: Final = 1536  # bytes of a head: longer ones are not kept, so that idle connections stay small
TURN: Final = 16  # requests of one connection that are begun before other connections get their turn
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
    body_rate: float
    """Bytes a second, of bodies and of answers that are taken; more than 0."""
    write_idle: float
    date: bytes
    reserved: frozenset[bytes]
    """Names of fields in which only the balancer may speak, as `fields.usual` gives them."""
    owned: frozenset[bytes]
    """The same where not even trusted proxies may: they cannot know whom we have let in."""
    subject_field: bytes
    """The one of them that this listener fills in itself; empty for none."""

    def admit(self, connection: ClientConnection) -> bool:
        """A client has connected; False when there are too many."""

    def left(self, connection: ClientConnection) -> None: ...

    def trusts(self, address: str) -> bool:
        """Whether the peer is one of `trusted_proxies`."""

    def refused(self, client: ClientConnection, status: int, size: int) -> None:
        """What came was no request, and has been answered so with `size` bytes of body."""

    def open(self, client: ClientConnection, head: RequestHead) -> Serving | None:
        """Take a request: what is to be fed, not yet started; None when it has been answered already."""


class ClientConnection(asyncio.Protocol):
    """One client's connection. Requests on it are served one after the other, in the order they came."""

    __slots__ = (
        "_advancing",
        "_blocked",
        "_buffer",
        "_choppy",
        "_door",
        "_ended",
        "_half_closed",
        "_held",
        "_invited",
        "_looked",
        "_other",
        "_paid",
        "_paused",
        "_reader",
        "_remembered",
        "_skipped_line",
        "_transport",
        "_unsent",
        "_yielding",
        "address",
        "deadline",
        "exchange",
        "introduced",
        "last",
        "network",
        "node",
        "reserved",
        "scheme",
        "shown",
        "tls",
        "trusted",
        "tunnel_idle",
        "vouched",
    )

    def __init__(self, door: Door, address: str = "") -> None:
        """`address` is the client's if it is known from elsewhere than its socket."""
        # For the connection's life.
        self._door = door
        self._transport: asyncio.Transport | None = None
        self.scheme = door.scheme
        self.address = address
        self.shown = ""
        self.trusted = False
        self.network: bytes | None = None  # under which it was counted in (owner: the listener)
        self.introduced: tuple[Endpoint | None, Endpoint | None] | None = None  # its ends, as a proxy in front told
        self.last = False
        self.node = b""
        self.tls = ""  # the version it speaks, such as TLSv1.3
        self.vouched: tuple[bytes, bytes] | None = None
        self.reserved: frozenset[bytes] = frozenset()
        self._remembered: RequestFields | None = None  # of the last request
        self._buffer = b""  # an incomplete head, or requests read ahead
        self._looked = 0  # bytes of an incomplete head that have been found to be good so far
        self._held = False  # the exchange's server takes no more
        self._paused = False  # nothing is read from the transport (owner: _regulate)
        self._yielding = False  # others have their turn
        self._skipped_line = False
        self._unsent = 0  # bytes that the client had not taken when the deadline was set
        self._half_closed = False  # of a tunnel: the client will send no more
        self._blocked = False  # the client does not take what we send
        self._advancing = False
        self._ended = False  # the last answer is out
        self.deadline = NEVER
        # For one request.
        self.exchange: Serving | None = None
        self._reader: ChunkedReader | CountedReader | None = None  # while the body of a request is to come
        self._invited = True  # it need not wait for a server's 100 before it sends the body
        self._choppy = False  # it comes in many small chunks
        self._paid = NEVER  # until when what has come of the body is enough
        # For a tunnel.
        self._other: UpstreamSide | None = None
        self.tunnel_idle = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        door = self._door
        if not self.address:
            peer = transport.get_extra_info("peername")
            self.address = peer[0] if isinstance(peer, tuple) and peer else "unix"
        self._describe()
        if door.admit(self):
            self.deadline = monotonic() + (LAST_CALL if self.last else door.head_time)
        else:
            self._transport.abort()

    def reserve(self) -> None:
        """Work out in which fields this client may not speak: when it comes, and when the configuration changes."""
        door = self._door
        self.reserved = door.reserved if door.subject_field or not self.trusted else frozenset()
        self.reserved |= door.owned
        self._remembered = None  # its fields were vetted by the old rule

    def _describe(self) -> None:
        """What is said of this client to servers, worked out once."""
        self.trusted = self._door.trusts(self.address)
        self.reserve()
        self.shown = self.address
        try:
            six = ipaddress.ip_address(self.address.partition("%")[0]).version == 6
        except ValueError:  # a Unix socket has no address
            self.shown = "unknown"
            six = False
        shown = self.shown.encode("ascii")
        self.node = b'for="[%b]"' % shown if six else b"for=%b" % shown  # RFC 7239 section 6

    def ends(self) -> tuple[Endpoint | None, Endpoint | None]:
        """The client's address and port, and those it has connected to."""
        transport = self._transport
        if self.introduced is not None or transport is None:
            return self.introduced or (None, None)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        return _endpoint(peer), _endpoint(own)

    # What comes from the client.

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._count_tunnelled(data)
            self._other.send(data)
        elif self._reader is not None:
            self._body(data)
        elif self._ended:
            pass  # its time is bounded, and dropping it with unread bytes would take the answer from it
        elif self.exchange is not None or self._blocked or self._yielding:
            self._buffer += data  # requests that came early wait their turn
            self._regulate()
        else:
            self._advance(self._buffer + data if self._buffer else data)

    def _count_tunnelled(self, data: bytes) -> None:
        other, exchange = self._other, self.exchange
        assert other is not None
        # Bytes in either direction keep the whole tunnel alive.
        self.deadline = other.deadline = monotonic() + self.tunnel_idle
        if exchange is not None:
            exchange.decision.bytes_in += len(data)

    def _advance(self, data: bytes) -> None:
        """Serve the requests in `data` until one has to wait, or there is no whole head left."""
        self._advancing = True
        self._buffer = b""
        looked, self._looked = self._looked, 0
        at = 0
        begun = 0
        while at < len(data) and self.exchange is None and not self._ended and not self._blocked:
            if begun == TURN:
                self._yield_turn()
                break
            if data.startswith(b"\r\n", at) and not self._skipped_line:
                self._skipped_line = True  # one empty line before a request is tolerated (RFC 9112 section 2.2)
                at += 2
                continue
            end = data.find(END, at)
            if end < 0 or end - at > self._door.longest_head:
                self._incomplete(data[at:], 0 if at else looked)
                break
            begun += 1
            self._skipped_line = False
            try:
                head = parse_request(data[at:end], self._door.most_fields, self._door.longest_target, self._remembered)
            except ClientFault as fault:
                self._refuse(fault.status, fault.reason, fault.extra, without_body=data.startswith(b"HEAD ", at))
                break
            common = head.common
            if common is not self._remembered:
                vet(common, trusted=self.trusted, reserved=self.reserved, vouched=self.vouched)
                self._remembered = common if end - at <= MEMORABLE else None
            at = end + 4
            self.deadline = NEVER
            exchange = self._door.open(self, head)
            if exchange is None:
                continue
            self.exchange = exchange
            if head.common.has_body:
                self._invited = not head.common.expects_continue
                self._paid = monotonic() + self._door.body_idle
                self._reader = ChunkedReader() if head.common.chunked else CountedReader(head.common.length)
            exchange.start()
            if self._reader is not None and at < len(data):
                self._body(data[at:])
                data, self._buffer, at = self._buffer, b"", 0
        if at < len(data) and not self._ended:
            self._buffer = data[at:]
        self._advancing = False
        if self._paused:
            self._regulate()
        if self.exchange is None or self._reader is not None:
            self._settle()

    def _incomplete(self, data: bytes, looked: int) -> None:
        """The rest of a head is to come, within its limits of size; the first bytes have been looked at already."""
        if len(data) > self._door.longest_head:
            line = data.find(b"\r\n")
            if line < 0 or line > self._door.longest_target + 32:
                self._refuse(414, f"the request target is longer than {self._door.longest_target} bytes")
            else:
                self._refuse(431, f"the request head is longer than {self._door.longest_head} bytes")
        elif data != b"\r" or self._skipped_line:  # it may be the beginning of an empty line
            self._looked = len(data)
            try:
                refuse_early(data, looked)
            except ClientFault as fault:
                self._refuse(fault.status, fault.reason)

    def _yield_turn(self) -> None:
        """Let other connections have theirs: this one goes on when the loop comes round."""
        if not self._yielding:
            self._yielding = True
            self._regulate()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._yielding = False
        if self._transport is not None and not self._ended:
            if self._reader is not None:
                data, self._buffer = self._buffer, b""
                if data:
                    self._body(data)
            elif self.exchange is None:
                self._advance(self._buffer)
        self._regulate()

    def _regulate(self) -> None:
        """Read from the client exactly while what it sends has somewhere to go."""
        full = len(self._buffer) > PIPELINE_BYTES and self._other is None
        wanted = not (self._held or self._yielding or full)
        if wanted == self._paused and self._transport is not None:
            self._paused = not wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _settle(self) -> None:
        """Set the deadline that goes with what is being waited for; the one place that knows them all."""
        if self._other is not None:
            return  # bytes renew it, see `_count_tunnelled`
        if self.exchange is not None and self._reader is None and not self._blocked and not self._ended:
            self.deadline = NEVER  # it is the server that is waited for
            return
        door = self._door
        now = monotonic()
        if self._ended or self._blocked:
            waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
            self._unsent = self._untaken() if waiting else 0
            self.deadline = now + (door.write_idle if waiting else LINGER)
        elif self._reader is not None:
            waits = self._held or not self._invited  # for a server, whose time is the exchange's affair
            self.deadline = NEVER if waits else min(now + door.body_idle, self._paid)
        elif self._buffer and not self._yielding:
            self.deadline = min(self.deadline, now + door.head_time)  # later pieces buy no more time
        else:
            # A request that is on its way when the listener closes is still answered (RFC 9112 section 9.6).
            self.deadline = now + (LAST_CALL if self.last else door.keep_alive)

    def _untaken(self) -> int:
        """Bytes that were sent and that the client's system has not acknowledged."""
        transport = self._transport
        if transport is None:
            return 0
        waiting = transport.get_write_buffer_size()
        try:
            # What the kernel holds must count: it says that a socket takes more only when a third of it is empty, and
            # of megabytes that can be minutes without a sign of life from a client that reads steadily.
            held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):  # no such question on this system
            return waiting
        return waiting + int(struct.unpack("i", held)[0])

    def _refuse(self, status: int, reason: str, extra: bytes = b"", *, without_body: bool = False) -> None:
        """Answer what is no request; nothing after it is read as one."""
        door = self._door
        door.tally.rejected[f"status-{status}"] += 1
        body = canned.problem(status, reason, b"")
        extra = canned.UNREAD + extra
        self.send(canned.answer(status, body, date=door.date, extra=extra, without_body=without_body, persistent=False))
        door.refused(self, status, 0 if without_body else len(body))
        self._end()

    def _body(self, data: bytes) -> None:
        """Pass on a piece of the request's body; what belongs to the next request is kept for later."""
        exchange = self.exchange
        reader = self._reader
        assert reader is not None
        self._invited = True  # or it does not wait to be
        if self._choppy and len(data) > SLICE:
            data, self._buffer = data[:SLICE], data[SLICE:]
        try:
            pieces = reader.feed(data)
        except BadChunk as fault:
            self._reader = None
            if exchange is not None:
                exchange.client_fault(400, str(fault))
            return
        if reader.done:
            self._reader = None
            self._buffer = reader.rest + self._buffer
        else:
            door = self._door
            self._paid = min(self._paid + len(data) / door.body_rate, monotonic() + door.body_idle)
        if not self._blocked:
            self._settle()
        self._choppy = len(pieces) > MANY_PIECES
        if self._choppy or (self._buffer and not reader.done):
            self._yield_turn()
        if exchange is None:
            return
        if pieces:
            exchange.request_body(pieces)
        if reader.done and self.exchange is exchange:
            exchange.request_end(unreserved(reader.trailers, self.reserved) if self.reserved else reader.trailers)

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
        else:
            if self.exchange is not None:
                self.exchange.client_full()
            self._settle()

    def resume_writing(self) -> None:
        self._blocked = False
        if self._other is not None:
            self._other.resume()
            return
        self._settle()
        if self.exchange is not None:
            self.exchange.client_drained()
        elif self._buffer and not self._ended and not self._yielding and not self._advancing:
            self._advance(self._buffer)

    # What the exchange asks.

    def serve(self, serving: Serving) -> None:
        self.exchange = serving
        serving.start()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """Of a tunnel: the server will send no more; what the client still has to say is passed on."""
        if self._half_closed:
            other = self._other
            self.shut()
            if other is not None:
                other.shut()  # nothing more can come of it, and it would be kept for as long as a silent tunnel is
        elif self._transport is not None and self._transport.can_write_eof():
            self._write_eof(self._transport)

    def shut(self) -> None:
        """Of a tunnel: the server is gone; send what is still to be sent, then close."""
        self._ended = True
        self._other = None
        if self._transport is not None:
            self._transport.close()
        self._settle()

    def hold(self) -> None:
        if not self._held:
            self._held = True
            self._regulate()
            if self._reader is not None and not self._blocked:
                self._settle()

    def resume(self) -> None:
        if self._held:
            self._held = False
            self._regulate()
            if self._reader is not None:
                self._paid = monotonic() + self._door.body_idle  # it could not send while it was held
                if not self._blocked:
                    self._settle()

    def invite(self) -> None:
        if not self._invited:
            self._invited = True
            if self._reader is not None:
                self._paid = monotonic() + self._door.body_idle
                if not self._blocked:
                    self._settle()

    def finished(self, reusable: bool) -> None:
        self.exchange = None
        if self._held:
            self._held = False
            self._regulate()
        if not reusable or self._reader is not None:
            self._end()
        elif self._advancing:
            pass  # the loop in `_advance` goes on by itself
        elif self._buffer and not self._blocked and not self._yielding:
            self._advance(self._buffer)
        else:
            self._settle()

    def _end(self) -> None:
        """The last answer has been given: let it arrive, then close."""
        if self._ended:
            return
        self._ended = True
        self._reader = None
        self._buffer = b""
        self._regulate()
        transport = self._transport
        if transport is None:
            return
        if not transport.can_write_eof():
            transport.close()
            return
        self._write_eof(transport)
        self._settle()

    def _write_eof(self, transport: asyncio.Transport) -> None:
        try:
            transport.write_eof()
        except OSError:  # asyncio's own: the client has left, which is not read while it is held
            self._drop()

    def cut(self) -> None:
        """Close so that it looks broken: with a reset, since an orderly end ends a body that has no length of its own.

        That is every answer to a client of HTTP/1.0 (RFC 9112 section 8).
        """
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._drop()

    def _drop(self) -> None:
        """Close at once. What the kernel has of the last answer still goes out."""
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
        if self._blocked:
            upstream.hold()
        data, self._buffer = self._buffer, b""
        if data:
            upstream.send(data)
        self._regulate()

    def overdue(self) -> None:
        """The sweeper says that `deadline` has passed."""
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if self._other is not None:
            self._drop()
        elif self._ended or self._blocked:
            taken = self._unsent - (self._untaken() if unsent else 0)
            if taken and (not unsent or taken >= self._door.body_rate * self._door.write_idle):
                self._settle()  # slow, but not standing still; or all is sent, and what is left is to linger
            elif unsent:
                self.cut()  # with an orderly end the kernel would keep megabytes for who takes them by drops
            else:
                self._drop()
        elif self._reader is not None and self.exchange is not None:
            self._reader = None
            self.exchange.client_fault(408, "the request body stopped coming")
        elif self._buffer and self.exchange is None:
            self._refuse(408, "the request head did not come in time")
        elif unsent:
            self._end()  # idle, but the last answer has not been taken yet
        elif self._transport is not None:
            self._ended = True
            self._transport.close()


def _endpoint(name: object) -> Endpoint | None:
    """Of what a socket is called: with IPv6 it has more to it, and a Unix socket has none."""
    return (name[0], name[1]) if isinstance(name, tuple) and len(name) > 1 else None
