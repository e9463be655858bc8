import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from balancer.redis_link import RedisLink, RedisState
from config.schema import Redis
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture


@asynccontextmanager
async def link_to(settings: Redis) -> AsyncIterator[RedisLink]:
    link = RedisLink(settings)
    try:
        yield link
    finally:
        await link.close()


def client_of(server: RedisServer) -> Client:
    client: Client = Client.from_url(server.url, decode_responses=True)
    return client


class Beat:
    """A sleep that ends when the test says so, and tells the test when the watcher has come to it."""

    def __init__(self) -> None:
        self.asleep: asyncio.Queue[float] = asyncio.Queue()
        self.wake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.put_nowait(seconds)
        await self.wake.wait()
        self.wake.clear()


def patient(server: RedisServer) -> Redis:
    """Settings with a time limit that a busy test machine does not reach."""
    return Redis(url=server.url, timeout=5.0)


async def test_without_a_url_nothing_is_known_and_it_says_so() -> None:
    async with link_to(Redis()) as link:
        link.start()
        assert await link.check_now() == RedisState(None, "not configured: redis.url is empty")


async def test_a_server_that_answers_is_ok_with_its_latency_and_digest(redis_server: RedisServer) -> None:
    async with link_to(patient(redis_server)) as link:
        state = await link.check_now()
    assert state.ok is True
    assert state.reason is None
    assert state.latency is not None
    assert 0 < state.latency < 5
    assert state.checked is not None
    assert state.digest["role"] == "master"
    assert isinstance(state.digest["used_memory"], int)
    assert "hit_ratio" not in state.digest, "nobody has asked for a key yet"


async def test_the_digest_has_a_hit_ratio_once_keys_were_asked_for(redis_server: RedisServer) -> None:
    async with client_of(redis_server) as client:
        await client.set("a", "1")
        for key in ("a", "a", "a", "b"):
            await client.get(key)
    async with link_to(patient(redis_server)) as link:
        assert (await link.check_now()).digest["hit_ratio"] == 0.75


async def test_a_refused_connection_is_told_at_once_and_by_its_reason(redis_server: RedisServer) -> None:
    redis_server.kill()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with link_to(patient(redis_server)) as link:
        state = await link.check_now()
    assert loop.time() - began < 2.0, "the client's own defaults take four seconds"
    assert (state.ok, state.latency, state.digest) == (False, None, {})
    assert state.reason is not None
    assert state.reason.startswith("connection refused at ")


async def test_a_killed_server_is_noticed_and_its_return_too(redis_server: RedisServer) -> None:
    async with link_to(patient(redis_server)) as link:
        assert (await link.check_now()).ok is True
        redis_server.kill()
        assert (await link.check_now()).ok is False
        redis_server.start()
        assert (await link.check_now()).ok is True


async def test_a_frozen_server_costs_no_more_than_the_time_limit(redis_server: RedisServer) -> None:
    async with link_to(Redis(url=redis_server.url, timeout=0.05)) as link:
        redis_server.pause()
        loop = asyncio.get_running_loop()
        began = loop.time()
        state = await link.check_now()
        assert loop.time() - began < 1.0
        assert state.ok is False
        assert state.reason is not None
        assert "TimeoutError" in state.reason
        redis_server.resume()
        await link.change(patient(redis_server))
        assert (await link.check_now()).ok is True


async def test_the_watcher_looks_again_after_each_pause(redis_server: RedisServer) -> None:
    beat = Beat()
    link = RedisLink(patient(redis_server), every=5.0, sleep=beat.sleep)
    link.start()
    assert await beat.asleep.get() == 5.0
    seen = [link.state.ok]
    redis_server.kill()
    beat.wake.set()
    await beat.asleep.get()
    seen.append(link.state.ok)
    redis_server.start()
    beat.wake.set()
    await beat.asleep.get()
    seen.append(link.state.ok)
    await link.close()
    assert seen == [True, False, True]


async def test_closing_ends_the_watcher_and_the_connections(redis_server: RedisServer) -> None:
    beat = Beat()
    link = RedisLink(patient(redis_server), sleep=beat.sleep)
    link.start()
    await beat.asleep.get()
    async with client_of(redis_server) as client:
        assert "balancer" in [entry["name"] for entry in await client.client_list()]
        await link.close()
        await link.close()
        assert "balancer" not in [entry["name"] for entry in await client.client_list()]
    assert [task for task in asyncio.all_tasks() if task.get_name() == "redis-link"] == []


async def test_closing_in_the_middle_of_a_look_ends_the_watcher_whatever_the_client_does_with_it(
    redis_server: RedisServer,
) -> None:
    for _ in range(30):  # redis-py swallows about one cancellation in ten
        link = RedisLink(patient(redis_server))
        link.start()
        await link.check_now()
        async with asyncio.timeout(2):
            await link.close()


async def test_a_wrong_password_is_a_reason_that_does_not_show_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, password="right-secret")
    server.start()
    try:
        async with link_to(Redis(url=server.url.replace("right", "wrong"), timeout=5.0)) as link:
            state = await link.check_now()
        assert state.ok is False
        assert state.reason is not None
        assert "Authentication" in state.reason
        assert "secret" not in state.reason
        async with link_to(patient(server)) as link:
            assert (await link.check_now()).ok is True
    finally:
        server.kill()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis://:se:cret@127.0.0.1:1x/0", "nonsense"])
async def test_a_url_that_can_not_be_read_is_a_reason_without_the_url(url: str) -> None:
    async with link_to(Redis(url=url)) as link:
        state = await link.check_now()
    assert state.ok is False
    assert state.reason is not None
    assert state.reason.startswith("redis.url is not of the form redis://")
    assert "se:cret" not in state.reason


async def test_a_server_that_speaks_something_else_is_a_reason_and_not_an_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    beat = Beat()
    link = RedisLink(Redis(url=f"redis://127.0.0.1:{port}", timeout=5.0), sleep=beat.sleep)
    link.start()
    await beat.asleep.get()
    assert link.state.ok is False
    assert link.state.reason
    await link.close()
    server.close()
    await server.wait_closed()


async def test_a_reload_that_names_another_server_asks_that_one(redis_server: RedisServer) -> None:
    beat = Beat()
    link = RedisLink(Redis(), sleep=beat.sleep)
    link.start()
    await link.change(patient(redis_server))
    assert link.state.reason == "not asked yet"
    await beat.asleep.get()
    assert link.state.ok is True
    await link.change(Redis())
    assert link.state.reason == "not configured: redis.url is empty"
    await link.close()
