"""The gateway to a master that real sentinels know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from balancer.redis_gateway import FAILURES, Gateway, Unavailable
from balancer.redis_link import RedisLink
from balancer.redis_listener import RedisListener
from config.schema import Redis
from tests.redis_server import RedisSentinels, RedisServer

pytestmark = pytest.mark.slow
PATIENT = 5.0
Events = list[tuple[str, str, str]]


async def quick(seconds: float) -> None:
    """Probes as often as a test wants to wait for them."""
    await asyncio.sleep(min(seconds, 0.05))


async def never(seconds: float) -> None:
    """No probe, unless there is a reason to hurry."""
    await asyncio.Event().wait()


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[RedisSentinels]:
    with RedisSentinels(tmp_path) as sentinels:
        yield sentinels


@asynccontextmanager
async def gateway_to(
    url: str, deadline: float = PATIENT, *, probes: bool = True, events: Events | None = None
) -> AsyncIterator[Gateway]:
    def tell(event: str, where: str, detail: str) -> None:
        if events is not None:
            events.append((event, where, detail))

    sleep = quick if probes else never
    gateway = Gateway(Redis(url=url, timeout=deadline), sleep=sleep, rng=Random(1), on_event=tell)
    try:
        yield gateway
    finally:
        await gateway.close()


async def until(done: object) -> None:
    assert callable(done)
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110  # nothing in the product waits for it
            await asyncio.sleep(0.02)


async def answered(gateway: Gateway, *command: bytes | str | int) -> object:
    """Ask until there is an answer."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await gateway.run(*command)
            except Unavailable:
                await asyncio.sleep(0.02)


def place(server: RedisServer) -> str:
    return f"127.0.0.1:{server.port}"


async def has(server: RedisServer, keys: int) -> None:
    await until(lambda: server.do("DBSIZE") == str(keys))


