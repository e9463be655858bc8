"""Messages drawn from the grammar: good ones pass through unharmed, and odd ones never mean two things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.differential.requests import check_requests
from tests.differential.responses import ASKED, GET, check_response
from tests.differential.rig import Rig

pytestmark = pytest.mark.slow

TOKEN = st.text("abcxyzABCXYZ0159!#$%&'*+-.^_`|~", min_size=1, max_size=8).map(str.encode)
NAME = TOKEN.map(lambda name: b"X-" + name)
VALUE = st.binary(max_size=16).map(lambda raw: bytes(c for c in raw if c == 9 or (c >= 32 and c != 127)))
BLANK = st.text(" \t", max_size=2).map(str.encode)
PIECES = st.lists(st.binary(min_size=1, max_size=30), max_size=4)
CUTS = st.integers(1, 40)

METHOD = st.one_of(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS"]), TOKEN)
PATH = st.text("abz09-._~%2F!$&'()*+,;=:@/?[]{}|^`\"<>\\", max_size=16).map(lambda text: b"/" + text.encode())
HOST = st.sampled_from([b"a", b"a.example:8080", b"[::1]:80", b"192.0.2.1", b"a-b_c~"])
TARGET = st.one_of(PATH, PATH, st.tuples(HOST, PATH).map(lambda two: b"http://" + two[0] + two[1]))


@st.composite
def lines(draw: st.DrawFn) -> list[bytes]:
    """Good field lines that mean nothing to a proxy."""
    return [
        name + b":" + draw(BLANK) + value + draw(BLANK)
        for name, value in draw(st.lists(st.tuples(NAME, VALUE), max_size=4))
    ]


@st.composite
def framed(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """A body in one of the two framings, with the lines that say which."""
    pieces = draw(PIECES)
    body = b"".join(pieces)
    if draw(st.booleans()):
        return [b"Content-Length: %d" % len(body)], body
    extension = draw(st.sampled_from([b"", b";a", b';a="b c"', b";"]))
    text = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    trailers = b"".join(line + b"\r\n" for line in draw(lines()))
    return [b"Transfer-Encoding: " + draw(st.sampled_from([b"chunked", b"Chunked"]))], text + b"0\r\n%b\r\n" % trailers


@st.composite
def good_requests(draw: st.DrawFn) -> bytes:
    method = draw(METHOD.filter(lambda method: method.upper() not in (b"TRACE", b"CONNECT")))
    framing, body = draw(framed()) if draw(st.booleans()) else ([], b"")
    head = draw(st.permutations([b"Host: " + draw(HOST), *draw(lines()), *framing]))
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (
        method,
        draw(TARGET),
        b"".join(line + b"\r\n" for line in head),
        body,
    )


@st.composite
def good_responses(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([200, 201, 302, 404, 500]))
    framing, body = draw(framed())
    reason = draw(st.one_of(st.just(b""), VALUE.map(lambda value: b" " + value)))
    interim = b"".join(draw(st.lists(st.just(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), max_size=2)))
    head = draw(st.permutations([*draw(lines()), *framing]))
    return interim + b"HTTP/1.1 %d%b\r\n%b\r\n%b" % (status, reason, b"".join(line + b"\r\n" for line in head), body)


def cut(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


@given(st.lists(good_requests(), min_size=1, max_size=4), CUTS)
def test_every_good_request_reaches_a_server_once_and_unharmed(requests: list[bytes], step: int) -> None:
    rig = Rig()
    data = b"".join(requests)
    outcome = check_requests(rig, [data])
    assert len(outcome.forwarded) == len(requests)
    assert outcome.statuses == [200] * len(requests)
    assert check_requests(rig, cut(data, step)) == outcome


@given(good_responses(), CUTS)
def test_every_good_response_reaches_its_client_unharmed(data: bytes, step: int) -> None:
    rig = Rig()
    outcome = check_response(rig, GET, [data])
    assert outcome.outcome == "ok"
    for asked in ASKED:
        assert check_response(rig, asked, cut(data, step)).outcome == "ok"


ODD_METHOD = st.sampled_from([b"GET", b"POST", b"G T", b"", b"get", b"GET\t", b"\r\nGET", b"CONNECT", b"TRACE"])
ODD_TARGET = st.sampled_from([b"/", b"/a#b", b"*", b"a", b"http://u@a/", b"http:///", b"/ /", b"/\xe4", b"//a", b"?"])
VERSION = st.sampled_from(
    [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b""]
)
FRAMING_NAME = st.sampled_from(
    [
        b"Content-Length",
        b"Transfer-Encoding",
        b"Content_Length",
        b"content-length ",
        b" Transfer-Encoding",
        b"Transfer-Encoding\t",
    ]
)
FRAMING_VALUE = st.sampled_from(
    [
        b"0",
        b"5",
        b"05",
        b"5, 5",
        b"+5",
        b"",
        b"0x5",
        b"chunked",
        b"Chunked",
        b"\tchunked\t",
        b"chunked, chunked",
        b"identity",
        b"gzip, chunked",
        b"chunked;a=b",
        b"xchunked",
        b"\x0bchunked",
        b"5\x00",
        b"chunked\r\n ",
        b'"chunked"',
        b",chunked",
    ]
)
CONNECTION = st.lists(
    st.sampled_from(
        [b"close", b"keep-alive", b"TE", b"Upgrade", b"X-A", b"Host", b"Content-Length", b"Transfer-Encoding"]
    ),
    max_size=3,
).map(lambda names: b"Connection: " + b", ".join(names))
ODD_LINE = st.one_of(
    st.tuples(FRAMING_NAME, FRAMING_VALUE).map(lambda two: two[0] + b": " + two[1]),
    st.tuples(FRAMING_NAME, FRAMING_VALUE).map(lambda two: two[0] + b":" + two[1]),
    CONNECTION,
    st.sampled_from(
        [b"X", b"X: y", b" X: y", b"X : y", b": y", b"X: a\rb", b"X: a\nb: c", b"X: \x80", b"Expect: 100-continue"]
    ),
    st.sampled_from(
        [b"Upgrade: websocket", b"Upgrade: h2c", b"TE: trailers", b"Trailer: X", b"X-A: 1", b"Host: b", b""]
    ),
)
END_OF_LINE = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b" \r\n"])
BODY = st.sampled_from(
    [
        b"",
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhell",
        b"5\nhello\n0\n\n",
        b"0\r\nContent-Length: 3\r\n\r\nabc",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
    ]
)


@st.composite
def odd(draw: st.DrawFn, first: bytes) -> bytes:
    ends = iter(draw(st.lists(END_OF_LINE, min_size=8, max_size=8)))
    block = b"".join(line + next(ends) for line in draw(st.lists(ODD_LINE, max_size=4)))
    return first + next(ends) + block + b"\r\n" + draw(BODY)


@st.composite
def odd_requests(draw: st.DrawFn) -> bytes:
    line = b"%b %b %b" % (draw(ODD_METHOD), draw(ODD_TARGET), draw(VERSION))
    host = draw(st.sampled_from([b"\r\nHost: a"] * 4 + [b"", b"\r\nHost: a b", b"\r\nHost:"]))
    return draw(odd(line + host))


@st.composite
def odd_responses(draw: st.DrawFn) -> bytes:
    status = draw(
        st.sampled_from([b"200 OK", b"200", b"204 No", b"304 Not", b"100 C", b"101 S", b"20 OK", b"2000 OK", b"200  "])
    )
    version = draw(st.sampled_from([b"HTTP/1.1"] * 4 + [b"HTTP/1.0", b"HTTP/2.0", b"ICY"]))
    return draw(odd(version + b" " + status))


@given(st.lists(odd_requests(), min_size=1, max_size=3), CUTS, st.booleans())
def test_no_row_of_odd_requests_means_two_things(requests: list[bytes], step: int, early: bool) -> None:
    rig = Rig()
    data = b"".join(requests) + b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"
    outcome = check_requests(rig, [data])
    assert check_requests(rig, cut(data, step)) == outcome
    if early:
        check_requests(rig, [data], early=True)


@given(odd_responses(), odd_responses(), st.sampled_from(ASKED), st.sampled_from(["", "eof", "reset"]), CUTS)
def test_no_odd_response_means_two_things(data: bytes, more: bytes, asked, end: str, step: int) -> None:  # type: ignore[no-untyped-def]
    rig = Rig()
    outcome = check_response(rig, asked, [data + more], end)
    assert check_response(rig, asked, cut(data + more, step), end) == outcome
