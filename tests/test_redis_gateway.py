from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer import redis_gateway
from balancer.redis_connection import packed, without_secrets
from balancer.redis_gateway import Gateway, Unavailable
from config.schema import Redis
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture

PATIENT = 5.0
"""A deadline that a busy test machine does not reach."""
SHORT = 0.1


@asynccontextmanager
async def gateway_to(
    url: str, deadline: float = PATIENT, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, seed: int = 1
) -> AsyncIterator[Gateway]:
    gateway = Gateway(Redis(url=url, timeout=deadline), sleep=sleep, rng=Random(seed))
    try:
        yield gateway
    finally:
        await gateway.close()


class Pauses:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self.go = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self.go.acquire()


async def why(future: Awaitable[object]) -> str:
    with pytest.raises(Unavailable) as caught:
        await future
    return caught.value.why


async def ask(gateway: Gateway, *command: bytes | str | int) -> object:
    """Ask until there is an answer: a busy machine misses short deadlines now and then."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await gateway.run(*command)
            except Unavailable:
                await asyncio.sleep(0.01)


async def opened(gateway: Gateway) -> None:
    """Ask until the breaker opens."""
    async with asyncio.timeout(10):
        while gateway.state.phase == "up":
            await asyncio.wait([gateway.run("PING") for _ in range(2)])


async def healed(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        while not gateway.up:  # noqa: ASYNC110  # nothing in the product waits for this, so it sets no event
            await asyncio.sleep(0.005)


async def test_commands_are_answered_each_with_its_own(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url) as gateway:
        assert await gateway.run("SET", "a", b"\x00\r\n$5\r\n") == b"OK"
        assert await gateway.run("GET", "a") == b"\x00\r\n$5\r\n"
        assert await gateway.run("GET", "b") is None
        assert await gateway.run("INCRBY", "n", 41) == 41
        assert await gateway.run("MGET", "n", "b") == [b"41", None]
        assert gateway.state.results == {"ok": 5}
        assert sum(gateway.state.latency.counts) == 5


async def test_what_is_asked_in_one_turn_leaves_in_one_write(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url) as gateway:
        await gateway.run("PING")
        proxy.delay = 0.05
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(gateway.run("ECHO", n) for n in range(100)))
        assert answers == [b"%d" % n for n in range(100)]
        assert asyncio.get_running_loop().time() - began < 100 * 0.05, "each has waited for the one before"
        assert gateway.state.connects == 1


@pytest.mark.slow
async def test_what_is_asked_while_an_answer_is_awaited_does_not_wait_for_it(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url) as gateway:
        slow = gateway.run("BLPOP", "nothing", "0.2")
        await asyncio.sleep(0)
        assert not slow.done()
        quick = [gateway.run("ECHO", n) for n in range(3)]
        assert await slow is None
        assert await asyncio.gather(*quick) == [b"0", b"1", b"2"]
        assert gateway.state.connects == 1


@given(st.lists(st.one_of(st.binary(max_size=50), st.text(max_size=20), st.integers()), min_size=1, max_size=5))
def test_a_packed_command_reads_as_its_parts(command: list[bytes | str | int]) -> None:
    rest = packed(tuple(command))
    head, _, rest = rest.partition(b"\r\n")
    assert head == b"*%d" % len(command)
    for part in command:
        expected = part if isinstance(part, bytes) else str(part).encode()
        length, _, rest = rest.partition(b"\r\n")
        assert length == b"$%d" % len(expected)
        assert rest[: len(expected) + 2] == expected + b"\r\n"
        rest = rest[len(expected) + 2 :]
    assert rest == b""


async def test_one_who_leaves_takes_no_answer_from_others(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url) as gateway:
        await gateway.run("PING")
        for turn in range(50):
            asked = [gateway.run("ECHO", f"{turn}-{n}") for n in range(6)]
            if turn % 2:
                await asyncio.sleep(0)  # those that leave are on their way already
            for future in asked[::2]:
                future.cancel()
            assert await asyncio.gather(*asked[1::2]) == [f"{turn}-{n}".encode() for n in (1, 3, 5)]
        assert gateway.state.connects == 1, "nobody's leaving costs the connection"
        assert gateway.state.results["ok"] == 301


async def test_a_task_that_is_cancelled_while_it_waits_harms_nobody(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url) as gateway:
        await gateway.run("PING")
        proxy.delay = 0.02

        async def ask(text: str) -> object:
            return await gateway.run("ECHO", text)

        leaving, staying = asyncio.create_task(ask("a")), asyncio.create_task(ask("b"))
        await asyncio.sleep(0.005)
        leaving.cancel()
        assert await staying == b"b"
        assert await ask("c") == b"c"


async def test_a_server_that_does_not_answer_costs_no_more_than_the_deadline(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url, SHORT) as gateway:
        await ask(gateway, "PING")
        redis_server.pause()
        assert await why(gateway.run("GET", "a")) == "timeout"  # the server answers no sooner than it is resumed
        assert gateway.state.reason == "no answer within 0.1 s"
        redis_server.resume()


async def test_commands_that_a_server_holds_back_cost_no_more_than_the_deadline(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url, SHORT) as gateway:
        await ask(gateway, "SET", "a", "1")
        redis_server.do("CLIENT", "PAUSE", 60_000, "WRITE")
        assert await why(gateway.run("SET", "a", "2")) == "timeout"
        redis_server.do("CLIENT", "UNPAUSE")
        assert await ask(gateway, "SET", "a", "3") == b"OK"
        assert await ask(gateway, "GET", "a") == b"3"


async def test_the_deadline_counts_from_asking_also_while_there_is_no_connection(redis_server: RedisServer) -> None:
    redis_server.pause()
    async with gateway_to(redis_server.url, SHORT) as gateway:
        loop = asyncio.get_running_loop()
        began = loop.time()
        first = gateway.run("GET", "a")
        await asyncio.sleep(SHORT / 2)
        second = gateway.run("GET", "a")
        assert await why(first) == "timeout"
        assert loop.time() - began < SHORT + 1.0, "a connection may take longer than that"
        assert await why(second) == "timeout"
        redis_server.resume()


@pytest.mark.slow
async def test_a_late_answer_is_never_taken_for_anothers(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url, 0.4) as gateway:
        assert await ask(gateway, "ECHO", "before") == b"before"
        proxy.delay = 0.5
        assert await why(gateway.run("ECHO", "late")) == "timeout"
        proxy.delay = 0.0
        for n in range(20):
            assert await ask(gateway, "ECHO", n) == b"%d" % n
            await asyncio.sleep(0.01)  # in which the late answer comes
        assert gateway.state.connects >= 2


@pytest.mark.slow
async def test_a_loop_that_was_busy_does_not_take_that_for_a_slow_server(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url, 0.5) as gateway:
        await ask(gateway, "PING")
        asked = [gateway.run("ECHO", n) for n in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # they have left
        end = gateway._clock() + 0.8
        while gateway._clock() < end:
            pass
        assert await asyncio.gather(*asked) == [b"%d" % n for n in range(10)]


async def test_five_refused_connections_open_the_breaker(redis_server: RedisServer) -> None:
    redis_server.kill()
    pauses = Pauses()
    async with gateway_to(redis_server.url, sleep=pauses.sleep) as gateway:
        reasons = [await why(gateway.run("PING")) for _ in range(redis_gateway.FAILURES + 2)]
        assert reasons == ["connect"] * redis_gateway.FAILURES + ["open"] * 2
        assert gateway.state.phase == "open"
        assert gateway.state.opened == 1
        assert gateway.state.reason is not None
        assert gateway.state.reason.startswith("connection refused at ")


async def test_with_the_breaker_open_everybody_fails_at_once(redis_server: RedisServer) -> None:
    pauses = Pauses()
    async with gateway_to(redis_server.url, SHORT, pauses.sleep) as gateway:
        await ask(gateway, "PING")
        redis_server.pause()
        await asyncio.wait([gateway.run("GET", n) for n in range(redis_gateway.FAILURES)])
        assert gateway.state.phase == "open"
        assert not gateway.up
        future = gateway.run("GET", "a")
        assert future.done(), "it has not even to be awaited"
        assert await why(future) == "open"
        redis_server.resume()


async def test_fewer_misses_than_it_takes_leave_the_breaker_closed(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url, SHORT) as gateway:
        await ask(gateway, "PING")
        redis_server.pause()
        await asyncio.wait([gateway.run("GET", n) for n in range(redis_gateway.FAILURES - 1)])
        assert gateway.state.phase == "up"
        redis_server.resume()
        assert await ask(gateway, "ECHO", "a") == b"a"


async def test_pauses_between_probes_grow_with_jitter_to_half_a_minute(redis_server: RedisServer) -> None:
    redis_server.kill()
    pauses = Pauses()
    async with gateway_to(redis_server.url, sleep=pauses.sleep) as gateway:
        await opened(gateway)
        seen = []
        for _ in range(7):
            seen.append(await pauses.asked.get())
            assert await why(gateway.run("PING")) == "open"
            pauses.go.release()
        bases = [1, 2, 4, 8, 16, 20, 20]
        assert all(base <= pause <= 1.5 * base for base, pause in zip(bases, seen, strict=True)), seen
        assert len({pause / base for pause, base in zip(seen, bases, strict=True)}) > 3, "they do not probe as one"
        assert max(seen) <= 30


async def test_a_server_that_comes_back_is_used_again_without_anybody_asking(redis_server: RedisServer) -> None:
    redis_server.kill()
    pauses = Pauses()
    async with gateway_to(redis_server.url, sleep=pauses.sleep) as gateway:
        await opened(gateway)
        redis_server.start()
        await pauses.asked.get()
        assert not gateway.up
        pauses.go.release()
        await healed(gateway)
        assert gateway.state.reason is None
        assert await gateway.run("ECHO", "a") == b"a"


async def test_a_server_that_works_for_a_moment_only_is_probed_ever_more_rarely(redis_server: RedisServer) -> None:
    pauses = Pauses()
    async with gateway_to(redis_server.url, sleep=pauses.sleep) as gateway:
        seen = []
        for _ in range(3):
            redis_server.kill()
            await opened(gateway)
            seen.append(await pauses.asked.get())
            pauses.go.release()  # this probe fails
            seen.append(await pauses.asked.get())
            redis_server.start()
            pauses.go.release()
            await healed(gateway)
        assert seen[2] >= 2, seen
        assert seen[4] >= 4, seen


@pytest.mark.slow
async def test_half_open_lets_nobody_through(redis_server: RedisServer) -> None:
    pauses = Pauses()
    async with gateway_to(redis_server.url, SHORT, pauses.sleep) as gateway:
        await ask(gateway, "PING")
        redis_server.pause()
        await opened(gateway)
        await pauses.asked.get()
        pauses.go.release()
        while gateway.state.phase != "half-open":  # noqa: ASYNC110  # as above
            await asyncio.sleep(0)
        assert await why(gateway.run("GET", "a")) == "half-open"
        await pauses.asked.get()  # the probe has failed
        assert gateway.state.phase == "open"
        redis_server.resume()


async def test_a_killed_server_that_is_back_at_once_costs_one_command(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url) as gateway:
        await gateway.run("PING")
        waiting = gateway.run("BLPOP", "nothing", 0)
        await asyncio.sleep(0.01)
        redis_server.kill()
        redis_server.start()
        assert await why(waiting) == "closed"
        assert await gateway.run("ECHO", "a") == b"a"
        assert gateway.state.connects == 2
        assert gateway.up


async def test_a_connection_that_is_cut_fails_what_was_on_it_and_nothing_after(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url) as gateway:
        await gateway.run("PING")
        proxy.delay = 0.2
        lost = [gateway.run("ECHO", n) for n in range(5)]
        await asyncio.sleep(0.01)
        proxy.cut()
        assert [await why(future) for future in lost] == ["closed"] * 5
        assert gateway.up, "it was one failure and not five"
        proxy.delay = 0.0
        assert await gateway.run("ECHO", "a") == b"a"


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$abc\r\n",
        b"\x00\xff\xfe\r\n",
        b"*3\r\n$1\r\na\r\n$999999\r\n",
        b"%1\r\n*1\r\n+a\r\n+b\r\n",  # a map whose key is a list
        b"-MOVED nonsense\r\n",
        b"-ASK\r\n",
        b">2\r\n+pubsub\r\n+x\r\n",
        b"+OK\r\n+OK\r\n",
        b"\n" * 100,
        b"*1\r\n" * 3000,  # nested deeper than a parser recurses
        b"-" + b"A" * 100_000 + b"\r\n",
    ],
)
@pytest.mark.slow
async def test_garbage_is_a_failure_of_that_command_alone(redis_server: RedisServer, garbage: bytes) -> None:
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url, 0.5) as gateway:
        await gateway.run("PING")
        proxy.garble = garbage
        try:
            answer = await gateway.run("SET", "a", "1")
        except Unavailable:
            pass
        else:
            assert answer == b"OK", "that one was well formed"
        proxy.garble = None
        await asyncio.sleep(0.05)
        for n in range(3):
            async with asyncio.timeout(5):
                while True:
                    try:
                        echoed = await gateway.run("ECHO", n)
                    except Unavailable:
                        continue
                    break
            assert echoed == b"%d" % n
        assert set(gateway.state.results) <= {"ok", "closed", "timeout", "MOVED", "ASK", "ERR", "connect"}


async def test_garbage_for_a_log_in_opens_the_breaker_and_is_healed_from(redis_server: RedisServer) -> None:
    pauses = Pauses()
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url, 1.0, pauses.sleep) as gateway:
        proxy.garble = b"+HELLO\r\n"
        await opened(gateway)
        proxy.garble = None
        pauses.go.release()
        await healed(gateway)
        assert await gateway.run("ECHO", "a") == b"a"


async def test_a_black_hole_is_a_deadline_and_then_an_open_breaker(redis_server: RedisServer) -> None:
    pauses = Pauses()
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url, SHORT, pauses.sleep) as gateway:
        await ask(gateway, "PING")
        proxy.silent = True
        await asyncio.wait([gateway.run("SET", n, b"x" * 100_000) for n in range(50)])  # more than buffers hold
        assert gateway.state.results["timeout"] == 50
        await opened(gateway)  # not all of them had waited for as long when the connection was given up
        proxy.silent = False
        proxy.cut()
        pauses.go.release()
        await healed(gateway)
        assert await ask(gateway, "ECHO", "a") == b"a"


async def test_a_server_that_reads_no_more_is_left_for_another_connection(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url, SHORT) as gateway:
        await ask(gateway, "PING")
        before = proxy.connections
        proxy.deafen()
        await asyncio.wait([gateway.run("SET", n, b"x" * 1_000_000) for n in range(20)])  # more than sockets hold
        assert await ask(gateway, "ECHO", "a") == b"a"
        assert proxy.connections > before


async def test_a_full_server_refuses_writes_and_still_answers(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url) as gateway:
        await gateway.run("SET", "a", "1")
        await gateway.run("CONFIG", "SET", "maxmemory", 1)
        for _ in range(10):
            assert await why(gateway.run("SET", "b", "1")) == "OOM"
        assert await gateway.run("GET", "a") == b"1"
        assert gateway.up, "reading works, so the breaker has no say"
        assert gateway.state.results["OOM"] == 10


async def test_errors_are_counted_by_kind_and_unknown_ones_as_one(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url) as gateway:
        await gateway.run("RPUSH", "list", "a")
        assert await why(gateway.run("GET", "list")) == "WRONGTYPE"
        assert await why(gateway.run("EVALSHA", "0" * 40, 0)) == "NOSCRIPT"
        assert await why(gateway.run("NONSENSE")) == "ERR"
        assert await why(gateway.run("EVAL", "return redis.error_reply('MADEUP1 x')", 0)) == "ERR"
        await gateway.run("CONFIG", "SET", "slave-read-only", "yes")
        await gateway.run("REPLICAOF", "127.0.0.1", 1)
        assert await why(gateway.run("SET", "a", "1")) == "READONLY"
        await gateway.run("CONFIG", "SET", "replica-serve-stale-data", "no")
        assert await why(gateway.run("GET", "a")) == "MASTERDOWN"
        assert gateway.up


async def test_a_replica_without_its_master_is_unusable_and_opens_the_breaker(redis_server: RedisServer) -> None:
    pauses = Pauses()
    async with gateway_to(redis_server.url, sleep=pauses.sleep) as gateway:
        await gateway.run("CONFIG", "SET", "replica-serve-stale-data", "no")
        await gateway.run("REPLICAOF", "127.0.0.1", 1)
        for _ in range(redis_gateway.FAILURES):
            assert await why(gateway.run("GET", "a")) == "MASTERDOWN"
        assert gateway.state.phase == "open"


async def test_a_user_who_may_not_ping_is_healed_too(redis_server: RedisServer) -> None:
    pauses = Pauses()
    redis_server.do("ACL", "SETUSER", "app", "on", ">pw", "~*", "+get", "+hello", "+client", "+select")
    async with gateway_to(redis_server.url.replace("://", "://app:pw@"), SHORT, pauses.sleep) as gateway:
        redis_server.pause()
        await asyncio.wait([gateway.run("GET", n) for n in range(redis_gateway.FAILURES)])
        assert gateway.state.phase == "open"
        redis_server.resume()
        pauses.go.release()
        await healed(gateway)
        assert await ask(gateway, "GET", "a") is None


async def test_a_wrong_password_is_a_reason_that_does_not_show_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, password="right-secret")
    server.start()
    try:
        async with gateway_to(server.url.replace("right", "wrong")) as gateway:
            assert await why(gateway.run("GET", "a")) == "WRONGPASS"
            assert gateway.state.reason is not None
            assert "secret" not in gateway.state.reason
        async with gateway_to(server.url) as gateway:
            assert await gateway.run("GET", "a") is None
        async with gateway_to(server.url.replace(":right-secret@", "")) as gateway:
            assert await why(gateway.run("GET", "a")) == "NOAUTH"
    finally:
        server.kill()


async def test_a_server_that_repeats_the_password_in_an_error_is_not_quoted(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy:
        proxy.garble = b"-ERR unknown command 'HELLO', with args: '3' 'AUTH' 'me' 'p@ss/word'\r\n"
        async with gateway_to(proxy.url.replace("://", "://me:p%40ss%2Fword@")) as gateway:
            await why(gateway.run("GET", "a"))
            assert gateway.state.reason is not None
            assert "unknown command" in gateway.state.reason
            assert "ss/word" not in gateway.state.reason


def test_secrets_in_a_query_and_as_they_are_written_are_left_out() -> None:
    url = "redis://me:a%20b@h/0?password=other&sentinel_password=third"
    assert without_secrets("a%20b a b other third h", url) == "*** *** *** *** h"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis://:se:cret@127.0.0.1:1x/0", "redis://h/0?nonsense=1"])
async def test_a_url_that_can_not_be_read_is_a_reason_without_the_url(url: str) -> None:
    async with gateway_to(url) as gateway:
        assert await why(gateway.run("GET", "a")) == "url"
        assert gateway.state.reason is not None
        assert gateway.state.reason.startswith("redis.url is not of the form redis://")


async def test_without_a_url_it_is_off_and_says_so() -> None:
    async with gateway_to("") as gateway:
        assert await why(gateway.run("GET", "a")) == "off"
        assert gateway.state.reason == "not configured: redis.url is empty"
        assert not gateway.up


async def test_what_waits_is_bounded(redis_server: RedisServer) -> None:
    redis_server.pause()
    async with gateway_to(redis_server.url, 1.0) as gateway:
        waiting = [gateway.run("GET", n) for n in range(redis_gateway.MOST)]
        assert gateway.waiting == redis_gateway.MOST
        assert await why(gateway.run("GET", "one too many")) == "queue-full"
        assert not any(future.done() for future in waiting)
        redis_server.resume()
        assert await asyncio.gather(*waiting) == [None] * redis_gateway.MOST


async def test_closing_lets_everybody_go_and_leaves_nothing_behind(redis_server: RedisServer) -> None:
    gateway = Gateway(Redis(url=redis_server.url, timeout=PATIENT))
    await gateway.run("PING")
    waiting = gateway.run("BLPOP", "nothing", 0)
    await asyncio.sleep(0.01)
    await gateway.close()
    await gateway.close()
    assert await why(waiting) == "closed"
    assert await why(gateway.run("PING")) == "closed"
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("redis-")]
    assert left == []


@pytest.mark.slow
async def test_closing_in_the_middle_of_connecting_ends_it() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    for turns in range(5):
        gateway = Gateway(Redis(url=f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=PATIENT))
        waiting = gateway.run("PING")
        for _ in range(turns * 3):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await gateway.close()
        assert await why(waiting) == "closed"
    server.close()
    await server.wait_closed()


async def test_a_shorter_deadline_ends_the_wait_and_nobody_elses(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url) as gateway:
        await gateway.run("PING")
        proxy.hold()
        patient = [gateway.run("ECHO", n) for n in range(3)]
        hasty = [gateway.run("ECHO", "late", deadline=0.02) for _ in range(2)]
        assert [await why(future) for future in hasty] == ["timeout"] * 2
        assert gateway.state.reason == "no answer within 0.02 s"
        proxy.release()
        assert await asyncio.gather(*patient) == [b"0", b"1", b"2"]
        assert await gateway.run("ECHO", "a") == b"a", "the late answers are nobody's"
        assert gateway.state.connects == 1


async def test_answers_that_came_too_late_for_some_do_not_keep_the_breaker_closed(redis_server: RedisServer) -> None:
    pauses = Pauses()
    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url, sleep=pauses.sleep) as gateway:
        await gateway.run("PING")
        proxy.delay = 0.06
        for n in range(redis_gateway.FAILURES):
            assert gateway.up
            in_time = gateway.run("ECHO", n, deadline=PATIENT)
            assert await why(gateway.run("GET", "a", deadline=0.03)) == "timeout"
            if gateway.up:
                assert await in_time == b"%d" % n
        assert gateway.state.phase == "open"
        pauses.go.release()
        await pauses.asked.get()
        await pauses.asked.get()
        assert gateway.state.phase == "open", "a probe is held to the deadline that was missed"
        proxy.delay = 0.0
        for _ in range(100):  # on a busy machine some probe may still be late
            pauses.go.release()
        await healed(gateway)
        assert await gateway.run("ECHO", "a", deadline=PATIENT) == b"a"


async def test_a_longer_deadline_is_waited_for(redis_server: RedisServer) -> None:
    async with gateway_to(redis_server.url, SHORT) as gateway:
        await ask(gateway, "PING")
        assert await gateway.run("BLPOP", "nothing", "0.3", deadline=PATIENT) is None
        assert gateway.state.connects == 1


@given(st.lists(st.sampled_from([0.01, 0.03, 0.05, None]), min_size=1, max_size=30), st.booleans())
@settings(max_examples=10, deadline=None)
def test_whatever_the_deadlines_each_is_let_go_by_its_own(deadlines: list[float | None], connected: bool) -> None:
    async def let_go() -> None:
        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if connected:
                await reader.read(65536)
                writer.write(b"%1\r\n+proto\r\n:3\r\n" + b"+OK\r\n" * 3)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(never, "127.0.0.1", 0)
        gateway = Gateway(Redis(url=f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.06))
        waiting = [gateway.run("GET", n, deadline=deadline) for n, deadline in enumerate(deadlines)]
        async with asyncio.timeout(10):
            assert {await why(future) for future in waiting} <= {"timeout", "open"}
        assert gateway.waiting == 0 or connected, "what was sent is waited for by the connection"
        await gateway.close()
        server.close()
        await server.wait_closed()

    asyncio.run(let_go())


@pytest.mark.slow
async def test_no_answer_is_lost_or_mixed_up_whatever_the_network_does(redis_server: RedisServer) -> None:
    rng = Random(7)

    async def quick(seconds: float) -> None:
        await asyncio.sleep(0.02)

    async with fault_proxy(redis_server.port) as proxy, gateway_to(proxy.url, SHORT, quick) as gateway:
        answered = 0

        async def ask(n: int) -> None:
            nonlocal answered
            for turn in range(30):
                try:
                    assert await gateway.run("ECHO", f"{n}/{turn}") == f"{n}/{turn}".encode()
                    answered += 1
                except Unavailable:
                    await asyncio.sleep(0.02)

        async def spoil(proxy: FaultProxy) -> None:
            for _ in range(12):
                proxy.delay = rng.choice((0.0, 0.0, 0.01, 0.15))
                proxy.refuse = rng.random() < 0.2
                if rng.random() < 0.5:
                    proxy.cut()
                await asyncio.sleep(0.03)
            proxy.delay, proxy.refuse = 0.0, False

        await asyncio.gather(spoil(proxy), *(ask(n) for n in range(20)))
        assert answered > 0
        await healed(gateway)
        assert gateway.waiting == 0


async def test_the_log_is_told_once_when_a_server_goes_and_once_when_it_is_back(redis_server: RedisServer) -> None:
    pauses = Pauses()
    events: list[tuple[str, str, str]] = []

    def tell(event: str, where: str, detail: str) -> None:
        events.append((event, where, detail))

    gateway = Gateway(Redis(url=redis_server.url, timeout=PATIENT), sleep=pauses.sleep, on_event=tell)
    await gateway.run("PING")
    redis_server.kill()
    await opened(gateway)
    for _ in range(50):
        assert await why(gateway.run("PING")) == "open"
    pauses.go.release()
    await pauses.asked.get()
    await pauses.asked.get()  # a probe has failed meanwhile
    redis_server.start()
    pauses.go.release()
    await healed(gateway)
    await gateway.run("PING")
    place = f"127.0.0.1:{redis_server.port}"
    assert [(event, where) for event, where, _ in events] == [("redis_down", place), ("redis_back", place)]
    assert "connection refused at " in events[0][2]
    await gateway.close()
    assert len(events) == 2, "an end that was wanted is no news"


async def test_the_log_is_told_of_a_full_server_once_in_a_while(redis_server: RedisServer) -> None:
    events: list[tuple[str, str, str]] = []
    now = 100.0

    def tell(event: str, where: str, detail: str) -> None:
        events.append((event, where, detail))

    gateway = Gateway(Redis(url=redis_server.url, timeout=PATIENT), clock=lambda: now, on_event=tell)
    await gateway.run("CONFIG", "SET", "maxmemory", 1)
    for _ in range(10):
        assert await why(gateway.run("SET", "a", "1")) == "OOM"
        await gateway.run("GET", "a")
    assert [event for event, *_ in events] == ["redis_refuses"]
    assert "maxmemory" in events[0][2]
    now += 60
    assert await why(gateway.run("SET", "a", "1")) == "OOM"
    assert len(events) == 2
    await gateway.close()
