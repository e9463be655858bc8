"""A real Redis (or Valkey) server for tests, to be killed, paused and started again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.redis_server import RedisServer, binary
from bench.redis_topologies import RedisCluster, RedisSentinels

__all__ = ["RedisCluster", "RedisSentinels", "RedisServer", "binary", "redis_cluster", "redis_server"]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters for all tests that leave them as they were; those with other plans start their own."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
