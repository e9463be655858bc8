"""Clients and servers that mean harm, or behave as if: nothing grows, nothing is held for ever, nobody else is hurt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from balancer.proxy.client_connection import PIPELINE_BYTES
from balancer.proxy.exchange import SENT
from balancer.proxy.sides import NEVER
from balancer.proxy.upstream_connection import FAREWELL
from tests.proxy.wire import Peer, Site, config, ok, replies, serving, site

GET = b"GET /x HTTP/1.1\r\nHost: s\r\n\r\n"
LARGE = 4 * 2**20
HUGE = 48 * 2**20  # more than all buffers between two sockets hold
SHORT = {"idle": 0.3, "tunnel": 0.4}
DOOR = {"timeouts": {"idle": 0.3, "request_body_idle": 0.3, "keep_alive": 0.3, "request_head": 0.3}}


async def large(peer: Peer) -> None:
    while True:
        await peer.head()
        await peer.send(ok(b"x" * LARGE))


async def huge(peer: Peer) -> None:
    await peer.head()
    await peer.send(ok(b"x" * HUGE))


def waiting(here: Site) -> int:
    """Bytes that the balancer holds for its clients and of them."""
    total = 0
    for connection in here.plane.listeners["main"].connections:
        transport = connection._transport
        total += len(connection._buffer) + (transport.get_write_buffer_size() if transport else 0)
    return total


async def still(here: Site) -> None:
    """Until something is held and nothing moves any more."""
    await here.until(lambda: waiting(here) > 0)
    before = -1
    while before != (now := waiting(here)):
        before = now
        await asyncio.sleep(0.2)


async def test_answers_that_nobody_takes_do_not_pile_up() -> None:
    async with serving(large) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET * 40)
        await still(here)
        # One answer begun, a buffer's worth more, and requests read ahead; not forty answers.
        assert waiting(here) < 2**20
        for _ in range(40):
            assert len((await client.answer())[2]) == LARGE


async def test_own_answers_that_nobody_takes_do_not_pile_up() -> None:
    respond = {"status": 200, "body": "x" * 10_000}
    async with site(config({"a": 1}, route={"pool": None, "respond": respond})) as here:
        client = await here.connect()
        sending = asyncio.ensure_future(client.send(GET * 500_000))
        await still(here)
        assert waiting(here) < 2**20
        assert not sending.done()
        sending.cancel()


async def test_requests_read_ahead_are_bounded() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        sending = asyncio.ensure_future(client.send(GET * 1_000_000))
        await still(here)
        assert waiting(here) < PIPELINE_BYTES + 2**19  # and what one read brings
        sending.cancel()


@pytest.mark.parametrize("flood", [GET * 400_000, b"1\r\na\r\n" * 1_500_000])
async def test_one_connections_flood_leaves_others_their_turn(flood: bytes) -> None:
    async def script(peer: Peer) -> None:
        head = await peer.head()
        if b"chunked" in head:
            await peer.rest()
        await peer.send(ok())

    async with serving(script) as (server,):
        respond = {"match": {"path": "/x"}, "respond": {"status": 200}}
        base = config({"a": server})
        routes = {**base.routes, "fixed": type(base.routes["all"]).model_validate(respond)}
        async with site(base.model_copy(update={"routes": routes})) as here:
            bad = await here.connect()
            if flood.startswith(b"1"):
                await bad.send(b"POST /p HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n")
            sending = asyncio.ensure_future(bad.send(flood))
            reading = asyncio.ensure_future(bad.rest())
            good = await here.connect()
            turns = 0
            while not sending.done() and turns < 100:
                await good.send(b"GET /good HTTP/1.1\r\nHost: s\r\n\r\n")
                assert (await good.answer())[0] == 200
                turns += 1
            assert turns > 3  # answered again and again while the flood was coming in
            bad.cut()
            await asyncio.gather(sending, reading, return_exceptions=True)


async def test_a_last_answer_reaches_a_slow_reader_whole() -> None:
    async with serving(large) as (server,), site(config({"a": server}, timeouts=SHORT, whole=DOOR)) as here:
        client = await here.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n")
        await client.head()
        got = 0
        while got < LARGE and (piece := await client.reader.read(150_000)):
            got += len(piece)
            await asyncio.sleep(0.05)
        assert got == LARGE


async def test_a_reader_that_stands_still_is_cut() -> None:
    async with serving(huge) as (server,), site(config({"a": server}, timeouts=SHORT, whole=DOOR)) as here:
        client = await here.connect()
        await client.send(GET)
        await here.until(lambda: here.decisions)
        assert here.decisions[0].outcome == "client-abort"
        assert not here.plane.listeners["main"].connections


async def test_an_idle_client_that_left_an_answer_unread_is_closed() -> None:
    async with serving(replies(ok(b"x" * 2_000_000))) as (server,):
        async with site(config({"a": server}, whole=DOOR)) as here:
            client = await here.connect()
            await client.send(GET)
            await here.until(lambda: not here.plane.listeners["main"].connections)


async def test_an_early_answer_that_is_not_read_holds_nothing_for_ever() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // 65536):
            await peer.send(b"x" * 65536)
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server}, timeouts=SHORT, whole=DOOR)) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 10\r\n\r\nhello")
        await asyncio.sleep(0.2)
        await client.send(b"world")
        await here.until(lambda: here.decisions)
        assert here.plane.pools["app"].servers["a"].inflight == 0


async def test_a_server_that_waits_for_its_reader_is_not_blamed() -> None:
    async def echo(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * 2**20))
        while data := await peer.reader.read(65536):
            await peer.send(data)

    passive = {"failures": 1, "share": 0}
    settings = {"timeouts": SHORT, "health": {"active": None, "passive": passive}, "whole": DOOR}
    async with serving(echo) as (server,), site(config({"a": server, "b": 1}, **settings)) as here:
        here.plane.pools["app"].servers["b"].drained = True
        here.plane.pools["app"].refresh(0.0)
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % (32 * 2**20))
        sending = asyncio.ensure_future(client.send(b"x" * 32 * 2**20))
        await here.until(lambda: here.decisions)
        assert here.decisions[0].outcome == "client-abort"
        assert not here.plane.pools["app"].servers["a"].tally.failures
        sending.cancel()


EARLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.slow
async def test_a_server_that_answers_early_may_wait_for_a_body_that_keeps_coming() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(EARLY)
        await peer.exactly(12)
        await peer.send(b"done")

    async with serving(script) as (server,), site(config({"a": server}, timeouts=SHORT)) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 12\r\n\r\n")
        assert await client.head()
        for _ in range(12):
            await client.send(b"x")
            await asyncio.sleep(0.05)
        assert await client.exactly(4) == b"done"
        assert not here.plane.pools["app"].servers["a"].tally.failures


@pytest.mark.slow
async def test_an_early_answer_that_stops_once_the_body_is_over_holds_nothing_for_ever() -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(EARLY)
        await read.wait()
        await peer.exactly(HUGE)
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server}, timeouts=SHORT)) as here:
        client = await here.connect()
        sending = asyncio.ensure_future(
            client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%b" % (HUGE, b"x" * HUGE))
        )
        await here.until(lambda: any(c._full for c in here.plane.dialer.connections))
        read.set()
        await sending
        await here.until(lambda: here.decisions)
        assert here.decisions[0].outcome == "upstream-timeout"


@pytest.mark.slow
async def test_a_server_has_its_time_again_after_interim_answers_that_were_not_taken() -> None:
    async def silent(peer: Peer) -> None:
        await peer.rest()

    async with serving(silent) as (server,), site(config({"a": server}, timeouts={"first_byte": 0.3})) as here:
        client = await here.connect()
        await client.send(GET)
        await here.until(lambda: here.plane.dialer.connections)
        (connection,) = here.plane.dialer.connections
        await here.until(lambda: connection.exchange is not None and connection.exchange.state == SENT)
        assert connection.exchange is not None
        connection.exchange.client_full()
        assert connection.deadline == NEVER
        connection.exchange.client_drained()
        assert (await client.answer())[0] == 504


async def test_a_server_that_refuses_an_upload_and_closes_is_not_ejected() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.cut()

    passive = {"failures": 1, "share": 0}
    async with serving(script, replies(ok())) as (server, other):
        settings = config({"a": server, "b": other}, health={"active": None, "passive": passive})
        async with site(settings) as here:
            for _ in range(8):
                client = await here.connect()
                await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 5000000\r\n\r\n")
                try:
                    await client.send(b"x" * 4_000_000)
                except ConnectionError:
                    pass  # refused half-way, which is the point
                client.cut()
            await here.until(lambda: len(here.decisions) == 8)
            assert not here.plane.pools["app"].servers["a"].ejected


async def test_an_upload_that_nobody_takes_leaves_no_connection_behind() -> None:
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await stuck.wait()

    async with serving(script) as (server,), site(config({"a": server}, timeouts=SHORT)) as here:
        clients = [await here.connect() for _ in range(5)]
        for client in clients:
            await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 50000000\r\n\r\n")
            asyncio.ensure_future(client.send(b"x" * 20_000_000)).add_done_callback(lambda task: task.exception())
        await here.until(lambda: sum(c._full for c in here.plane.dialer.connections) == 5)
        for client in clients:
            client.cut()
        await here.until(lambda: not here.plane.dialer.connections)
        await here.until(lambda: here.plane.pools["app"].servers["a"].inflight == 0)


async def test_a_server_that_answers_without_taking_the_request_gets_no_other_on_that_connection() -> None:
    full = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await full.wait()
        await peer.send(ok())
        await asyncio.Event().wait()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(GET)
        await here.until(lambda: here.plane.dialer.connections)
        (connection,) = here.plane.dialer.connections
        connection.pause_writing()  # as its transport does when more than it holds is to be sent
        full.set()
        assert (await client.answer())[0] == 200
        await here.until(lambda: not here.plane.dialer.connections)


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_a_tunnel_in_which_only_the_server_speaks_stays_open() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)
        for _ in range(12):
            await asyncio.sleep(0.1)
            await peer.send(b"tick")

    async with serving(script) as (server,), site(config({"a": server}, timeouts=SHORT)) as here:
        client = await here.connect()
        await client.send(UPGRADE)
        head = await client.head()
        assert b"X-Hop" not in head
        assert await client.exactly(48) == b"tick" * 12


async def test_a_tunnel_that_closes_gets_no_more_time_from_a_client_that_goes_on() -> None:
    async def deaf(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)
        await asyncio.Event().wait()

    async with serving(deaf) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(UPGRADE)
        await client.head()
        (connection,) = here.plane.dialer.connections
        pushing = asyncio.ensure_future(client.send(b"x" * HUGE))
        await here.until(lambda: connection._full)
        (near,) = here.plane.listeners["main"].connections
        connection.close()
        near.data_received(b"y")
        assert connection.deadline <= monotonic() + FAREWELL
        client.cut()
        await asyncio.wait([pushing])


async def test_a_silent_tunnel_ends() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server}, timeouts=SHORT)) as here:
        client = await here.connect()
        await client.send(UPGRADE)
        await client.head()
        assert await client.rest() == b""
        await here.until(lambda: here.decisions)
        assert here.plane.report().listeners["main"].tunnels == 0


async def test_what_was_sent_before_the_switch_arrives_and_more_after_it() -> None:
    size = 200_000

    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.1)
        await peer.send(SWITCH)
        assert len(await peer.exactly(2 * size)) == 2 * size
        await peer.send(b"got it")

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        sending = asyncio.ensure_future(client.send(UPGRADE + b"x" * size))
        await client.head()
        await sending
        await client.send(b"y" * size)
        assert await client.exactly(6) == b"got it"


@pytest.mark.parametrize("pushing", [True, False])
async def test_a_tunnel_with_a_reader_that_stands_still_does_not_pile_up(pushing: bool) -> None:
    """Whichever side does not read: what is under way stays bounded, and the silence ends the tunnel."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)
        if pushing:
            while True:
                await peer.send(b"x" * 65536)
        await asyncio.sleep(60)

    async with serving(script) as (server,), site(config({"a": server}, timeouts={"tunnel": 1.0})) as here:
        client = await here.connect()
        await client.send(UPGRADE)
        await client.head()
        sending: asyncio.Future[Any] | None = None
        if not pushing:
            sending = asyncio.ensure_future(client.send(b"x" * 64 * 2**20))
        await asyncio.sleep(0.4)
        held = waiting(here) + sum(
            c._transport.get_write_buffer_size() for c in here.plane.dialer.connections if c._transport
        )
        assert held < 2 * 2**20
        await here.until(lambda: not here.plane.listeners["main"].connections)
        await here.until(lambda: not here.plane.dialer.connections)
        if sending is not None:
            sending.cancel()


