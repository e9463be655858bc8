"""The way to what this process serves itself: heads as long as the balancer takes, and a log of our own mistakes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from balancer.cdn.edge.app import Handler, make_edge
from balancer.cdn.edge.door import Door

LOGGER = "balancer.cdn.edge"


@asynccontextmanager
async def opened(handler: Handler) -> AsyncIterator[Door]:
    door = Door(lambda: make_edge(lambda path: handler))
    await door.open()
    try:
        yield door
    finally:
        await door.close()


async def connected(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(sock=door.connect())


async def fine(request: web.Request) -> web.StreamResponse:
    return web.Response(text=str(len(request.headers.get("X-Long", ""))))


async def test_a_field_may_be_as_long_as_the_balancer_takes_them() -> None:
    async with opened(fine) as door:
        reader, writer = await connected(door)
        writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 100_000 + b"\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n100000")
        writer.close()


async def test_a_client_that_leaves_in_the_middle_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    left, over = asyncio.Event(), asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await left.wait()
            while True:
                await response.write(bytes(100_000))
        finally:
            over.set()

    async with opened(endless) as door:
        reader, writer = await connected(door)
        writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        left.set()
        await over.wait()
        await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_mistake_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        raise LookupError("a mistake")

    async with opened(broken) as door:
        reader, writer = await connected(door)
        writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 500 ")
        writer.close()
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == [LOGGER]


async def test_a_closed_door_refuses() -> None:
    door = Door(lambda: make_edge(lambda path: None))
    with pytest.raises(ConnectionRefusedError):
        door.connect()
