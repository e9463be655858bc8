"""Bytes in and out of a running plane: a client that speaks raw bytes and servers that follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from balancer.decision import Decision
from balancer.plane import Plane
from balancer.ranges.book import Ranges
from balancer.reception import Views
from balancer.server import ServerKey
from balancer.snapshot import Snapshot
from config.schema import Config, Listener, Pool, Route, Server
from config.values import Address

SECRET = b"a secret of thirty-two bytes...."
PATIENCE = 5.0  # seconds until a test that waits for something is given up

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One end of a connection, speaking bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n"), PATIENCE)

    async def head(self) -> bytes:
        """The bytes up to and with an empty line."""
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)

    async def exactly(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), PATIENCE)

    async def rest(self) -> bytes:
        """Everything until the other side closes, however it does so."""
        data = b""
        try:
            while piece := await asyncio.wait_for(self.reader.read(65536), PATIENCE):
                data += piece
        except ConnectionError:
            pass
        return data

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One response of a known length: status, fields in lower case, body."""
        head = (await self.head()).decode("latin-1")
        status, *lines = head.split("\r\n")[:-2]
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = b""
        if fields.get("transfer-encoding") == "chunked":
            while size := int((await self.line()).strip(), 16):
                body += await self.exactly(size)
                await self.exactly(2)
            await self.exactly(2)
        elif "content-length" in fields:
            body = await self.exactly(int(fields["content-length"]))
        return int(status.split()[1]), fields, body

    def cut(self) -> None:
        """Close with a reset."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


class ScriptedServer:
    """A server whose every connection follows a script. `connections` counts them, `requests` is what was read."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.failures: list[BaseException] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            while self.tasks:  # more than once, since the `wait_for` of Python 3.11 may swallow a cancellation
                for task in self.tasks:
                    task.cancel()
                await asyncio.wait(self.tasks, timeout=0.1)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        peer = Peer(reader, writer)
        try:
            await self.script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side went away, which is often the point
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's stream server takes a cancelled handler for an error
        except AssertionError as failure:
            self.failures.append(failure)
        finally:
            self.tasks.discard(task)
            writer.close()


def replies(*answers: bytes) -> Script:
    """Read one head after the other and give these answers in turn, the last one for ever."""

    async def script(peer: Peer) -> None:
        turn = 0
        while True:
            await peer.head()
            await peer.send(answers[min(turn, len(answers) - 1)])
            turn += 1

    return script


def ok(body: bytes = b"ok", fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


class Site:
    """A plane over scripted servers, with what it decided."""

    def __init__(self, plane: Plane, decisions: list[Decision], events: list[tuple[str, str, str]]) -> None:
        self.plane = plane
        self.decisions = decisions
        self.events = events
        self.peers: list[Peer] = []

    @property
    def port(self) -> int:
        return self.plane.listeners["main"].port

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        return peer

    async def ask(self, request: bytes) -> bytes:
        """Send, and give everything until the connection closes."""
        peer = await self.connect()
        await peer.send(request)
        return await peer.rest()

    async def until(self, fact: Callable[[], object]) -> None:
        """Let the loop run until it is so."""
        for _ in range(int(PATIENCE / 0.005)):
            if fact():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it did not become so in time")

    async def apply(self, config: Config, **marks: frozenset[ServerKey]) -> None:
        generation = self.plane.snapshot.generation + 1 if self.plane.snapshot else 1
        await self.plane.apply(Snapshot(generation, config, **marks))


class _Everything:
    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def observe(self, decision: Decision) -> None:
        self.decisions.append(decision)


def config(
    servers: Mapping[str, ScriptedServer | int],
    route: Mapping[str, Any] | None = None,
    whole: Mapping[str, Any] | None = None,
    **pool: Any,
) -> Config:
    """A configuration of one pool and one route, checks off unless `pool` says otherwise."""
    members = {}
    for name, server in servers.items():
        port = server.port if isinstance(server, ScriptedServer) else server
        members[name] = Server(url=f"http://127.0.0.1:{port}")
    routes = {"all": Route.model_validate({"pool": "app", **(route or {})})}
    return Config.model_validate(
        {
            "listeners": {"main": Listener(address=Address.of("127.0.0.1:0"))},
            "pools": {"app": Pool.model_validate({"servers": members, "health": {"active": None}, **pool})},
            "routes": routes,
            **(whole or {}),
        }
    )


@asynccontextmanager
async def site(settings: Config, ranges: Ranges | None = None) -> AsyncIterator[Site]:
    """A running plane, ended in the end."""
    everything = _Everything()
    events: list[tuple[str, str, str]] = []
    views = Views(every=everything, on_event=lambda *event: events.append(event))
    plane = Plane(views, SECRET, Random(1), ranges=ranges)
    await plane.apply(Snapshot(1, settings))
    running = Site(plane, everything.decisions, events)
    try:
        yield running
    finally:
        for peer in running.peers:
            peer.cut()
        await plane.close()


@asynccontextmanager
async def serving(*scripts: Script) -> AsyncIterator[list[ScriptedServer]]:
    """Scripted servers, one for each script; a failed assertion in a script fails the test."""
    servers = [ScriptedServer(script) for script in scripts]
    for server in servers:
        await server.start()
    try:
        yield servers
    finally:
        for server in servers:
            await server.stop()
    for server in servers:
        for failure in server.failures:
            raise failure
