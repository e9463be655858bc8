"""The whole data path in one thread, with no socket: real connections, exchanges, dialer and routing on fake wires.

What is not real is the loop, which runs what was asked for and nothing else, and the wires, which keep what is written.
So a case is fast, the same each time, and everything that either side could see is at hand afterwards.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from time import monotonic
from typing import Any

from balancer.decision import Decision
from balancer.ewma import PeakEwma
from balancer.http1.head import RequestHead
from balancer.limits.crowd import Crowd
from balancer.limits.overload import Overload
from balancer.listening import Listener
from balancer.pool import Pool
from balancer.proxy.client_connection import PIPELINE_BYTES, ClientConnection
from balancer.proxy.dialer import Dialer
from balancer.proxy.exchange import Exchange
from balancer.proxy.upstream_connection import UpstreamConnection
from balancer.ranges.trust import Trust
from balancer.reception import Reception, Views
from balancer.routing import build_table
from balancer.server import Server
from balancer.tally import ListenerTally, RouteTally
from config.schema import Config
from tests.differential.reference import end_of_request

DATE = b"Thu, 01 Jan 2026 00:00:00 GMT"
SECRET = b"a secret of thirty-two bytes...."
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MOST_TURNS = 100_000


class Loop:
    """As much of an event loop as the data path uses."""

    def __init__(self) -> None:
        self.ready: deque[Callable[[], object]] = deque()
        self.dialled: Callable[[Callable[[], UpstreamConnection]], UpstreamConnection]

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.ready.append(lambda: callback(*args))

    def create_task(self, work: Coroutine[Any, Any, None]) -> _Task:
        task = _Task(work)
        self.ready.append(task.run)
        return task

    async def create_connection(self, factory: Callable[[], UpstreamConnection], *_: object) -> tuple[None, Any]:
        return None, self.dialled(factory)

    def run(self) -> None:
        turns = 0
        while self.ready:
            turns += 1
            assert turns < MOST_TURNS, "the loop does not come to rest"
            self.ready.popleft()()

    @contextmanager
    def running(self) -> Iterator[None]:
        asyncio._set_running_loop(self)  # type: ignore[arg-type]
        try:
            yield
        finally:
            asyncio._set_running_loop(None)


class _Task:
    """A coroutine that waits for nothing: it runs from end to end, or not at all."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._cancelled = False

    def run(self) -> None:
        try:
            if not self._cancelled:
                self._work.send(None)
        except StopIteration:
            pass

    def cancel(self) -> None:
        self._cancelled = True
        self._work.close()


class Wire:
    """A transport that keeps what was written to it."""

    def __init__(self, loop: Loop, protocol: asyncio.Protocol) -> None:
        self.sent = bytearray()
        self.reading = True
        self.ended = False
        """An orderly end was sent: with `close` or `write_eof`."""
        self.aborted = False
        self.open = True
        self._loop = loop
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        assert data, "nothing was written, which costs a system call"
        assert not self.ended, "something was written after the end"
        if self.open:
            self.sent += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = self.ended or self.open
        self._lose()

    def abort(self) -> None:
        self.aborted = self.aborted or self.open
        self._lose()

    def _lose(self) -> None:
        if self.open:
            self.open = False
            self._loop.call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return not self.open

    def pause_reading(self) -> None:
        assert self.reading, "reading was paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "reading was resumed twice"
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.7", 4711) if name == "peername" else None


class Dialled:
    """A connection to the server, and what the server does on it."""

    def __init__(self, rig: Rig, factory: Callable[[], UpstreamConnection]) -> None:
        self.connection = factory()
        self.wire = Wire(rig.loop, self.connection)
        self.answered = 0
        """Bytes of complete requests that the server has answered."""
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]


class _Desk:
    """Writes down what is taken for a request, and hands it on to the real reception."""

    def __init__(self, reception: Reception) -> None:
        self.heads: list[RequestHead] = []
        self.exchanges: list[Exchange | None] = []
        self.refusals: list[int] = []
        self._reception = reception

    def open(self, listener: Listener, client: ClientConnection, head: RequestHead) -> Exchange | None:
        self.heads.append(head)
        exchange = self._reception.open(listener, client, head)
        self.exchanges.append(exchange)
        return exchange

    def refused(self, listener: Listener, client: ClientConnection, status: int, size: int) -> None:
        self.refusals.append(status)
        self._reception.refused(listener, client, status, size)


