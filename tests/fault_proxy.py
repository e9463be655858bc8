"""Stands between a client and a server, and does to the bytes what networks and broken middleboxes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FaultProxy:
    """Passes connections on to a loopback port.

    `delay` keeps what the server says back for so many seconds, `hold` until `release`; `garble` replaces it; `silent`
    swallows it, and lets no new connection come through either; `refuse` closes new ones at once. All may be changed
    while connections last.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay = 0.0
        self.garble: bytes | None = None
        self.silent = False
        self.refuse = False
        self.connections = 0
        self._to = port
        self._go = asyncio.Event()
        self._go.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def hold(self) -> None:
        """Keep what the server says from now on."""
        self._go.clear()

    def release(self) -> None:
        """Pass on what has been held."""
        self._go.set()

    def deafen(self) -> None:
        """Read no more on connections that are open; new ones are as ever."""
        for writer in self._open:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # of sockets it is there

    def cut(self) -> None:
        """Reset every connection that is open."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            writer.transport.abort()
            return
        _, other = there = await asyncio.open_connection("127.0.0.1", self._to)
        self._open |= {writer, other}
        ways = [self._pass(reader, other, False), self._pass(there[0], writer, True)]
        tasks = [asyncio.create_task(way) for way in ways]
        self._tasks.update(tasks)
        try:
            await asyncio.wait(tasks)
        finally:
            self._tasks.difference_update(tasks)
            self._open -= {writer, other}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool) -> None:
        try:
            while data := await reader.read(65536):
                if back and self.delay:
                    await asyncio.sleep(self.delay)
                if back:
                    await self._go.wait()
                if self.silent:
                    continue
                writer.write(self.garble if back and self.garble is not None else data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        self.cut()
        self.release()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)


@asynccontextmanager
async def fault_proxy(port: int) -> AsyncIterator[FaultProxy]:
    """A proxy before this port, with nothing wrong yet."""
    proxy = FaultProxy(port)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
