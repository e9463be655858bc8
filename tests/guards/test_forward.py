"""Another service decides: a real one over sockets, that lets pass, refuses, sends elsewhere, is slow or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiohttp import web

from balancer.guarding.forward import ForwardWay
from tests.guards.sites import ask, written
from tests.guards.test_auth import fields_of, recording, told
from tests.proxy.wire import Peer, Script, Site, ok, replies, serving, site


class Service:
    """An auth service, which knows sessions by a cookie."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.hold: asyncio.Event | None = None
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/verify", self.verify)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def verify(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.hold is not None:
            await self.hold.wait()
        session = request.cookies.get("session")
        if session == "alice":
            told = {
                "Remote-User": "alice",
                "Remote-Groups": "staff,admins",
                "Set-Cookie": "session=alice; Path=/",
                "X-Other": "1",
            }
            return web.Response(text="welcome", headers=told)
        if session == "token":
            return web.Response(headers={"Authorization": "Bearer of the service"})
        if session == "nobody":
            return web.Response(status=204)
        if session == "large":
            return web.Response(text="x" * 200_000, headers={"Remote-User": "large"})
        if session == "banned":
            return web.json_response({"error": "banned"}, status=403)
        if session == "huge":
            return web.Response(status=401, text="x" * 200_000)
        if session == "broken":
            return web.Response(status=500, text="oh no")
        if session == "basic":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="sso"'}, text="who?")
        to = f"https://login.example/?to={request.headers['X-Forwarded-Uri']}"
        return web.Response(status=302, headers={"Location": to, "Set-Cookie": "state=1"}, text="go there")


@asynccontextmanager
async def guarded(
    script: Script | None = None, more: str = "", top: str = "", copied: str = "Remote-User, Remote-Groups"
) -> AsyncIterator[tuple[Site, Service]]:
    service = Service()
    await service.start()
    text = f"""
    pools: {{sso: {{servers: ["http://127.0.0.1:{service.port}"], health: {{active: false}}}}}}
    auth:
      sso:
        forward: {{pool: sso, path: /verify, copy_headers: [{copied}], subject: Remote-User{more}}}
    routes: {{all: {{pool: default, auth: sso}}}}
    {top}
    """
    try:
        async with serving(script or replies(ok())) as [server]:
            async with site(written(text, server.port)) as running:
                yield running, service
    finally:
        if service.hold is not None:
            service.hold.set()
        await service.stop()


ALICE = b"Cookie: session=alice"


async def test_whom_the_service_knows_is_let_in_and_the_server_is_told_what_it_says() -> None:
    seen: list[bytes] = []
    async with guarded(recording(seen)) as (site, service):
        peer = await site.connect()
        for _ in range(3):
            status, fields, body = await ask(peer, ALICE, path=b"/a?b=c")
            assert (status, body) == (200, b"ok")
            assert "set-cookie" not in fields
        assert len(service.asked) == 3
        for head in seen:
            assert told(head, "remote-user") == ["alice"]
            assert told(head, "remote-groups") == ["staff,admins"]
            assert told(head, "x-auth-subject") == ["alice"]
            assert told(head, "x-other") == []
            assert told(head, "cookie") == ["session=alice"]
            assert told(head, "x-forwarded-uri") == []
        decision = site.decisions[-1]
        assert decision.identity is not None
        assert decision.identity.name == "alice"
        assert len(site.decisions) == 3  # the questions are no requests of clients
        assert sum(site.plane.report().listeners["main"].requests.values()) == 3


async def test_the_service_learns_what_is_asked_for_and_by_whom() -> None:
    async with guarded() as (site, service):
        peer = await site.connect()
        body = b"Content-Length: 5\r\nContent-Type: text/plain"
        await peer.send(
            b"POST /a/b?c=d HTTP/1.1\r\nHost: shop.example\r\nCookie: session=alice\r\nAuthorization: Bearer x\r\n"
            b"Accept: text/html\r\nIf-None-Match: x\r\nRange: bytes=0-1\r\nX-Forwarded-Method: GET\r\n"
            b"X-Forwarded-Uri: /free\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: evil\r\n%b\r\n\r\nhello" % body
        )
        assert (await peer.answer())[0] == 200
        (request,) = service.asked
        assert (request.method, request.path_qs) == ("GET", "/verify")
        said = request.headers
        assert said.getall("X-Forwarded-Method") == ["POST"]
        assert said.getall("X-Forwarded-Uri") == ["/a/b?c=d"]
        assert said.getall("X-Forwarded-Host") == ["shop.example"]
        assert said.getall("X-Forwarded-Proto") == ["http"]
        assert said.getall("X-Forwarded-For") == ["127.0.0.1"]
        assert said.getall("Authorization") == ["Bearer x"]
        assert said["Accept"] == "text/html"
        assert not {"Content-Length", "Content-Type", "If-None-Match", "Range", "Transfer-Encoding"} & set(said)