class Rig:
    """One listener, one route, one server; `connect` begins a case and `end` checks that nothing is left of it."""

    def __init__(self, **limits: int) -> None:
        config = Config.model_validate(
            {
                "listeners": {"main": {"address": "127.0.0.1:8080"}},
                "pools": {
                    "app": {
                        "servers": {"one": {"url": "http://127.0.0.1:9001"}},
                        "health": {"active": None, "passive": None},
                        "retries": {"attempts": 1},
                    }
                },
                "routes": {"all": {"pool": "app", "limits": {"body": 100_000}}},
                "limits": limits,
            }
        )
        self.loop = Loop()
        self.loop.dialled = self._dialled
        self.decisions: list[Decision] = []
        self.wires: list[Dialled] = []
        self.script: deque[bytes] | None = None
        """Pieces to say on the first connection instead of the usual answers."""
        self.script_end = ""
        """What the server does after its script: "eof", "reset" or nothing."""
        self.answers_early = False
        """The server answers as soon as it has a head."""
        rng = Random(1)
        tallies = {"-": RouteTally()}
        self.dialer = Dialer(longest_head=config.limits.head, most_fields=config.limits.header_count)
        self.rng = rng
        views = Views(every=self)
        self._reception = Reception(self.dialer, views, rng, tallies["-"], Overload(1e9))
        self._desk = _Desk(self._reception)
        self.listener = Listener(
            "main", config.listeners["main"], config, ListenerTally(), self._desk, Crowd(10**9, 10**9), Trust(config)
        )
        self._reception.listeners = {"main": self.listener}
        self._reception.date = self.listener.date = DATE
        pool = Pool("app", rng, SECRET, lambda *_: None)
        settings = config.pools["app"]
        self.server = Server(("app", "one"), "http://127.0.0.1:9001", "127.0.0.1", 9001, PeakEwma(10.0, 0.1))
        pool.configure(settings, [self.server], monotonic())
        self.pool = pool
        self._reception.table = build_table(config, {"app": pool}, tallies, rng, SECRET)

    def observe(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def connect(self) -> None:
        """Begin a case: a client has connected."""
        self.rng.seed(1)
        self.decisions.clear()
        self._desk.heads, self._desk.exchanges, self._desk.refusals = [], [], []
        self.wires = []
        self.script = None
        self.script_end = ""
        self.answers_early = False
        self.client = ClientConnection(self.listener)
        self.client_wire = Wire(self.loop, self.client)
        self.client.connection_made(self.client_wire)  # type: ignore[arg-type]

    @property
    def heads(self) -> list[RequestHead]:
        """What was taken for a request, in order."""
        return self._desk.heads

    @property
    def exchanges(self) -> list[Exchange | None]:
        """The exchange of each head; None where it was answered without a server."""
        return self._desk.exchanges

    @property
    def refusals(self) -> list[int]:
        """Statuses given to what was no request."""
        return self._desk.refusals

    def feed(self, pieces: Sequence[bytes]) -> None:
        """Let the client send, and everything take its course until all is quiet."""
        with self.loop.running():
            for piece in pieces:
                if not self.client_wire.open:
                    break
                if piece:
                    self.client.data_received(piece)
                self._settle()
                assert self.client_wire.reading or not self.client_wire.open, "the client is left hanging"
                assert len(self.client._buffer) <= PIPELINE_BYTES + len(piece), "more was kept than is read ahead"

    def _settle(self) -> None:
        self.loop.run()
        while any(list(map(self._serve, self.wires))):
            self.loop.run()

    def _serve(self, dialled: Dialled) -> bool:
        """Let the server say what it has to say next on this connection; False: nothing."""
        wire, connection = dialled.wire, dialled.connection
        if not wire.open:
            return False
        if self.script is not None and dialled is self.wires[0]:
            if self.script:
                if not dialled.answered:
                    dialled.answered = len(wire.sent)
                connection.data_received(self.script.popleft())
                return True
            if self.script_end == "eof":
                self.script_end = ""
                if not connection.eof_received():
                    wire.close()
                return True
            if self.script_end == "reset":
                self.script_end = ""
                wire.open = False
                connection.connection_lost(ConnectionResetError())
                return True
        if len(wire.sent) == dialled.answered:
            return False
        if self.answers_early:
            end = wire.sent.find(b"\r\n\r\n", dialled.answered) + 4
            if end < 4:
                return False
            dialled.answered = len(wire.sent)
        else:
            found = end_of_request(bytes(wire.sent), dialled.answered)
            if found is None:
                return False
            dialled.answered = found
        connection.data_received(ANSWER)
        return True

    def _dialled(self, factory: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        dialled = Dialled(self, factory)
        self.wires.append(dialled)
        return dialled.connection

    def end(self) -> None:
        """The client leaves: whatever it has begun must end with it."""
        with self.loop.running():
            self.client_wire.close()
            self.loop.run()
            for dialled in self.wires:
                dialled.wire.close()
            self.loop.run()
        left = [name for name, value in self.remains().items() if value]
        assert not left, f"left over: {left}"

    def remains(self) -> dict[str, object]:
        """What must be nothing once everybody has left."""
        return {
            "requests in flight": self.server.inflight,
            "idle connections": self.server.idle,
            "connections": self.dialer.connections,
            "dials": self.dialer.dials,
            "waiting requests": self.pool.waiting,
            "clients": self.listener.connections,
            "tunnels": self.server.tunnels,
        }
