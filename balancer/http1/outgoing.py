"""The heads that are sent on: always built from what was parsed, never copied around it."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from balancer.http1.careful import UNCHANGED
from balancer.http1.edits import Edits
from balancer.http1.fields import (
    DATE,
    EXPECT,
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_OTHER,
    FORWARDED_PROTO,
    PLAIN,
    REQUEST_ID,
    SERVER,
    TE,
    TRACEPARENT,
    TRACESTATE,
    TRAILER,
    VIA,
    Field,
    nominated,
)
from balancer.http1.framing import CHUNKED
from balancer.http1.head import NO_LENGTH, RequestHead, ResponseHead, without, without_alike

_WIRE: Final = itemgetter(2)
_ID: Final = re.compile(rb"[0-9A-Za-z._:/+=@-]{1,128}")
# Version 00 exactly as W3C Trace Context section 3.2 has it; all-zero ids are invalid.
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_IPV4: Final = re.compile(rb"[0-9.]{7,15}")
_IPV6: Final = re.compile(rb"[0-9A-Fa-f:.]{2,45}")
_OWN_CONNECTION_NAMES: Final = frozenset((b"close", b"keep-alive", b"te", b"upgrade"))
_NO_TUNNELS: Final = re.compile(rb"(?i)h2c?(?:/.*)?|tls(?:/.*)?|http(?:/.*)?")
_TRAILERS: Final = re.compile(rb"(?i)(?:\A|,)[\t ]*trailers[\t ]*(?:;[\t ]*q=(?:0?\.0*[1-9]|1)[0-9.]*[\t ]*)?(?:,|\Z)")
MOST_NODES: Final = 32
"""Of a longer X-Forwarded-For, `Forwarded` gets the last ones: each is written longer than it came."""
_LIMITED: Final = frozenset((b"OPTIONS", b"TRACE"))
_MAX_FORWARDS: Final = re.compile(rb"(?i)(\r\nmax-forwards: )([0-9]+)(?=\r\n)")


class Client(Protocol):
    """What a head says about the client that sent it."""

    shown: str
    """Its address; "unknown" for the client of a Unix socket."""
    trusted: bool
    """The connection comes from one of `trusted_proxies`."""
    scheme: bytes
    node: bytes
    """The client as a node of `Forwarded`: for=192.0.2.1 or for="[2001:db8::1]"."""
    vouched: tuple[bytes, bytes] | None
    """A field, as name and value, that the balancer says of it by itself."""


def tunnels(offered: bytes, allowed: frozenset[bytes]) -> bytes:
    """Those protocols of an Upgrade field that may be asked for, or nothing.

    `allowed` are names in lower case, `*` any. Never another HTTP, which would carry requests past every rule.
    """
    if not offered or not allowed:
        return b""
    names = [name for part in offered.split(b",") if (name := part.strip(b" \t"))]
    everything = b"*" in allowed
    return b", ".join([n for n in names if (everything or n.lower() in allowed) and _NO_TUNNELS.fullmatch(n) is None])


def switches_to(response: ResponseHead, asked: bytes) -> bool:
    """Whether a 101 response goes on in a protocol that was asked for."""
    wanted = {part.strip(b" \t").lower() for part in asked.split(b",")} - {b""}
    chosen = {part.strip(b" \t").lower() for part in response.upgrade.split(b",")} - {b""}
    return bool(chosen) and chosen <= wanted


class _Encoded(NamedTuple):
    """What is sent on of a request's fields, for one way of editing them."""

    edits: Edits
    lines: bytes
    """From Host on, all but what is new with each request."""
    request_id: bytes
    """The client's own; empty: each request gets a fresh one."""
    begin_trace: bool


def encode_request(
    head: RequestHead, target: bytes, edits: Edits, client: Client, fresh_id: bytes
) -> tuple[bytes, bytes]:
    """The head for a server, and the request's id. `fresh_id` is 32 hexadecimal digits, used for what is begun here."""
    common = head.common
    known = common.encoded
    if not isinstance(known, _Encoded) or known[0] is not edits or head.host is not common.host:
        known = _encode_fields(head, edits, client)
        if head.host is common.host:
            common.encoded = known
    _, lines, request_id, begin_trace = known
    if not request_id:
        request_id = fresh_id
    named = b"%b: %b\r\n" % (edits.request_id, request_id) if edits.request_id else b""
    if head.method in _LIMITED:
        lines = _MAX_FORWARDS.sub(_one_less, lines)
    if begin_trace:
        data = b"%b %b HTTP/1.1\r\n%b%btraceparent: 00-%b-%b-00\r\n\r\n" % (
            head.method,
            target,
            lines,
            named,
            fresh_id,
            fresh_id[8:24],
        )
    else:
        data = b"%b %b HTTP/1.1\r\n%b%b\r\n" % (head.method, target, lines, named)
    return data, request_id


