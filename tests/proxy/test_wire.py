"""What the proxy does with bytes: real sockets, raw clients, scripted servers."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from tests.proxy.wire import Peer, config, ok, replies, serving, site

GET = b"GET /x HTTP/1.1\r\nHost: site\r\n\r\n"
GET_LAST = b"GET /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n"


async def test_an_answer_comes_back_and_both_connections_stay_open() -> None:
    async with serving(replies(ok(b"hello"))) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        for _ in range(3):
            await client.send(GET)
            status, fields, body = await client.answer()
            assert (status, body) == (200, b"hello")
            assert "connection" not in fields
        assert server.connections == 1
        assert [d.outcome for d in here.decisions] == ["ok"] * 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            await peer.send(ok(head.split()[1]))

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: s\r\n\r\n" % n for n in range(50)))
        assert [(await client.answer())[2] for _ in range(50)] == [b"/%d" % n for n in range(50)]


async def test_a_request_may_arrive_a_byte_at_a_time() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        for byte in GET:
            await client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await client.answer())[0] == 200


async def test_the_server_sees_a_rebuilt_head_with_what_is_known_of_the_client() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(ok())

    request = (
        b"GET /x HTTP/1.1\r\nhost: Site:80\r\nX-Kept:  a b \r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n"
        b"Keep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\n"
        b"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nUpgrade: h2c\r\nX-Request-Id: mine-1\r\n"
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n"
        b"Via: 1.0 edge\r\n\r\n"
    )
    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(request)
        _, fields, _ = await client.answer()
        assert fields["x-request-id"] == "mine-1"
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"GET /x HTTP/1.1"
    assert b"Host: Site:80" in lines
    assert b"X-Kept: a b" in lines
    assert b"X-Forwarded-For: 127.0.0.1" in lines
    assert b"X-Forwarded-Proto: http" in lines
    assert b"X-Forwarded-Host: Site:80" in lines
    assert b'Forwarded: for=127.0.0.1;host="Site:80";proto=http' in lines
    assert b"Via: 1.0 edge, 1.1 balancer" in lines
    assert b"X-Request-Id: mine-1" in lines
    assert b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" in lines
    assert b"tracestate: a=b" in lines
    lower = seen[0].lower()
    assert b"connection: te\r\nte: trailers\r\n" in lower
    for gone in (b"x-mine", b"keep-alive", b"proxy-connection", b"6.6.6.6", b"evil", b"upgrade", b"h2c"):
        assert gone not in lower


async def test_an_invalid_traceparent_is_replaced_and_its_tracestate_dropped() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(ok())

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: s\r\ntraceparent: 00-0-0-01\r\ntracestate: a=b\r\n\r\n")
        await client.answer()
    assert seen[0].count(b"traceparent: 00-") == 1
    assert b"00-0-0-01" not in seen[0]
    assert b"tracestate" not in seen[0]


async def test_a_trusted_proxy_is_believed() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(ok())

    settings = config({}, whole={"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"]})
    async with serving(script) as (server,):
        settings = config({"a": server}, whole={"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"]})
        async with site(settings) as here:
            client = await here.connect()
            await client.send(
                b"GET / HTTP/1.1\r\nHost: s\r\nX-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.1\r\n"
                b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: site.example\r\n\r\n"
            )
            await client.answer()
            assert here.decisions[0].client == "203.0.113.9"
    assert b"X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.1, 127.0.0.1\r\n" in seen[0]
    assert b"X-Forwarded-Proto: https\r\n" in seen[0]
    assert b"X-Forwarded-Host: site.example\r\n" in seen[0]
    told = b'Forwarded: for=1.1.1.1;host="site.example";proto=https, for=203.0.113.9, for=10.0.0.1, for=127.0.0.1;'
    assert told in seen[0]


@pytest.mark.parametrize(
    ("answer", "body", "chunked"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", b"abcde", False),
        (b"HTTP/1.0 200 OK\r\n\r\nabcde", b"abcde", True),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"", True),
    ],
)
async def test_every_framing_of_a_server_reaches_the_client_whole(answer: bytes, body: bytes, chunked: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        status, fields, got = await client.answer()
        assert (status, got) == (200, body)
        assert (fields.get("transfer-encoding") == "chunked") is chunked
        await client.send(GET)
        assert (await client.answer())[0] == 200


async def test_an_http_1_0_client_gets_no_chunks_and_a_closed_connection() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with serving(replies(chunks)) as (server,), site(config({"a": server})) as here:
        answer = await here.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b"abc"
        assert b"Transfer-Encoding" not in head
        assert b"Connection: close" in head


async def test_an_http_1_0_client_may_keep_its_connection_for_answers_of_known_length() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        for _ in range(2):
            await client.send(b"GET / HTTP/1.0\r\nHost: s\r\nConnection: keep-alive\r\n\r\n")
            status, fields, _ = await client.answer()
            assert (status, fields["connection"]) == (200, "keep-alive")


async def test_head_has_a_length_and_no_body() -> None:
    async with serving(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")) as (server,):
        async with site(config({"a": server})) as here:
            answer = await here.ask(b"HEAD / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n")
            assert b"\r\nContent-Length: 1000\r\n" in answer
            assert answer.endswith(b"\r\n\r\n")


async def test_bodies_go_up_as_they_come_and_in_their_framing() -> None:
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        head = await peer.head()
        got.append(head)
        assert b"Transfer-Encoding: chunked\r\n" in head
        assert b"Content-Length" not in head
        assert await peer.exactly(8) == b"3\r\nabc\r\n"  # before the client has sent the rest
        got.append(b"first")
        assert await peer.exactly(12) == b"2\r\nde\r\n0\r\n\r\n"
        await peer.send(ok(b"thanks"))

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n")
        await here.until(lambda: b"first" in got)
        await client.send(b"2\r\nde\r\n0\r\n\r\n")
        assert (await client.answer())[2] == b"thanks"


async def test_a_request_behind_a_body_is_not_mistaken_for_it() -> None:
    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            body = await peer.exactly(5) if b"Content-Length: 5" in head else b""
            await peer.send(ok(head.split()[0] + body))

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nhello" + GET)
        assert (await client.answer())[2] == b"POSThello"
        assert (await client.answer())[2] == b"GET"


async def test_expect_continue_is_the_servers_to_answer() -> None:
    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert b"Expect: 100-continue\r\n" in head
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.exactly(2) == b"hi"
        await peer.send(ok())

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 100 Continue\r\n")
        await client.send(b"hi")
        assert (await client.answer())[0] == 200


async def test_early_hints_pass_through() -> None:
    script = replies(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok())
    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        assert (await client.answer())[0] == 200


async def test_an_early_final_answer_ends_the_connection_but_arrives() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 100000\r\n\r\nabc")
        status, fields, body = await client.answer()
        assert (status, body, fields["connection"]) == (413, b"big", "close")
        await client.send(b"x" * 1000)
        assert await client.rest() == b""


async def test_a_tunnel_carries_bytes_both_ways_and_half_closes() -> None:
    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
        assert await peer.exactly(4) == b"ping"
        await peer.send(b"pong")
        assert await peer.rest() == b"tail"
        await peer.send(b"bye")

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping")
        assert (await client.head()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert await client.exactly(9) == b"firstpong"
        assert here.plane.report().listeners["main"].tunnels == 1
        await client.send(b"tail")
        client.writer.write_eof()
        assert await client.rest() == b"bye"
        await here.until(lambda: here.decisions)
        assert here.decisions[0].outcome == "tunnel"
        assert here.plane.pools["app"].servers["a"].inflight == 0
        assert here.plane.report().listeners["main"].tunnels == 0


async def test_nothing_is_left_of_a_tunnel_whose_halves_have_both_ended() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await peer.rest()
        await peer.send(b"bye")
        peer.writer.write_eof()
        await asyncio.Event().wait()  # it leaves closing to the other end

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await client.head()
        client.writer.write_eof()
        assert await client.rest() == b"bye"
        await here.until(lambda: not here.plane.dialer.connections)
        await here.until(lambda: here.plane.connections == 0)


async def test_a_switch_nobody_asked_for_is_a_bad_gateway() -> None:
    async with serving(replies(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")) as (server,):
        async with site(config({"a": server})) as here:
            assert (await here.ask(GET_LAST)).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    "answer",
    [
        b"what?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_a_lying_server_is_a_bad_gateway(answer: bytes) -> None:
    async with serving(replies(answer)) as (server,), site(config({"a": server})) as here:
        reply = await here.ask(GET_LAST)
        assert reply.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert here.decisions[0].outcome == "upstream-malformed"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ],
)
async def test_an_answer_that_breaks_off_looks_broken(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        reply = await client.rest()  # the connection has been closed although it was kept alive
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not reply.endswith(b"0\r\n\r\n")
        assert here.decisions[0].outcome == "upstream-reset" or here.decisions[0].outcome.startswith("upstream")


async def test_what_a_server_says_unasked_is_no_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok(b"mine") + ok(b"not yours"))
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        assert (await client.answer())[2] == b"mine"
        await client.send(GET)
        assert (await client.answer())[2] == b"mine"
        assert server.connections == 2


async def test_a_refused_request_closes_and_nothing_behind_it_is_served() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        reply = await here.ask(
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + GET
        )
        assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert reply.count(b"Content-Length: ") == 1
        assert b"Traceback" not in reply
        assert server.connections == 0


async def test_a_broken_chunk_in_mid_body_ends_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        reply = await here.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GET)
        assert reply.startswith(b"HTTP/1.1 400 ")
        assert reply.count(b"Content-Length: ") == 1


async def test_limits_of_heads_and_bodies_have_their_statuses() -> None:
    limits = {"head": "2KiB", "uri": "1KiB"}
    async with serving(replies(ok())) as (server,):
        settings = config({"a": server}, route={"limits": {"body": 10}}, whole={"limits": limits})
        async with site(settings) as here:
            assert (await here.ask(b"GET / HTTP/1.1\r\nHost: s\r\nX: " + b"y" * 4000)).startswith(b"HTTP/1.1 431 ")
            assert (await here.ask(b"GET /" + b"y" * 4000)).startswith(b"HTTP/1.1 414 ")
            large = b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 11\r\n\r\nhello world"
            assert (await here.ask(large)).startswith(b"HTTP/1.1 413 ")
            streamed = b"POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"
            assert (await here.ask(streamed)).startswith(b"HTTP/1.1 413 ")


async def test_a_slow_reader_holds_the_server_back() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        size = 64 * 2**20
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.send(b"x" * 65536)
            sent += 65536

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        await client.head()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 32 * 2**20  # what sockets and buffers hold, not the answer
        assert len(await client.exactly(64 * 2**20)) == 64 * 2**20


async def test_a_slow_server_holds_the_client_back() -> None:
    go = asyncio.Event()
    size = 64 * 2**20

    async def script(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        left = size
        while left:
            left -= len(await peer.exactly(min(left, 65536)))
        await peer.send(ok(b"all"))

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % size)
        sending = asyncio.ensure_future(client.send(b"x" * size))
        await asyncio.sleep(0.3)
        assert not sending.done()
        go.set()
        assert (await client.answer())[2] == b"all"
        await sending


async def test_a_client_that_leaves_frees_the_server() -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.rest()
        closed.set()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        await here.until(lambda: here.plane.pools["app"].servers["a"].inflight == 1)
        client.cut()
        await asyncio.wait_for(closed.wait(), 5)
        assert here.plane.pools["app"].servers["a"].inflight == 0
        assert here.decisions[0].outcome == "client-abort"


async def test_too_many_connections_are_closed_and_counted() -> None:
    async with serving(replies(ok())) as (server,):
        async with site(
            config({"a": server}, whole={"limits": {"connections": 2, "connections_per_client": 2}})
        ) as here:
            first, second = await here.connect(), await here.connect()
            await first.send(GET)
            await first.answer()
            await second.send(GET)
            await second.answer()
            third = await here.connect()
            assert await third.rest() == b""
            assert here.plane.report().listeners["main"].rejected["too-many-connections"] == 1
            first.cut()
            await here.until(lambda: here.plane.report().listeners["main"].open == 1)
            assert (await here.ask(GET_LAST)).startswith(b"HTTP/1.1 200")


def _hasty_server(listening: socket.socket, times: int) -> None:
    """Answers each upload as soon as its head is there, and closes without reading on."""
    for _ in range(times):
        connection, _ = listening.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        connection.close()


async def test_an_early_answer_reaches_the_client_although_the_server_did_not_read_on() -> None:
    times = 20
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_hasty_server, args=(listening, times), daemon=True)
    thread.start()
    async with site(config({"a": listening.getsockname()[1]})) as here:
        for _ in range(times):
            client = await here.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 2000000\r\n\r\n")
            client.writer.write(b"x" * 2_000_000)
            assert (await client.answer())[::2] == (413, b"big")
            client.cut()
        assert {decision.outcome for decision in here.decisions} == {"ok"}
    thread.join(5)
    listening.close()


async def test_a_broken_answer_to_a_client_that_knows_only_the_end_ends_with_a_reset() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionResetError):
            await client.exactly(1000)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: s\n\n", b"GET /\r\n", b"\x16\x03\x01\x00", b"\r\n\r\nGET"])
async def test_what_cannot_become_a_request_is_answered_at_once(data: bytes) -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        assert (await here.ask(data)).startswith(b"HTTP/1.1 400 ")
        assert server.connections == 0


async def test_options_of_the_whole_server_are_answered_here() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        for _ in range(2):
            await client.send(b"OPTIONS * HTTP/1.1\r\nHost: s\r\n\r\n")
            status, fields, body = await client.answer()
            assert (status, body, fields["content-length"]) == (200, b"", "0")
            assert "GET" in fields["allow"]
        assert server.connections == 0


async def test_a_server_that_never_comes_to_the_point_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 11)
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        answer = await here.ask(GET_LAST)
        assert answer.count(b"HTTP/1.1 102 Processing\r\n") <= 10
        assert b"\r\n\r\nHTTP/1.1 502 " in answer or answer.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("protocol", [b"h2c", b"chat", b"", b"websocket, chat"])
async def test_a_switch_to_what_was_not_asked_for_is_no_answer(protocol: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol)
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        answer = await here.ask(
            b"GET / HTTP/1.1\r\nHost: s\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 502 ")


async def test_a_body_below_the_minimum_rate_is_not_waited_for() -> None:
    async def script(peer: Peer) -> None:
        await peer.rest()

    async with serving(script) as (server,):
        whole = {"limits": {"body_rate": 1000}, "timeouts": {"request_body_idle": 0.3}}
        async with site(config({"a": server}, whole=whole)) as here:
            client = await here.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\r\n")
            for _ in range(100):  # a byte every 50 ms: never silent for long, and far too slow
                if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
                    break
                client.writer.write(b"x")
                await asyncio.sleep(0.05)
            assert (await client.answer())[0] == 408
            assert here.decisions[0].outcome == "refused"


async def test_one_client_cannot_hold_all_connections() -> None:
    async with serving(replies(ok())) as (server,):
        async with site(config({"a": server}, whole={"limits": {"connections_per_client": 2}})) as here:
            first, second = await here.connect(), await here.connect()
            for client in (first, second):
                await client.send(GET)
                await client.answer()
            assert await (await here.connect()).rest() == b""
            assert here.plane.report().listeners["main"].rejected["too-many-of-client"] == 1


def without_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return True
    return False


@pytest.mark.skipif(without_ipv6(), reason="this machine has no IPv6")
async def test_one_client_with_ipv6_cannot_hold_all_connections() -> None:
    """Whichever listener it comes to, and others are not held to account for it."""
    listeners = {"main": {"address": "[::1]:0"}, "other": {"address": "[::1]:0"}, "old": {"address": "127.0.0.1:0"}}
    whole = {"limits": {"connections_per_client": 2}, "listeners": listeners}

    async with serving(replies(ok())) as (server,), site(config({"a": server}, whole=whole)) as here:

        async def come(listener: str, host: str = "::1") -> Peer:
            peer = Peer(*await asyncio.open_connection(host, here.plane.listeners[listener].port))
            here.peers.append(peer)
            return peer

        async def answered(peer: Peer) -> bool:
            await peer.send(GET)
            return (await peer.answer())[0] == 200

        first, second = await come("main"), await come("other")
        assert await answered(first)
        assert await answered(second)
        assert [one.client for one in here.decisions] == ["::1"] * 2
        assert await (await come("main")).rest() == b""
        assert await (await come("other")).rest() == b""
        assert await answered(await come("old", "127.0.0.1"))
        await first.close()
        await here.until(lambda: here.plane.listeners["main"].tally.open == 0)
        assert await answered(await come("other"))
        for listener in ("main", "other"):
            assert dict(here.plane.listeners[listener].tally.rejected) == {"too-many-of-client": 1}


async def test_a_trusted_proxy_may_hold_more_connections_than_one_client() -> None:
    async with serving(replies(ok())) as (server,):
        whole = {"limits": {"connections_per_client": 2}, "trusted_proxies": ["127.0.0.0/8"]}
        async with site(config({"a": server}, whole=whole)) as here:
            clients = [await here.connect() for _ in range(4)]
            for client in clients:
                await client.send(GET)
                assert (await client.answer())[0] == 200


async def test_requests_are_turned_away_while_the_loop_is_behind() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        overload = here.plane._overload
        for _ in range(100):
            overload.observe(1000.0)
        statuses = []
        for _ in range(40):
            await client.send(GET)
            status, fields, _ = await client.answer()
            statuses.append(status)
            assert status == 200 or fields["retry-after"] == "1"
        assert statuses.count(503) > 30
        for _ in range(100):
            overload.observe(0.0)
        await client.send(GET)
        assert (await client.answer())[0] == 200


async def test_the_body_of_a_get_never_becomes_the_next_request() -> None:
    asked: list[bytes] = []

    async def blind_to_bodies(peer: Peer) -> None:
        while True:
            asked.append((await peer.head()).split(b"\r\n")[0])
            await peer.send(ok())

    smuggled = b"GET /hidden HTTP/1.1\r\nHost: s\r\n\r\n"
    async with serving(blind_to_bodies) as (server,), site(config({"a": server})) as here:
        attacker, victim = await here.connect(), await here.connect()
        await attacker.send(b"GET /x HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%b" % (len(smuggled), smuggled))
        await attacker.answer()
        await victim.send(GET)
        await victim.answer()
        assert server.connections == 2


async def test_a_head_request_that_is_refused_has_no_body_in_its_answer() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        answer = await here.ask(b"HEAD / HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\n")


async def test_a_route_matches_on_what_the_server_is_told_and_not_on_what_a_client_claims() -> None:
    secure = {"pool": "app", "match": {"path": "/**", "headers": {"X-Forwarded-Proto": "https"}}}
    claim = b"GET / HTTP/1.1\r\nHost: s\r\nX-Forwarded-Proto: https\r\n%bConnection: close\r\n\r\n"
    async with serving(replies(ok(b"app"))) as (server,):
        for trusted, status in (([], b"404"), (["127.0.0.0/8"], b"200")):
            settings = config({"a": server}, route=secure, whole={"trusted_proxies": trusted})
            async with site(settings) as here:
                for _ in range(2):  # the second time from memory
                    assert (await here.ask(claim % b"")).startswith(b"HTTP/1.1 " + status)
                assert (await here.ask(claim.replace(b"X-F", b"x_F") % b"")).startswith(b"HTTP/1.1 404")


async def test_what_the_operator_sets_cannot_be_said_in_another_spelling() -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append(await peer.head())
            await peer.send(ok())

    edits = {"request": {"set": {"X-Tenant": "none"}, "remove": ["X-Debug"]}, "request_id": "X-Correlation-Id"}
    async with serving(script) as (server,), site(config({"a": server}, route={"headers": edits})) as here:
        await here.ask(
            b"GET / HTTP/1.1\r\nHost: s\r\nX_Tenant: evil\r\nX.Tenant: evil\r\nX_Debug: evil\r\nX-Debug: evil\r\n"
            b"X_Correlation_Id: evil\r\nX_Other: fine\r\nConnection: close\r\n\r\n"
        )
    assert b"evil" not in heads[0]
    assert b"X-Tenant: none\r\n" in heads[0]
    assert b"X_Other: fine\r\n" in heads[0]


EXPECTING = b"POST / HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"


async def test_a_client_that_waits_to_be_invited_is_not_hurried() -> None:
    async def slow_to_invite(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.7)
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.send(ok(await peer.exactly(4)))

    async with serving(slow_to_invite) as (server,):
        async with site(config({"a": server}, whole={"timeouts": {"request_body_idle": 0.3}})) as here:
            client = await here.connect()
            await client.send(EXPECTING)
            assert (await client.head()).startswith(b"HTTP/1.1 100 ")
            await client.send(b"body")
            assert (await client.answer())[::2] == (200, b"body")


async def test_a_client_that_was_invited_and_sends_nothing_is_not_waited_for() -> None:
    async def inviting(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.rest()

    async with serving(inviting) as (server,):
        async with site(config({"a": server}, whole={"timeouts": {"request_body_idle": 0.3}})) as here:
            client = await here.connect()
            await client.send(EXPECTING)
            assert (await client.head()).startswith(b"HTTP/1.1 100 ")
            assert (await client.answer())[0] == 408


async def test_a_server_that_never_invites_is_not_blamed_for_a_client_that_waits_for_ever() -> None:
    async def silent(peer: Peer) -> None:
        await peer.head()
        await peer.rest()

    async with serving(silent) as (server,):
        async with site(config({"a": server}, timeouts={"first_byte": 0.4})) as here:
            client = await here.connect()
            await client.send(EXPECTING)
            assert (await client.answer())[0] == 504
            assert here.decisions[0].outcome == "deadline"
            assert dict(here.plane.pools["app"].servers["a"].tally.failures) == {}
