"""A new configuration while traffic flows: what goes on, what changes, what is refused whole."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic
from typing import Any

import pytest

from balancer.plane import PlaneError
from config.schema import Config, Listener, Pool, Route
from config.values import Address
from tests.proxy.wire import Peer, config, ok, replies, serving, site

GET = b"GET /x HTTP/1.1\r\nHost: s\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def echo(peer: Peer) -> None:
    """Switch protocols, then give back what comes."""
    await peer.head()
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while data := await peer.reader.read(1000):
        await peer.send(data)


def changed(settings: Config, **parts: Any) -> Config:
    return Config.model_validate({**dict(settings), **parts})


async def test_200_tunnels_outlive_an_unrelated_change() -> None:
    async with serving(echo, replies(ok(b"new"))) as (server, other):
        before = config({"a": server})
        async with site(before) as here:
            clients = [await here.connect() for _ in range(200)]
            for client in clients:
                await client.send(UPGRADE)
                await client.head()
            after = changed(
                before,
                pools={**before.pools, "two": Pool.model_validate(dict(config({"b": other}).pools["app"]))},
                routes={**before.routes, "new": Route.model_validate({"match": {"path": "/new"}, "pool": "two"})},
            )
            await here.apply(after)
            for number, client in enumerate(clients):
                await client.send(b"%03d" % number)
            assert [await client.exactly(3) for client in clients] == [b"%03d" % n for n in range(200)]
            assert here.plane.pools["app"].servers["a"].tunnels == 200
            fresh = await here.connect()
            await fresh.send(b"GET /new HTTP/1.1\r\nHost: s\r\n\r\n")
            assert (await fresh.answer())[2] == b"new"


async def test_a_server_that_stays_keeps_its_connections_and_counts() -> None:
    async with serving(replies(ok())) as (server,):
        before = config({"a": server})
        async with site(before) as here:
            client = await here.connect()
            await client.send(GET)
            await client.answer()
            await here.apply(config({"a": server}, strategy="least-connections"))
            await client.send(GET)
            await client.answer()
            assert server.connections == 1
            assert here.plane.pools["app"].servers["a"].tally.codes[200] == 2


async def test_a_request_under_way_finishes_on_the_server_that_left() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        await peer.send(ok(b"old"))

    async with serving(script, replies(ok(b"new"))) as (old, new):
        async with site(config({"a": old})) as here:
            client = await here.connect()
            await client.send(GET)
            await here.until(lambda: old.connections)
            await here.apply(config({"b": new}))
            other = await here.connect()
            await other.send(GET)
            assert (await other.answer())[2] == b"new"
            go.set()
            assert (await client.answer())[2] == b"old"
            await client.send(GET)
            assert (await client.answer())[2] == b"new"
            # The counts of the server that left are not lost with it.
            await here.until(lambda: here.plane.report().pools["app"].codes() == {200: 3})


async def test_a_tunnel_to_a_server_that_left_ends_after_its_grace() -> None:
    async with serving(echo, replies(ok())) as (old, new):
        async with site(config({"a": old})) as here:
            client = await here.connect()
            await client.send(UPGRADE)
            await client.head()
            await here.apply(config({"b": new}, whole={"shutdown": {"tunnel_grace": 0.5}}))
            await client.send(b"still")
            assert await client.exactly(5) == b"still"
            assert await client.rest() == b""


async def test_tunnels_of_a_plane_that_drains_close_bit_by_bit() -> None:
    async with serving(echo) as (server,), site(config({"a": server})) as here:
        clients = [await here.connect() for _ in range(40)]
        for client in clients:
            await client.send(UPGRADE)
            await client.head()
        server_of_all = here.plane.pools["app"].servers["a"]
        await here.plane.drain(600.0)
        until = monotonic() + 600.0  # a moment after the plane's own
        for left, remaining in ((301.0, 40), (40.1, 39), (20.1, 37), (10.1, 33), (0.5, 0)):
            here.plane._second(until - left)
            await here.until(lambda expected=remaining: server_of_all.tunnels == expected)
        assert await clients[0].rest() == b""


async def test_a_listener_that_cannot_be_opened_changes_nothing() -> None:
    async with serving(replies(ok())) as (server,):
        before = config({"a": server})
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = Address.of(f"127.0.0.1:{taken.getsockname()[1]}")
            listeners = {
                **before.listeners,
                "free": Listener(address=Address.of("127.0.0.1:0")),
                "bad": Listener(address=address),
            }
            async with site(before) as here:
                with pytest.raises(PlaneError, match=r"listeners\.bad\.address: cannot listen on"):
                    await here.apply(changed(before, listeners=listeners))
                assert set(here.plane.listeners) == {"main"}
                client = await here.connect()
                await client.send(GET)
                assert (await client.answer())[0] == 200


async def test_a_strategy_that_does_not_exist_changes_nothing() -> None:
    async with serving(replies(ok())) as (server,):
        async with site(config({"a": server})) as here:
            with pytest.raises(PlaneError, match=r"pools\.app\.strategy: "):
                await here.apply(config({"a": server}, strategy="no_such_module:Strategy"))
            assert here.plane.pools["app"].settings.strategy == "round-robin"


async def test_a_listener_that_left_closes_and_its_clients_get_their_answer() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await go.wait()
            await peer.send(ok())

    async with serving(script) as (server,):
        before = config({"a": server})
        async with site(before) as here:
            client, idle = await here.connect(), await here.connect()
            await client.send(GET)
            await here.until(lambda: server.connections)
            port = here.port
            await here.apply(changed(before, listeners={"other": Listener(address=Address.of("127.0.0.1:0"))}))
            with pytest.raises(OSError, match=r"\[Errno"):
                await asyncio.open_connection("127.0.0.1", port)
            go.set()
            status, fields, _ = await client.answer()
            assert (status, fields["connection"]) == (200, "close")
            await idle.send(GET)  # it was on its way when the listener closed
            assert (await idle.answer())[1]["connection"] == "close"


async def test_waiting_requests_are_answered_when_their_pool_goes() -> None:
    async with serving(replies(ok()), replies(ok(b"b"))) as (server, other):
        before = config({"a": server})
        async with site(before) as here:
            await here.apply(before, checking=frozenset({("app", "a")}))
            client = await here.connect()
            await client.send(GET)
            await here.until(lambda: here.plane.pools["app"].waiting)
            pools = {"two": config({"b": other}).pools["app"]}
            await here.apply(changed(before, pools=pools, routes={"all": Route(pool="two")}))
            assert (await client.answer())[0] == 503
            await client.send(GET)
            assert (await client.answer())[2] == b"b"


async def test_fixed_answers_redirects_maintenance_and_splits() -> None:
    async with serving(replies(ok(b"one")), replies(ok(b"two"))) as (one, two):
        base = config({"a": one})
        pools = {**base.pools, "next": config({"b": two}).pools["app"]}
        routes = {
            "old": {"match": {"path": "/old"}, "respond": {"status": 410, "body": "gone", "headers": {"X-A": "b"}}},
            "docs": {"match": {"path": "/docs/{page}"}, "redirect": {"to": "https://docs.example/{page}"}},
            "down": {"match": {"path": "/down"}, "pool": "app", "maintenance": {"body": "soon", "retry_after": 7}},
            "mine": {"match": {"path": "/mine"}, "pool": "app", "maintenance": {"allow": ["127.0.0.1"]}},
            "split": {"match": {"path": "/split"}, "split": {"app": 0.5, "next": 0.5}, "sticky": {"cookie": "lane"}},
            "none": {"match": {"path": "/api/**", "methods": ["POST"]}, "pool": "app"},
        }
        settings = changed(base, pools=pools, routes={n: Route.model_validate(r) for n, r in routes.items()})
        async with site(settings) as here:
            client = await here.connect()

            async def get(path: bytes, fields: bytes = b"") -> tuple[int, dict[str, str], bytes]:
                await client.send(b"GET %b HTTP/1.1\r\nHost: s\r\n%b\r\n" % (path, fields))
                return await client.answer()

            status, fields, body = await get(b"/old")
            assert (status, body, fields["x-a"]) == (410, b"gone", "b")
            assert fields["x-request-id"].encode() == here.decisions[0].request_id
            status, fields, _ = await get(b"/docs/intro")
            assert (status, fields["location"]) == (308, "https://docs.example/intro")
            status, fields, body = await get(b"/down")
            assert (status, body, fields["retry-after"]) == (503, b"soon", "7")
            assert (await get(b"/mine"))[::2] == (200, b"one")
            assert (await get(b"/api/x"))[0] == 404
            lanes = {}
            for _ in range(20):
                _, fields, body = await get(b"/split")
                lanes[body] = fields["set-cookie"].partition(";")[0].encode()
            assert set(lanes) == {b"one", b"two"}
            for body, cookie in lanes.items():
                for _ in range(5):
                    status, fields, got = await get(b"/split", b"Cookie: a=b; %b\r\n" % cookie)
                    assert got == body
                    assert "set-cookie" not in fields


async def test_a_sticky_client_stays_until_its_server_leaves_and_is_then_moved_for_good() -> None:
    async with serving(replies(ok(b"a")), replies(ok(b"b"))) as (a, b):
        settings = config({"a": a, "b": b}, sticky={"cookie": "lb"})
        async with site(settings) as here:
            client = await here.connect()
            await client.send(GET)
            _, fields, first = await client.answer()
            cookie = fields["set-cookie"].partition(";")[0].encode()
            asked = b"GET / HTTP/1.1\r\nHost: s\r\nCookie: %b\r\n\r\n" % cookie
            for _ in range(6):
                await client.send(asked)
                _, fields, body = await client.answer()
                assert body == first
                assert "set-cookie" not in fields
            await here.apply(settings, down=frozenset({("app", first.decode())}))
            await client.send(asked)
            _, fields, body = await client.answer()
            assert body != first
            assert fields["set-cookie"].startswith("lb=")


async def test_header_edits_change_both_heads() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(ok(b"x", b"Server: app/1\r\nX-Secret: 1\r\nX-Old: 1\r\n"))

    headers = {
        "server": "remove",
        "via": None,
        "forwarded": "none",
        "request_id": "X-Correlation-Id",
        "request": {"set": {"X-Env": "prod", "Host": "internal"}, "add": {"X-More": "2"}, "remove": ["X-Gone"]},
        "response": {"set": {"X-Old": "new"}, "remove": ["x-secret"]},
    }
    async with serving(script) as (server,), site(config({"a": server}, route={"headers": headers})) as here:
        client = await here.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: s\r\nX-Env: mine\r\nX-Gone: 1\r\nX-Correlation-Id: x\r\n\r\n")
        _, fields, _ = await client.answer()
    head = seen[0]
    assert b"\r\nHost: internal\r\n" in head
    assert b"\r\nX-Env: prod\r\n" in head
    assert b"\r\nX-More: 2\r\n" in head
    assert head.count(b"X-Correlation-Id: ") == 1
    for gone in (b"mine", b"X-Gone", b"Via", b"orwarded"):
        assert gone not in head
    assert fields["x-old"] == "new"
    assert "x-secret" not in fields
    assert "server" not in fields
    assert fields["x-correlation-id"]


async def test_edits_reach_the_fields_that_are_made_here_too() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(ok())

    request = {"set": {"X-Forwarded-Proto": "https", "X-Request-Id": "mine"}, "remove": ["traceparent", "Via"]}
    async with (
        serving(script) as (server,),
        site(config({"a": server}, route={"headers": {"request": request}})) as here,
    ):
        client = await here.connect()
        trace = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        await client.send(b"GET / HTTP/1.1\r\nHost: s\r\nVia: 1.1 x\r\n" + trace + b"\r\n")
        await client.answer()
    assert seen[0].count(b"X-Forwarded-Proto: ") == 1
    assert b"X-Forwarded-Proto: https\r\n" in seen[0]
    assert seen[0].lower().count(b"x-request-id: ") == 1
    assert b"X-Request-Id: mine\r\n" in seen[0]
    assert b"traceparent" not in seen[0]
    assert b"Via" not in seen[0]


async def test_a_download_from_a_server_that_left_is_not_a_tunnel_and_ends_in_its_own_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
        for _ in range(30):
            await asyncio.sleep(0.1)
            await peer.send(b"x")

    async with serving(script, replies(ok())) as (old, new):
        async with site(config({"a": old})) as here:
            client = await here.connect()
            await client.send(GET)
            await here.until(lambda: old.connections)
            await here.apply(config({"b": new}, whole={"shutdown": {"tunnel_grace": 0.0}}))
            assert (await client.answer())[2] == b"x" * 30


async def test_a_request_that_comes_after_keep_alive_was_promised_is_answered_though_the_listener_closes() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            await asyncio.sleep(0.3)
            await peer.send(b"k")

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        head = await client.head()
        assert b"close" not in head
        await here.plane.drain()
        assert await client.exactly(2) == b"ok"
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n")
        status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (200, "close")


async def test_nothing_is_changed_any_more_while_the_plane_drains() -> None:
    async with serving(replies(ok())) as (server,):
        settings = config({"a": server})
        async with site(settings) as here:
            await here.plane.drain()
            with pytest.raises(PlaneError, match="shutting down"):
                await here.apply(config({"a": server}, strategy="random"))
            await here.apply(settings, down=frozenset({("app", "a")}))  # verdicts still count


async def test_what_is_no_request_has_its_line_in_the_log() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        await here.ask(b"nonsense\r\n\r\n")
        assert [(d.status, d.outcome) for d in here.decisions] == [(400, "refused")]
        assert here.plane.report().listeners["main"].requests["OTHER", 400] == 1