async def test_the_body_reaches_the_server_and_not_the_service() -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        bodies.append(await peer.exactly(100_000))
        await peer.send(ok())

    async with guarded(script) as (site, service):
        peer = await site.connect()
        await peer.send(
            b"PUT / HTTP/1.1\r\nHost: a\r\nCookie: session=alice\r\nContent-Length: 100000\r\n\r\n" + b"y" * 100_000
        )
        assert (await peer.answer())[0] == 200
        assert bodies == [b"y" * 100_000]
        assert not service.asked[0].body_exists


async def test_whom_it_sends_elsewhere_goes_there() -> None:
    seen: list[bytes] = []
    async with guarded(recording(seen)) as (site, _):
        peer = await site.connect()
        status, fields, body = await ask(peer, path=b"/a")
        assert (status, body) == (302, b"go there")
        assert fields["location"] == "https://login.example/?to=/a"
        assert fields["set-cookie"] == "state=1"
        assert fields["cache-control"] == "no-store"
        assert (await ask(peer, ALICE))[0] == 200  # the connection goes on
        assert len(seen) == 1
        assert site.decisions[0].guarded == "auth"
        assert site.plane.entrance.tallies["sso"].results == {"denied": 1, "passed": 1}


async def test_what_it_says_to_whom_it_refuses_goes_to_the_client_as_it_is() -> None:
    async with guarded() as (site, service):
        peer = await site.connect()
        status, fields, body = await ask(peer, b"Cookie: session=banned")
        assert (status, body) == (403, b'{"error": "banned"}')
        assert fields["content-type"].startswith("application/json")
        status, fields, _ = await ask(peer, b"Cookie: session=basic")
        assert (status, fields["www-authenticate"]) == (401, 'Basic realm="sso"')
        status, _, body = await ask(peer, b"Cookie: session=broken")
        assert (status, body) == (500, b"oh no")
        await peer.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nCookie: session=banned\r\n\r\n")
        head = await peer.head()
        assert head.startswith(b"HTTP/1.1 403")
        assert b"content-length: 19" in head.lower()
        assert (await ask(peer, ALICE))[0] == 200
        assert service.asked[3].method == "GET"


async def test_nobody_can_say_what_the_service_would_say() -> None:
    seen: list[bytes] = []
    async with guarded(recording(seen)) as (site, service):
        peer = await site.connect()
        spoofs = [b"Remote-User: root", b"REMOTE_USER: root", b"Remote.Groups: root", b"X_Auth_Subject: root"]
        assert (await ask(peer, b"Cookie: session=nobody", *spoofs))[0] == 200
        assert (await ask(peer, ALICE, *spoofs, b"Connection: remote-user, remote-groups, x-auth-subject"))[0] == 200
        assert b"root" not in b"".join(seen)
        assert [told(head, "remote-user") for head in seen] == [[], ["alice"]]
        assert all(b"root" not in str(request.headers).encode() for request in service.asked)


