"""Large reads from a server, when the answer is compressed: a slice each turn, and nothing lost however it ends."""

from __future__ import annotations

import asyncio
import errno
from typing import cast

import pytest

from balancer.compression import SLICE, Packing, packing
from balancer.ewma import PeakEwma
from balancer.http1.fields import Field
from balancer.http1.head import ResponseHead, parse_request
from balancer.proxy.exchange import Exchange
from balancer.proxy.upstream_connection import UpstreamConnection
from balancer.server import Server
from balancer.tally import RouteTally

BODY = bytes(range(256)) * 1000  # four slices, the last not full


class Keeper:
    longest_head = 1000
    most_fields = 100

    def opened(self, connection: UpstreamConnection) -> None: ...

    def closed(self, connection: UpstreamConnection) -> None: ...

    def not_idle(self, connection: UpstreamConnection) -> None: ...

    def idle(self, connection: UpstreamConnection) -> None: ...


class Transport(asyncio.Transport):
    """Says whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Taking:
    """An exchange that takes what comes."""

    def __init__(self, connection: UpstreamConnection, tally: RouteTally) -> None:
        self.head = parse_request(b"GET / HTTP/1.1\r\nHost: h", 100, 100)
        self.packing: Packing | None = None
        self.turns: list[int] = [0]
        self.body = b""
        self.ended: bool | None = None
        self.failed = ""
        self.plain = False
        self._connection = connection
        self._tally = tally

    def response_head(self, response: ResponseHead, length: int) -> None:
        if not self.plain:
            self.packing = packing(b"gzip", length, self._tally, events=False)

    def response_body(self, pieces: list[bytes]) -> None:
        self.body += b"".join(pieces)
        self.turns[-1] += sum(map(len, pieces))

    def flush(self) -> None:
        self.turns.append(0)

    def response_end(self, trailers: list[Field], reusable: bool) -> None:
        self.ended = reusable
        self._done()

    def upstream_failed(self, kind: str, reason: str) -> None:
        self.failed = kind
        self._done()

    def _done(self) -> None:
        assert self.packing is not None
        self.packing.drop()
        self._connection.release(False)


def connected() -> tuple[UpstreamConnection, Transport, Taking]:
    server = Server(("app", "a"), "http://127.0.0.1:1", "127.0.0.1", 1, PeakEwma(10.0, 0.03))
    connection = UpstreamConnection(Keeper(), server)
    transport = Transport()
    connection.connection_made(transport)
    exchange = Taking(connection, RouteTally())
    connection.begin(cast(Exchange, exchange))
    return connection, transport, exchange


def answer(length: int | None, body: bytes = BODY) -> bytes:
    told = b"" if length is None else b"Content-Length: %d\r\n" % length
    return b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (told, body)


async def turns(exchange: Taking, transport: Transport) -> None:
    """Until there is nothing more to do."""
    for _ in range(10_000):
        if transport.reading or exchange.ended is not None:
            return
        await asyncio.sleep(0)
    raise AssertionError("it never comes to an end")


async def test_a_slice_is_compressed_in_a_turn_and_nothing_is_read_meanwhile() -> None:
    connection, transport, exchange = connected()
    connection.data_received(answer(len(BODY)))
    assert exchange.body == BODY[:SLICE]
    assert not transport.reading
    await turns(exchange, transport)
    assert exchange.body == BODY
    assert exchange.ended
    assert max(exchange.turns) <= SLICE
    assert connection.server.tally.bytes_in == len(answer(len(BODY)))


async def test_later_reads_are_sliced_too() -> None:
    connection, transport, exchange = connected()
    connection.data_received(answer(2 * len(BODY), b""))
    for _ in range(2):
        assert transport.reading
        connection.data_received(BODY)
        assert not transport.reading
        await turns(exchange, transport)
    assert exchange.body == BODY * 2
    assert max(exchange.turns) <= SLICE


async def test_what_comes_although_reading_is_paused_keeps_its_place() -> None:
    connection, transport, exchange = connected()
    connection.data_received(answer(2 * len(BODY)))
    connection.data_received(BODY)
    await turns(exchange, transport)
    assert exchange.body == BODY * 2


async def test_chunks_of_any_size_are_sliced() -> None:
    connection, transport, exchange = connected()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(BODY[i : i + 50]), BODY[i : i + 50]) for i in range(0, len(BODY), 50))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.data_received(head + b"%x\r\n%b\r\n" % (len(BODY), BODY) + chunks + b"0\r\n\r\n")
    await turns(exchange, transport)
    assert exchange.body == BODY * 2
    assert exchange.ended
    assert max(exchange.turns) <= SLICE


async def test_a_body_that_the_end_of_its_connection_ends_is_complete() -> None:
    connection, _, exchange = connected()
    connection.data_received(answer(None))
    connection.eof_received()
    assert exchange.body == BODY
    assert exchange.ended is False


@pytest.mark.parametrize("lost_by", [None, OSError(errno.ECONNRESET, "reset")])
async def test_a_connection_that_is_lost_has_brought_what_it_has_brought(lost_by: OSError | None) -> None:
    connection, _, exchange = connected()
    connection.data_received(answer(len(BODY)))
    connection.connection_lost(lost_by)
    assert exchange.body == BODY
    assert exchange.ended is not None


async def test_a_body_that_breaks_off_is_broken() -> None:
    connection, _, exchange = connected()
    connection.data_received(answer(len(BODY) + 1))
    connection.connection_lost(None)
    assert exchange.body == BODY
    assert exchange.ended is None
    assert exchange.failed == "reset"


async def test_what_is_not_compressed_goes_on_in_one_piece() -> None:
    connection, transport, exchange = connected()
    exchange.plain = True
    connection.data_received(answer(len(BODY) + 1))
    assert exchange.body == BODY
    assert transport.reading
