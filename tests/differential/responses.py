"""What has to hold of anything a server can answer: `check_response` says so of one case."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from balancer.http1.fields import nominated
from tests.differential.judges import (
    Message,
    Pairs,
    closes,
    h11_responses,
    httptools_responses,
    httptools_sees_more_in_a_coding_with_a_tab,
    lower_coding,
)
from tests.differential.requests import OWN_TRAILERS_NEVER, UNUSUAL, httptools_reads_extensions
from tests.differential.rig import Rig

MANAGED = frozenset(
    b"""content-length transfer-encoding connection keep-alive proxy-connection te http2-settings upgrade expect host
    via forwarded x-real-ip x-original-url x-rewrite-url x-client-ip x-cluster-client-ip true-client-ip x-host
    x-original-host proxy x-request-id traceparent tracestate date server
    trailer""".split()
)


class Asked(NamedTuple):
    """The request that is answered."""

    request: bytes
    method: bytes = b"GET"
    minor: int = 1
    upgrade: bool = False


GET = Asked(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
ASKED = (
    GET,
    GET,
    Asked(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD"),
    Asked(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", minor=0),
    Asked(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", upgrade=True),
)
SECOND = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass
class Outcome:
    """What came of an answer, without what may depend on how it was cut up."""

    outcome: str
    status: int
    told: list[tuple[bytes, Pairs, bytes, Pairs, bool]]
    """What the client saw, where the answer was whole: interim answers and the final one."""


def check_response(rig: Rig, asked: Asked, data: Sequence[bytes], end: str = "") -> Outcome:
    """Let a server answer with `data` and then close ("eof"), break ("reset") or wait (nothing)."""
    whole = b"".join(data)
    assert whole, "a server that says nothing is another matter"
    second = asked is GET and len(data) == 1
    rig.connect()
    rig.script, rig.script_end = deque(filter(None, data)), end
    rig.feed([asked.request + SECOND if second else asked.request])
    wire = rig.client_wire
    first = rig.decisions[0] if rig.decisions else rig.exchanges[0].decision  # type: ignore[union-attr]
    told = bytes(wire.sent)
    came = h11_responses(whole, asked.method, upgrade=asked.upgrade, eof=end == "eof")
    # The client is judged as one that reads all that there is; a connection that was cut shows no end.
    seen = h11_responses(told, asked.method, upgrade=asked.upgrade, eof=wire.ended and not wire.aborted)
    if first.status == 101:
        _same_switch(told, whole, came, seen)
    elif first.outcome == "ok":
        _same_answer(asked, came, seen, told)
        if asked.method != b"HEAD":  # which httptools cannot be told of
            _httptools_agrees(came)
        final = came[-1]
        server = rig.wires[0]
        if final.end < len(whole) or (end and not second):
            assert not server.wire.open, "the connection is kept, with bytes on it that nobody asked for"
        elif server.wire.open:
            assert final.persistent or _kept_alive_1_0(final), "a connection is kept that the server will close"
    elif first.outcome in ("upstream-reset", "upstream-malformed") and first.status not in (502, 504):
        assert wire.aborted, "a broken answer looks whole"
        assert not seen or not seen[-1].whole, "a broken answer is whole to its reader"
    elif first.outcome == "":
        assert not end or not came, "the server is gone, and the client still waits"
        assert wire.open
        assert not (seen and seen[-1].whole and not seen[-1].first[0].startswith(b"1"))
    else:
        assert first.status in (502, 504)
        final = seen[-1]
        assert final.first == (b"502", b"")
        assert (b"content-type", b"text/plain; charset=utf-8") in final.fields
        assert asked.method == b"HEAD" or final.whole
    if not rig.wires[0].wire.open or first.outcome not in ("", "ok"):
        assert rig.wires[0].connection not in rig.server.idle
    if second and first.outcome not in ("", "upstream-reset") and seen[-1].whole and wire.open and first.status != 101:
        _second_is_its_own(told[seen[-1].end :])
    outcome = Outcome(
        first.outcome if first.outcome != "upstream-malformed" else "upstream-reset",
        first.status,
        [(m.first[0], m.fields, m.body, m.trailers, m.whole) for m in (seen if first.outcome == "ok" else [])],
    )
    rig.end()
    return outcome


def _second_is_its_own(told: bytes) -> None:
    """The client's second request is answered with what was said to it, whatever came after the first answer."""
    (answer,) = h11_responses(told, b"GET")
    assert answer.first == (b"200", b"")
    assert answer.body == b"ok", "the second request was given something else than its own answer"
    assert answer.end == len(told), "there is more than the two answers that were asked for"


