"""A thousand clients, one answer that is not there yet, and the real process between them and a slow server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from tests.redis_server import RedisServer, redis_server
from tests.system.herd import Answering, Asker, Origin, askers, dripping, leave, slow_then
from tests.system.process import Balancer, running, until

__all__ = ["redis_server"]  # a fixture

pytestmark = pytest.mark.slow

HERD = 1000
FEW = 200
"""Of a herd each of which has the server asked."""
FIRST, REST = b"the first piece, ", b"and the last."
BODY = FIRST + REST
PAUSE = 0.1
"""Seconds that the server takes for each. One after the other, `FEW` would take more than a test waits."""


@asynccontextmanager
async def cached(
    folder: Path, answering: Answering, count: int = 1, redis: RedisServer | None = None, **more: Any
) -> AsyncIterator[tuple[Origin, list[Balancer]]]:
    """Balancers with a cache before a server; those that share a Redis share answers."""
    async with Origin(answering) as origin:
        balancers = []
        for number in range(count):
            place = folder / f"balancer-{number}"
            place.mkdir()
            settings: Mapping[str, Any] = {
                "servers": [f"http://127.0.0.1:{origin.port}"],
                "defaults": {"health": {"active": False, "passive": False}, "limits": {"lag": None}},
                "cache": {"enabled": True, **more},
                # On a busy machine Redis is late, and a balancer that does not wait asks the server itself.
                **({"redis": {"url": redis.url, "timeout": "5s"}} if redis else {}),
            }
            balancers.append(Balancer(place, settings))
        async with running(*balancers):
            yield origin, balancers


def status_lines(herd: list[Asker]) -> set[int]:
    return {asker.status for asker in herd}


async def all_whole(herd: list[Asker], *balancers: Balancer) -> None:
    await until(lambda: all(asker.whole for asker in herd), *balancers)


async def test_a_thousand_clients_of_a_cold_answer_make_one_request_and_read_it_as_it_comes(tmp_path: Path) -> None:
    async with cached(tmp_path, dripping(FIRST, REST)) as (origin, (balancer,)):
        herd = await askers(balancer.port, HERD)
        # Everybody has the beginning of an answer whose end the server has not sent.
        await until(lambda: all(asker.body == FIRST for asker in herd), balancer)
        assert not any(asker.whole for asker in herd)
        origin.release.set()
        await all_whole(herd, balancer)
        assert {(asker.status, asker.body) for asker in herd} == {(200, BODY)}
        late = await askers(balancer.port, 1)
        await all_whole(late, balancer)
        assert b"Cache-Status: balancer; hit" in late[0].heard
        assert origin.asked["/"] == 1
        leave(herd + late)


async def test_two_processes_that_share_a_redis_make_one_request(tmp_path: Path, redis_server: RedisServer) -> None:
    async with cached(tmp_path, dripping(FIRST, REST), 2, redis_server) as (origin, balancers):
        halves = await asyncio.gather(*(askers(balancer.port, HERD // 2) for balancer in balancers))
        # Those of the process that asks read along; the other's wait, for a bounded time: let it not pass.
        await until(lambda: any(asker.body == FIRST for half in halves for asker in half), *balancers)
        origin.release.set()
        herd = [*halves[0], *halves[1]]
        await all_whole(herd, *balancers)
        assert {(asker.status, asker.body) for asker in herd} == {(200, BODY)}
        assert origin.asked["/"] == 1
        leave(herd)


async def test_the_first_client_may_leave_in_the_middle(tmp_path: Path) -> None:
    async with cached(tmp_path, dripping(FIRST, REST)) as (origin, (balancer,)):
        first = await askers(balancer.port, 1)
        await until(lambda: first[0].body == FIRST, balancer)
        herd = await askers(balancer.port, HERD - 1)
        await until(lambda: all(asker.body == FIRST for asker in herd), balancer)
        leave(first)
        await until(lambda: _connections(balancer, HERD - 1), balancer)
        origin.release.set()
        await all_whole(herd, balancer)
        assert {(asker.status, asker.body) for asker in herd} == {(200, BODY)}
        assert origin.asked["/"] == 1
        leave(herd)


async def test_all_clients_may_leave_and_the_answer_is_stored_all_the_same(tmp_path: Path) -> None:
    async with cached(tmp_path, dripping(FIRST, REST)) as (origin, (balancer,)):
        herd = await askers(balancer.port, 20)
        await until(lambda: all(asker.body == FIRST for asker in herd), balancer)
        leave(herd)
        await until(lambda: _connections(balancer, 0), balancer)
        origin.release.set()
        await until(lambda: origin.under_way == 0, balancer)
        late = await askers(balancer.port, 1)
        await all_whole(late, balancer)
        assert (late[0].status, late[0].body, origin.asked["/"]) == (200, BODY, 1)
        leave(late)


ANSWERS = {
    "private": b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 2\r\n\r\nok",
    "no-store": b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok",
    "stale at once": b'HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nETag: "a"\r\nContent-Length: 2\r\n\r\nok',
    "every variant": b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: *\r\nContent-Length: 2\r\n\r\nok",
    "404": b"HTTP/1.1 404 Not Found\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nno",
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno",
    "503": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno",
    "502, cut": b"",
}
"""What may not be kept, or does not come at all."""


@pytest.mark.parametrize("kind", ANSWERS)
async def test_a_herd_whose_answer_cannot_be_shared_does_not_queue_up(tmp_path: Path, kind: str) -> None:
    said = ANSWERS[kind]
    expected = int(said[9:12] or b"502")
    async with cached(tmp_path, slow_then(said, PAUSE)) as (origin, (balancer,)):
        herd = await askers(balancer.port, FEW)
        await until(lambda: origin.asked["/"] == 1, balancer)
        await until(lambda: _connections(balancer, FEW), balancer)
        start = perf_counter()
        origin.release.set()
        await all_whole(herd, balancer)
        took = perf_counter() - start
        print(f"\n{kind}: {FEW} clients in {took:.2f} s, {origin.asked['/']} requests, {origin.most} at a time")
        assert status_lines(herd) == {expected}
        assert took < FEW * PAUSE / 4  # one after the other it would be four times this
        leave(herd)


async def test_a_herd_of_as_many_variants_does_not_queue_up(tmp_path: Path) -> None:
    """Each waits for the first answer, which is then for one of them."""
    said = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: X-Kind\r\nContent-Length: 2\r\n\r\nok"
    async with cached(tmp_path, slow_then(said, PAUSE)) as (origin, (balancer,)):
        first = await askers(balancer.port, 1, more=b"X-Kind: first\r\n")
        await until(lambda: origin.asked["/"] == 1, balancer)
        asking = (askers(balancer.port, 1, more=b"X-Kind: %d\r\n" % number) for number in range(FEW))
        herd = [asker for found in await asyncio.gather(*asking) for asker in found]
        await until(lambda: _connections(balancer, FEW + 1), balancer)
        start = perf_counter()
        origin.release.set()
        await all_whole(herd, balancer)
        took = perf_counter() - start
        print(f"\n{FEW} variants in {took:.2f} s, {origin.asked['/']} requests, {origin.most} at a time")
        assert status_lines(herd) == {200}
        assert origin.asked["/"] == FEW + 1
        assert took < FEW * PAUSE / 4
        leave(first + herd)


@pytest.mark.parametrize("kind", ["private", "500"])
async def test_nor_does_it_with_two_processes_and_a_redis(tmp_path: Path, redis_server: RedisServer, kind: str) -> None:
    said = ANSWERS[kind]
    async with cached(tmp_path, slow_then(said, PAUSE), 2, redis_server) as (origin, balancers):
        halves = await asyncio.gather(*(askers(balancer.port, FEW // 2) for balancer in balancers))
        await until(lambda: origin.asked["/"] >= 1, *balancers)
        start = perf_counter()
        origin.release.set()
        herd = [*halves[0], *halves[1]]
        await all_whole(herd, *balancers)
        took = perf_counter() - start
        print(f"\n{kind}: {FEW} clients in {took:.2f} s, {origin.asked['/']} requests, {origin.most} at a time")
        assert status_lines(herd) == {int(said[9:12])}
        assert took < FEW * PAUSE / 4
        leave(herd)


async def test_an_answer_that_breaks_off_is_cut_for_all_and_kept_for_none(tmp_path: Path) -> None:
    async def answer(origin: Origin, writer: asyncio.StreamWriter, number: int) -> None:
        whole = dripping(FIRST, REST)
        if number > 1:
            await whole(origin, writer, number)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 30\r\n\r\n" + FIRST)
        await origin.release.wait()
        writer.close()

    async with cached(tmp_path, answer) as (origin, (balancer,)):
        herd = await askers(balancer.port, HERD)
        await until(lambda: all(asker.body == FIRST for asker in herd), balancer)
        origin.release.set()
        await until(lambda: all(asker.closed for asker in herd), balancer)
        assert not any(asker.whole for asker in herd)
        assert origin.asked["/"] == 1
        late = await askers(balancer.port, 1)
        await all_whole(late, balancer)
        assert (late[0].body, origin.asked["/"]) == (BODY, 2)
        leave(late)


async def _connections(balancer: Balancer, count: int) -> bool:
    """Whether so many clients are connected, as the process counts them."""
    _, text = await balancer.call("GET", "/metrics")
    lines = [line for line in text.splitlines() if line.startswith("balancer_listener_connections{")]
    assert lines, "no figure of connections"
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines) == count