async def test_the_master_is_asked_whoever_of_the_sentinels_knows_it(sentinels: RedisSentinels) -> None:
    sentinels.sentinels[0].kill()
    async with gateway_to(sentinels.url) as gateway:
        assert await gateway.run("SET", "a", "1") == b"OK"
        assert sentinels.servers[0].do("EXISTS", "a") == "1"
        assert [name for name, _ in gateway.nodes()] == [place(sentinels.servers[0])]
        assert await asyncio.gather(*(gateway.run("ECHO", n) for n in range(50))) == [b"%d" % n for n in range(50)]
        assert gateway.state.connects == 1


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*2\r\n$1\r\na\r\n", b"*-1\r\n", b"+OK\r\n+OK\r\n"]
)
async def test_a_sentinel_that_talks_nonsense_is_passed_over(sentinels: RedisSentinels, said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(said)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with gateway_to(sentinels.url.replace("://", f"://127.0.0.1:{port},")) as gateway:
        assert await gateway.run("SET", "a", "1") == b"OK"
        assert await gateway.run("GET", "a") == b"1"
    server.close()
    await server.wait_closed()


async def test_passwords_of_sentinels_and_servers_are_each_their_own(tmp_path: Path) -> None:
    with RedisSentinels(tmp_path, password="of-servers", sentinel_password="of-sentinels") as sentinels:
        async with gateway_to(sentinels.url) as gateway:
            assert await gateway.run("SET", "a", "1") == b"OK"
        async with gateway_to(sentinels.url.replace("of-sentinels", "another-secret")) as gateway:
            with pytest.raises(Unavailable, match="sentinel"):
                await gateway.run("SET", "a", "1")
            assert gateway.state.reason is not None
            assert gateway.state.reason.startswith("no sentinel says where the master is: 127.0.0.1:")
            assert "secret" not in gateway.state.reason


async def test_a_name_that_no_sentinel_knows_is_a_reason(sentinels: RedisSentinels) -> None:
    async with gateway_to(sentinels.url.replace("mymaster", "other")) as gateway:
        with pytest.raises(Unavailable, match="sentinel"):
            await gateway.run("GET", "a")
        assert "it does not know other" in str(gateway.state.reason)


async def test_after_a_failover_by_hand_the_new_master_is_asked(sentinels: RedisSentinels) -> None:
    events: Events = []
    async with gateway_to(sentinels.url, events=events) as gateway:
        await gateway.run("SET", "a", "kept")
        await has(sentinels.servers[1], 1)
        sentinels.fail_over()
        await until(lambda: ("redis_moved", "mymaster", place(sentinels.servers[1])) in events or ask_soon(gateway))
        assert await answered(gateway, "GET", "a") == b"kept"
        assert await answered(gateway, "SET", "b", "1") == b"OK"
        assert sentinels.servers[1].do("EXISTS", "b") == "1"
        assert [name for name, _ in gateway.nodes()] == [place(sentinels.servers[1])]
        assert len([event for event in events if event[0] == "redis_moved"]) == 1


def ask_soon(gateway: Gateway) -> bool:
    gateway.run("PING")
    return False


async def test_a_master_that_dies_is_followed_by_its_replica(sentinels: RedisSentinels) -> None:
    async with gateway_to(sentinels.url) as gateway:
        await gateway.run("SET", "a", "kept")
        await has(sentinels.servers[1], 1)
        sentinels.servers[0].kill()
        assert await answered(gateway, "GET", "a") == b"kept"
        assert await answered(gateway, "SET", "b", "1") == b"OK"


async def test_a_master_that_freezes_is_left_as_soon_as_the_sentinels_say_so(sentinels: RedisSentinels) -> None:
    events: Events = []
    async with gateway_to(sentinels.url, 0.5, probes=False, events=events) as gateway:
        assert await answered(gateway, "SET", "a", "kept") == b"OK"
        await has(sentinels.servers[1], 1)
        watch = gateway._watch
        assert watch is not None
        await until(lambda: watch.hears)
        sentinels.servers[0].pause()
        while gateway.up:
            await asyncio.wait([gateway.run("GET", "a") for _ in range(FAILURES)])
        await until(lambda: gateway.up)  # there are no probes but when there is news
        assert await answered(gateway, "GET", "a") == b"kept"
        sentinels.servers[0].resume()
        assert await answered(gateway, "SET", "b", "1") == b"OK"
        assert sentinels.servers[1].do("EXISTS", "b") == "1"
        assert [event for event, *_ in events] == ["redis_down", "redis_moved", "redis_back"]


async def test_a_master_that_is_made_a_replica_is_not_written_to(sentinels: RedisSentinels) -> None:
    async with gateway_to(sentinels.url) as gateway:
        await gateway.run("SET", "a", "1")
        for sentinel in sentinels.sentinels:
            sentinel.kill()  # but the first, which is told to expect nothing else
        sentinels.sentinels[0].start()
        sentinels.sentinels[0].do("SENTINEL", "SET", "mymaster", "down-after-milliseconds", 600_000)
        sentinels.servers[0].do("REPLICAOF", "127.0.0.1", sentinels.servers[1].port)
        for _ in range(3):
            with pytest.raises(Unavailable, match=r"READONLY|closed"):
                await gateway.run("SET", "a", "2")
        assert "is not the master" in str(gateway.state.reason)
        sentinels.servers[0].do("REPLICAOF", "NO", "ONE")
        assert await answered(gateway, "SET", "a", "3") == b"OK"


async def test_who_listens_hears_the_new_master(sentinels: RedisSentinels) -> None:
    async with gateway_to(sentinels.url) as gateway:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        listener = RedisListener(
            gateway.open, gateway.reach.reason, b"news", heard.put_nowait, lambda: None, sleep=quick
        )
        gateway.on_move.append(listener.again)
        listener.start()
        await gateway.run("PING")
        await until(lambda: listener.hears)
        sentinels.fail_over()
        new = sentinels.servers[1]
        await until(lambda: new.do_all("ROLE").startswith("$6\r\nmaster"))
        async with asyncio.timeout(30):
            while heard.empty():
                ask_soon(gateway)
                new.do("PUBLISH", "news", "a")
                await asyncio.sleep(0.05)
        assert await heard.get() == b"a"
        await listener.close()


async def test_the_watcher_looks_at_the_master(sentinels: RedisSentinels) -> None:
    link = RedisLink(Redis(url=sentinels.url, timeout=PATIENT))
    state = await link.check_now()
    assert state.ok is True
    assert state.digest["role"] == "master"
    await link.close()


async def test_with_all_sentinels_gone_the_master_that_is_known_is_still_asked(sentinels: RedisSentinels) -> None:
    async with gateway_to(sentinels.url) as gateway:
        await gateway.run("SET", "a", "1")
        for sentinel in sentinels.sentinels:
            sentinel.kill()
        await asyncio.sleep(0.2)
        assert await gateway.run("GET", "a") == b"1"
        assert gateway.state.connects == 1
