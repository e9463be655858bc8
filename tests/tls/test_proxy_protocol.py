"""The PROXY protocol in front of plain HTTP and of TLS."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any, cast

import pytest

from balancer.http1.proxy_protocol import encode_v1, encode_v2
from balancer.proxy.client_connection import LAST_CALL, ClientConnection
from balancer.proxy.tls_layer import TlsLayer
from tests.proxy.test_tls_layer import End
from tests.proxy.wire import Peer, ScriptedServer, config, ok, replies, serving, site
from tests.tls.authority import NAME, issued, request, secure, serving_tls, trusting

SOURCE, DESTINATION = ("203.0.113.7", 4711), ("198.51.100.1", 443)
V1 = encode_v1(SOURCE, DESTINATION)
V2 = encode_v2(SOURCE, DESTINATION)
ANY: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8"]}


async def echo_head(peer: Peer) -> None:
    while True:
        await peer.send(ok(await peer.head()))


def listening(server: ScriptedServer, mode: str, **whole: Any) -> Any:
    listeners = {"main": {"address": "127.0.0.1:0", "proxy_protocol": mode}}
    return config({"one": server}, whole={"listeners": listeners, **whole})


@pytest.mark.parametrize("mode", ["accept", "require"])
@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("bytewise", [False, True])
async def test_the_address_of_the_header_is_the_clients(mode: str, header: bytes, bytewise: bool) -> None:
    async with serving(echo_head) as (server,):
        async with site(listening(server, mode, **ANY)) as here:
            peer = await here.connect()
            whole = header + request(fields="X-Forwarded-For: 10.9.9.9\r\n")
            if bytewise:
                for at in range(len(whole)):
                    await peer.send(whole[at : at + 1])
                    await asyncio.sleep(0)
            else:
                await peer.send(whole)
            _, _, body = await peer.answer()
            # The address named is no trusted proxy's, so that what it says of others is not believed.
            assert b"X-Forwarded-For: 203.0.113.7\r\n" in body
            assert here.decisions[0].client == "203.0.113.7"
            await peer.send(request())
            assert (await peer.answer())[0] == 200
            tally = here.plane.listeners["main"].tally
            assert (tally.connections, tally.open) == (1, 1)


@pytest.mark.parametrize("header", [encode_v1(None, None), encode_v2(None, None)])
async def test_without_an_address_the_connections_own_is_meant(header: bytes) -> None:
    async with serving(echo_head) as (server,):
        async with site(listening(server, "require", **ANY)) as here:
            peer = await here.connect()
            await peer.send(header)
            await peer.send(request())
            assert (await peer.answer())[0] == 200
            assert here.decisions[0].client == "127.0.0.1"


@pytest.mark.parametrize("first", [b"", b"\r\n"])
@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND", "P"])
async def test_where_it_is_optional_requests_may_come_without(first: bytes, method: str) -> None:
    async with serving(echo_head) as (server,):
        async with site(listening(server, "accept", **ANY)) as here:
            peer = await here.connect()
            for piece in (first, method.encode(), f" / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\n\r\n".encode()):
                await peer.send(piece)
                await asyncio.sleep(0.005)
            assert (await peer.answer())[0] == 200
            assert here.decisions[0].client == "127.0.0.1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "sent", "trusted", "told"),
    [
        ("require", request(), ANY, b"must begin with the PROXY protocol"),
        ("require", V1 + request(), {"trusted_proxies": ["192.0.2.0/24"]}, b""),
        ("accept", V1 + request(), {"trusted_proxies": ["192.0.2.0/24"]}, b"only trusted proxies"),
        ("accept", V2 + request(), {"trusted_proxies": ["192.0.2.0/24"]}, b"only trusted proxies"),
        ("accept", b"PROXY TCP4 1.2.3.4 garbage\r\n", ANY, b"400"),
        ("accept", V2[:13] + b"\xff" + V2[14:], ANY, b"400"),
    ],
)
async def test_what_is_not_believed_is_sent_away(mode: str, sent: bytes, trusted: Any, told: bytes) -> None:
    async with serving(echo_head) as (server,):
        async with site(listening(server, mode, **trusted)) as here:
            answer = await here.ask(sent)
            assert told in answer
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
            assert server.connections == 0
            tally = here.plane.listeners["main"].tally
            for peer in here.peers:
                peer.cut()
            await here.until(lambda: tally.open == 0)
            assert dict(tally.rejected) == {"proxy-protocol": 1}


async def test_where_it_is_refused_it_is_no_request(tmp_path: Path) -> None:
    async with serving(echo_head) as (server,):
        async with site(listening(server, "refuse", **ANY)) as here:
            for header in (V1, V2):
                assert (await here.ask(header + request())).startswith(b"HTTP/1.1 400 ")
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]}, **ANY)) as here:
            assert b"this port speaks TLS" in await here.ask(V1)
            assert await here.ask(V2) == b""
    assert server.connections == 0


@pytest.mark.slow
async def test_a_header_that_does_not_end_has_its_time() -> None:
    async with serving(echo_head) as (server,):
        async with site(listening(server, "accept", timeouts={"request_head": 0.2}, **ANY)) as here:
            assert await here.ask(V2[:-1]) == b""
            await here.until(lambda: here.plane.listeners["main"].tally.open == 0)


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("together", [False, True])
async def test_tls_begins_after_the_header(tmp_path: Path, header: bytes, together: bool) -> None:
    tls = {"certificates": [issued(tmp_path, NAME)]}
    async with serving(echo_head) as (server,):
        settings = serving_tls(server, tls, listener={"proxy_protocol": "require"}, **ANY)
        async with site(settings) as here:
            loop = asyncio.get_running_loop()

            class Announcing(TlsLayer):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    cast(asyncio.Transport, transport).write(header)  # uvloop's is none by type
                    if together:
                        super().connection_made(transport)
                    else:
                        loop.call_later(0.02, super().connection_made, transport)

            end = End()
            await loop.create_connection(
                lambda: Announcing(trusting(), end, server_side=False, server_hostname=NAME), "127.0.0.1", here.port
            )
            await here.until(lambda: end.layer)
            end.up.write(request())
            await here.until(lambda: here.decisions)
            assert (here.decisions[0].client, here.decisions[0].tls) == ("203.0.113.7", "TLSv1.3")
            end.up.abort()
            await here.until(lambda: here.plane.listeners["main"].tally.open == 0)


async def test_with_tls_alone_the_header_may_be_left_out_where_it_is_optional(tmp_path: Path) -> None:
    tls = {"certificates": [issued(tmp_path, NAME)]}
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, tls, listener={"proxy_protocol": "accept"}, **ANY)) as here:
            peer = await secure(here)
            await peer.send(request())
            assert (await peer.answer())[0] == 200


async def test_a_client_behind_a_proxy_is_counted_under_its_own_address() -> None:
    async with serving(echo_head) as (server,):
        whole = {**ANY, "limits": {"connections_per_client": 1}}
        async with site(listening(server, "require", **whole)) as here:
            first, second = await here.connect(), await here.connect()
            for peer in (first, second):
                await peer.send(V1 + request())
            assert (await first.answer())[0] == 200
            assert await second.rest() == b""
            other = await here.connect()
            await other.send(encode_v1(("203.0.113.8", 1), DESTINATION) + request())
            assert (await other.answer())[0] == 200
            tally = here.plane.listeners["main"].tally
            assert dict(tally.rejected) == {"too-many-of-client": 1}
            await first.close()
            await here.until(lambda: tally.open == 1)
            again = await here.connect()
            await again.send(V1 + request())
            assert (await again.answer())[0] == 200


async def test_who_gets_in_while_the_listener_closes_has_no_longer_than_others() -> None:
    async with serving(echo_head) as (server,):
        async with site(listening(server, "accept", **ANY)) as here:
            peer = await here.connect()
            await peer.send(V1[:6])
            listener = here.plane.listeners["main"]
            await here.until(lambda: listener.connections)
            await here.plane.drain()
            await peer.send(V1[6:])
            await here.until(lambda: any(isinstance(one, ClientConnection) for one in listener.connections))
            (connection,) = listener.connections
            assert connection.deadline <= monotonic() + LAST_CALL
            await peer.send(request())
            _, fields, _ = await peer.answer()
            assert fields["connection"] == "close"


@pytest.mark.parametrize("encode", [encode_v1, encode_v2])
async def test_a_client_behind_a_proxy_is_its_whole_ipv6_network(encode: Any) -> None:
    """A /64 is what a household gets, so another address in it is no other client."""

    def header(address: str) -> bytes:
        encoded = encode((address, 4711), ("2001:db8:f::1", 443))
        assert isinstance(encoded, bytes)
        return encoded

    async with serving(echo_head) as (server,):
        whole = {**ANY, "limits": {"connections_per_client": 2}}
        async with site(listening(server, "require", **whole)) as here:
            tally = here.plane.listeners["main"].tally

            async def come(address: str) -> Peer:
                peer = await here.connect()
                await peer.send(header(address) + request())
                return peer

            first = await come("2001:db8:1:2::1")
            assert (await first.answer())[0] == 200
            assert (await (await come("2001:db8:1:2:ffff:ffff:ffff:ffff")).answer())[0] == 200
            for turn in range(20):
                assert await (await come(f"2001:db8:1:2:{turn:x}:{turn + 7:x}::{turn + 1:x}")).rest() == b""
            await here.until(lambda: tally.open == 2)
            assert dict(tally.rejected) == {"too-many-of-client": 20}
            # Next door, and whom IPv6 only carries.
            for address in ("2001:db8:1:3::1", "::ffff:203.0.113.7", "::ffff:203.0.113.8"):
                assert (await (await come(address)).answer())[0] == 200
            await first.close()
            await here.until(lambda: tally.open == 4)
            assert (await (await come("2001:db8:1:2:abcd::1")).answer())[0] == 200
            assert await (await come("2001:db8:1:2:abcd::2")).rest() == b""
