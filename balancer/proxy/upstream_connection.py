"""A connection to a server: bytes in and out, and where one response ends and the next begins."""

from __future__ import annotations

import asyncio
import os
from ssl import SSLError, SSLObject, SSLSession
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, cast

from balancer import compression
from balancer.http1.faults import UpstreamFault
from balancer.http1.fields import Field
from balancer.http1.framing import CHUNKED, UNTIL_CLOSE, BadChunk, ChunkedReader, response_length
from balancer.http1.head import END, parse_response, refuse_answer_early
from balancer.proxy.sides import MANY_PIECES, NEVER, SLICE, ClientSide
from balancer.server import Server
from balancer.server_tls import broken

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange
    from balancer.server_tls import Way

LAST_WORDS: Final = 64 * 1024
"""Bytes still read of an answer when a connection breaks."""
FAREWELL: Final = 5.0
"""Seconds that a server has to take the rest of what it is sent on a connection that closes."""
NO_TRAILERS: Final[list[Field]] = []
PACKED: Final = compression.SLICE


class Keeper(Protocol):
    """Who keeps the plane's connections to servers."""

    longest_head: int
    most_fields: int

    def opened(self, connection: UpstreamConnection) -> None: ...

    def closed(self, connection: UpstreamConnection) -> None: ...

    def not_idle(self, connection: UpstreamConnection) -> None:
        """Nobody may take it from the idle ones any more; may be said of one that is not there."""

    def idle(self, connection: UpstreamConnection) -> None:
        """It may carry another request: keep it or close it."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to a server: idle, or of exactly one exchange, or half of a tunnel, or closing."""

    __slots__ = (
        "_buffer",
        "_choppy",
        "_chunks",
        "_closing",
        "_feed",
        "_full",
        "_half_closed",
        "_held",
        "_keeper",
        "_later",
        "_left",
        "_other",
        "_paused",
        "_reusable",
        "_transport",
        "_yielding",
        "born",
        "deadline",
        "excess",
        "exchange",
        "heard",
        "idle_since",
        "server",
        "tunnel_idle",
        "way",
    )

    def __init__(self, keeper: Keeper, server: Server) -> None:
        # For the connection's life.
        self._keeper = keeper
        self.server = server
        self.way = cast("Way | None", server.way)
        self._transport: asyncio.Transport | None = None
        self.born = 0.0
        self._held = False  # the client does not take what is sent
        self._paused = False  # nothing is read from the transport (owner: _regulate)
        self._yielding = False  # others have their turn
        self._full = False  # the server does not take what we send
        self._closing = False
        # For one exchange; None while idle and in a tunnel.
        self.exchange: Exchange | None = None
        self.deadline = NEVER
        self.idle_since = 0.0
        self.heard = False  # something of an answer has come
        self.excess = False  # and more than that answer
        # For one response.
        self._feed = UpstreamConnection._head  # a plain function: a bound method would make a cycle
        self._buffer = b""  # an incomplete head
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._choppy = False  # it comes in many small chunks
        self._later = b""  # of those, what is left for the next turn
        self._reusable = False
        # For a tunnel.
        self._other: ClientSide | None = None
        self.tunnel_idle = 0.0
        self._half_closed = False  # the server will send no more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.born = monotonic()
        self._keeper.opened(self)

    # What comes from the server.

    def data_received(self, data: bytes) -> None:
        self.server.tally.bytes_in += len(data)
        if self._other is not None:
            # Bytes in either direction keep the whole tunnel alive.
            self.deadline = self._other.deadline = monotonic() + self.tunnel_idle
            if self.exchange is not None:
                self.exchange.decision.bytes_out += len(data)
            self._other.send(data)
            return
        exchange = self.exchange
        if exchange is None:
            self.close()  # nobody asked: an idle connection that speaks is of no use
            return
        if self._yielding:
            self._later += data  # what had been read before reading was paused
            return
        try:
            if len(data) > PACKED:
                self._large(data)
            else:
                self._feed(self, data)
        except (UpstreamFault, BadChunk) as fault:
            self.close()
            exchange.upstream_failed("malformed", str(fault))
            return
        if self.exchange is exchange:
            exchange.flush()

    def _head(self, data: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        looked = 0
        if self._buffer:
            looked = len(self._buffer)
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(END)
            if end < 0 or end > self._keeper.longest_head:
                if len(data) > self._keeper.longest_head:
                    raise UpstreamFault(f"its response head is longer than {self._keeper.longest_head} bytes")
                if data:
                    refuse_answer_early(data, looked)
                self._buffer = data
                self.heard = self.heard or bool(data)
                return
            response = parse_response(data[:end], self._keeper.most_fields)
            data = data[end + 4 :]
            looked = 0
            length = response_length(exchange.head.method, response)
            # A server that declares a body where there can be none may send it all the same, later.
            honest = response.status != 204 or (response.length <= 0 and not response.chunked)
            self._reusable = response.persistent and length != UNTIL_CLOSE and honest
            exchange.response_head(response, length)
            if self.exchange is not exchange:
                return  # it has gone to another server
            if response.status >= 200:
                break
            self.heard = True
            if self._other is not None:  # the tunnel is open, and the server was quick to speak
                if data:
                    self.data_received(data)
                return
        self._left = length
        if length == 0:
            self._end(NO_TRAILERS, data)
            return
        if length == CHUNKED:
            self._chunks = ChunkedReader()
            self._feed = UpstreamConnection._chunked
        elif length == UNTIL_CLOSE:
            self._feed = UpstreamConnection._all
        else:
            self._feed = UpstreamConnection._counted
        if len(data) > PACKED:
            self._large(data)
        elif data:
            self._feed(self, data)

    def _large(self, data: bytes) -> None:
        """Many bytes at once: those that are to be compressed are put off but for a slice."""
        exchange = self.exchange
        if exchange is None or exchange.packing is None:
            self._feed(self, data)
            return
        self._later = data[PACKED:]
        self._feed(self, data[:PACKED])
        if self._later and self.exchange is exchange and not self._yielding:
            self._yield_turn()

    def _counted(self, data: bytes) -> None:
        left = self._left - len(data)
        exchange = self.exchange
        assert exchange is not None
        if left > 0:
            self._left = left
            exchange.response_body([data])
            return
        if left < 0:
            exchange.response_body([data[:left]])
            self._end(NO_TRAILERS, data[left:])
        else:
            exchange.response_body([data])
            self._end(NO_TRAILERS, b"")

    def _chunked(self, data: bytes) -> None:
        chunks, exchange = self._chunks, self.exchange
        assert chunks is not None
        assert exchange is not None
        later = b""
        if self._choppy and len(data) > SLICE:
            data, later = data[:SLICE], data[SLICE:]
        pieces = chunks.feed(data)
        self._choppy = len(pieces) > MANY_PIECES
        if pieces:
            exchange.response_body(pieces)
        if chunks.done:
            self._chunks = None
            self._end(chunks.trailers, chunks.rest + later)
        elif self._choppy or later:
            self._later = later + self._later
            self._yield_turn()

    def _yield_turn(self) -> None:
        """Let other connections have theirs: tiny chunks take a hundred times the work of large ones, coders more."""
        self._yielding = True
        self._regulate()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._yielding = False
        self._regulate()
        data, self._later = self._later, b""
        if data and self.exchange is not None:
            self.server.tally.bytes_in -= len(data)  # it was counted when it came
            self.data_received(data)

    def _catch_up(self) -> None:
        """Do what was put off, since nothing more will come."""
        exchange = self.exchange
        while self._later and exchange is not None and self.exchange is exchange:
            self._go_on()

    def _regulate(self) -> None:
        """Read from the server exactly while what it sends has somewhere to go."""
        wanted = not (self._held or self._yielding)
        if wanted == self._paused and self._transport is not None:
            self._paused = not wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _all(self, data: bytes) -> None:
        assert self.exchange is not None
        self.exchange.response_body([data])

    def _end(self, trailers: list[Field], rest: bytes) -> None:
        """The response is complete; whatever comes after it was not asked for, so it spoils the connection."""
        exchange = self.exchange
        assert exchange is not None
        self._feed = UpstreamConnection._head
        self.excess = bool(rest or self._later)
        exchange.response_end(trailers, self._reusable and not self.excess)

    def eof_received(self) -> bool:
        """The server will send no more: in a tunnel the other half goes on."""
        if self._other is not None:
            self._half_closed = True
            self._other.end()
            return True
        self._catch_up()
        exchange = self.exchange
        if exchange is None:
            self.close()
        elif self._feed is UpstreamConnection._all:
            self._end(NO_TRAILERS, b"")
        else:
            self.cut()  # in the middle of an answer; waiting for it to take the rest of the request is of no use
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._keeper.closed(self)
        last_words = self._last_words() if isinstance(exc, OSError) and self.exchange is not None else b""
        self._transport = None
        other, self._other = self._other, None
        if other is not None:
            other.shut()
            return
        self._catch_up()
        exchange = self.exchange
        if exchange is None:
            return
        if self._feed is UpstreamConnection._all and exc is None:
            self._end(NO_TRAILERS, b"")
            return
        if last_words:
            self.data_received(last_words)
            self._catch_up()
            if self.exchange is not exchange:
                return
        self.exchange = None
        reason = broken(exc) if isinstance(exc, SSLError) else "it closed the connection before its answer was complete"
        exchange.upstream_failed("reset", reason)

    def _last_words(self) -> bytes:
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return b""  # the layer of TLS has read them
        return last_words(transport)

    def pause_writing(self) -> None:
        self._full = True
        if self._other is not None:
            self._other.hold()
        elif self.exchange is not None:
            self.exchange.upstream_full()

    def resume_writing(self) -> None:
        self._full = False
        if self._other is not None:
            self._other.resume()
        elif self.exchange is not None:
            self.exchange.upstream_drained()

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent on it any more."""
        return self._transport is None or self._transport.is_closing()

    def session(self) -> SSLSession | None:
        """Of TLS: what the next handshake with this server may be shorter with."""
        tls: SSLObject | None = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        session = tls.session if tls is not None else None
        return session if session is not None and session.has_ticket else None

    @property
    def tunnelled(self) -> bool:
        """Whether it is half of a tunnel, and is to stay one."""
        return self._other is not None and not self._closing

    # What the exchange asks.

    def begin(self, exchange: Exchange) -> None:
        """Belong to this exchange until it calls `release`."""
        self.exchange = exchange
        self.deadline = NEVER
        self.heard = False

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self.server.tally.bytes_out += len(data)
            self._transport.write(data)

    def end(self) -> None:
        """The client will send no more; what the server still has to say is passed on."""
        if self._half_closed:
            self.close()
        elif self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def shut(self) -> None:
        """The client is gone: send what is still to be sent, then close."""
        self._other = None
        self.close()

    def hold(self) -> None:
        if not self._held:
            self._held = True
            self._regulate()

    def resume(self) -> None:
        if self._held:
            self._held = False
            self._regulate()

    def release(self, reusable: bool) -> None:
        self.exchange = None
        self._later = b""
        if self._held:
            self.resume()
        if self._transport is None:
            return
        if reusable and not self._full and not self._transport.is_closing():
            self.deadline = NEVER
            self._keeper.idle(self)
        elif self._transport.get_write_buffer_size():
            self.cut()  # the rest of a request whose answer nobody waits for
        else:
            self.close()

    def tunnel(self, client: ClientSide, idle: float) -> None:
        self._other = client
        self.tunnel_idle = idle
        self.deadline = monotonic() + idle
        if self._full:
            client.hold()

    def overdue(self) -> None:
        """The sweeper says that `deadline` has passed."""
        self.deadline = NEVER
        if self._closing:
            self.cut()
        elif self.exchange is not None and self._other is None:
            self.exchange.deadline_passed()
        elif self._other is not None:
            self.cut()
        else:
            self.close()  # idle for long enough

    def close(self) -> None:
        """Close once what is to be sent has been taken, which has its time as well."""
        self._keeper.not_idle(self)
        if self._transport is not None:
            self._closing = True
            self.deadline = monotonic() + FAREWELL
            self._transport.close()
            if self._other is not None:
                self._other.shut()  # what the client went on to say would buy time for this connection

    def cut(self) -> None:
        """Close at once, dropping what has not been written."""
        self._keeper.not_idle(self)
        if self._transport is not None:
            self._transport.abort()


def last_words(transport: asyncio.Transport) -> bytes:
    """What the server had said before the connection broke.

    A server may answer an upload early, say with 413, and close without reading on. The next piece then fails to be
    written, which ends the connection while the answer is still in the socket.
    """
    sock = transport.get_extra_info("socket")
    try:
        return os.read(sock.fileno(), LAST_WORDS) if sock is not None else b""
    except OSError:
        return b""
