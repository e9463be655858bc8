"""Time-outs and the cap of the admin listener, with real sockets and small times."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from api.app import make_app, make_metrics_app
from api.body import SLOWEST, left_of
from api.door import DOOR, Patience, Site
from config.values import Address
from tests.api.desk import BALANCER, SERVERS, Desk

CHECK = "/api/config/check"
LONG = 30.0
"""Seconds that no test takes: what must not end it."""


@asynccontextmanager
async def opened(app: web.Application, address: str = "127.0.0.1:0") -> AsyncIterator["Listener"]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await Site(runner, Address.of(address)).start()
        listener = Listener(("", 0) if address.startswith("unix:") else runner.addresses[0][:2])
        try:
            yield listener
        finally:
            for line in listener.lines:
                line.writer.transport.abort()
                with suppress(OSError):
                    await line.writer.wait_closed()
    finally:
        await runner.cleanup()


class Line:
    """One connection to the listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, text: str) -> None:
        self.writer.write(text.replace("\n", "\r\n").encode())

    async def answer(self) -> int:
        """The status of the next answer, whose body is read."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        await self.reader.readexactly(length)
        return int(head.split()[1])

    async def ended(self) -> bool:
        """Whether the other end closes now; False when it is still open after a while."""
        try:
            return await asyncio.wait_for(self.reader.read(), 2.0) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


class Listener:
    """Where the API is open, and the connections to it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.lines: list[Line] = []

    async def line(self) -> Line:
        self.lines.append(Line(*await asyncio.open_connection(*self.address)))
        return self.lines[-1]


GET = "GET /livez HTTP/1.1\nHost: localhost\n\n"
APPS: list[Callable[..., web.Application]] = [make_app, make_metrics_app]


@pytest.mark.parametrize("make", APPS)
@pytest.mark.parametrize("sent", ["", "GET /livez HT", "GET /livez HTTP/1.1\nHost: localhost\n"])
async def test_a_connection_without_a_whole_head_is_ended(
    desk: Desk, sent: str, make: Callable[..., web.Application]
) -> None:
    async with opened(make(desk.services, Patience(head=0.05, idle=LONG))) as at:
        line = await at.line()
        line.say(sent)
        assert await line.ended()


async def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_another(desk: Desk) -> None:
    async with opened(make_app(desk.services, Patience(head=0.1, idle=LONG))) as at:
        line = await at.line()

        async def dribble() -> None:
            line.say("GET /livez HTTP/1.1\n")
            for n in range(100):
                line.say(f"X-{n}: y\n")
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            dribbling = group.create_task(dribble())
            assert await line.ended()
            dribbling.cancel()


async def test_a_second_head_that_stays_half_is_ended_as_a_first_one(desk: Desk) -> None:
    async with opened(make_app(desk.services, Patience(head=0.05, idle=LONG))) as at:
        line = await at.line()
        line.say(GET)
        assert await line.answer() == 200
        line.say("GET /liv")
        assert await line.ended()


async def test_a_connection_is_kept_between_requests_until_it_has_been_idle_too_long(desk: Desk) -> None:
    async with opened(make_app(desk.services, Patience(head=LONG, idle=0.1))) as at:
        line = await at.line()
        for _ in range(3):
            line.say(GET)
            assert await line.answer() == 200
        assert await line.ended()


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_is_a_408_and_the_end(desk: Desk, framing: str) -> None:
    async with opened(make_app(desk.services, Patience(body=0.05, idle=0.2))) as at:
        line = await at.line()
        line.say(
            f"POST {CHECK} HTTP/1.1\nHost: localhost\nContent-Type: application/yaml\n{framing}\n"
            f"X-API-Key: {desk.keys.text['admin']}\n\n"
        )
        assert await line.answer() == 408
        assert await line.ended()


async def test_a_client_that_does_not_read_its_answer_is_ended(desk: Desk) -> None:
    app = make_app(desk.services, Patience(head=LONG, idle=0.2))
    async with opened(app) as at:
        line = await at.line()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport has it
        line.say("GET /openapi.json HTTP/1.1\nHost: localhost\n\n" * 200)
        await until(lambda: len(app[DOOR]) == 1)
        await until(lambda: len(app[DOOR]) == 0)


async def test_the_time_that_an_operation_takes_is_not_counted(desk: Desk) -> None:
    async def slow(request: web.Request) -> web.Response:
        with request.app[DOOR].attending(request.transport):
            await asyncio.sleep(0.2)
        return web.Response(text="done")

    app = web.Application()
    app[DOOR] = make_app(desk.services, Patience(head=0.05, body=0.05, idle=0.5))[DOOR]
    app.router.add_get("/", slow)
    async with opened(app) as at:
        line = await at.line()
        line.say("GET / HTTP/1.1\nHost: localhost\n\n")
        assert await line.answer() == 200


async def test_with_too_many_connections_the_one_idle_longest_makes_room(desk: Desk) -> None:
    app = make_app(desk.services, Patience(head=LONG, idle=LONG, connections=3))
    async with opened(app) as at:
        lines = [await at.line() for _ in range(3)]
        for line in lines:
            line.say(GET)
            assert await line.answer() == 200
        lines[0].say(GET)
        assert await lines[0].answer() == 200
        newest = await at.line()
        newest.say(GET)
        assert await newest.answer() == 200
        assert await lines[1].ended()
        for line in (lines[0], lines[2]):
            line.say(GET)
            assert await line.answer() == 200
        assert len(app[DOOR]) == 3


