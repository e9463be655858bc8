"""The gateway before a cluster of real servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest

from balancer.redis_gateway import FAILURES, Gateway, Unavailable
from balancer.redis_listener import RedisListener
from balancer.redis_script import Script
from balancer.redis_slots import SLOTS, slot_of
from config.schema import Redis
from tests.fault_proxy import fault_proxy
from tests.redis_server import RedisCluster, RedisServer, redis_cluster, redis_server

__all__ = ["redis_cluster", "redis_server"]  # fixtures

PATIENT = 5.0
"""A deadline that a busy test machine does not reach."""


async def quick(seconds: float) -> None:
    """Probes and looks as often as a test wants to wait for them."""
    await asyncio.sleep(min(seconds, 0.02))


@asynccontextmanager
async def gateway_to(url: str, deadline: float = PATIENT) -> AsyncIterator[Gateway]:
    gateway = Gateway(Redis(url=url, timeout=deadline), sleep=quick, rng=Random(1))
    try:
        yield gateway
    finally:
        await gateway.close()


def key_in(slots: range, name: str = "key") -> str:
    """A key in one of these slots."""
    return next(key for key in (f"{{{name}-{n}}}" for n in range(SLOTS)) if slot_of(("GET", key)) in slots)


async def why(gateway: Gateway, *command: bytes | str | int) -> str:
    with pytest.raises(Unavailable) as caught:
        await gateway.run(*command)
    return caught.value.why


def phase(gateway: Gateway) -> str:
    return gateway.state.phase


async def known(gateway: Gateway) -> None:
    """Have it know who has which slots."""
    await gateway.run("GET", "a")
    cluster = gateway._cluster
    assert cluster is not None
    await until(lambda: cluster.known)


async def until(done: object, *arguments: object) -> None:
    assert callable(done)
    async with asyncio.timeout(30):
        while not done(*arguments):  # noqa: ASYNC110  # nothing in the product waits for it
            await asyncio.sleep(0.01)


async def answered(gateway: Gateway, *command: bytes | str | int) -> object:
    """Ask until there is an answer."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await gateway.run(*command)
            except Unavailable:
                await asyncio.sleep(0.02)


async def test_the_first_commands_are_answered_while_nobody_knows_the_slots_yet(redis_cluster: RedisCluster) -> None:
    async with gateway_to(redis_cluster.url) as gateway:
        answers = await asyncio.gather(*(gateway.run("SET", f"first-{n}", n, "PX", 60000) for n in range(100)))
        assert answers == [b"OK"] * 100
        assert gateway.up
        assert gateway.state.results["MOVED"] == 0


async def test_once_the_slots_are_known_no_command_goes_astray(redis_cluster: RedisCluster) -> None:
    async with gateway_to(redis_cluster.url) as gateway:
        await known(gateway)
        astray = gateway.state.counts.redirected
        await asyncio.gather(*(gateway.run("SET", f"k-{n}", n, "PX", 60000) for n in range(300)))
        assert await asyncio.gather(*(gateway.run("GET", f"k-{n}") for n in range(300))) == [
            b"%d" % n for n in range(300)
        ]
        assert gateway.state.counts.redirected == astray
        assert gateway.state.connects <= 4, "one for each master, and one to ask where the slots are"
        assert {name for name, _ in gateway.nodes()} == {f"127.0.0.1:{node.port}" for node in redis_cluster.nodes}


