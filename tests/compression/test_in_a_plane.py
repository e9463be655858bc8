"""Bodies under compression and those on either side of them: slow clients, servers that end early, others meanwhile."""

from __future__ import annotations

import asyncio
import random
import zlib

import pytest

from balancer.compression import SLICE
from balancer.compression.packing import ROOM
from balancer.proxy.sides import NEVER
from tests.proxy.wire import Peer, Site, config, ok, serving, site

GET = b"GET /x HTTP/1.1\r\nHost: s\r\nAccept-Encoding: gzip\r\n\r\n"
HTML = b"Content-Type: text/html\r\n"
COMPRESSING = {"compress": {}}
HALVED = random.Random(4).randbytes(2**19).hex().encode()  # gzip makes about half of it
HUGE = 64  # times that: once compressed still more than all buffers between two sockets hold


async def compressed(peer: Peer) -> bytes:
    """The body of an answer in chunks, taken apart."""
    data = bytearray()
    while size := int((await peer.line()).strip(), 16):
        data += await peer.exactly(size)
        await peer.exactly(2)
    await peer.line()
    return zlib.decompress(data, zlib.MAX_WBITS + 16)


def held(here: Site) -> int:
    """Bytes that the balancer has for its clients."""
    connections = here.plane.listeners["main"].connections
    return sum(c._transport.get_write_buffer_size() for c in connections if c._transport is not None)


@pytest.mark.slow
async def test_a_client_that_does_not_read_stops_its_server() -> None:
    taken = 0

    async def huge(peer: Peer) -> None:
        nonlocal taken
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (HTML, len(HALVED) * HUGE))
        for _ in range(HUGE):
            await peer.send(HALVED)
            taken += 1

    async with serving(huge) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        client = await here.connect()
        await client.send(GET)
        before = -1
        while before != taken or not held(here):
            before = taken
            await asyncio.sleep(0.3)
        assert taken < HUGE
        assert held(here) < 2**20
        assert ROOM.held > 0
        head = await client.head()
        assert b"Content-Encoding: gzip\r\n" in head
        assert await compressed(client) == HALVED * HUGE
        await here.until(lambda: here.decisions)
        assert ROOM.held == 0
        assert here.decisions[0].outcome == "ok"


@pytest.mark.slow
async def test_others_are_answered_while_a_large_body_is_compressed() -> None:
    async def both(peer: Peer) -> None:
        head = await peer.head()
        if b" /small" in head:
            await peer.send(ok(b"small"))
            await peer.head()
        else:
            await peer.send(ok(HALVED * 16, HTML))
            await peer.head()

    async with serving(both) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        large, small = await here.connect(), await here.connect()
        await large.send(GET)
        await here.until(lambda: held(here) or here.plane.report().routes["all"].compression_in["gzip"])
        await small.send(b"GET /small HTTP/1.1\r\nHost: s\r\n\r\n")
        assert (await small.answer())[2] == b"small"
        assert [decision.target for decision in here.decisions] == [b"/small"]  # the large one is not over
        await large.head()
        assert await compressed(large) == HALVED * 16


async def test_a_client_that_leaves_leaves_no_coder_behind() -> None:
    async def endless(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 99999999\r\n\r\n" % HTML)
        while True:
            await peer.send(HALVED)

    async with serving(endless) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        client = await here.connect()
        await client.send(GET)
        await client.head()
        assert ROOM.held > 0
        client.cut()
        await here.until(lambda: here.decisions)
        assert ROOM.held == 0
        assert here.decisions[0].outcome == "client-abort"


@pytest.mark.parametrize("fields", [b"Content-Length: %d\r\n" % len(HALVED), b""])
async def test_a_server_that_ends_right_after_its_answer_was_understood(fields: bytes) -> None:
    async def ends(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n%b%bConnection: close\r\n\r\n%b" % (HTML, fields, HALVED))

    async with serving(ends) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        for _ in range(5):
            client = await here.connect()
            await client.send(GET)
            await client.head()
            assert await compressed(client) == HALVED


async def test_a_server_that_ends_before_its_answer_does_is_cut_off() -> None:
    async def lies(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok(HALVED + b"more", HTML)[:-4])

    async with serving(lies) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        client = await here.connect()
        await client.send(GET)
        data = await client.rest()
        assert not data.endswith(b"0\r\n\r\n")
        assert here.decisions[0].outcome == "upstream-reset"
        assert ROOM.held == 0


@pytest.mark.parametrize(("length", "excess"), [(100_000, 200_000), (SLICE, 1), (SLICE, 100_000)])
async def test_what_comes_after_an_answer_spoils_the_connection_however_large_it_is(length: int, excess: int) -> None:
    async def more(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok(HALVED[:length], HTML) + HALVED[:excess])
        await peer.rest()

    async with serving(more) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        for _ in range(3):
            client = await here.connect()
            await client.send(GET)
            await client.head()
            assert await compressed(client) == HALVED[:length]
        assert server.connections == 3


async def test_bytes_from_a_server_are_counted_once() -> None:
    answer = ok(HALVED, HTML)

    async def one(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)
        await peer.head()

    async with serving(one) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        client = await here.connect()
        await client.send(GET)
        await client.head()
        await compressed(client)
        (report,) = here.plane.report().pools["app"].servers
        assert report.tally.bytes_in == len(answer)


async def test_trailers_that_tell_of_other_bytes_are_left_out() -> None:
    async def trailing(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HTML
            + b"4\r\nbody\r\n0\r\nRepr-Digest: x\r\nX-Time: 1\r\n\r\n"
        )
        await peer.head()

    async with serving(trailing) as (server,), site(config({"a": server}, COMPRESSING)) as here:
        client = await here.connect()
        await client.send(GET)
        await client.head()
        data = b""
        while not data.endswith(b"0\r\nX-Time: 1\r\n\r\n"):
            data += await client.exactly(1)
        assert b"Repr-Digest" not in data


@pytest.mark.slow
async def test_a_client_that_waits_is_not_the_servers_fault() -> None:
    async def endless(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 999999999\r\n\r\n" % HTML)
        while True:
            await peer.send(HALVED)

    async with (
        serving(endless) as (server,),
        site(config({"a": server}, {**COMPRESSING, "timeouts": {"idle": 0.3}})) as here,
    ):
        client = await here.connect()
        await client.send(GET)
        await here.until(lambda: held(here) > 0)
        await asyncio.sleep(0.8)
        assert not here.decisions
        (upstream,) = [c for c in here.plane.dialer.connections if c.exchange is not None]
        assert upstream.deadline == NEVER