def _one_less(match: re.Match[bytes]) -> bytes:
    """Max-Forwards of a request that is sent on (RFC 9110 section 7.6.2); at 0 it is answered before it gets here."""
    return b"%b%d" % (match[1], max(int(match[2][-18:]) - 1, 0))  # a longer number is no number of hops


def _encode_fields(head: RequestHead, edits: Edits, client: Client) -> _Encoded:
    common = head.common
    fields = common.fields
    gone = edits.request_drop
    if edits.request_gone:
        fields = without_alike(fields, edits.request_gone)
    if common.names and not _OWN_CONNECTION_NAMES.issuperset(common.names):
        fields = without(fields, nominated(common.names))
    parts = [b"Host: %b\r\n" % (edits.host or head.host)]
    parts += map(_WIRE, fields)
    request_id = b""
    begin_trace = edits.trace and b"traceparent" not in gone
    said: list[Field] = []  # what the client said about itself and the way it came
    takes_trailers = False
    for field in common.special:
        kind = field.kind
        if kind < EXPECT:  # host, framing, connection and hop-by-hop: written anew below
            if kind == TE and head.minor == 1 and _TRAILERS.search(field.value):
                takes_trailers = True
            continue
        if kind == REQUEST_ID:
            if _ID.fullmatch(field.value):
                request_id = field.value
        elif field.name in gone:
            continue
        elif DATE <= kind <= TRAILER:
            parts.append(field.line)
        elif kind == TRACEPARENT:
            if _TRACEPARENT.fullmatch(field.value):
                begin_trace = False
                parts.append(field.line)
        elif kind == EXPECT:
            # Without a body there is nothing to wait for (RFC 9110 section 10.1.1), and servers that wait all the same
            # take the next request for it.
            if common.expects_continue and common.has_body:
                parts.append(field.line)
        else:
            said.append(field)
    about = _say_about_client(head, said, edits, client, keep_tracestate=not begin_trace)
    if client.vouched is not None:
        about.append(client.vouched)
    parts += [b"%b: %b\r\n" % pair for pair in about if pair[0].lower() not in gone]
    if common.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif common.length != NO_LENGTH:
        parts.append(b"Content-Length: %d\r\n" % common.length)
    protocols = tunnels(common.upgrade, edits.tunnels) if common.upgrade else b""
    if protocols and takes_trailers:
        parts.append(b"Connection: Upgrade, TE\r\nUpgrade: %b\r\nTE: trailers\r\n" % protocols)
    elif protocols:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocols)
    elif takes_trailers:
        parts.append(b"Connection: TE\r\nTE: trailers\r\n")  # RFC 9110 section 10.1.4
    parts.append(edits.request_add)
    return _Encoded(edits, b"".join(parts), request_id, begin_trace)


def _say_about_client(
    head: RequestHead, said: list[Field], edits: Edits, client: Client, *, keep_tracestate: bool
) -> list[tuple[bytes, bytes]]:
    """Forwarding fields, as names and values: a trusted proxy's are continued, anybody else's replaced."""
    came: dict[int, list[bytes]] = {}
    for field in said:
        came.setdefault(field.kind, []).append(field.value)
    fields: list[tuple[bytes, bytes]] = []
    if TRACESTATE in came and keep_tracestate:  # without a traceparent it means nothing (Trace Context section 3.3)
        fields.append((b"tracestate", b",".join(came[TRACESTATE])))
    if edits.via or VIA in came:
        own = [b"1.%d %b" % (head.minor, edits.via)] if edits.via else []
        fields.append((b"Via", b", ".join(came.get(VIA, []) + own)))
    if not client.trusted:
        came.clear()
    else:
        fields += [(f.line.partition(b":")[0], f.value) for f in said if f.kind == FORWARDED_OTHER]
    if edits.x_forwarded:
        chain = [*came.get(FORWARDED_FOR, []), client.shown.encode("ascii")]
        fields.append((b"X-Forwarded-For", b", ".join(chain)))
        fields.append((b"X-Forwarded-Proto", came.get(FORWARDED_PROTO, [client.scheme])[0]))
        fields.append((b"X-Forwarded-Host", came.get(FORWARDED_HOST, [head.host])[0]))
    if edits.forwarded:
        own = [b'%b;host="%b";proto=%b' % (client.node, head.host, client.scheme)]
        before = came.get(FORWARDED, [])
        if not before and FORWARDED_FOR in came:  # a proxy that says it in the older way: both must say the same
            proto = came.get(FORWARDED_PROTO, [client.scheme])[0]
            host = came.get(FORWARDED_HOST, [head.host])[0]
            told = b",".join(came[FORWARDED_FOR]).split(b",")[-MOST_NODES:]
            nodes = [_node(part.strip(b" \t")) for part in told]
            before = [b'%b;host="%b";proto=%b' % (nodes[0], host.replace(b'"', b""), proto), *nodes[1:]]
        fields.append((b"Forwarded", b", ".join(before + own)))
    return fields


