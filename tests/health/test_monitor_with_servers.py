"""The monitor as it runs in production: real time, real sockets, and servers that really go away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from balancer.health.monitor import Monitor
from balancer.health.target import Target
from balancer.server import ServerKey
from config.schema import ActiveChecks

QUICK = ActiveChecks(interval=0.02, unhealthy_interval=0.02, timeout=1.0, rise=2, fall=2)
KEY = ("web", "a")


@asynccontextmanager
async def serving(port: int, status: int = 200) -> AsyncIterator[None]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application, port=port):
        yield


class Ear:
    """Hears what a monitor publishes, and lets a test wait for it."""

    def __init__(self) -> None:
        self.marks: asyncio.Queue[tuple[frozenset[ServerKey], frozenset[ServerKey]]] = asyncio.Queue()

    def __call__(self, checking: frozenset[ServerKey], down: frozenset[ServerKey]) -> None:
        self.marks.put_nowait((checking, down))

    async def hears(self, checking: set[ServerKey], down: set[ServerKey]) -> None:
        async with asyncio.timeout(5):
            assert await self.marks.get() == (frozenset(checking), frozenset(down))


async def test_a_server_is_followed_down_and_up_again() -> None:
    port, ear = unused_port(), Ear()
    monitor = Monitor(ear)
    monitor.watch({KEY: Target(f"http://127.0.0.1:{port}", QUICK)})
    async with serving(port):
        await monitor.start()
        await ear.hears({KEY}, set())
        await ear.hears(set(), set())
    await ear.hears(set(), {KEY})
    async with serving(port):
        await ear.hears(set(), set())
    await monitor.close()


async def test_a_check_on_request_reports_each_servers_own_answer() -> None:
    well, ill, gone = unused_port(), unused_port(), unused_port()
    monitor = Monitor(Ear())
    monitor.watch(
        {("web", str(port)): Target(f"http://127.0.0.1:{port}", ActiveChecks()) for port in (well, ill, gone)}
    )
    async with serving(well), serving(ill, status=500):
        await monitor.start()
        async with asyncio.timeout(5):
            await monitor.first_round.wait()
            results = await monitor.check_now()
        await monitor.close()
    assert [result.result.reason for result in results] == [
        "answered 200",
        "answered 500, expected 200-399",
        "connection refused",
    ]
    assert all(0 < result.result.seconds < 5 for result in results)
    assert monitor.down == {("web", str(ill)), ("web", str(gone))}


async def test_closing_does_not_wait_for_a_server_that_hangs() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        monitor = Monitor(Ear())
        monitor.watch({KEY: Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ActiveChecks())})
        await monitor.start()
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await monitor.close()
    assert monitor.checking == {KEY}
