"""Real servers to probe: well-behaved ones, and ones that send any bytes at all."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from aiohttp import web
from aiohttp.test_utils import TestServer

from balancer.health.probes import ProbeResult, open_session, probe
from balancer.health.target import Target
from config.schema import ActiveChecks

End = Literal["close", "reset", "hang"]


@asynccontextmanager
async def site(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A real HTTP server; its URL."""
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handler)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def wire(sent: bytes, end: End = "close") -> AsyncIterator[str]:
    """A server that answers any head with these bytes, whatever they are; its URL."""
    over = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        if end == "hang":
            await over.wait()
        elif end == "reset":
            await writer.drain()
            # Closing with a linger time of zero sends RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        over.set()


async def ask(url: str, checks: ActiveChecks) -> ProbeResult:
    async with open_session() as session:
        return await probe(session, Target(url, checks), checks)


def say(text: str = "fine", status: int = 200) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    return handler
