"""What is a head, what is refused, and what survives parsing."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.faults import ClientFault, UpstreamFault
from balancer.http1.fields import (
    FORWARDED_OTHER,
    HOP,
    MEMORY_LINES,
    PLAIN,
    SECRET,
    NoField,
    keep_out,
    learn,
    parse_line,
    recall,
)
from balancer.http1.head import (
    RequestFields,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
    refuse_early,
)

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz", min_size=1, max_size=20).map(str.encode)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E) | st.just(" ") | st.just("\t"), max_size=40).map(
    lambda text: text.strip(" \t").encode()
)


def request(text: bytes, fields: int = 100, target: int = 8000) -> RequestHead:
    return parse_request(text, fields, target)


def response(text: bytes) -> ResponseHead:
    return parse_response(text, 100)


def test_a_plain_request_is_read_as_it_is_written() -> None:
    head = request(b"POST /a?b=c HTTP/1.1\r\nHost: Example.com:8080\r\nX-Odd:\t v w \t\r\nContent-Length: 12")
    assert (head.method, head.target, head.minor, head.host) == (b"POST", b"/a?b=c", 1, b"Example.com:8080")
    assert head.common.length == 12
    assert head.common.persistent
    assert head.value(b"x-odd") == b"v w"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET /", 400),
        (b"GET  / HTTP/1.1\r\nHost: a", 400),
        (b"GET / HTTP/1.1 \r\nHost: a", 400),
        (b" GET / HTTP/1.1\r\nHost: a", 400),
        (b"GE(T / HTTP/1.1\r\nHost: a", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a", 400),
        (b"GET / HTTP/1.2\r\nHost: a", 505),
        (b"GET / HTTP/2.0\r\nHost: a", 505),
        (b"GET / http/1.1\r\nHost: a", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b", 400),
        (b"GET / HTTP/1.1\r\nHost: user@a", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b", 400),
        (b"GET / HTTP/1.1\r\nHost : a", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nnocolon", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic", 417),
        (b"CONNECT /x HTTP/1.1\r\nHost: a", 405),
        (b"GET * HTTP/1.1\r\nHost: a", 400),
        (b"GET a HTTP/1.1\r\nHost: a", 400),
        (b"GET ftp://a/b HTTP/1.1\r\nHost: a", 400),
        (b"GET http://u@a/b HTTP/1.1\r\nHost: a", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443", 405),
    ],
)
def test_what_is_doubtful_is_refused(text: bytes, status: int) -> None:
    with pytest.raises(ClientFault) as refused:
        request(text)
    assert refused.value.status == status


def test_limits_have_their_own_statuses() -> None:
    many = b"".join(b"\r\nx%d: y" % n for n in range(11))
    with pytest.raises(ClientFault) as refused:
        request(b"GET / HTTP/1.1\r\nHost: a" + many, fields=11)
    assert refused.value.status == 431
    with pytest.raises(ClientFault) as refused:
        request(b"GET /" + b"a" * 20 + b" HTTP/1.1\r\nHost: a", target=20)
    assert refused.value.status == 414


def test_an_absolute_target_overrides_host_and_is_sent_on_in_origin_form() -> None:
    head = request(b"GET http://b.example:81/x?y HTTP/1.1\r\nHost: a")
    assert (head.host, head.target) == (b"b.example:81", b"/x?y")
    assert request(b"GET http://b?q HTTP/1.1\r\nHost: a").target == b"/?q"
    assert request(b"GET HTTP://b HTTP/1.1\r\nHost: a").target == b"/"


def test_dots_that_are_no_segment_are_fine() -> None:
    for target in (b"/.well-known/x", b"/a/..b/c.", b"/a?b=/../c", b"/%2f", b"/.a", b"/..."):
        assert request(b"GET %b HTTP/1.1\r\nHost: a" % target).target == target


@pytest.mark.parametrize(
    ("line", "persistent"),
    [
        (b"1.1\r\nHost: a", True),
        (b"1.1\r\nHost: a\r\nConnection: close", False),
        (b"1.1\r\nHost: a\r\nConnection: Close, X-Y", False),
        (b"1.1\r\nHost: a\r\nConnection: keep-alive, close", False),
        (b"1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive", False),
        (b"1.0", False),
        (b"1.0\r\nConnection: keep-alive", True),
        (b"1.0\r\nConnection: Keep-Alive\r\nConnection: close", False),
    ],
)
def test_persistence_follows_version_and_connection(line: bytes, persistent: bool) -> None:
    assert request(b"GET / HTTP/" + line).common.persistent is persistent


def test_connection_names_fields_to_remove() -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-One , x-two\r\nX-One: 1")
    assert set(head.common.names) == {b"x-one", b"x-two"}


def test_an_upgrade_counts_only_when_connection_names_it() -> None:
    assert request(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket").common.upgrade == b""
    assert (
        request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket").common.upgrade
        == b"websocket"
    )


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 No",
        b"HTTP/2 200",
        b"ICY 200 OK",
        b"HTTP/1.1 200 OK\r\nbad line",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        b"HTTP/1.1 200 OK\r\nX: a\x0bb",
        b"HTTP/1.1 200 O\x01K",
    ],
)
def test_a_lying_server_is_found_out(text: bytes) -> None:
    with pytest.raises(UpstreamFault):
        response(text)


def test_a_status_without_a_reason_is_valid() -> None:
    assert response(b"HTTP/1.1 200").line == b"HTTP/1.1 200 \r\n"
    assert response(b"HTTP/1.1 200 ").status == 200
    assert response(b"HTTP/1.0 404 Not Found").line == b"HTTP/1.1 404 Not Found\r\n"


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=12))
def test_h11_reads_the_same_fields(fields: list[tuple[bytes, bytes]]) -> None:
    fields = [(name, value) for name, value in fields if parse_line(name + b":").kind == PLAIN]
    text = b"GET /x HTTP/1.1\r\nHost: a" + b"".join(b"\r\n%b: %b" % pair for pair in fields)
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(text + b"\r\n\r\n")
    event = judge.next_event()
    assert isinstance(event, h11.Request)
    assert [(f.name, f.value) for f in request(text).common.fields] == [tuple(pair) for pair in event.headers]


@given(st.binary(max_size=60))
def test_a_remembered_line_is_the_parsed_line(line: bytes) -> None:
    try:
        parsed = parse_line(line)
    except NoField:
        with pytest.raises(NoField):
            learn(line)
        assert recall(line) is None
        return
    assert learn(line) == parsed
    assert recall(line) in (parsed, None)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_request_parser(text: bytes) -> None:
    for head in (text, b"GET / HTTP/1.1\r\nHost: a\r\n" + text):
        try:
            parsed = request(head)
        except ClientFault:
            continue
        assert parsed.target[:1] in (b"/", b"*")


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_response_parser(text: bytes) -> None:
    for head in (text, b"HTTP/1.1 200 OK\r\n" + text):
        try:
            parsed = response(head)
        except UpstreamFault:
            continue
        assert parsed.status >= 100


@pytest.mark.parametrize("name", sorted(SECRET))
def test_a_line_with_a_secret_is_never_remembered(name: bytes) -> None:
    line = name + b": tell-nobody"
    learn(line)
    assert recall(line) is None


def test_a_field_that_turns_out_to_carry_secrets_is_forgotten_and_not_remembered_again() -> None:
    line = b"X-Partner-Secret: tell-nobody"
    learn(line)
    assert recall(line) is not None
    keep_out([b"x-partner-secret"])
    assert recall(line) is None
    learn(line)
    assert recall(line) is None


def test_names_that_servers_confuse_with_ones_that_mean_something_do_not_pass() -> None:
    for name in ("X_Forwarded_For", "x-forwarded_proto", "X_Real_IP", "Content_Length", "X_Forwarded_Port"):
        assert parse_line(f"{name}: 1".encode()).kind == HOP
    assert parse_line(b"x_my_own: 1").kind == PLAIN
    assert parse_line(b"X-Forwarded-Port: 1").kind == FORWARDED_OTHER


def test_an_upgrade_with_a_body_is_none() -> None:
    text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1"
    assert request(text).common.upgrade == b""


def test_the_memory_of_lines_is_bounded() -> None:
    for n in range(MEMORY_LINES * 2 + 1):
        learn(b"x-n: %d" % n)
    from balancer.http1 import fields

    assert len(fields._memory) <= MEMORY_LINES


BLOCKS = st.lists(
    st.sampled_from(["Host: a", "Host: b", "X: 1", "x: 2", "Content-Length: 3", "Connection: close", "Cookie: c=1"]),
    max_size=4,
).map(lambda lines: "".join(f"\r\n{line}" for line in lines).encode())


def outcome(text: bytes, remembered: RequestFields | None = None) -> object:
    try:
        head = parse_request(text, 100, 8000, remembered)
    except ClientFault as fault:
        return fault.status, fault.reason
    parts = [getattr(head.common, name) for name in RequestFields.__slots__ if name != "encoded"]
    return head.method, head.target, head.minor, head.host, parts


@given(BLOCKS, BLOCKS, st.sampled_from([b"1.0", b"1.1"]), st.sampled_from([b"1.0", b"1.1"]))
def test_what_a_connection_remembers_never_changes_what_is_read(
    before: bytes, now: bytes, before_version: bytes, version: bytes
) -> None:
    try:
        remembered = parse_request(b"GET /a HTTP/%b%b" % (before_version, before), 100, 8000).common
    except ClientFault:
        return
    text = b"POST /b HTTP/%b%b" % (version, now)
    assert outcome(text, remembered) == outcome(text)


def test_the_same_fields_are_not_parsed_twice() -> None:
    first = request(b"GET /a HTTP/1.1\r\nHost: a")
    assert parse_request(b"GET /b HTTP/1.1\r\nHost: a", 100, 8000, first.common).common is first.common


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/1.1\rHost: a",
        b"GET /\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x80.",
        b" GET /",
        b"GET\t/",
    ],
)
def test_a_beginning_that_no_rest_can_mend_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ClientFault) as caught:
        refuse_early(data)
    assert caught.value.status == 400


@given(st.binary(max_size=12), st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_a_beginning_is_judged_the_same_in_whatever_pieces_it_comes(rest: bytes, cuts: list[int]) -> None:
    data = b"GET / HTTP/1.1\r\n" + rest.replace(b"a", b"\r").replace(b"b", b"\n")
    seen = 0
    for cut in (*cuts, len(data)):
        end = min(seen + cut, len(data))
        try:
            refuse_early(data[:end], seen)
        except ClientFault:
            with pytest.raises(ClientFault):
                refuse_early(data)
            return
        seen = end
    refuse_early(data)


@given(st.integers(1, 200))
def test_no_beginning_of_a_good_head_is_refused(cut: int) -> None:
    text = b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-Tab: \ta\t b\t\r\nAccept: */*\r\n\r\n"
    if cut < len(text):
        refuse_early(text[:cut])


@pytest.mark.parametrize(
    "host",
    [
        b"a:65536",
        b"a:99999",
        b"a:x",
        b"a,b",
        b"a%00b",
        b"[::1",
        b"[::g]",
        b"[1:2]",
        b"[:::1]:80",
        b"a b",
        b"a/b",
        b"u@a",
    ],
)
def test_what_is_no_host_is_refused(host: bytes) -> None:
    with pytest.raises(ClientFault):
        request(b"GET / HTTP/1.1\r\nHost: " + host)


@pytest.mark.parametrize("host", [b"a", b"a:80", b"a:65535", b"[::1]", b"[::ffff:1.2.3.4]:8080", b"1.2.3.4", b"x_y"])
def test_what_is_a_host_is_taken(host: bytes) -> None:
    assert request(b"GET / HTTP/1.1\r\nHost: " + host).host == host


def test_the_names_in_via_are_known() -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 Edge (comment), 1.0 b:80\r\nVia: 2 c")
    assert head.common.via == (b"edge", b"b:80", b"c")
