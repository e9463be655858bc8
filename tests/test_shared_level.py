"""The shared level over reloads."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis as Client

from balancer.cache.memory import Memory
from balancer.cache.purges import Purge
from balancer.caching.stock import Stock
from balancer.redis_access import RedisAccess
from balancer.shared_level import SharedLevel
from config.schema import Config
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture


def configured(url: str, prefix: str = "balancer:") -> Config:
    return Config.model_validate({"redis": {"url": url, "prefix": prefix}, "listeners": {}, "pools": {}, "routes": {}})


async def test_a_purge_that_redis_has_not_taken_is_owed_after_a_reload(redis_server: RedisServer) -> None:
    stock = Stock(Memory(1024 * 1024))
    shared, access = SharedLevel(stock), RedisAccess()

    async def change(config: Config) -> None:
        await access.change(config, wanted=True)
        await shared.change(config, access.gateway, caches=True)

    purge = Purge("url", b"http://h/x")
    try:
        await change(configured("redis://127.0.0.1:1"))  # nobody is there
        (receipt,) = await stock.purge_below([purge])
        assert not receipt.ok
        await change(configured(""))
        assert shared.report() is None
        await change(configured(redis_server.url))
        async with asyncio.timeout(10):
            while (report := shared.report()) is None or report.owed:  # noqa: ASYNC110  # nothing in the product waits for it
                await asyncio.sleep(0.01)
        client: Client = Client.from_url(redis_server.url)
        async with client:
            log = await client.lrange("balancer:{purges}recent", 0, -1)
        assert any(purge.value in item for item in log)
    finally:
        await shared.close()
        await access.close()


async def test_another_prefix_is_another_level_on_the_same_connection(redis_server: RedisServer) -> None:
    stock = Stock(Memory(1024 * 1024))
    shared, access = SharedLevel(stock), RedisAccess()
    try:
        for prefix in ("a:", "b:"):
            config = configured(redis_server.url, prefix)
            await access.change(config, wanted=True)
            await shared.change(config, access.gateway, caches=True)
            (receipt,) = await stock.purge_below([Purge("url", b"http://h/x")])
            assert receipt.ok
            assert redis_server.do("EXISTS", f"{prefix}{{purges}}recent") == "1"
        assert access.gateway is not None
        assert access.gateway.state.connects == 1
        assert len(access.gateway.on_heal) == 1, "the level that was is still told"
    finally:
        await shared.close()
        await access.close()
