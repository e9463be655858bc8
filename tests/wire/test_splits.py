"""The bytes of every script, cut in two at every place: what is understood does not depend on how they come.

In the same process and without sockets, since the scripts have tens of thousands of places to be cut at. The real
connection classes get the bytes; what stands behind them only writes down what it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import process_time
from types import SimpleNamespace
from typing import cast

import pytest

from balancer.ewma import PeakEwma
from balancer.http1.fields import Field
from balancer.http1.head import RequestHead, ResponseHead
from balancer.proxy.client_connection import ClientConnection
from balancer.proxy.exchange import Exchange
from balancer.proxy.upstream_connection import UpstreamConnection
from balancer.server import Server
from balancer.tally import ListenerTally
from tests.wire.script import Case, read, themes

pytestmark = pytest.mark.slow  # all of them together
LONG = 3_000  # bytes: longer ones are cut at their edges and at every 97th byte
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Told = list[tuple[object, ...]]


class Wire:
    """A transport whose far end is a list of what was written."""

    def __init__(self) -> None:
        self.paused = False
        self.over = False

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        pass

    def write_eof(self) -> None:
        self.over = True

    close = abort = write_eof

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.over

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Door:
    """A listener that writes down what its connection makes of the bytes, and answers every request."""

    name = "main"
    scheme = b"http"
    longest_head = 32 * 1024
    longest_target = 8 * 1024
    most_fields = 100
    head_time = keep_alive = body_idle = write_idle = 1e6
    body_rate = 1.0
    date = b"Mon, 01 Jan 2024 00:00:00 GMT"
    reserved: frozenset[bytes] = frozenset()
    subject_field = b""
    owned: frozenset[bytes] = frozenset()

    def __init__(self) -> None:
        self.tally = ListenerTally()
        self.told: Told = []

    def admit(self, connection: ClientConnection) -> bool:
        return True

    def left(self, connection: ClientConnection) -> None:
        pass

    def trusts(self, address: str) -> bool:
        return False

    def refused(self, client: ClientConnection, status: int, size: int) -> None:
        self.told.append(("refused", status))

    def open(self, client: ClientConnection, head: RequestHead) -> Exchange:
        common = head.common
        lines = tuple(field.line for field in common.fields)
        self.told.append(("request", head.method, head.target, head.host, lines, common.length, common.chunked))
        return cast(Exchange, Asked(self.told, client, head))


class Asked:
    """The exchange of one request, as far as its client's side goes."""

    def __init__(self, told: Told, client: ClientConnection, head: RequestHead) -> None:
        self.told = told
        self.client = client
        self.head = head
        self.body = b""

    def start(self) -> None:
        if not self.head.common.has_body:
            self.request_end([])

    def request_body(self, pieces: list[bytes]) -> None:
        self.body += b"".join(pieces)

    def request_end(self, trailers: list[Field]) -> None:
        self.told.append(("whole", self.body, tuple(field.line for field in trailers)))
        self._answer(self.head.common.persistent)

    def client_fault(self, status: int, reason: str) -> None:
        # What has come of the body by then is not compared: a fault ends it, wherever it stood.
        self.told.append(("fault", status))
        self._answer(False)

    def _answer(self, persistent: bool) -> None:
        self.client.send(ANSWER)
        self.client.finished(persistent)


async def requests(pieces: list[bytes]) -> Told:
    """What a client's connection makes of these bytes."""
    door = Door()
    connection = ClientConnection(door)
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    for piece in pieces:
        connection.data_received(piece)
        await _calm(wire)
    return door.told


class Keeper:
    longest_head = 32 * 1024
    most_fields = 100

    def opened(self, connection: UpstreamConnection) -> None:
        pass

    closed = not_idle = idle = opened


class Answered:
    """The exchange of one answer, as far as its server's side goes."""

    def __init__(self, connection: UpstreamConnection, method: bytes) -> None:
        self.packing = None  # nothing is compressed
        self.connection = connection
        self.head = SimpleNamespace(method=method)
        self.packing = None
        self.told: Told = []
        self.body = b""

    def response_head(self, response: ResponseHead, length: int) -> None:
        self.told.append((response.status, tuple(field.line for field in response.fields), length))

    def response_body(self, pieces: list[bytes]) -> None:
        self.body += b"".join(pieces)

    def response_end(self, trailers: list[Field], reusable: bool) -> None:
        self.told.append(("whole", self.body, tuple(field.line for field in trailers)))
        self.connection.release(reusable)

    def upstream_failed(self, kind: str, reason: str) -> None:
        self.connection.exchange = None
        self.told.append(("fault", kind))

    def flush(self) -> None:
        pass


