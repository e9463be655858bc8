"""TLS between a transport and one of our connections: to each of them it is what the other would be."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from balancer.proxy.sides import NEVER, SLICE

BARREN: Final = 64 * 1024
"""Bytes with no plain text in them, after which none is waited for: the largest record has a quarter of them."""
SHAKING: Final = 256 * 1024
"""Bytes of a handshake. Chains of client certificates have a few thousand; OpenSSL takes no more than 100 KiB."""
RECORD: Final = 16384  # bytes of plain text in the largest record (RFC 8446 section 5.1): one read takes a whole one

PILE: Final = 4096  # bytes: a hundred answers to KeyUpdate (RFC 8446 section 4.6.3), of which a peer needs a few a day
TOO_MUCH: Final = "the TLS handshake was too long"
CUT_SHORT: Final = "the connection was closed during the TLS handshake"
LATE: Final = "the TLS handshake did not end in time"


class Truncated(ConnectionResetError):
    """The other end stopped without saying in TLS that it had sent all: what came may be incomplete."""


class TlsLayer(asyncio.Protocol, asyncio.Transport):
    """One TLS connection. To the transport below it is the protocol, to `inner` it is the transport.

    It is a layer of our own on OpenSSL's memory buffers, since the loop's arms a timer and makes a future for each
    connection, wants to be there before the first byte is read, and does not tell an orderly end from a cut.

    `inner` hears nothing before the handshake is done; then `established` is called, which may still refuse, and after
    it `inner.connection_made`. If it never gets there, `inner` hears nothing at all, and `failed` is told why once
    the transport is gone.
    Whoever makes a layer gives it a `deadline` for the handshake and shows it to the sweeper.
    """

    __slots__ = (
        "_barren",
        "_blocked",
        "_closing",
        "_context",
        "_end_due",
        "_ended",
        "_established",
        "_failed",
        "_farewell_sent",
        "_held",
        "_hostname",
        "_incoming",
        "_inner",
        "_lost_by",
        "_made",
        "_outgoing",
        "_paused",
        "_piled",
        "_reason",
        "_server_side",
        "_session",
        "_transport",
        "_yielding",
        "deadline",
        "fault",
        "tls",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        inner: asyncio.Protocol,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        established: Callable[[TlsLayer], None] | None = None,
        failed: Callable[[str], None] | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__()
        # For the connection's life.
        self._context = context
        self._inner: asyncio.Protocol | None = inner
        self._server_side = server_side
        self._hostname = server_hostname
        self._established = established
        self._failed = failed
        self._session = session
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._transport: asyncio.Transport | None = None
        self.tls: ssl.SSLObject | None = None  # from connection_made on
        self.deadline = NEVER  # of the handshake (owner: whoever made this layer, until it is done)
        self.fault: Exception | None = None  # OpenSSL's word for why the handshake has failed, if it was its
        self._reason = ""  # why the handshake has failed
        self._made = False  # the handshake is done, and `inner` connected
        # What comes.
        self._paused = False  # `inner` wants nothing
        self._yielding = False  # others have their turn; the transport is paused
        self._barren = 0  # bytes since the last plain text, or of the handshake
        self._held: list[bytes] = []  # what had come all the same; no more can, as the transport is paused as well
        self._ended = False  # the other end has said that it has sent all
        self._end_due = False  # and `inner` is still to be told
        # What goes.
        self._blocked = False  # the other end does not take what we send
        self._piled = 0  # bytes of TLS's own answers since then
        self._farewell_sent = False
        self._closing = False
        self._lost_by: Exception | None = None  # why the connection ends, if not in order

    # The protocol, to the transport below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        try:
            self.tls = self._context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=self._server_side,
                server_hostname=self._hostname,
                session=self._session,
            )
        except (ValueError, ssl.SSLError) as error:  # a host name that is none
            self.fault = error
            self._give_up(f"the TLS handshake could not begin: {error}")
            return
        if not self._server_side:
            self._shake_hands()

    def data_received(self, data: bytes) -> None:
        if self._ended or self._lost_by is not None:
            return  # nothing after the end belongs to the connection (RFC 8446 section 6.1)
        self._incoming.write(data)
        self._barren += len(data)
        if self._made:
            fruit = self._read()
            if fruit:
                self._barren = 0
            elif self._barren > BARREN:
                self._break(ConnectionAbortedError("it sends TLS messages and no data"))
                return
            if len(data) > SLICE and fruit * 2 < len(data):
                self._yield_turn()  # records of a few bytes are a thousand times the work of large ones
        elif not self._closing:
            if self._barren > SHAKING:
                self._give_up(TOO_MUCH)
                self.abort()
            else:
                self._shake_hands()

    def eof_received(self) -> bool:
        """The transport has come to its end; if TLS has not, something may be missing."""
        if not self._made:
            self._give_up(CUT_SHORT)
        elif self._ended:
            return True  # it has been said already: `inner` decides when to close
        else:
            self._lost_by = Truncated("the connection ended without a close_notify: what came may be incomplete")
            if self._farewell_sent and self._transport is not None:
                self._transport.close()  # what we had to say may still be taken
            else:
                self.abort()
        return True  # what happens to the transport has been decided here

    def connection_lost(self, exc: Exception | None) -> None:
        inner, self._inner = self._inner, None
        ours = self._closing
        self._transport = None
        self._closing = True
        self._held.clear()
        self._established = None
        if not self._made:
            failed, self._failed = self._failed, None
            if failed is not None:
                failed(self._reason or (str(exc) if exc is not None else "") or CUT_SHORT)
            return
        if exc is None:
            exc = self._lost_by
        if exc is None and not (ours or self._ended):
            exc = Truncated("the connection was lost without a close_notify: what came may be incomplete")
        if inner is not None:
            inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._blocked = True
        if self._made and self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._blocked = False
        self._piled = 0
        if self._made and self._inner is not None:
            self._inner.resume_writing()

    # The handshake.

    def _shake_hands(self) -> None:
        assert self.tls is not None
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self.fault = error
            self._flush()  # the alert that tells them why
            self._give_up(why(error))
            return
        self._flush()
        self.deadline = NEVER
        established, self._established = self._established, None
        if established is not None:
            established(self)
        inner = self._inner
        if self._closing or inner is None:
            return
        self._failed = None
        self._made = True
        inner.connection_made(self)
        if self._blocked:
            inner.pause_writing()
        if self._incoming.pending and not self._closing:
            self._read()  # the first words came with the end of the handshake

    def _give_up(self, reason: str) -> None:
        """The handshake has failed: the transport closes once the alert is out, or at the deadline."""
        self._closing = True
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.close()

    def refuse(self, reason: str) -> None:
        """From within `established`: the handshake was in order, but whom it was with is not wanted."""
        self._reason = reason
        self.abort()

    def overdue(self) -> None:
        """The sweeper says that `deadline` has passed: the handshake took too long, or what follows a failed one."""
        self.deadline = NEVER
        if not self._made:
            self._reason = self._reason or LATE
            self.abort()

    # What comes.

    def _yield_turn(self) -> None:
        """Let other connections have theirs."""
        if not self._yielding and self._transport is not None:
            self._yielding = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._after_turn)

    def _after_turn(self) -> None:
        self._yielding = False
        if not self._paused and not self._held and not self._end_due and self._transport is not None:
            self._transport.resume_reading()

    def _read(self) -> int:
        """Decrypt all that has come, and hand it over in one piece; how many bytes of plain text it was."""
        tls, incoming = self.tls, self._incoming
        assert tls is not None
        pieces = self._held
        before = len(pieces)
        fault: ssl.SSLError | None = None
        try:
            while incoming.pending:  # asked, since the exception that says "no more" costs more than a record
                piece = tls.read(RECORD)
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass  # the rest of a record is to come, or it was none of data
        except ssl.SSLZeroReturnError:  # the same end, once our own farewell has been sent
            self._ended = True
        except ssl.SSLError as error:
            fault = error
        fruit = sum(map(len, pieces[before:]))
        if self._outgoing.pending:
            self._answer()
        if self._ended:
            self._end_due = True
        if not self._paused:
            self._hand_over()
        if fault is not None:
            self._break(fault)
        return fruit

    def _hand_over(self) -> bool:
        """What has been decrypted, and after it the end; whether more is wanted."""
        inner = self._inner
        if inner is None:
            return False
        pieces = self._held
        if pieces:
            self._held = []
            inner.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        # That may have paused reading, or closed the connection.
        if self._end_due and not self._paused and not self._closing:
            self._end_due = False
            if not inner.eof_received():
                self.close()
        return not self._paused

    def _go_on(self) -> None:
        """Hand over what was held back, and only then read on."""
        if not self._paused and self._hand_over() and not self._yielding and self._transport is not None:
            self._transport.resume_reading()

    def _answer(self) -> None:
        """Send what TLS itself says in answer to what was read.

        One who asks for such answers while it takes nothing would have them pile up here.
        """
        if self._blocked:
            self._piled += self._outgoing.pending
        if self._piled > PILE:
            self._break(ConnectionAbortedError("it asks for TLS messages, and does not take them"))
        else:
            self._flush()

    def _break(self, error: Exception) -> None:
        """The connection is of no use any more: `inner` hears of it by `connection_lost`."""
        if self._lost_by is None:
            self._lost_by = error
        self._flush()
        self.abort()

    # What goes.

    def _flush(self) -> None:
        if self._outgoing.pending:
            data = self._outgoing.read()
            if self._transport is not None and not self._transport.is_closing() and not self._farewell_sent:
                self._transport.write(data)

    def _say_farewell(self) -> None:
        """Send close_notify: the other end then knows that it has everything."""
        if self._farewell_sent or not self._made or self.tls is None:
            return
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # theirs is still to come, or the connection is beyond words
        self._flush()
        self._farewell_sent = True

    # The transport, to `inner`.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        transport, tls = self._transport, self.tls
        if transport is None or tls is None or self._closing or self._farewell_sent or not data:
            return
        try:
            taken = tls.write(data)
            if taken < len(data):  # it takes one record at a time
                rest = memoryview(data)
                while taken < len(data):
                    taken += tls.write(rest[taken:])
        except ssl.SSLError as error:
            self._break(error)
            return
        transport.write(self._outgoing.read())

    def pause_reading(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            if not self._yielding:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on. What has been held back comes in the loop's next turn, never from inside this call."""
        if self._paused and self._transport is not None:
            self._paused = False
            if self._held or self._end_due:
                asyncio.get_running_loop().call_soon(self._go_on)
            elif not self._yielding:
                self._transport.resume_reading()

    def is_reading(self) -> bool:
        return not self._paused and not self.is_closing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that all has been sent, and go on reading; with TLS 1.2 the other end need not send more."""
        transport = self._transport
        if transport is None or self._closing or self._farewell_sent:
            return
        self._say_farewell()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    def close(self) -> None:
        """Say so, then close once everything has been taken."""
        if self._transport is not None and not self._closing:
            self._say_farewell()
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def is_closing(self) -> bool:
        return self._closing or self._transport is None or self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self.tls
        if name == "sslcontext":  # by which aiohttp tells https from http
            return self._context
        return self._transport.get_extra_info(name, default) if self._transport is not None else default


def why(error: ssl.SSLError) -> str:
    """What has gone wrong in TLS, in words, without the places in OpenSSL that it came from."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