async def test_scripts_run_where_their_keys_are(redis_cluster: RedisCluster) -> None:
    script = Script("return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
    async with gateway_to(redis_cluster.url) as gateway:
        for number in range(3):
            key = key_in(redis_cluster.slots(number), "script")
            redis_cluster.nodes[number].do("DEL", key)
            for turn in (1, 2):
                assert await script.run(gateway, [key], 5) == [key.encode(), 5 * turn]


async def test_keys_of_several_slots_in_one_command_are_refused_and_nothing_else(redis_cluster: RedisCluster) -> None:
    async with gateway_to(redis_cluster.url) as gateway:
        await known(gateway)
        assert await why(gateway, "MGET", "a", "b") == "CROSSSLOT"
        assert await gateway.run("MGET", "{a}1", "{a}2") == [None, None]
        assert gateway.up


async def test_what_is_published_anywhere_is_heard_everywhere(redis_cluster: RedisCluster) -> None:
    async with gateway_to(redis_cluster.url) as gateway:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        begun = asyncio.Event()
        listeners = [RedisListener(gateway.open, str, b"news", heard.put_nowait, begun.set) for _ in range(3)]
        for listener in listeners:
            listener.start()
        await until(lambda: all(listener.hears for listener in listeners))
        await gateway.run("PUBLISH", "news", "a")
        async with asyncio.timeout(10):
            assert [await heard.get() for _ in listeners] == [b"a"] * 3
        for listener in listeners:
            await listener.close()


@pytest.mark.slow
async def test_a_slot_that_has_moved_costs_one_redirection(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        async with gateway_to(cluster.url) as gateway:
            key = key_in(cluster.slots(0))
            slot = slot_of(("GET", key))
            assert slot is not None
            await known(gateway)
            before = gateway.state.counts.redirected
            cluster.move(slot, cluster.nodes[0], cluster.nodes[1])
            assert await gateway.run("SET", key, "1") == b"OK"
            assert gateway.state.counts.redirected == before + 1
            assert await asyncio.gather(*(gateway.run("GET", key) for _ in range(20))) == [b"1"] * 20
            assert gateway.state.counts.redirected == before + 1, "it has not learned from it"
            assert cluster.nodes[1].do("EXISTS", key) == "1"


@pytest.mark.slow
async def test_a_slot_that_is_moving_is_asked_for_at_both_its_nodes(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        async with gateway_to(cluster.url) as gateway:
            old = key_in(cluster.slots(0))
            slot = slot_of(("GET", old))
            assert slot is not None
            await known(gateway)
            await gateway.run("SET", old, "old")
            cluster.move(slot, cluster.nodes[0], cluster.nodes[2], halfway=True)
            new = f"{old}new"
            for turn in range(3):  # each time anew: where the slot is has not changed
                asked = [gateway.run("SET", new, turn), gateway.run("GET", old), gateway.run("GET", new)]
                assert await asyncio.gather(*asked) == [b"OK", b"old", b"%d" % turn]


async def test_nodes_that_send_each_to_the_other_are_asked_once_each() -> None:
    asked: Counter[int] = Counter()
    ports: list[int] = []

    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await _command(reader):
            if words[0] == b"HELLO":
                writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n")
            elif words[0] == b"CLIENT":
                writer.write(b"+OK\r\n")
            elif words[0] == b"CLUSTER":
                writer.write(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % ports[0])
            else:
                asked[number] += 1
                writer.write(b"-MOVED %d 127.0.0.1:%d\r\n" % (slot_of(words) or 0, ports[1 - number]))
        writer.close()

    servers = []
    for number in range(2):
        server = await asyncio.start_server(partial(serve, number), "127.0.0.1", 0)
        servers.append(server)
        ports.append(server.sockets[0].getsockname()[1])
    async with gateway_to(f"redis+cluster://127.0.0.1:{ports[0]}") as gateway:
        assert await why(gateway, "GET", "a") == "MOVED"
        assert asked == {0: 1, 1: 1}
        assert gateway.up
    for server in servers:
        server.close()
        await server.wait_closed()


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    """What a client sends; nothing at its end."""
    head = await reader.readline()
    words = []
    for _ in range(int(head[1:] or 0)):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


@pytest.mark.slow
async def test_a_node_that_is_dead_stops_its_own_keys_alone_until_it_is_back_empty(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        async with gateway_to(cluster.url) as gateway:
            keys = [key_in(cluster.slots(number)) for number in range(3)]
            await asyncio.gather(*(gateway.run("SET", key, 1) for key in keys))
            healed = 0

            def count() -> None:
                nonlocal healed
                healed += 1

            gateway.on_heal.append(count)
            cluster.nodes[1].kill()
            for _ in range(FAILURES):
                with pytest.raises(Unavailable):
                    await gateway.run("GET", keys[1])
            for _ in range(3):
                future = gateway.run("GET", keys[1])
                assert future.done(), "it is waited for in vain"
                assert await asyncio.gather(*(gateway.run("GET", keys[n]) for n in (0, 2))) == [b"1", b"1"]
            assert phase(gateway) == "partial"
            assert gateway.up
            assert gateway.state.reason is not None
            assert dict(gateway.nodes())[f"127.0.0.1:{cluster.nodes[1].port}"].phase in ("open", "half-open")
            cluster.nodes[1].start()
            assert await answered(gateway, "GET", keys[1]) is None
            await until(lambda: phase(gateway) == "up")
            assert healed >= 1


@pytest.mark.slow
async def test_a_node_that_is_frozen_delays_nobody_elses_keys(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        async with gateway_to(cluster.url, 1.0) as gateway:
            keys = [key_in(cluster.slots(number)) for number in range(3)]
            await known(gateway)
            cluster.nodes[0].pause()
            stuck = [gateway.run("GET", keys[0], deadline=0.5) for _ in range(FAILURES)]
            for _ in range(50):
                assert await asyncio.gather(*(gateway.run("GET", keys[n]) for n in (1, 2))) == [None, None]
            assert not any(future.done() for future in stuck), "they were not waited for"
            await asyncio.wait(stuck)
            assert phase(gateway) == "partial"
            cluster.nodes[0].resume()
            assert await answered(gateway, "GET", keys[0]) is None


@pytest.mark.slow
async def test_a_master_that_dies_is_followed_by_its_replica(tmp_path: Path) -> None:
    with RedisCluster(tmp_path, replicas=1) as cluster:
        async with gateway_to(cluster.url) as gateway:
            key = key_in(cluster.slots(0))
            await gateway.run("SET", key, "kept")
            await until(lambda: cluster.nodes[3].do("DBSIZE") == "1")
            cluster.nodes[0].kill()
            assert await answered(gateway, "GET", key) == b"kept"
            await until(lambda: phase(gateway) == "up")
            names = {name for name, _ in gateway.nodes()}
            assert f"127.0.0.1:{cluster.nodes[3].port}" in names
            assert f"127.0.0.1:{cluster.nodes[0].port}" not in names, "it is still asked for"


@pytest.mark.slow
async def test_a_cluster_that_is_down_as_a_whole_is_used_again_when_it_is_whole(tmp_path: Path) -> None:
    with RedisCluster(tmp_path, full_coverage=True) as cluster:
        async with gateway_to(cluster.url) as gateway:
            key = key_in(cluster.slots(0))
            await known(gateway)
            cluster.nodes[2].kill()
            await until(lambda: "cluster_state:fail" in cluster.nodes[0].do_all("CLUSTER", "INFO"))
            reasons = {await why(gateway, "SET", key, "1") for _ in range(FAILURES + 1)}
            assert "CLUSTERDOWN" in reasons
            cluster.nodes[2].start()
            assert await answered(gateway, "SET", key, "2") == b"OK"


@pytest.mark.slow
async def test_it_begins_with_whichever_of_the_named_nodes_answers(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        cluster.nodes[0].kill()
        async with gateway_to(cluster.url) as gateway:
            assert await answered(gateway, "SET", key_in(cluster.slots(2)), "1") == b"OK"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["garbled", "cut", "refused", "silent"])
async def test_what_happens_on_the_way_to_one_node_is_no_matter_of_the_others(tmp_path: Path, how: str) -> None:
    with RedisCluster(tmp_path) as cluster:
        async with fault_proxy(cluster.nodes[0].port) as proxy:
            for command in ("cluster-announce-port", "cluster-announce-tls-port"):
                cluster.nodes[0].do("CONFIG", "SET", command, proxy.port)
            await until(lambda: all(f":{proxy.port}@" in node.do_all("CLUSTER", "NODES") for node in cluster.nodes))
            async with gateway_to(cluster.url, 1.0) as gateway:
                keys = [key_in(cluster.slots(number)) for number in range(3)]
                for key in keys:
                    assert await answered(gateway, "SET", key, "1") == b"OK"
                await until(lambda: f"127.0.0.1:{proxy.port}" in dict(gateway.nodes()))
                assert await answered(gateway, "GET", keys[0]) == b"1"
                assert proxy.connections
                proxy.garble = b"*3\r\n$1\r\na\r\n$99x\r\n" if how == "garbled" else None
                proxy.silent = how == "silent"
                proxy.refuse = how == "refused"
                if how in ("cut", "refused"):
                    proxy.cut()
                for _ in range(FAILURES + 1):
                    asked = [gateway.run("GET", key, deadline=PATIENT) for key in keys[1:]]
                    spoiled = gateway.run("GET", keys[0], deadline=0.2)
                    assert (await asyncio.gather(*asked)) == [b"1", b"1"]
                    await asyncio.wait([spoiled])
                assert phase(gateway) == ("up" if how == "cut" else "partial")
                proxy.garble, proxy.silent, proxy.refuse = None, False, False
                proxy.cut()
                assert await answered(gateway, "GET", keys[0]) == b"1"


async def test_a_server_that_is_no_cluster_is_a_reason(redis_server: RedisServer) -> None:
    async with gateway_to(f"redis+cluster://127.0.0.1:{redis_server.port}") as gateway:
        cluster = gateway._cluster
        assert cluster is not None
        await gateway.run("GET", "a")
        await until(lambda: cluster.reason is not None)
        assert "cluster support disabled" in str(cluster.reason)


async def test_closing_leaves_nothing_behind(redis_cluster: RedisCluster) -> None:
    async with gateway_to(redis_cluster.url) as gateway:
        await known(gateway)
        waiting = gateway.run("BLPOP", "nothing", 0)
        await asyncio.sleep(0.01)
        await gateway.close()
        with pytest.raises(Unavailable, match="closed"):
            await waiting
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("redis-")] == []


@pytest.mark.slow
async def test_no_answer_is_lost_or_mixed_up_while_nodes_come_and_go(tmp_path: Path) -> None:
    rng = Random(7)
    with RedisCluster(tmp_path, replicas=1) as cluster:
        async with gateway_to(cluster.url, 0.5) as gateway:
            wrong = 0
            answers = 0
            over = False

            async def ask(number: int) -> None:
                nonlocal wrong, answers
                key = f"{{{number}}}"
                while not over:
                    said = f"{number}/{rng.random()}"
                    try:
                        found = await gateway.run("EVAL", "return ARGV[1]", 1, key, said)
                    except Unavailable:
                        await asyncio.sleep(0.02)
                        continue
                    wrong += found != said.encode()
                    answers += 1

            asking = [asyncio.create_task(ask(number)) for number in range(30)]
            await asyncio.sleep(0.2)
            cluster.nodes[1].kill()
            await asyncio.sleep(0.3)
            cluster.nodes[2].pause()
            await asyncio.sleep(0.5)
            cluster.nodes[2].resume()
            cluster.nodes[1].start()
            cluster.nodes[0].kill()
            await answered(gateway, "GET", key_in(cluster.slots(0)))
            over = True
            await asyncio.gather(*asking)
            assert answers > 100
            assert wrong == 0
            await until(lambda: gateway.waiting == 0)