async def test_a_connection_whose_request_is_being_worked_on_never_makes_room(desk: Desk) -> None:
    desk.room.fleet.inflight["web", "a"] = 1
    app = make_app(desk.services, Patience(connections=1))
    async with opened(app) as at:
        line = await at.line()
        line.say(
            f"POST {SERVERS}/a/drain?wait=10m HTTP/1.1\nHost: localhost\nContent-Length: 0\n"
            f"X-API-Key: {desk.keys.text['operator']}\n\n"
        )
        await until(lambda: any(visitor.attended for visitor in app[DOOR]))
        assert await (await at.line()).ended()
        desk.room.fleet.inflight["web", "a"] = 0
        assert await line.answer() == 200


async def test_a_connection_whose_body_is_waited_for_makes_room_like_an_idle_one(desk: Desk) -> None:
    app = make_app(desk.services, Patience(connections=2))
    async with opened(app) as at:
        lines = [await at.line() for _ in range(2)]
        for number, line in enumerate(lines, start=1):
            line.say(
                "POST /api/session HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 9\n\n{"
            )
            await until(lambda number=number: sum(visitor.awaited for visitor in app[DOOR]) == number)
        newest = await at.line()
        newest.say(GET)
        assert await newest.answer() == 200
        assert await lines[0].ended()
        lines[1].say("}       ")
        assert await lines[1].answer() == 422


async def test_a_client_that_breaks_off_its_upload_is_no_fault_of_ours(desk: Desk) -> None:
    app = make_app(desk.services)
    async with opened(app) as at:
        with capture_logs() as logged:
            line = await at.line()
            line.say(
                f"POST {CHECK} HTTP/1.1\nHost: localhost\nContent-Type: application/yaml\nContent-Length: 100\n"
                f"X-API-Key: {desk.keys.text['admin']}\n\nabc"
            )
            await until(lambda: any(visitor.awaited for visitor in app[DOOR]))
            line.writer.transport.abort()
            await until(lambda: sum(desk.services.requests.values()) == 1)
    assert dict(desk.services.requests) == {400: 1}
    assert [entry for entry in logged if entry["log_level"] == "error"] == []


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Transfer-Encoding: chunked", b"zz\r\n\r\n"),
        ("Content-Encoding: gzip\nContent-Length: 9", b"not gzip."),
    ],
)
async def test_a_garbled_body_is_the_clients_fault(desk: Desk, framing: str, body: bytes) -> None:
    async with opened(make_app(desk.services)) as at:
        with capture_logs() as logged:
            line = await at.line()
            line.say(
                f"POST {CHECK} HTTP/1.1\nHost: localhost\nContent-Type: application/yaml\n{framing}\n"
                f"X-API-Key: {desk.keys.text['admin']}\n\n"
            )
            line.writer.write(body)
            assert await line.answer() == 400
    assert [entry for entry in logged if entry["log_level"] == "error"] == []


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(desk: Desk) -> None:
    bomb = gzip.compress(b"a" * 4 * 2**20)
    answer = await desk.ask(
        "POST",
        f"{BALANCER}/health-check",
        raw=bomb,
        headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
    )
    assert answer.status == 413


async def test_a_sockets_file_goes_with_its_site(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with opened(make_app(desk.services), f"unix:{path}"):
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()


async def test_a_site_that_could_not_be_opened_removes_no_file(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "a-file"
    path.write_text("of somebody else")
    with pytest.raises(OSError, match="in use"):
        async with opened(make_app(desk.services), f"unix:{path}"):
            pass
    assert path.read_text() == "of somebody else"


async def test_uvloop_is_served_as_asyncio_is(desk: Desk) -> None:
    uvloop = pytest.importorskip("uvloop")

    def elsewhere() -> tuple[int, bool]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(talk())

    async def talk() -> tuple[int, bool]:
        async with opened(make_app(desk.services, Patience(head=0.1, idle=0.1))) as at:
            line = await at.line()
            line.say(GET)
            return await line.answer(), await line.ended()

    assert await asyncio.to_thread(elsewhere) == (200, True)


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not fact():  # noqa: ASYNC110  # what happens at the other end sets no event here
            await asyncio.sleep(0.005)


async def test_a_file_that_is_kept_back_is_not_waited_for(desk: Desk) -> None:
    key = desk.keys.text["operator"]
    head = f"POST /api/infrastructure/cdn/files?name=a HTTP/1.1\nHost: localhost\nX-API-Key: {key}\n"
    async with opened(make_app(desk.services, Patience(body=0.1))) as listener:
        line = await listener.line()
        line.say(f"{head}Content-Length: 5000\n\nmeow")
        assert await line.answer() == 408
    assert (await desk.services.cdn.files()).files == ()


def test_a_long_file_may_take_its_time_as_long_as_it_comes() -> None:
    assert left_of(30, 0, 0) == 30
    assert left_of(30, 0, 29) == 1
    assert left_of(30, 0, 31) == 0
    assert left_of(30, 100 * SLOWEST, 120) == 10
    assert left_of(30, 100 * SLOWEST, 60) == 30  # for one piece, no longer than for any body
    assert left_of(30, 100 * SLOWEST, 131) == 0
