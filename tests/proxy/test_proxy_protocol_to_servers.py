"""The PROXY protocol towards servers: each connection begins with its client, and belongs to that one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from balancer.http1.proxy_protocol import Preamble, encode_v1, encode_v2, parse
from config.schema import Config, Listener
from config.values import Address
from tests.proxy.secure import context, https, trusted
from tests.proxy.wire import Peer, config, ok, serving, site

GET = b"GET /x HTTP/1.1\r\nHost: s\r\n\r\n"


class Told:
    """A server that reads a preamble, and then requests for as long as they come, behind TLS if it has a context."""

    def __init__(self, own: ssl.SSLContext | None = None, listening: socket.socket | None = None) -> None:
        self.told: asyncio.Queue[Preamble] = asyncio.Queue()
        self.connections = 0
        self.requests = 0
        self.own = own
        self.listening = listening or socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.port = self.listening.getsockname()[1] if listening is None else 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Told:
        self._begin(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.listening.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(work))

    async def _accept(self) -> None:
        while True:
            accepted, _ = await asyncio.get_running_loop().sock_accept(self.listening)
            self.connections += 1
            self._begin(self._serve(accepted))

    async def _serve(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        data = b""
        # Byte by byte, since what comes after it is perhaps for TLS.
        while (found := parse(data)) is None:
            data += await loop.sock_recv(accepted, 1)
        self.told.put_nowait(found)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self.own)
        peer = Peer(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        try:
            while True:
                await peer.head()
                self.requests += 1
                await peer.send(ok())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side went away
        finally:
            transport.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("secure", [False, True])
async def test_a_server_is_told_the_client_before_anything_else(tmp_path: Path, version: str, secure: bool) -> None:
    async with Told(context("127.0.0.1") if secure else None) as server:
        settings = https(
            {"a": server.port},
            {"ca": trusted(tmp_path)} if secure else {},
            plain=() if secure else ("a",),
            proxy_protocol=version,
        )
        async with site(settings) as here:
            clients = [await here.connect() for _ in range(2)]
            for _ in range(3):
                for client in clients:
                    await client.send(GET)
                    assert (await client.answer())[0] == 200
                    told = server.told.get_nowait()
                    assert told.source == client.writer.get_extra_info("sockname")
                    assert told.destination == ("127.0.0.1", here.port)
            await here.until(lambda: not here.plane.dialer.connections)
            assert here.plane.pools["app"].servers["a"].idle == []
            assert (server.connections, server.requests) == (6, 6)


@pytest.mark.parametrize(("version", "nobody"), [("v1", encode_v1(None, None)), ("v2", encode_v2(None, None))])
async def test_a_client_of_a_unix_socket_has_no_address(tmp_path: Path, version: str, nobody: bytes) -> None:
    began: list[bytes] = []

    async def script(peer: Peer) -> None:
        began.append(await peer.exactly(len(nobody)))
        await peer.head()
        await peer.send(ok())

    async with serving(script) as (server,):
        whole = {"listeners": {"main": Listener(address=Address.of(f"unix:{tmp_path}/s"))}}
        settings: Config = config({"a": server}, whole=whole, proxy_protocol=version)
        async with site(settings):
            client = Peer(*await asyncio.open_unix_connection(f"{tmp_path}/s"))
            await client.send(GET)
            assert (await client.answer())[0] == 200
            await client.close()
    assert began == [nobody]


async def test_a_retry_on_another_server_tells_that_one_too() -> None:
    async def slam(peer: Peer) -> None:
        await peer.line()
        await peer.head()
        peer.cut()

    async with serving(slam) as (bad,), Told() as good:
        async with site(config({"a": bad, "b": good.port}, proxy_protocol="v1")) as here:
            client = await here.connect()
            await client.send(GET)
            assert (await client.answer())[0] == 200
            assert here.decisions[0].reasons == [("a", "reset")]
            assert good.told.get_nowait().source == client.writer.get_extra_info("sockname")


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_what_a_proxy_in_front_has_told_is_told_on(version: str) -> None:
    async with Told() as server:
        settings = config(
            {"a": server.port},
            whole={
                "listeners": {"main": {"address": "127.0.0.1:0", "proxy_protocol": "require"}},
                "trusted_proxies": ["127.0.0.1"],
            },
            proxy_protocol=version,
        )
        ends = ("2001:db8::1", 40000), ("2001:db8::2", 443)
        async with site(settings) as here:
            client = await here.connect()
            await client.send(encode_v2(*ends) + GET)
            assert (await client.answer())[0] == 200
            told = server.told.get_nowait()
            assert (told.source, told.destination) == ends