def _node(address: bytes) -> bytes:
    """An address as a node of `Forwarded` (RFC 7239 section 6)."""
    if _IPV4.fullmatch(address):
        return b"for=" + address
    return b'for="[%b]"' % address if _IPV6.fullmatch(address) else b"for=unknown"


def encode_response(
    response: ResponseHead,
    edits: Edits,
    length: int,
    *,
    minor: int,
    persistent: bool,
    request_id: bytes,
    date: bytes,
    extra: bytes = b"",
    secure: bool = False,
) -> bytes:
    """The head for a client of HTTP/1.`minor`. `length` is as `framing.response_length` gives it for what will be sent.

    `persistent` says whether the client's connection stays open; `date` is used when the server sent none; `extra` are
    complete lines; `secure` says that the client came by https.
    """
    fields = response.fields
    if edits.response_drop:
        fields = without(fields, edits.response_drop)
    if response.names and not _OWN_CONNECTION_NAMES.issuperset(response.names):
        fields = without(fields, nominated(response.names))
    parts = [response.line]
    parts += map(_WIRE, fields)
    dated = False
    named = not edits.request_id
    for field in response.special:
        kind = field[3]
        if kind == DATE:
            dated = True
        elif kind == REQUEST_ID:
            named = True
        elif kind == SERVER:
            if not edits.pass_server:
                continue
        elif kind == TRAILER:
            if length != CHUNKED or minor == 0:
                continue
        elif kind < EXPECT:
            continue
        if field[0] not in edits.response_drop:
            parts.append(field[4])
    if not dated:
        parts.append(b"Date: %b\r\n" % date)
    if not named:
        parts.append(b"%b: %b\r\n" % (edits.request_id, request_id))
    if length >= 0:
        parts.append(_length_line(response, length))
    elif minor == 1:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    if not persistent:
        parts.append(b"Connection: close\r\n")
    elif minor == 0:
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(edits.response_add)
    if edits.careful is not None and response.status != UNCHANGED:
        parts.append(edits.careful.lines(response.fields, secure=secure))
    if extra:
        parts.append(extra)
    parts.append(b"\r\n")
    return b"".join(parts)


def _length_line(response: ResponseHead, length: int) -> bytes:
    if response.status == 204 or response.status < 200:
        return b""
    if length == 0:
        # No body follows, but the length that a GET would have had may be told (RFC 9110 section 8.6).
        return b"Content-Length: %d\r\n" % response.length if response.length != NO_LENGTH else b""
    return b"Content-Length: %d\r\n" % length


def encode_interim(response: ResponseHead, edits: Edits) -> bytes:
    """A 1xx response on its way through (RFC 9110 section 15.2)."""
    return b"%b%b\r\n" % (response.line, _end_to_end(response, edits))


def encode_switch(response: ResponseHead, edits: Edits) -> bytes:
    """A 101 response: the last thing said in HTTP on this connection."""
    return b"%b%bConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n" % (
        response.line,
        _end_to_end(response, edits),
        response.upgrade,
        edits.response_add,
    )


def _end_to_end(response: ResponseHead, edits: Edits) -> bytes:
    """The lines of a head without a body that are for the client."""
    kinds = (PLAIN, DATE, SERVER) if edits.pass_server else (PLAIN, DATE)
    gone = edits.response_drop | nominated(response.names)
    return b"".join([f.line for f in response.fields if f.kind in kinds and f.name not in gone])
