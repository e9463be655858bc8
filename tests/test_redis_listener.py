from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest
from redis.asyncio import Redis as Client
from redis.asyncio.connection import AbstractConnection

from balancer.redis_connection import Reach
from balancer.redis_listener import RedisListener
from config.schema import Redis
from tests.fault_proxy import fault_proxy
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture


class Heard:
    """What a listener has told."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.begun: asyncio.Queue[None] = asyncio.Queue()


def way_to(url: str) -> tuple[Callable[[float], Awaitable[AbstractConnection]], Callable[[Exception], str]]:
    reach = Reach(Redis(url=url))
    return partial(reach.open, None), reach.reason


@asynccontextmanager
async def listening(url: str, quiet: float = 10.0) -> AsyncIterator[tuple[RedisListener, Heard]]:
    heard = Heard()
    listener = RedisListener(
        *way_to(url),
        b"purges",
        heard.messages.put_nowait,
        lambda: heard.begun.put_nowait(None),
        rng=Random(1),
        quiet=quiet,
    )
    listener.start()
    try:
        async with asyncio.timeout(20):
            await heard.begun.get()
            yield listener, heard
    finally:
        await listener.close()


async def test_what_is_published_is_heard_in_order_and_as_bytes(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as (listener, heard), Client.from_url(redis_server.url) as client:
        said = [b"a", b"", b"\x00\xff\r\n", b"x" * 100_000]
        for message in said:
            await client.publish("purges", message)
        await client.publish("other", b"not this")
        await client.publish("purges", b"last")
        assert [await heard.messages.get() for _ in range(5)] == [*said, b"last"]
        assert listener.hears
        assert listener.reason is None


async def test_a_connection_that_was_cut_is_made_again_and_said_to_be_new(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, listening(proxy.url) as (listener, heard):
        for _ in range(3):
            proxy.cut()
            await heard.begun.get()
            assert listener.hears
        async with Client.from_url(redis_server.url) as client:
            await client.publish("purges", b"a")
        assert await heard.messages.get() == b"a"


@pytest.mark.slow
async def test_a_connection_that_went_silent_is_noticed_and_made_again(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, listening(proxy.url, 0.1) as (listener, heard):
        proxy.silent = True
        while listener.hears:  # noqa: ASYNC110  # nothing in the product waits for this
            await asyncio.sleep(0.01)
        proxy.silent = False
        await heard.begun.get()
        assert proxy.connections >= 2


@pytest.mark.slow
async def test_a_quiet_channel_of_a_server_that_is_there_is_no_reason_to_leave(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, listening(proxy.url, 0.05) as (listener, _):
        await asyncio.sleep(0.5)
        assert listener.hears
        assert proxy.connections == 1


async def test_garbage_ends_a_connection_and_not_the_listener(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, Client.from_url(redis_server.url) as client:
        async with listening(proxy.url) as (listener, heard):
            for garbage in (
                b"nonsense\r\n",
                b">3\r\n+message\r\n",
                b"*1\r\n" * 3000,
                b"%1\r\n*0\r\n*0\r\n",
                b"-ERR x\r\n",
            ):
                proxy.garble = garbage
                await client.publish("purges", b"spoiled")
                await asyncio.sleep(0.02)
                proxy.garble = None
                proxy.cut()
                await heard.begun.get()
            assert listener.hears
        assert heard.messages.empty()


async def test_closing_ends_it_wherever_it_is(redis_server: RedisServer) -> None:
    for turns in range(0, 40, 3):
        listener = RedisListener(*way_to(redis_server.url), b"purges", lambda _: None, lambda: None)
        listener.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await listener.close()
            await listener.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "redis-listener"] == []
