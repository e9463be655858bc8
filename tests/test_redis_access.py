"""The one gateway of a plane over reloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from balancer.redis_access import RedisAccess
from balancer.redis_gateway import Gateway, Unavailable
from config.schema import Config
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture


def configured(url: str, **others: object) -> Config:
    redis = {"timeout": 5.0} | others | {"url": url}
    return Config.model_validate({"redis": redis, "listeners": {}, "pools": {}, "routes": {}})


@pytest.fixture
async def access() -> AsyncIterator[RedisAccess]:
    access = RedisAccess()
    yield access
    await access.close()


def gateway_of(access: RedisAccess) -> Gateway:
    assert access.gateway is not None
    return access.gateway


async def test_without_anything_that_uses_redis_there_is_no_gateway(
    access: RedisAccess, redis_server: RedisServer
) -> None:
    await access.change(configured(redis_server.url), wanted=False)
    assert access.gateway is None
    await access.change(configured(""), wanted=True)
    assert access.gateway is None


async def test_settings_that_do_not_name_another_server_keep_the_connection(
    access: RedisAccess, redis_server: RedisServer
) -> None:
    await access.change(configured(redis_server.url), wanted=True)
    gateway = gateway_of(access)
    under_way = gateway.run("BLPOP", "nothing", "0.05")
    await access.change(configured(redis_server.url, prefix="other:", timeout=3.0), wanted=True)
    assert access.gateway is gateway
    assert gateway.settings.timeout == 3.0
    assert await under_way is None, "a reload has cost a command"
    assert gateway.state.connects == 1


async def test_another_server_is_another_gateway_that_counts_on(
    access: RedisAccess, redis_server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = RedisServer(tmp_path / "other")
    other.start()
    try:
        await access.change(configured(redis_server.url), wanted=True)
        first = gateway_of(access)
        await first.run("SET", "a", "first")
        await access.change(configured(other.url), wanted=True)
        assert await gateway_of(access).run("GET", "a") is None
        with pytest.raises(Unavailable, match="closed"):
            await first.run("GET", "a")
        assert gateway_of(access).state.results == {"ok": 2, "closed": 1}
        assert gateway_of(access).state.connects == 2
        await access.change(configured(redis_server.url), wanted=True)
        assert await gateway_of(access).run("GET", "a") == b"first"
    finally:
        other.kill()


async def test_what_is_not_wanted_any_more_is_closed(access: RedisAccess, redis_server: RedisServer) -> None:
    await access.change(configured(redis_server.url), wanted=True)
    gateway = gateway_of(access)
    await gateway.run("PING")
    await access.change(configured(redis_server.url), wanted=False)
    assert access.gateway is None
    with pytest.raises(Unavailable, match="closed"):
        await gateway.run("PING")
