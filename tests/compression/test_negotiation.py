"""Which answers are compressed for whom, and what their heads then say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.compression import Compression
from balancer.compression.entity_tags import answering, coded, original
from balancer.compression.negotiation import LONGEST, REMEMBERED
from balancer.http1.edits import Edits
from balancer.http1.framing import CHUNKED, UNTIL_CLOSE
from balancer.http1.head import RequestHead, ResponseHead, parse_request, parse_response
from balancer.http1.outgoing import encode_response
from config.cache import Compress
from config.schema import Headers

CODINGS = (b"gzip", b"br", b"zstd")
ALL = Compression(Compress())
HTML = "Content-Type: text/html"
TAKES = "Accept-Encoding: gzip"

characters = st.characters(codec="latin-1", exclude_categories=["Cc", "Zs"], exclude_characters='"\xad')
bare = st.text(characters, max_size=12).map(lambda text: text.encode("latin-1"))
bare = st.tuples(bare, st.sampled_from([b"", b"~gzip", b"~br", b"~x"])).map(b"".join)
strong = bare.map(lambda text: b'"%b"' % text)
tags = st.tuples(st.sampled_from([b"", b"W/"]), strong).map(b"".join)


def asked(*lines: str, method: str = "GET", minor: int = 1) -> RequestHead:
    head = "\r\n".join([f"{method} /x HTTP/1.{minor}", "Host: h", *lines])
    return parse_request(head.encode("latin-1"), 100, 1000)


def said(*lines: str, status: int = 200) -> ResponseHead:
    return parse_response("\r\n".join([f"HTTP/1.1 {status} OK", *lines]).encode("latin-1"), 100)


def lines(response: ResponseHead) -> list[str]:
    return [field.line.decode("latin-1").rstrip() for field in response.fields]


@pytest.mark.parametrize("length", [1024, 10**9, CHUNKED, UNTIL_CLOSE])
def test_a_page_suits(length: int) -> None:
    assert ALL.suits(said(HTML), length)


@pytest.mark.parametrize("length", [0, 1, 1023])
def test_a_small_page_does_not_suit(length: int) -> None:
    assert not ALL.suits(said(HTML), length)


def test_no_body_is_too_small_to_be_none() -> None:
    assert not Compression(Compress(min_size=0)).suits(said(HTML), 0)
    assert Compression(Compress(min_size=0)).suits(said(HTML), 1)


@pytest.mark.parametrize("status", [100, 103, 204, 205, 206, 304, 416])
def test_an_answer_without_a_body_of_its_own_does_not_suit(status: int) -> None:
    assert not ALL.suits(said(HTML, status=status), CHUNKED)


@pytest.mark.parametrize(
    ("kind", "suits"),
    [
        ("text/html", True),
        ("TEXT/HTML ; charset=utf-8", True),
        ("text/html;charset=utf-8", True),
        ("application/json", True),
        ("application/problem+json", True),
        ("application/vnd.api+json; ext=x", True),
        ("application/jsonp", False),
        ("xapplication/json", False),
        ("image/svg+xml", True),
        ("image/svgxxml", False),  # the + is a character
        ("image/png", False),
        ("text", False),
        ("", False),
    ],
)
def test_the_type_decides(kind: str, suits: bool) -> None:
    assert ALL.suits(said(f"Content-Type: {kind}"), CHUNKED) is suits
    assert ALL.suits(said(f"Content-Type: {kind}"), CHUNKED) is suits  # from memory


def test_types_that_are_written_in_capitals_are_types() -> None:
    assert Compression(Compress(types=("Text/*",))).suits(said("content-type: text/x"), CHUNKED)


@pytest.mark.parametrize(
    "line",
    [
        "Content-Encoding: gzip",
        "content-encoding: identity",
        "Cache-Control: no-transform",
        "Cache-Control: max-age=1,NO-TRANSFORM",
        "Content-Type: text/plain",
    ],
)
def test_an_answer_that_must_stay_as_it_is_does_not_suit(line: str) -> None:
    assert not ALL.suits(said(HTML, line), CHUNKED)


def test_a_word_within_a_word_is_not_that_word() -> None:
    assert ALL.suits(said(HTML, "Cache-Control: x-no-transform, no-transformation"), CHUNKED)
    told = ALL.edited(said(HTML, "Vary: X-Accept-Encoding"), None)
    assert lines(told)[-1] == "Vary: Accept-Encoding"


def test_a_head_is_edited_once_and_nothing_else_in_it() -> None:
    before = said(
        HTML, "Content-Length: 5000", "Set-Cookie: a=1", "Set-Cookie: b=2", 'ETag: "x"', "Accept-Ranges: bytes"
    )
    told = ALL.edited(before, b"br")
    assert lines(told) == [
        HTML,
        "Set-Cookie: a=1",
        "Set-Cookie: b=2",
        'ETag: "x~br"',
        "Content-Encoding: br",
        "Accept-Ranges: none",
        "Vary: Accept-Encoding",
    ]
    assert told.length == -1
    assert before.length == 5000  # what came is not touched
    assert [field.value for field in before.fields if field.name == b"etag"] == [b'"x"']


def test_a_head_without_a_tag_gets_none() -> None:
    assert lines(ALL.edited(said(HTML), b"gzip")) == [HTML, "Content-Encoding: gzip", "Vary: Accept-Encoding"]


def test_an_answer_that_is_not_compressed_says_that_others_are() -> None:
    told = ALL.prepared(asked(), said(HTML, "Content-Length: 5000"), 5000)
    assert (told.coding, told.response.length) == (None, 5000)
    assert lines(told.response) == [HTML, "Content-Length: 5000", "Vary: Accept-Encoding"]


def test_a_stream_of_events_is_known_as_one() -> None:
    told = ALL.prepared(asked(TAKES), said("Content-Type: Text/Event-Stream; charset=utf-8"), CHUNKED)
    assert told.events
    assert not ALL.prepared(asked(TAKES), said(HTML), CHUNKED).events


def test_a_head_is_answered_by_the_length_that_is_told() -> None:
    request = asked(TAKES, method="HEAD")
    assert ALL.prepared(request, said(HTML, "Content-Length: 5000"), 0).coding == b"gzip"
    assert ALL.prepared(request, said(HTML), 0).coding == b"gzip"
    small = said(HTML, "Content-Length: 5")
    assert ALL.prepared(request, small, 0).response is small


def test_codings_that_are_written_twice_are_offered_once_and_in_order() -> None:
    assert Compression(Compress(codings=("gzip", "br", "gzip"))).choose(b"br, gzip") == b"gzip"


def test_what_is_remembered_has_an_end() -> None:
    compression = Compression(Compress())
    for number in range(3 * REMEMBERED):
        compression.choose(b"x%d" % number)
        compression.suits(said(f"Content-Type: text/x{number}"), CHUNKED)
    compression.choose(b"y" * 100_000)
    assert len(compression._choices) <= REMEMBERED
    assert len(compression._suiting) <= REMEMBERED
    assert max(map(len, compression._choices)) <= LONGEST


# Entity tags.


@given(strong, st.sampled_from(CODINGS))
def test_a_strong_tag_becomes_another_strong_one_and_comes_back(tag: bytes, coding: bytes) -> None:
    other = coded(tag, coding)
    assert other != tag
    assert other[:1] == other[-1:] == b'"'
    assert original(other) == tag


@given(strong)
def test_each_coding_has_a_tag_of_its_own(tag: bytes) -> None:
    assert len({tag, *(coded(tag, coding) for coding in CODINGS)}) == 4


@given(st.one_of(bare, bare.map(lambda text: b'W/"%b"' % text)), st.sampled_from(CODINGS))
def test_what_is_no_strong_tag_stays_as_it_is(tag: bytes, coding: bytes) -> None:
    assert coded(tag, coding) == tag


@given(st.lists(tags, min_size=1, max_size=5))
def test_conditions_come_back_tag_by_tag(listed: list[bytes]) -> None:
    assert original(b", ".join(listed)) == b", ".join(original(tag) for tag in listed)


@pytest.mark.parametrize(
    ("condition", "preferred", "told"),
    [
        ('"x~gzip"', None, '"x~gzip"'),
        ('"x~gzip", "x~br"', "br", '"x~br"'),
        ('"x~gzip", "x~br"', "zstd", '"x~gzip"'),
        ('"x", "x~gzip"', "gzip", '"x~gzip"'),
        ('"x", "x~gzip"', None, '"x"'),
        ('W/"x~br"', "br", '"x~br"'),
        ('"y~gzip"', "gzip", '"x"'),
        ("*", "gzip", '"x"'),
    ],
)
def test_a_304_tells_of_the_page_that_the_client_has(condition: str, preferred: str | None, told: str) -> None:
    assert answering(condition.encode(), b'"x"', preferred.encode() if preferred else None) == told.encode()


def test_a_request_is_touched_only_when_it_names_a_tag_of_ours() -> None:
    for line in ('If-None-Match: "x"', 'If-None-Match: "~gzip~"', 'If-Range: "x~gzip"', 'X: "x~gzip"'):
        request = asked(line)
        assert ALL.restored(request) is request


def test_a_restored_request_differs_in_its_conditions_alone() -> None:
    request = asked("A: 1", 'If-None-Match: "x~gzip", W/"y"', "Content-Length: 3", "Connection: close", method="PUT")
    request.common.encoded = "what was sent on for the other"
    restored = ALL.restored(request)
    assert [field.line for field in restored.common.fields] == [
        field.line.replace(b"~gzip", b"") for field in request.common.fields
    ]
    assert restored.common.encoded is None
    for name in ("length", "persistent", "has_body", "names", "host", "special", "chunked"):
        assert getattr(restored.common, name) == getattr(request.common, name)
    assert (restored.method, restored.target, restored.host) == (request.method, request.target, request.host)
    assert request.value(b"if-none-match") == b'"x~gzip", W/"y"'


def test_edits_of_the_operator_have_the_last_word() -> None:
    edits = Edits(Headers.model_validate({"response": {"set": {"Vary": "*"}}}))
    told = ALL.edited(said(HTML), b"gzip")
    data = encode_response(told, edits, CHUNKED, minor=1, persistent=True, request_id=b"1", date=b"d")
    assert data.count(b"Vary: ") == 1
    assert b"Vary: *\r\n" in data
