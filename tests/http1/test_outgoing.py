"""The heads that are sent on."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.edits import Edits
from balancer.http1.framing import CHUNKED, UNTIL_CLOSE
from balancer.http1.head import parse_request, parse_response
from balancer.http1.outgoing import encode_request, encode_response
from config.schema import Headers

ID = b"0123456789abcdef0123456789abcdef"
PLAIN = Edits(Headers())


class Visitor:
    shown = "192.0.2.1"
    trusted = False
    scheme = b"http"
    node = b"for=192.0.2.1"
    vouched: tuple[bytes, bytes] | None = None


def test_remembered_fields_are_encoded_as_new_ones_but_for_what_is_each_requests_own() -> None:
    first = parse_request(b"GET /a HTTP/1.1\r\nHost: s\r\nX: y", 100, 8000)
    once, _ = encode_request(first, first.target, PLAIN, Visitor(), ID)
    second = parse_request(b"POST /b HTTP/1.1\r\nHost: s\r\nX: y", 100, 8000, first.common)
    other = ID[::-1]
    again, request_id = encode_request(second, second.target, PLAIN, Visitor(), other)
    assert request_id == other
    new, _ = encode_request(
        parse_request(b"POST /b HTTP/1.1\r\nHost: s\r\nX: y", 100, 8000), b"/b", PLAIN, Visitor(), other
    )
    assert again == new
    assert once != again


def test_an_absolute_target_is_not_given_the_host_that_was_remembered() -> None:
    first = parse_request(b"GET /a HTTP/1.1\r\nHost: s", 100, 8000)
    encode_request(first, first.target, PLAIN, Visitor(), ID)
    second = parse_request(b"GET http://other/b HTTP/1.1\r\nHost: s", 100, 8000, first.common)
    data, _ = encode_request(second, second.target, PLAIN, Visitor(), ID)
    assert data.startswith(b"GET /b HTTP/1.1\r\nHost: other\r\n")
    assert b"X-Forwarded-Host: other\r\n" in data
    third = parse_request(b"GET /c HTTP/1.1\r\nHost: s", 100, 8000, second.common)
    assert b"other" not in encode_request(third, third.target, PLAIN, Visitor(), ID)[0]


def test_other_edits_are_not_served_from_memory() -> None:
    head = parse_request(b"GET /a HTTP/1.1\r\nHost: s", 100, 8000)
    encode_request(head, head.target, PLAIN, Visitor(), ID)
    edits = Edits(Headers.model_validate({"request": {"set": {"X-New": "1"}}}))
    assert b"X-New: 1\r\n" in encode_request(head, head.target, edits, Visitor(), ID)[0]


METHODS = st.sampled_from([b"GET", b"HEAD", b"POST"])
LINES = st.lists(
    st.sampled_from(
        [
            b"Content-Type: text/html",
            b"Date: Mon, 23 Nov 2026 10:00:00 GMT",
            b"Server: app",
            b"Keep-Alive: timeout=5",
            b"Connection: X-Hop",
            b"X-Hop: 1",
            b"Set-Cookie: a=b",
            b"Set-Cookie: c=d",
        ]
    ),
    max_size=8,
)


@given(METHODS, LINES, st.sampled_from([200, 204, 304, 404, 500]), st.sampled_from([0, 5, CHUNKED]), st.booleans())
def test_h11_understands_every_answer_and_its_framing(
    method: bytes, lines: list[bytes], status: int, framing: int, persistent: bool
) -> None:
    head = [b"HTTP/1.1 %d Reason" % status, *lines]
    if status not in (204, 304):
        head.append(b"Transfer-Encoding: chunked" if framing == CHUNKED else b"Content-Length: %d" % framing)
    response = parse_response(b"\r\n".join(head), 100)
    bodiless = method == b"HEAD" or status in (204, 304)
    data = encode_response(
        response,
        PLAIN,
        0 if bodiless else framing,
        minor=1,
        persistent=persistent,
        request_id=ID,
        date=b"Mon, 23 Nov 2026 11:00:00 GMT",
    )
    judge = h11.Connection(h11.CLIENT)
    judge.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
    judge.send(h11.EndOfMessage())
    body = b"" if bodiless else b"5\r\nhello\r\n0\r\n\r\n" if framing == CHUNKED else b"hello"[:framing]
    judge.receive_data(data + body)
    event = judge.next_event()
    assert isinstance(event, h11.Response)
    names = [name for name, _ in event.headers]
    assert event.status_code == status
    assert names.count(b"date") == max(1, [line[:5] for line in lines].count(b"Date:"))
    assert b"keep-alive" not in names
    assert (b"x-hop" in names) == (b"X-Hop: 1" in lines and b"Connection: X-Hop" not in lines)
    assert names.count(b"set-cookie") == sum(line.startswith(b"Set-Cookie") for line in lines)
    got = b""
    while not isinstance(event := judge.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        got += event.data
    assert got == (b"" if bodiless else b"hello" if framing == CHUNKED else b"hello"[:framing])
    assert (judge.their_state is h11.MUST_CLOSE) == (not persistent)


def test_what_is_not_known_in_length_is_chunked_for_new_clients_and_closed_for_old_ones() -> None:
    response = parse_response(b"HTTP/1.0 200 OK", 100)

    def sent(length: int, minor: int, persistent: bool) -> bytes:
        return encode_response(response, PLAIN, length, minor=minor, persistent=persistent, request_id=ID, date=b"now")

    assert b"Transfer-Encoding: chunked\r\n" in sent(CHUNKED, 1, True)
    old = sent(UNTIL_CLOSE, 0, False)
    assert b"Transfer-Encoding" not in old
    assert b"Connection: close\r\n" in old


def sent(text: bytes, edits: Edits = PLAIN) -> list[bytes]:
    """The lines of the head that a server gets for this one."""
    head = parse_request(text, 100, 8000)
    return encode_request(head, head.target, edits, Visitor(), ID)[0].split(b"\r\n")


def test_a_client_cannot_strip_what_others_rely_on() -> None:
    kept = (
        b"Authorization",
        b"Cookie",
        b"Cache-Control",
        b"Content-Type",
        b"X-Real-Thing",
        b"CF-Connecting-IP",
        b"Range",
    )
    fields = b"".join(b"%b: 1\r\n" % name for name in kept)
    named = b", ".join((*kept[:4], *kept[5:], b"Host", b"Content-Length", b"X-Forwarded-For", b"Via", b"X-Mine"))
    lines = sent(b"GET / HTTP/1.1\r\nHost: s\r\n%bX-Mine: 1\r\nConnection: %b" % (fields, named))
    for name in kept:
        assert b"%b: 1" % name in lines
    assert {b"Host: s", b"X-Forwarded-For: 192.0.2.1", b"Via: 1.1 balancer"} <= set(lines)
    assert b"X-Mine: 1" not in lines


def test_of_te_only_trailers_is_sent_on_and_only_for_this_hop() -> None:
    lines = sent(b"GET / HTTP/1.1\r\nHost: s\r\nTE: gzip, trailers;q=1\r\nConnection: TE")
    assert {b"TE: trailers", b"Connection: TE"} <= set(lines)
    assert not any(b"TE" in line for line in sent(b"GET / HTTP/1.1\r\nHost: s\r\nTE: gzip\r\nConnection: TE"))
    assert b"TE: trailers" not in sent(b"GET / HTTP/1.0\r\nHost: s\r\nTE: trailers")


def test_an_expectation_without_a_body_is_not_sent_on() -> None:
    expecting = b"POST / HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nContent-Length: %d"
    assert b"Expect: 100-continue" in sent(expecting % 3)
    assert b"Expect: 100-continue" not in sent(expecting % 0)


def test_only_protocols_that_the_route_allows_are_asked_for() -> None:
    text = b"GET / HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: %b"
    assert b"Upgrade: WebSocket" in sent(text % b"h2c, WebSocket, chat")
    assert not any(line.startswith((b"Upgrade", b"Connection")) for line in sent(text % b"h2c"))
    anything = Edits(Headers(), ("*",))
    assert b"Upgrade: chat, websocket" in sent(text % b"chat, h2c, websocket, HTTP/2.0, TLS/1.3", anything)
    assert not any(line.startswith(b"Upgrade") for line in sent(text % b"websocket", Edits(Headers(), ())))


def test_max_forwards_counts_down_for_options_alone() -> None:
    text = b"%b / HTTP/1.1\r\nHost: s\r\nmax-forwards: 3"
    assert b"max-forwards: 2" in sent(text % b"OPTIONS")
    assert b"max-forwards: 3" in sent(text % b"GET")


def test_a_server_cannot_strip_what_others_rely_on() -> None:
    response = parse_response(
        b"HTTP/1.1 200 OK\r\nConnection: Set-Cookie, Cache-Control, X-Mine\r\nSet-Cookie: a=b\r\n"
        b"Cache-Control: private\r\nX-Mine: 1\r\nContent-Length: 0",
        100,
    )
    data = encode_response(response, PLAIN, 0, minor=1, persistent=True, request_id=ID, date=b"now")
    assert b"Set-Cookie: a=b\r\n" in data
    assert b"Cache-Control: private\r\n" in data
    assert b"X-Mine" not in data


def test_what_programs_behind_cgi_would_take_for_their_own_does_not_reach_them() -> None:
    lines = sent(b"GET / HTTP/1.1\r\nHost: s\r\nProxy: evil\r\nX-Tame: 1")
    assert not any(b"evil" in line for line in lines)
    assert b"X-Tame: 1" in lines


def test_of_a_chain_of_thousands_only_the_last_are_written_anew() -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: s\r\nX-Forwarded-For: " + b",".join([b"10.0.0.1"] * 3000), 100, 8000)
    client = Visitor()
    client.trusted = True
    data, _ = encode_request(head, head.target, PLAIN, client, ID)
    forwarded = next(line for line in data.split(b"\r\n") if line.startswith(b"Forwarded: "))
    assert forwarded.count(b"for=") == 33
