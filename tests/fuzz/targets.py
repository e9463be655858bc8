"""What is fuzzed: each target takes any bytes at all, and raises when something does not hold that always has to.

The first bytes of some inputs choose how the rest is used, so that the fuzzer finds those ways as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from balancer.http1 import fields
from balancer.http1.edits import Edits
from balancer.http1.faults import ClientFault, UpstreamFault
from balancer.http1.fields import Field
from balancer.http1.framing import (
    CHUNKED,
    LONGEST_TRAILERS,
    MOST_TRAILERS,
    BadChunk,
    ChunkedReader,
    chunk,
    last_chunk,
    response_length,
)
from balancer.http1.head import END, RequestHead, ResponseHead, parse_request, parse_response, refuse_early
from balancer.http1.outgoing import encode_request, encode_response
from balancer.proxy.client_connection import ClientConnection
from config.schema import Headers
from tests.differential.reference import Broken, Chunked, Incomplete, decode_chunked
from tests.differential.requests import check_requests
from tests.differential.responses import ASKED, check_response
from tests.differential.rig import Rig

MOST_FIELDS = 50
LONGEST_TARGET = 200
LONGEST_INPUT = 4096
DATE = b"Thu, 01 Jan 2026 00:00:00 GMT"
EDITS = Edits(Headers())
REFUSED = None


@cache
def client(trusted: bool) -> ClientConnection:
    """Who sent the heads that are encoded."""
    rig = Rig()
    rig.connect()
    rig.client.trusted = trusted
    return rig.client


def request_head(data: bytes) -> None:
    """A head is refused with a ClientFault, or what is sent on of it says the same when it is read again."""
    trusted, data = _flag(data)
    if len(data) > LONGEST_INPUT:
        return
    head = _request(data)
    fields._memory.clear()
    assert _shape(_request(data)) == _shape(head), "a line that is remembered means something else"
    if head is None:
        return
    for end in {*range(1, len(data), 1 + len(data) // 64), len(data)}:
        refuse_early(data[:end])  # no beginning of a good head is refused
    again = parse_request(data, MOST_FIELDS, LONGEST_TARGET, head.common)
    assert _shape(again) == _shape(head), "fields that are remembered mean something else"
    assert b"\r" not in head.target + head.host + head.method
    assert b"\n" not in head.target + head.host + head.method
    assert len(head.target) <= LONGEST_TARGET + 1
    assert len(head.common.fields) <= MOST_FIELDS
    sent, _ = encode_request(head, head.target, EDITS, client(trusted), b"f" * 32)
    repeated, _ = encode_request(again, again.target, EDITS, client(trusted), b"f" * 32)
    assert repeated == sent
    assert sent.count(END) == 1
    assert sent.endswith(END)
    read = parse_request(sent[:-4], MOST_FIELDS + 20, LONGEST_TARGET + 1)
    assert (read.method, read.target, read.host) == (head.method, head.target, head.host)
    assert (read.common.length, read.common.chunked) == (head.common.length, head.common.chunked)
    assert read.common.persistent
    gone = fields.nominated(head.common.names)
    came = [
        (field.name, field.value)
        for field in head.common.fields
        if field.kind == fields.PLAIN and field.name not in gone
    ]
    went = [(field.name, field.value) for field in read.common.fields if field.kind == fields.PLAIN]
    assert [(n, v) for n, v in came if n != b"max-forwards"] == [(n, v) for n, v in went if n != b"max-forwards"]


def _request(data: bytes) -> RequestHead | None:
    try:
        return parse_request(data, MOST_FIELDS, LONGEST_TARGET)
    except ClientFault:
        return REFUSED


def _shape(head: RequestHead | None) -> object:
    if head is None:
        return None
    common = head.common
    whole = [getattr(common, name) for name in common.__slots__ if name != "encoded"]
    return head.method, head.target, head.minor, head.host, whole


def response_head(data: bytes) -> None:
    """A head is refused with an UpstreamFault, or what is sent on of it says the same when it is read again."""
    http_1_0, data = _flag(data)
    if len(data) > LONGEST_INPUT:
        return
    response = _response(data)
    fields._memory.clear()
    assert _response_shape(_response(data)) == _response_shape(response), "what is remembered means something else"
    if response is None or response.status < 200:
        return
    length = response_length(b"GET", response)
    minor = 0 if http_1_0 else 1
    sent = encode_response(
        response, EDITS, length, minor=minor, persistent=length >= 0, request_id=b"f" * 32, date=DATE
    )
    assert sent.count(END) == 1
    assert sent.endswith(END)
    read = _response(sent[:-4], MOST_FIELDS + 20)
    assert read is not None, "what is sent on is no response"
    assert read.status == response.status
    assert read.minor == 1
    if minor or length >= 0:
        wanted = CHUNKED if length < 0 else length
        assert response_length(b"GET", read) == wanted or response.status in (204, 304)
    gone = fields.nominated(response.names)
    came = [
        (field.name, field.value) for field in response.fields if field.kind == fields.PLAIN and field.name not in gone
    ]
    assert came == [(field.name, field.value) for field in read.fields if field.kind == fields.PLAIN]


def _response(data: bytes, most_fields: int = MOST_FIELDS) -> ResponseHead | None:
    try:
        return parse_response(data, most_fields)
    except UpstreamFault:
        return REFUSED


def _response_shape(response: ResponseHead | None) -> object:
    return None if response is None else [getattr(response, name) for name in response.__slots__]


def chunked(data: bytes) -> None:
    """A chunked body is what the plain decoder says it is, whole or in pieces, and so is what is sent on of it."""
    step, data = data[:1], data[1:]
    whole = _read(data, len(data) or 1)
    in_pieces = _read(data, 1 + (step[0] % 16 if step else 0))
    expected = _decoded(data)
    assert whole == expected, f"read {whole!r} where {expected!r} is right"
    assert in_pieces == expected, f"in pieces, read {in_pieces!r} where {expected!r} is right"


Read = tuple[str, bytes, list[tuple[bytes, bytes]], bytes]


def _read(data: bytes, step: int) -> Read:
    """How it ended (done, waiting or broken), and if it is done: body, trailers that are sent on, and the rest."""
    reader = ChunkedReader()
    body = []
    try:
        for at in range(0, len(data), step):
            if reader.done:
                reader.rest += data[at : at + step]
            else:
                body += reader.feed(data[at : at + step])
                assert len(reader._buffer) < LONGEST_TRAILERS
    except BadChunk:
        return "broken", b"", [], b""
    if not reader.done:
        return "waiting", b"".join(body), [], b""
    assert len(reader.trailers) <= MOST_TRAILERS
    framed = b"".join(chunk([piece]) for piece in body) + last_chunk(reader.trailers)
    again = decode_chunked(framed)
    assert again.body == b"".join(body)
    assert again.end == len(framed)
    trailers = [(field.name, field.value) for field in reader.trailers]
    assert again.trailers == trailers
    return "done", again.body, trailers, reader.rest


def _decoded(data: bytes) -> Read:
    found = Chunked()
    try:
        found = decode_chunked(data, found=found)
    except Broken:
        return "broken", b"", [], b""
    except Incomplete:
        return "waiting", found.body, [], b""
    sent_on = [pair for pair in found.trailers if fields.may_trail(_field(pair))]
    return "done", found.body, sent_on, data[found.end :]


def _field(pair: tuple[bytes, bytes]) -> Field:
    return fields.parse_line(b"%b: %b" % pair)


@cache
def rig() -> Rig:
    return Rig(head=2048, uri=256, header_count=30)


def client_stream(data: bytes) -> None:
    """Whatever a client sends: see `check_requests`; cut up, it comes to the same."""
    choice, data = data[:1], data[1:]
    step = choice[0] % 32 if choice else 0
    _with_rig(lambda rig: _client_stream(rig, data, step))


def _client_stream(rig: Rig, data: bytes, step: int) -> None:
    if step == 1:
        check_requests(rig, [data], early=True)
        return
    outcome = check_requests(rig, [data])
    if step:
        assert check_requests(rig, _cut(data, step)) == outcome


def server_stream(data: bytes) -> None:
    """Whatever a server answers: see `check_response`; cut up, it comes to the same."""
    choice, data = data[:1], data[1:]
    if not data:
        return
    asked = ASKED[choice[0] % len(ASKED)]
    end = ("", "eof", "reset")[choice[0] // 8 % 3]
    step = choice[0] // 32

    def check(rig: Rig) -> None:
        outcome = check_response(rig, asked, [data], end)
        if step:
            assert check_response(rig, asked, _cut(data, step), end) == outcome

    _with_rig(check)


def _cut(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def _with_rig(check: Callable[[Rig], None]) -> None:
    try:
        check(rig())
    except BaseException:
        rig.cache_clear()  # what is left of it would fail the next case too
        raise


def _flag(data: bytes) -> tuple[bool, bytes]:
    """A choice of two, from the first byte."""
    return bool(data[:1]) and data[0] % 2 == 1, data[1:]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request_head": request_head,
    "response_head": response_head,
    "chunked": chunked,
    "client_stream": client_stream,
    "server_stream": server_stream,
}
