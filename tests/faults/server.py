"""A server that lies on demand: honest for `/good/...`, and for everything else it follows a script."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.proxy.wire import Peer

Script = Callable[["Hand"], Awaitable[None]]
"""What a server does once it has read a request's head. When it returns, the connection goes on with the next
request; `Over` ends it."""


class Over(Exception):
    """The script has ended the connection."""


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST, whatever is unread or unsent: `abort` alone sends a FIN when all has been read."""
    handle = writer.get_extra_info("socket")
    if handle is not None and handle.fileno() >= 0:
        # A twin of the descriptor: uvloop's stand-in for the socket takes no options.
        with socket.socket(fileno=os.dup(handle.fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def tear(writer: asyncio.StreamWriter) -> None:
    """Send the end of the connection behind what TLS has written, without its close_notify."""
    handle = writer.get_extra_info("socket")
    with socket.socket(fileno=os.dup(handle.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


class Hand(Peer):
    """A server's end of a connection, with what it may do to it; `head` is the request's."""

    asked = b""

    def reset(self) -> None:
        reset(self.writer)
        raise Over

    def fin(self) -> None:
        """Close as one should, at once."""
        self.writer.close()
        raise Over

    def tear(self) -> None:
        """Close below TLS: an end of which TLS has said nothing."""
        tear(self.writer)
        raise Over

    def half_close(self) -> None:
        """Say no more, and go on reading."""
        self.writer.write_eof()

    async def drip(self, data: bytes, pause: float = 0.0) -> None:
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(pause)

    async def body(self) -> bytes:
        """The whole body of the request."""
        lines = self.asked.lower().split(b"\r\n")
        if b"transfer-encoding: chunked" in lines:
            data = b""
            while size := int((await self.line()).strip(), 16):
                data += await self.exactly(size)
                await self.exactly(2)
            while await self.line() != b"\r\n":
                pass
            return data
        length = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
        return await self.exactly(length[0]) if length else b""


class FaultServer:
    """`seen` counts how often each request target arrived; `lie` is the script of the moment."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: Counter[str] = Counter()
        self.connections = 0
        self.lie: Script | None = None
        self.at_once: Script | None = None  # done to the next connection before anything has been read
        self.failures: list[BaseException] = []
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        hand = Hand(reader, writer)
        try:
            await self._talk(hand)
        except (Over, ConnectionError, asyncio.IncompleteReadError):
            pass  # the connection is at its end, which is often the point
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's stream server takes a cancelled handler for an error
        except AssertionError as failure:
            self.failures.append(failure)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _talk(self, hand: Hand) -> None:
        if self.at_once is not None:
            script, self.at_once = self.at_once, None
            await script(hand)
        while True:
            hand.asked = await hand.reader.readuntil(b"\r\n\r\n")
            await self._answer(hand)

    async def _answer(self, hand: Hand) -> None:
        target = hand.asked.split(b" ", 2)[1].decode()
        self.seen[target] += 1
        kind, _, token = target.strip("/").partition("/")
        if kind == "good":
            await hand.body()
            await hand.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(token), token.encode()))
            return
        assert self.lie is not None
        await self.lie(hand)


class BareServer(FaultServer):
    """Its script gets each connection as it is accepted, and the bytes as they come."""

    async def _talk(self, hand: Hand) -> None:
        assert self.lie is not None
        await self.lie(hand)
