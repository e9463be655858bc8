"""Two real balancers on one Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from aiohttp import web

from tests.redis_server import RedisCluster, RedisSentinels, RedisServer, redis_server
from tests.system.process import HUP, Balancer, free_port, running, until

__all__ = ["redis_server"]  # a fixture

pytestmark = pytest.mark.slow

Redis = RedisServer | RedisCluster | RedisSentinels
HOST = "example.com"
DEADLINE = 0.1


class App:
    """A server whose answers are to be cached, and that counts what it is asked."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: Counter[str] = Counter()
        self.delay = 0.005
        self.control = "max-age=60"

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        number = self.asked[request.path]
        await asyncio.sleep(self.delay)
        headers = {"Cache-Control": self.control, "Surrogate-Key": "all " + request.path.strip("/").replace("/", "-")}
        if request.path.startswith("/varied"):
            headers["Vary"] = "Accept-Language"
        return web.Response(text=f"{request.path} {number}", headers=headers)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()


def balancer(folder: Path, app: App, server: Redis, deadline: float) -> Balancer:
    folder.mkdir()
    unchecked = {"active": False, "passive": False}
    return Balancer(
        folder,
        {
            "pools": {"app": {"servers": {"a": f"http://127.0.0.1:{app.port}"}, "health": unchecked}},
            "routes": {"all": {"pool": "app"}},
            "cache": {"enabled": True, "purge_from": ["127.0.0.1"]},
            "redis": {"url": server.url, "timeout": f"{deadline * 1000:.0f}ms"},
        },
    )


async def ask(
    session: aiohttp.ClientSession, at: Balancer, path: str, method: str = "GET", **fields: str
) -> tuple[int, str, str]:
    """Status, Cache-Status and body."""
    headers = {"Host": HOST, **{name.replace("_", "-"): value for name, value in fields.items()}}
    async with session.request(method, at.url + path, headers=headers) as response:
        body = await response.text()
        return response.status, response.headers.get("Cache-Status", ""), body


@asynccontextmanager
async def two(
    folder: Path, server: Redis, deadline: float = 5.0
) -> AsyncIterator[tuple[App, Balancer, Balancer, aiohttp.ClientSession]]:
    """Two balancers that share, once both have found Redis."""
    app = App()
    one, other = balancer(folder / "one", app, server, deadline), balancer(folder / "other", app, server, deadline)
    async with app.serving(), running(one, other), aiohttp.ClientSession() as session:
        number = 0

        async def shared() -> bool:
            nonlocal number
            number += 1
            await ask(session, one, f"/warm/{number}")
            await asyncio.sleep(0.05)
            return "hit" in (await ask(session, other, f"/warm/{number}"))[1]

        await until(shared, one, other)
        yield app, one, other, session


async def eventually_hit(session: aiohttp.ClientSession, at: Balancer, path: str) -> None:
    async def hit() -> bool:
        return "; hit" in (await ask(session, at, path))[1]

    await until(hit, at)


async def test_what_one_has_fetched_the_other_serves(tmp_path: Path, redis_server: RedisServer) -> None:
    async with two(tmp_path, redis_server) as (app, one, other, session):
        assert "fwd=uri-miss" in (await ask(session, one, "/page"))[1]
        await asyncio.sleep(0.1)
        status, told, body = await ask(session, other, "/page")
        assert (status, body) == (200, "/page 1")
        assert "balancer; hit" in told
        assert app.asked["/page"] == 1
        assert (await ask(session, one, "/varied", Accept_Language="de"))[2] == "/varied 1"
        assert (await ask(session, one, "/varied", Accept_Language="en"))[2] == "/varied 2"
        await asyncio.sleep(0.1)
        assert (await ask(session, other, "/varied", Accept_Language="en"))[2] == "/varied 2"
        assert (await ask(session, other, "/varied", Accept_Language="de"))[2] == "/varied 1"


