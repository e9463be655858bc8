"""What has to hold of anything a client can send: `check_requests` says so of one case."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from balancer.http1.fields import nominated
from balancer.http1.head import RequestHead
from tests.differential.judges import (
    Message,
    Pairs,
    h11_knows_no_persistent_http_1_0,
    h11_requests,
    httptools_requests,
    httptools_sees_more_in_a_coding_with_a_tab,
    late_names_changed,
    lower_coding,
)
from tests.differential.reference import decode_chunked
from tests.differential.rig import Rig

# Fields that a proxy writes anew, drops or takes for itself: they are looked at one by one below.
UNUSUAL = re.compile(rb"[^0-9a-z-]")
MANAGED = frozenset(
    b"""host content-length transfer-encoding connection keep-alive proxy-connection te http2-settings upgrade expect
    via forwarded x-real-ip x-original-url x-rewrite-url x-client-ip x-cluster-client-ip true-client-ip x-host
    x-original-host proxy x-request-id traceparent tracestate date server trailer
    max-forwards""".split()
)
FORWARDED = b"x-forwarded-"
WAY = frozenset(
    b"""forwarded x-real-ip x-original-url x-rewrite-url x-client-ip x-cluster-client-ip true-client-ip x-host
    x-original-host""".split()
)
SPOOFED = b"6.6.6.6"
"""The address that clients of these tests say they have."""
OWN_TRAILERS_NEVER = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"cookie", b"te"))
NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
LLHTTP_METHODS = frozenset(
    b"""DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND
    ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK
    UNLINK""".split()
)
_UPGRADE = re.compile(rb"(?i)(?<=\r\n)upgrade(?=:)")


@dataclass
class Outcome:
    """What came of a stream of bytes, without what may depend on how it was cut up."""

    heads: list[tuple[bytes, bytes, int, bytes]]
    forwarded: list[tuple[tuple[bytes, bytes], Pairs, bytes, Pairs]]
    """Whole requests that a server has seen."""
    statuses: list[int]
    """Of answers, up to a refusal: which of its reasons is told may depend on how far the parser has come."""


def check_requests(rig: Rig, data: Sequence[bytes], *, early: bool = False) -> Outcome:
    """Let a client send `data` and hold what happens against the judges. `early`: the server answers at once."""
    whole = b"".join(data)
    rig.connect()
    rig.answers_early = early
    rig.feed(data)
    heads, exchanges = list(rig.heads), list(rig.exchanges)
    seen = h11_requests(whole, len(heads)) if heads else []
    assert len(heads) <= len(seen), f"h11 sees {len(seen)} requests where {len(heads)} were taken"
    for head, message in zip(heads, seen, strict=False):
        _same_head(head, message)
        _unambiguous(message)
    # A request that was taken is followed by another one only if its own end was seen.
    assert all(message.whole for message in seen[: len(heads) - 1])
    passed: list[Message] = []
    for dialled in rig.wires:
        passed += _forwarded(bytes(dialled.wire.sent))
    reached = [i for i, exchange in enumerate(exchanges) if exchange is not None and exchange.decision.sent]
    assert len(passed) == len(reached), "a server must see a request for each that was sent to it, and no more"
    ended = {i for message, i in zip(passed, reached, strict=True) if message.whole}
    for i, head in enumerate(heads):
        if i in ended or i < len(heads) - 1 or not head.common.has_body:
            _httptools_agrees(seen[i].raw, seen[i])
    for message, i in zip(passed, reached, strict=True):
        exchange = exchanges[i]
        assert exchange is not None
        _same_request(message, heads[i], seen[i])
        outcome = exchange.decision.outcome
        if message.whole:
            assert seen[i].whole, "a request was completed that is not complete"
            assert message.body == seen[i].body
        elif not early:
            assert outcome != "ok", "an answer was given to half a request"
            assert outcome != "" or not seen[i].whole, "a complete request was not sent on whole"
        if outcome == "refused" or (outcome == "ok" and not message.whole):
            assert rig.client_wire.ended or rig.client_wire.aborted, "something may yet be read as a request"
            assert i == len(heads) - 1, "something was read as a request after a refusal"
            assert message.whole or not rig.wires[-1].wire.open, "half a request is left on a connection"
    if rig.refusals:
        assert rig.client_wire.ended
        assert len(rig.refusals) == 1
    for dialled in rig.wires[:-1]:
        assert not dialled.wire.open or dialled.connection in rig.server.idle
    statuses = [decision.status for decision in rig.decisions if decision.outcome != "refused"]
    result = Outcome(
        [(head.method, head.target, head.minor, head.host) for head in heads],
        [(m.first, m.fields, m.body, m.trailers) for m in passed if m.whole],
        statuses,
    )
    rig.end()
    return result


def _same_head(head: RequestHead, message: Message) -> None:
    assert head.method == message.first[0]
    assert (head.target, head.host) == _origin_form(message)
    assert b"1.%d" % head.minor == message.version
    # What a client that is not trusted says of the way it came is not even read.
    believed = [pair for pair in message.fields if not pair[0].startswith(FORWARDED) and pair[0] not in WAY]
    assert lower_coding([(field.name, field.value) for field in head.common.fields]) == believed
    if message.whole and head.common.persistent:
        assert message.persistent or h11_knows_no_persistent_http_1_0(message)


def _unambiguous(message: Message) -> None:
    """What both judges take, and what we have decided to refuse all the same, since others read it otherwise."""
    count = Counter(name for name, _ in message.fields)
    assert count[b"content-length"] <= 1
    assert count[b"transfer-encoding"] <= (1 if message.version == b"1.1" and not count[b"content-length"] else 0)
    assert count[b"host"] == 1 or (count[b"host"] == 0 and message.version == b"1.0")
    assert b"#" not in message.first[1]
    assert message.first[0] != b"CONNECT"


def _origin_form(message: Message) -> tuple[bytes, bytes]:
    """Target and host of a request (RFC 9112 section 3.2), put another way than in the product."""
    target = message.first[1]
    host = next((value for name, value in message.fields if name == b"host"), b"")
    if target[:1] in b"/*":
        return target, host
    scheme, _, rest = target.partition(b"://")
    assert scheme.lower() in (b"http", b"https")
    cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    return (path if path.startswith(b"/") else b"/" + path), authority


def _httptools_agrees(raw: bytes, message: Message) -> None:
    """What h11 and we took for one request is one for httptools, too; known differences are taken out before."""
    head, _, body = raw.partition(b"\r\n\r\n")
    head = httptools_leaves_http_at_an_upgrade(httptools_knows_some_methods_only(head))
    if any(name == b"transfer-encoding" for name, _ in message.fields):
        head = httptools_sees_more_in_a_coding_with_a_tab(head)
        body = httptools_reads_extensions(body)
    found = httptools_requests(head + b"\r\n\r\n" + body + (NEXT if message.persistent else b""))
    assert found, "httptools sees no request"
    it = found[0]
    assert it.whole
    if message.persistent:
        assert [m.first for m in found[1:]] == [(b"GET", b"/next")], "httptools sees its end elsewhere"
    assert it.first[1] == message.first[1]
    assert it.version == message.version
    assert it.body == message.body
    assert [p for p in lower_coding(it.fields) if p[0] != b"xpgrade"] == [
        p for p in message.fields if p[0] != b"upgrade"
    ]
    assert it.trailers == [(late_names_changed(name + b":")[:-1], value) for name, value in message.trailers]
    if message.version == b"1.1":
        assert it.persistent == message.persistent


def httptools_knows_some_methods_only(head: bytes) -> bytes:
    """llhttp has a list of methods; a method is any token (RFC 9110 section 9.1), and none of them changes framing."""
    method, space, rest = head.partition(b" ")
    return head if method in LLHTTP_METHODS else b"POST" + space + rest


def httptools_leaves_http_at_an_upgrade(head: bytes) -> bytes:
    """llhttp stops at the end of a head with Upgrade, even if a body follows; it is still a body (RFC 9110 7.8)."""
    return _UPGRADE.sub(b"xpgrade", head)


def httptools_reads_extensions(body: bytes) -> bytes:
    """llhttp holds chunk extensions to their grammar; we drop what is no control character, unread (RFC 9112 7.1.1)."""
    read = decode_chunked(body)
    return b"%b%b\r\n" % (read.plain, late_names_changed(read.lines))


def _forwarded(data: bytes) -> list[Message]:
    """The requests on one connection to a server, on which both judges agree; nothing else is there."""
    if not data:
        return []
    seen = h11_requests(data)
    assert seen, "h11 sees no request in what was sent on"
    assert not seen[-1].whole or seen[-1].end == len(data), "something is left over"
    unknown = [m.first[0] for m in seen if m.first[0] not in LLHTTP_METHODS]
    upgrading = any(name == b"upgrade" for m in seen for name, _ in m.fields)
    if unknown or upgrading:
        return seen  # the first has no meaning for httptools, at the second it leaves: h11 alone judges
    also = httptools_requests(data)
    assert [(m.first, m.fields, m.body, m.trailers, m.whole) for m in also] == [
        (m.first, m.fields, m.body, m.trailers, m.whole) for m in seen
    ]
    return seen


def _same_request(sent: Message, head: RequestHead, came: Message) -> None:
    target, host = _origin_form(came)
    assert sent.first == (came.first[0], target)
    assert sent.version == b"1.1"
    gone = nominated(head.common.names)
    assert end_to_end(sent.fields) == [p for p in end_to_end(came.fields) if p[0] not in gone]
    fields: dict[bytes, list[bytes]] = {}
    for name, value in sent.fields:
        fields.setdefault(name, []).append(value)
    assert fields[b"host"] == [host]
    assert fields[b"x-forwarded-for"] == [b"192.0.2.7"], "the address is the peer's, and not what it says"
    assert SPOOFED not in b"".join(fields[b"forwarded"])
    assert not fields.keys() & {b"keep-alive", b"proxy-connection", b"http2-settings", b"x-real-ip", b"x-original-url"}
    assert fields.get(b"te", [b"trailers"]) == [b"trailers"]
    assert {part.strip().lower() for value in fields.get(b"upgrade", []) for part in value.split(b",")} <= {
        b"websocket"
    }
    options = {b"te": b"TE", b"upgrade": b"Upgrade"}
    said = fields.get(b"connection", [b""])
    assert len(said) == 1
    assert set(said[0].split(b", ")) - {b""} == {options[name] for name in options if name in fields}
    if sent.whole and came.whole:
        allowed = [p for p in came.trailers if p in sent.trailers]
        assert sent.trailers == allowed
        assert not OWN_TRAILERS_NEVER & {name for name, _ in sent.trailers}


def end_to_end(fields: Pairs) -> Pairs:
    """What travels from one end to the other, untouched and in its order."""
    return [
        (name, value)
        for name, value in fields
        if name not in MANAGED
        and not name.startswith(FORWARDED)
        and not name.startswith(b"x-forwarded")
        and not (name != (usual := UNUSUAL.sub(b"-", name)) and _passes_for(usual))
    ]


def _passes_for(name: bytes) -> bool:
    """Whether servers that write all but letters and digits as `_` would take it for one that means something."""
    return (name in MANAGED and name != b"max-forwards") or name.startswith(FORWARDED)