async def test_a_body_declared_for_an_answer_without_one_never_becomes_the_next_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 204 No Content\r\nContent-Length: 48\r\n\r\n")
        await asyncio.sleep(0.05)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")
        await peer.rest()

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        for _ in range(5):
            await client.send(GET)
            assert (await client.answer())[::2] == (204, b"")
        assert server.connections == 5


async def test_a_blank_line_before_a_request_is_passed_over_once() -> None:
    async with serving(replies(ok())) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        await client.send(b"\r\n" + GET)
        assert (await client.answer())[0] == 200
        await client.send(b"\r\n\r\n" + GET)
        assert (await client.answer())[0] == 400


async def test_what_only_proxies_may_say_is_not_taken_from_clients() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(ok())

    said = b"X_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Port: 666\r\nX-Original-URL: /666\r\n"
    async with serving(script) as (server,):
        for trusted in ([], ["127.0.0.1"]):
            async with site(config({"a": server}, whole={"trusted_proxies": trusted})) as here:
                client = await here.connect()
                await client.send(b"GET / HTTP/1.1\r\nHost: s\r\n" + said + b"\r\n")
                await client.answer()
    assert b"6.6.6.6" not in seen[0]
    assert b"666" not in seen[0]
    assert b"X-Forwarded-Port: 666\r\n" in seen[1]
    assert b"X_Forwarded_For" not in seen[1]


async def _huge(peer: Peer) -> None:
    await peer.head()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    while True:
        await peer.send(b"x" * 100_000)


async def test_a_client_that_takes_longer_than_the_whole_may_take_is_not_the_servers_fault() -> None:
    async with serving(_huge) as (server,):
        async with site(config({"a": server}, timeouts={"total": 0.5})) as here:
            client = await here.connect()
            client.writer.transport.pause_reading()
            await client.send(GET)
            await here.until(lambda: here.decisions)
            assert here.decisions[0].outcome == "deadline"
            assert dict(here.plane.pools["app"].servers["a"].tally.failures) == {}


async def test_a_server_that_does_not_wait_for_a_slow_reader_is_not_blamed() -> None:
    async def impatient(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    await peer.send(b"x" * 100_000)
        peer.cut()

    passive = {"failures": 1, "window": 10}
    async with serving(impatient) as (server,):
        async with site(config({"a": server}, health={"active": None, "passive": passive})) as here:
            client = await here.connect()
            await client.send(GET)
            await asyncio.sleep(0.6)
            await client.rest()
            await here.until(lambda: here.decisions)
            assert here.decisions[0].outcome == "upstream-reset"
            assert here.plane.pools["app"].servers["a"].tally.ejections == 0