async def test_a_purge_on_one_holds_on_the_other(tmp_path: Path, redis_server: RedisServer) -> None:
    async with two(tmp_path, redis_server) as (app, one, other, session):
        for round_ in range(1, 11):
            assert (await ask(session, one, "/page"))[2] == f"/page {round_}"
            await asyncio.sleep(0.05)
            assert (await ask(session, other, "/page"))[2] == f"/page {round_}"
            purging, staying = (one, other) if round_ % 2 else (other, one)
            assert (await ask(session, purging, "/page", "PURGE"))[0] == 200
            await asyncio.sleep(0.05)
            assert (await ask(session, staying, "/page"))[2] == f"/page {round_ + 1}"
            assert (await ask(session, purging, "/page"))[2] == f"/page {round_ + 1}"
            await ask(session, purging, "/page", "PURGE")
            await asyncio.sleep(0.05)
            app.asked["/page"] = round_


async def test_an_unsafe_request_at_one_ends_what_the_other_has(tmp_path: Path, redis_server: RedisServer) -> None:
    async with two(tmp_path, redis_server) as (_, one, other, session):
        await ask(session, one, "/page")
        await asyncio.sleep(0.05)
        assert (await ask(session, other, "/page"))[2] == "/page 1"
        assert (await ask(session, other, "/page", "POST"))[2] == "/page 2"
        await asyncio.sleep(0.05)
        assert (await ask(session, one, "/page"))[2] == "/page 3"


async def test_a_herd_at_both_is_one_request_to_the_server(tmp_path: Path, redis_server: RedisServer) -> None:
    async with two(tmp_path, redis_server) as (app, one, other, session):
        app.delay = 0.3
        answers = await asyncio.gather(*[ask(session, at, "/herd") for at in (one, other) * 40])
        assert {(status, body) for status, _, body in answers} == {(200, "/herd 1")}
        assert app.asked["/herd"] == 1


async def test_redis_killed_under_load_fails_no_request_and_delays_none_beyond_its_deadline(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    async with two(tmp_path, redis_server, DEADLINE) as (_, one, other, session):
        times: list[float] = []
        failures: list[str] = []
        stop = asyncio.Event()

        async def client(number: int, at: Balancer) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                path = f"/{number}/{count % 7}" if count % 2 else f"/new/{number}/{count}"
                began = monotonic()
                try:
                    status, _, body = await ask(session, at, path)
                except aiohttp.ClientError as error:
                    failures.append(repr(error))
                else:
                    times.append(monotonic() - began)
                    if status != 200 or not body.startswith(path):
                        failures.append(f"{status} {body}")
                await asyncio.sleep(0.002)

        clients = [asyncio.create_task(client(number, (one, other)[number % 2])) for number in range(8)]
        await asyncio.sleep(1.5)
        normal = max(times)
        times.clear()
        redis_server.kill()
        await asyncio.sleep(2.0)
        killed = max(times)
        redis_server.start()
        await asyncio.sleep(2.0)
        times.clear()
        redis_server.pause()
        await asyncio.sleep(1.5)
        redis_server.resume()
        paused = max(times)
        await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*clients)
        assert failures == []
        assert len(times) > 100
        # A look-up and the wait for another's fetch each have one deadline; the rest is a busy machine.
        assert killed < normal + 2 * DEADLINE + 0.3
        assert paused < normal + 2 * DEADLINE + 0.3
        await eventually_hit(session, one, "/after")
        await eventually_hit(session, other, "/after")


async def test_a_reload_takes_redis_away_and_brings_it_back(tmp_path: Path, redis_server: RedisServer) -> None:
    async with two(tmp_path, redis_server) as (_, one, other, session):
        settings = other.settings
        other.write({**settings, "redis": {"url": ""}})
        other.signal(HUP)
        number = 0

        async def alone() -> bool:
            nonlocal number
            number += 1
            await ask(session, one, f"/alone/{number}")
            await asyncio.sleep(0.05)
            return "fwd=uri-miss" in (await ask(session, other, f"/alone/{number}"))[1]

        await until(alone, one, other)
        other.write(settings)
        other.signal(HUP)

        async def shared() -> bool:
            nonlocal number
            number += 1
            await ask(session, one, f"/again/{number}")
            await asyncio.sleep(0.05)
            return "hit" in (await ask(session, other, f"/again/{number}"))[1]

        await until(shared, one, other)