async def answers(pieces: list[bytes], method: bytes) -> tuple[Told, bool]:
    """What a server's connection makes of these bytes, and whether it may be used again."""
    server = Server(("pool", "a"), "http://a", "a", 80, PeakEwma(decay=10.0, start=0.03))
    connection = UpstreamConnection(Keeper(), server)
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    exchange = Answered(connection, method)
    connection.begin(cast(Exchange, exchange))
    for piece in pieces:
        if not wire.over:
            connection.data_received(piece)
            await _calm(wire)
    return exchange.told, not wire.over


async def _calm(wire: Wire) -> None:
    """Until a connection that lets others have their turn has gone on."""
    for _ in range(10_000):
        if not wire.paused:
            return
        await asyncio.sleep(0)
    raise AssertionError("the connection has not gone on reading")


def places(data: bytes) -> Iterator[int]:
    """Where to cut."""
    if len(data) <= LONG:
        yield from range(1, len(data))
    else:
        yield from range(1, 200)
        yield from range(200, len(data) - 200, 97)
        yield from range(len(data) - 200, len(data))


def parametrized(wanted: Callable[[Case], bool]) -> pytest.MarkDecorator:
    cases = [case for theme in themes() for case in read(theme) if wanted(case)]
    return pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.theme}: {case.name}") for case in cases])


def _verdicts(told: Told, case: Case) -> Told:
    """Which of the statuses that the script allows a refusal gets may depend on how much of it had come."""
    allowed = {int(status) for answer in case.sees for status in answer.line.split(b"|")}
    return [("refused", allowed) if fact[0] == "refused" and fact[1] in allowed else fact for fact in told]


@parametrized(lambda case: True)
async def test_a_request_is_understood_alike_wherever_it_is_cut(case: Case) -> None:
    data = case.data
    whole = _verdicts(await requests([data]), case)
    assert whole or case.sees == [], "nothing was made of it"
    for at in places(data):
        assert _verdicts(await requests([data[:at], data[at:]]), case) == whole, f"cut after {data[:at]!r}"
    if len(data) <= LONG:
        crumbs = [data[at : at + 1] for at in range(len(data))]
        assert _verdicts(await requests(crumbs), case) == whole, "byte by byte"


def _answers_in_http(case: Case) -> bool:
    sent = _sent(case)
    return bool(sent) and b" 101 " not in sent


def _sent(case: Case) -> bytes:
    """What the server says about the first request."""
    return b"".join(step.data for turn in case.turns[:1] for step in turn.steps if step.act == "send")


@parametrized(_answers_in_http)
async def test_an_answer_is_understood_alike_wherever_it_is_cut(case: Case) -> None:
    data = _sent(case)
    method = case.data.lstrip().partition(b" ")[0]
    whole = await answers([data], method)
    for at in places(data):
        assert await answers([data[:at], data[at:]], method) == whole, f"cut after {data[:at]!r}"


FIELDS = b"Host: s\r\n" + b"X-A: aaaaaaaaaaaaaaaaaaaaaa\r\n" * 860
MOST = 3.0  # seconds of CPU: an eighth of a millisecond for each byte, ten times what it takes


async def test_a_request_that_drips_costs_little_with_each_byte() -> None:
    """To look at all of it again with each byte is the time of a whole process for some hundred clients."""
    data = b"GET / HTTP/1.1\r\n" + FIELDS
    begun = process_time()
    assert await requests([data[at : at + 1] for at in range(len(data))]) == []
    assert process_time() - begun < MOST


async def test_an_answer_that_drips_costs_little_with_each_byte() -> None:
    data = b"HTTP/1.1 200 OK\r\n" + FIELDS
    begun = process_time()
    assert await answers([data[at : at + 1] for at in range(len(data))], b"GET") == ([], True)
    assert process_time() - begun < MOST
