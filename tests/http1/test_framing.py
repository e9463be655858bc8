"""Where a body ends, however it arrives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.framing import (
    CHUNKED,
    LONGEST_SIZE_LINE,
    LONGEST_TRAILERS,
    MOST_EXTENSIONS,
    UNTIL_CLOSE,
    BadChunk,
    ChunkedReader,
    chunk,
    last_chunk,
    response_length,
)
from balancer.http1.head import parse_response


@pytest.mark.parametrize(
    ("method", "head", "length"),
    [
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5", 5),
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", CHUNKED),
        (b"GET", b"HTTP/1.1 200 OK", UNTIL_CLOSE),
        (b"GET", b"HTTP/1.0 200 OK", UNTIL_CLOSE),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5", 0),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", 0),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5", 0),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", 0),
        (b"GET", b"HTTP/1.1 100 Continue", 0),
    ],
)
def test_the_length_follows_rfc_9112_section_6_3(method: bytes, head: bytes, length: int) -> None:
    assert response_length(method, parse_response(head, 100)) == length


def read(text: bytes, cuts: list[int]) -> tuple[bytes, ChunkedReader]:
    reader = ChunkedReader()
    body = b""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(places):
        if reader.done:
            reader.rest += text[start:end]
        else:
            body += b"".join(reader.feed(text[start:end]))
    return body, reader


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=6),
    st.binary(max_size=10),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_any_split_of_the_bytes_gives_the_same_body(pieces: list[bytes], rest: bytes, cuts: list[int]) -> None:
    text = b"".join(chunk([piece]) for piece in pieces) + b"0\r\nX-Sum: 1\r\n\r\n" + rest
    body, reader = read(text, cuts)
    assert body == b"".join(pieces)
    assert reader.done
    assert reader.rest == rest
    assert [(f.name, f.value) for f in reader.trailers] == [(b"x-sum", b"1")]


@pytest.mark.parametrize(
    "text",
    [
        b"g\r\n",
        b"-1\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello\rX",
        b"\r\n",
        b"1234567890abcdef0\r\n",
        b"5;" + b"x" * 300 + b"\r\n",
        b"5;a\x00\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n" + b"a: b\r\n" * 40 + b"\r\n",
        b"0\r\n" + b"a: " + b"b" * LONGEST_TRAILERS + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_broken_chunks_are_refused_however_they_arrive(text: bytes, step: int) -> None:
    reader = ChunkedReader()

    def feed_all() -> None:
        for at in range(0, len(text), step):
            reader.feed(text[at : at + step])

    with pytest.raises(BadChunk):
        feed_all()


def test_extensions_are_dropped_and_forbidden_trailers_too() -> None:
    body, reader = read(b'5;name="v"\r\nhello\r\n0\r\nContent-Length: 9\r\nX-Ok: 1\r\nHost: b\r\n\r\n', [])
    assert body == b"hello"
    assert [f.name for f in reader.trailers] == [b"x-ok"]
    assert last_chunk(reader.trailers) == b"0\r\nX-Ok: 1\r\n\r\n"


@given(st.binary(max_size=120), st.integers(1, 7))
def test_no_bytes_crash_the_reader_or_make_it_keep_more_than_a_line(text: bytes, step: int) -> None:
    reader = ChunkedReader()
    try:
        for at in range(0, len(text), step):
            if reader.done:
                break
            reader.feed(text[at : at + step])
            assert len(reader._buffer) <= LONGEST_TRAILERS
    except BadChunk:
        assert not reader.done


@pytest.mark.parametrize(
    "size", [b"5 ", b" 5", b"5 ;x", b"+5", b"-5", b"0x5", b"5_0", b"5\t", b"", b"5;\x00", b"\xd9\xa5"]
)
def test_a_size_is_hexadecimal_digits_and_nothing_else(size: bytes) -> None:
    with pytest.raises(BadChunk):
        read(size + b"\r\nabcde\r\n0\r\n\r\n", [])


@pytest.mark.parametrize("beginning", [b"x", b"5 ", b"5\n", b"5\rx", b"-"])
def test_a_size_that_cannot_become_one_is_not_waited_for(beginning: bytes) -> None:
    with pytest.raises(BadChunk):
        ChunkedReader().feed(beginning)


def test_extensions_are_dropped_and_have_an_end() -> None:
    body, reader = read(b'3;a="b;c";d\r\nabc\r\n0;last\r\n\r\n', [])
    assert (body, reader.done) == (b"abc", True)
    extended = b"1;" + b"x" * (LONGEST_SIZE_LINE - 8) + b"\r\na\r\n"
    with pytest.raises(BadChunk, match="extensions"):
        read(extended * (MOST_EXTENSIONS // LONGEST_SIZE_LINE + 2), [])


def test_trailers_that_would_come_too_late_are_dropped() -> None:
    forbidden = b"".join(
        b"%b: 1\r\n" % name
        for name in (b"Content-Length", b"Host", b"Authorization", b"Set-Cookie", b"Content-Type", b"Cache-Control")
    )
    _, reader = read(b"0\r\n" + forbidden + b"Server-Timing: a\r\nX-Sum: 1\r\n\r\n", [])
    assert [field.name for field in reader.trailers] == [b"server-timing", b"x-sum"]
