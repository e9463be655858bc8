import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from balancer.health.probes import BODY_LIMIT, open_session, probe
from balancer.health.target import Target
from config.schema import ActiveChecks
from config.values import StatusSet
from tests.health.sites import ask, say, site, wire
from tests.health.wards import settle


async def test_a_server_that_answers_as_expected_passes() -> None:
    async with site(say()) as url:
        result = await ask(url, ActiveChecks())
    assert (result.ok, result.status, result.reason) == (True, 200, "answered 200")
    assert 0 < result.seconds < 5


async def test_an_unexpected_status_fails_and_says_what_was_expected() -> None:
    async with site(say(status=503)) as url:
        result = await ask(url, ActiveChecks())
    assert (result.ok, result.status, result.reason) == (False, 503, "answered 503, expected 200-399")


async def test_the_expected_statuses_are_the_configured_ones() -> None:
    async with site(say(status=418)) as url:
        assert (await ask(url, ActiveChecks(expect=StatusSet.of(418)))).ok
        assert (await ask(url, ActiveChecks(expect=StatusSet.of("200-299")))).reason == "answered 418, expected 200-299"


async def test_the_request_is_the_configured_one() -> None:
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response()

    checks = ActiveChecks(
        path="/health/deep?full=1",
        method="POST",
        headers={"Authorization": "Bearer secret", "Host": "example.com", "X-Probe": "1"},
    )
    async with site(handler) as url:
        assert (await ask(url, checks)).ok
    (request,) = seen
    assert (request.method, request.path_qs) == ("POST", "/health/deep?full=1")
    assert request.headers.getall("Host") == ["example.com"]
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["X-Probe"] == "1"
    assert request.headers["User-Agent"] == "balancer-health"


async def test_a_configured_user_agent_replaces_ours() -> None:
    seen: list[list[str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.getall("User-Agent"))
        return web.Response()

    async with site(handler) as url:
        await ask(url, ActiveChecks(headers={"user-agent": "mine"}))
    assert seen == [["mine"]]


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with site(handler) as url:
        result = await ask(url, ActiveChecks(path="/here"))
    assert (result.ok, result.status) == (True, 302)
    assert paths == ["/here"]


async def test_every_probe_opens_a_connection_of_its_own() -> None:
    ports: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername"))
        return web.Response()

    async with site(handler) as url, open_session() as session:
        for _ in range(3):
            await probe(session, Target(url, None), ActiveChecks())
    assert len(set(ports)) == 3


async def test_cookies_are_not_sent_back() -> None:
    cookies: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=1"})

    async with site(handler) as url, open_session() as session:
        # By name, since cookies of an address are dropped anyway.
        named = url.replace("127.0.0.1", "localhost")
        for _ in range(2):
            await probe(session, Target(named, None), ActiveChecks())
    assert cookies == [None, None]


async def test_the_body_must_match_when_it_is_looked_at() -> None:
    async with site(say("all ok here")) as url:
        assert (await ask(url, ActiveChecks(body="ok"))).reason == "answered 200, body matches"
        failed = await ask(url, ActiveChecks(body="^ok"))
    assert (failed.ok, failed.status, failed.reason) == (False, 200, "body does not match /^ok/")


async def test_no_more_of_a_huge_body_is_looked_at_than_the_limit() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a" * 10)
        await settle()  # the rest arrives in another piece
        await response.write(b"a" * (BODY_LIMIT - 13) + b"endless")
        try:
            while True:
                await response.write(b"a" * BODY_LIMIT)
        except ConnectionError:
            return response

    async with site(handler) as url:
        assert (await ask(url, ActiveChecks(body="end"))).ok
        assert not (await ask(url, ActiveChecks(body="endl"))).ok
        assert (await ask(url, ActiveChecks())).ok


async def test_a_body_that_is_not_text_can_be_matched() -> None:
    async with wire(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfeok") as url:
        assert (await ask(url, ActiveChecks(body="ok"))).ok


# TCP


async def test_a_tcp_check_passes_when_the_connection_opens_and_sends_nothing() -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.read())
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        result = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ActiveChecks(tcp=True))
        assert (result.ok, result.status, result.reason) == (True, None, "connection opened")
        assert await received.get() == b""


async def test_a_tcp_check_fails_when_the_connection_is_refused() -> None:
    result = await ask(f"http://127.0.0.1:{unused_port()}", ActiveChecks(tcp=True))
    assert (result.ok, result.status, result.reason) == (False, None, "connection refused")


async def test_a_tcp_check_of_a_url_without_a_host_fails() -> None:
    assert not (await ask("http://", ActiveChecks(tcp=True))).ok


# Unix sockets


async def test_a_server_on_a_unix_socket_is_asked_there(tmp_path: Path) -> None:
    hosts: list[str] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        hosts.append(f"{request.host}{request.path}")
        return web.Response(text="ok")

    path = tmp_path / "s"
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    assert (await ask(f"unix:{path}", ActiveChecks(path="/up", body="ok"))).ok
    assert (await ask(f"unix:{path}", ActiveChecks(tcp=True))).ok
    await runner.cleanup()
    assert hosts == ["localhost/up"]


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_missing_socket_is_called_that(tmp_path: Path, tcp: bool) -> None:
    result = await ask(f"unix:{tmp_path}/none", ActiveChecks(tcp=tcp))
    assert (result.ok, result.reason) == (False, f"the socket {tmp_path}/none does not exist")


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_socket_nobody_listens_on_refuses(tmp_path: Path, tcp: bool) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    assert (await ask(f"unix:{tmp_path}/s", ActiveChecks(tcp=tcp))).reason == "connection refused"


async def test_any_other_trouble_is_told_in_the_systems_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = await ask(f"unix:{tmp_path}/file/s", ActiveChecks())
    assert (result.ok, result.reason) == (False, "connection failed: Not a directory")
