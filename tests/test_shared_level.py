"""The shared level over reloads."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis as Client

from balancer.cache.memory import Memory
from balancer.cache.purges import Purge
from balancer.caching.stock import Stock
from balancer.shared_level import SharedLevel
from config.schema import Config
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture


def configured(url: str) -> Config:
    return Config.model_validate({"redis": {"url": url}, "listeners": {}, "pools": {}, "routes": {}})


async def test_a_purge_that_redis_has_not_taken_is_owed_after_a_reload(redis_server: RedisServer) -> None:
    stock = Stock(Memory(1024 * 1024))
    shared = SharedLevel(stock)
    purge = Purge("url", b"http://h/x")
    try:
        await shared.change(configured("redis://127.0.0.1:1"), caches=True)  # nobody is there
        (receipt,) = await stock.purge_below([purge])
        assert not receipt.ok
        await shared.change(configured(""), caches=True)
        assert shared.report() is None
        await shared.change(configured(redis_server.url), caches=True)
        async with asyncio.timeout(10):
            while (report := shared.report()) is None or report.owed:  # noqa: ASYNC110  # nothing in the product waits for it
                await asyncio.sleep(0.01)
        client: Client = Client.from_url(redis_server.url)
        async with client:
            log = await client.lrange("balancer:{purges}recent", 0, -1)
        assert any(purge.value in item for item in log)
    finally:
        await shared.close()