async def test_not_even_a_trusted_proxy_says_what_is_asked_for() -> None:
    async with guarded(top="trusted_proxies: [127.0.0.1]") as (site, service):
        spoofs = [b"X-Forwarded-Uri: /free", b"X-Forwarded-Method: HEAD", b"X_Forwarded_Uri: /free"]
        lines = [b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https", *spoofs]
        assert (await ask(await site.connect(), ALICE, *lines, path=b"/a"))[0] == 200
        said = service.asked[0].headers
        assert said.getall("X-Forwarded-Uri") == ["/a"]
        assert said.getall("X-Forwarded-Method") == ["GET"]
        assert said.getall("X-Forwarded-For") == ["192.0.2.1, 127.0.0.1"]
        assert said.getall("X-Forwarded-Proto") == ["https"]
        assert "free" not in str(said)


async def test_a_field_that_clients_use_themselves_is_what_the_service_says_or_nothing() -> None:
    seen: list[bytes] = []
    async with guarded(recording(seen), copied="Authorization, Remote-User") as (site, service):
        peer = await site.connect()
        own = b"Authorization: Bearer own"
        assert (await ask(peer, b"Cookie: session=nobody", own))[0] == 200
        assert (await ask(peer, b"Cookie: session=token", own))[0] == 200
        assert [told(head, "authorization") for head in seen] == [[], ["Bearer of the service"]]
        assert [request.headers["Authorization"] for request in service.asked] == ["Bearer own"] * 2


async def test_cookies_of_an_answer_that_lets_pass_can_be_passed_on() -> None:
    async with guarded(more=", set_cookie: true") as (site, _):
        _, fields, _ = await ask(await site.connect(), ALICE)
        assert fields["set-cookie"] == "session=alice; Path=/"


async def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    seen: list[bytes] = []
    async with guarded(recording(seen)) as (site, _):
        peer = await site.connect()
        assert (await ask(peer, b"Cookie: session=large"))[0] == 200
        assert told(seen[-1], "remote-user") == ["large"]
        assert (await ask(peer, b"Cookie: session=huge"))[0] == 503


async def test_a_service_that_is_gone_lets_nobody_in_and_is_asked_again_when_it_is_back() -> None:
    seen: list[bytes] = []
    async with guarded(recording(seen)) as (site, service):
        peer = await site.connect()
        assert (await ask(peer, ALICE))[0] == 200
        await service.stop()
        for _ in range(3):
            status, fields, body = await ask(peer, ALICE)
            assert (status, fields["retry-after"]) == (503, "1")
            assert b"cannot be asked at the moment" in body
        assert len(seen) == 1
        assert site.plane.entrance.tallies["sso"].results["unavailable"] == 3
        await service.start()
        for server in site.plane.pools["sso"].servers.values():
            server.ejected = False
        site.plane.pools["sso"].refresh(0.0)
        assert (await ask(peer, ALICE))[0] == 200


async def test_a_service_that_does_not_answer_in_time_lets_nobody_in() -> None:
    async with guarded(more=", timeout: 200ms") as (site, service):
        service.hold = asyncio.Event()
        status, _, _ = await ask(await site.connect(), ALICE)
        assert status == 503


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"nonsense\r\n\r\n",
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 200 OK\r\nRemote-User: a\x01b\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 600 More\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_lets_nobody_in(answer: bytes) -> None:
    async def service(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)
        peer.writer.close()

    seen: list[bytes] = []
    async with serving(recording(seen), service, service, service) as [server, *services]:
        text = f"""
        pools: {{sso: {{servers: ["http://127.0.0.1:{services[0].port}"], health: {{active: false}}}}}}
        auth: {{sso: {{forward: {{pool: sso}}}}}}
        routes: {{all: {{pool: default, auth: sso}}}}
        """
        async with site(written(text, server.port)) as running:
            assert (await ask(await running.connect()))[0] == 503
            assert seen == []


async def test_an_answer_that_cannot_be_judged_for_a_fault_of_ours_lets_nobody_in() -> None:
    async with guarded() as (site, _):
        way = cast(ForwardWay, site.plane.entrance._ways["sso"].way)
        way._copy, kept = (), way._copy  # fewer than what is looked for
        peer = await site.connect()
        assert [(await ask(peer, ALICE))[0] for _ in range(2)] == [500, 500]
        assert site.events[-1][:2] == ("guard_failed", "all")
        way._copy = kept
        assert (await ask(peer, ALICE))[0] == 200


async def test_a_client_that_leaves_while_the_service_is_asked_leaves_nothing_behind() -> None:
    async with guarded() as (site, service):
        service.hold = asyncio.Event()
        peer = await site.connect()
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: session=alice\r\n\r\n")
        await site.until(lambda: service.asked)
        peer.cut()
        await site.until(lambda: site.decisions)
        assert site.decisions[0].outcome == "client-abort"
        (server,) = site.plane.pools["sso"].servers.values()
        await site.until(lambda: server.inflight == 0)


async def test_requests_that_come_behind_one_another_are_answered_in_their_order() -> None:
    async with guarded() as (site, _):
        peer = await site.connect()
        cookies = [b"alice", b"banned", b"alice", b"basic"]
        await peer.send(b"".join(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: session=%b\r\n\r\n" % one for one in cookies))
        assert [(await peer.answer())[0] for _ in cookies] == [200, 403, 200, 401]


async def test_a_websocket_is_let_in_by_its_handshake() -> None:
    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert told(head, "remote-user") == ["alice"]
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await peer.send(await peer.exactly(4))

    async with guarded(script) as (site, service):
        upgrade = [b"Connection: Upgrade", b"Upgrade: websocket"]
        peer = await site.connect()
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % b"\r\n".join([ALICE, *upgrade]))
        assert (await peer.head()).startswith(b"HTTP/1.1 101")
        await peer.send(b"ping")
        assert await peer.exactly(4) == b"ping"
        assert "Upgrade" not in service.asked[0].headers
        other = await site.connect()
        await other.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % b"\r\n".join(upgrade))
        assert (await other.head()).startswith(b"HTTP/1.1 302")
        assert fields_of(b"x\r\n\r\n") == []