def _same_answer(asked: Asked, came: list[Message], seen: list[Message], told: bytes) -> None:
    assert came, "h11 sees no answer where one was taken"
    assert seen, "h11 sees no answer in what was sent on"
    final, shown = came[-1], seen[-1]
    assert final.whole, "half an answer was completed"
    assert shown.whole, "a complete answer was not sent on whole"
    assert shown.version == b"1.1"
    assert (shown.first, shown.body) == (final.first, final.body)
    assert _end_to_end(shown) == _without_nominated(_end_to_end(final), final)
    assert shown.trailers == [pair for pair in final.trailers if pair in shown.trailers]
    assert not OWN_TRAILERS_NEVER & {name for name, _ in shown.trailers}
    interim, told_of = came[:-1], seen[:-1]
    if asked.minor == 1:
        assert [m.first for m in told_of] == [m.first for m in interim]
        for one, other in zip(told_of, interim, strict=True):
            assert _end_to_end(one) == _without_nominated(_end_to_end(other), other)
    else:
        assert not told_of, "a client of HTTP/1.0 was sent an interim answer"
    if asked.method == b"HEAD":
        return
    also = httptools_responses(told)
    if shown.first[0] == b"101":
        return
    length = len(seen)
    assert [(m.first, m.fields, m.body, m.trailers) for m in also[:length]] == [
        (m.first, m.fields, m.body, m.trailers) for m in seen
    ]


def _same_switch(told: bytes, whole: bytes, came: list[Message], seen: list[Message]) -> None:
    assert seen[-1].first[0] == came[-1].first[0] == b"101"
    assert told[seen[-1].end :] == whole[came[-1].end :], "a tunnel passes on every byte, and no other"


def _httptools_agrees(came: list[Message]) -> None:
    """What h11 and we took for the answer is that for httptools, too."""
    *interim, final = came
    head, _, body = final.raw.partition(b"\r\n\r\n")
    head = httptools_refuses_a_length_said_twice(httptools_sees_more_in_a_coding_with_a_tab(head))
    if body and (b"transfer-encoding", b"chunked") in final.fields:
        body = httptools_reads_extensions(body)
    # One by one: it takes `Connection: close` in an interim answer for the end, where the final one is still to come.
    found = [one for m in interim for one in httptools_responses(m.raw)]
    found += httptools_responses(head + b"\r\n\r\n" + body)
    assert len(found) == len(came), "httptools sees another number of answers"
    for one, other in zip(found, came, strict=True):
        assert one.first == other.first
        assert one.version == other.version
        assert one.body == other.body
        assert lower_coding(one.fields) == other.fields
        assert one.trailers == other.trailers


def httptools_refuses_a_length_said_twice(head: bytes) -> bytes:
    """llhttp refuses a second Content-Length; of equal ones in an answer one may be taken (RFC 9112 section 6.3)."""
    lines = head.split(b"\r\n")
    lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
    first = lines.index(lengths[0]) if lengths else 0
    return b"\r\n".join([line for at, line in enumerate(lines) if at == first or line not in lengths])


def _kept_alive_1_0(message: Message) -> bool:
    return message.version == b"1.0" and not closes(message.fields) and bool(message.fields)


def _end_to_end(message: Message) -> Pairs:
    return [pair for pair in message.fields if pair[0] not in MANAGED and not _drops(pair[0])]


def _drops(name: bytes) -> bool:
    usual = UNUSUAL.sub(b"-", name)
    return usual.startswith(b"x-forwarded") or (usual != name and usual in MANAGED)


def _without_nominated(fields: Pairs, message: Message) -> Pairs:
    options = [
        option.strip(b" \t").lower()
        for n, value in message.fields
        if n == b"connection"
        for option in value.split(b",")
    ]
    gone = nominated(options)
    return [pair for pair in fields if pair[0] not in gone]
