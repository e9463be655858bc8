"""The reader of chunked bodies against a decoder that is plain and slow: any chunks, cuts and changes."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from balancer.http1.fields import may_trail, parse_line
from balancer.http1.framing import LONGEST_TRAILERS, BadChunk, ChunkedReader, chunk, last_chunk
from tests.differential.mutator import mutate
from tests.differential.reference import (
    LONGEST_SIZE_LINE,
    MOST_EXTENSIONS,
    MOST_TRAILERS,
    Broken,
    Chunked,
    Incomplete,
    decode_chunked,
)

Outcome = tuple[str, bytes, list[tuple[bytes, bytes]], bytes]

# The grammar of RFC 9112 section 7.1, extensions and trailers with it.
VALUE = st.binary(max_size=20).map(lambda raw: bytes(c for c in raw if c == 9 or (c >= 32 and c != 127)))
NAME = st.text("abcXYZ019-!_~", min_size=1, max_size=10).map(str.encode)
FORBIDDEN = st.sampled_from([b"Content-Length", b"Host", b"Cookie", b"X-Forwarded-For", b"Connection", b"Trailer"])
EXTENSION = st.one_of(st.just(b""), VALUE.map(lambda value: b";" + value))
PIECE = st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 8), st.booleans(), EXTENSION)
TRAILER = st.tuples(st.one_of(NAME, FORBIDDEN), VALUE)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Any chunked body."""
    text = b""
    for piece, zeros, upper, extension in draw(st.lists(PIECE, max_size=6)):
        size = b"%X" % len(piece) if upper else b"%x" % len(piece)
        text += b"0" * zeros + size + extension + b"\r\n" + piece + b"\r\n"
    text += b"0" * draw(st.integers(1, 5)) + draw(EXTENSION) + b"\r\n"
    for name, value in draw(st.lists(TRAILER, max_size=4)):
        text += name + b":" + value + b"\r\n"
    return text + b"\r\n"


CUTS = st.lists(st.integers(0, 400), max_size=12)


def read(text: bytes, cuts: list[int]) -> Outcome:
    """What the reader makes of the text, cut at these places."""
    reader = ChunkedReader()
    body = b""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    try:
        for start, end in pairwise(places):
            if reader.done:
                reader.rest += text[start:end]
            else:
                body += b"".join(reader.feed(text[start:end]))
                assert len(reader._buffer) < LONGEST_TRAILERS
    except BadChunk:
        return "broken", b"", [], b""
    if not reader.done:
        return "waiting", body, [], b""
    return "done", body, [(field.name, field.value) for field in reader.trailers], reader.rest


def decoded(text: bytes) -> Outcome:
    """What is right."""
    found = Chunked()
    try:
        decode_chunked(text, found=found)
    except Broken:
        return "broken", b"", [], b""
    except Incomplete:
        return "waiting", found.body, [], b""
    trailers = [pair for pair in found.trailers if may_trail(parse_line(b"%b: %b" % pair))]
    return "done", found.body, trailers, text[found.end :]


@given(bodies(), st.binary(max_size=10), CUTS)
def test_any_body_is_read_as_the_grammar_has_it_however_it_is_cut(text: bytes, rest: bytes, cuts: list[int]) -> None:
    outcome = read(text + rest, cuts)
    assert outcome[0] == "done"
    assert outcome[3] == rest
    assert outcome == decoded(text + rest)


@given(bodies(), st.integers(0, 2**32), st.integers(1, 4), CUTS)
def test_a_changed_body_is_read_as_the_grammar_has_it_or_refused(
    text: bytes, seed: int, changes: int, cuts: list[int]
) -> None:
    rng = Random(seed)
    for _ in range(changes):
        text = mutate(text, (text, b"5\r\nhello\r\n0\r\n\r\n", b"0\r\nX: y\r\n\r\n"), rng)
    assert read(text, cuts) == decoded(text)


@given(
    st.lists(st.sampled_from([b"0", b"5", b"f", b"\r", b"\n", b";", b" ", b"\t", b"a:", b"hello"]), max_size=14), CUTS
)
@example([b"0", b"\r", b"\n", b"\r", b"\n"], [])
def test_no_row_of_tokens_is_read_otherwise_than_by_the_grammar(tokens: list[bytes], cuts: list[int]) -> None:
    text = b"".join(tokens)
    assert read(text, cuts) == decoded(text)


@given(bodies(), CUTS)
def test_what_is_sent_on_is_the_same_body_and_nothing_else(text: bytes, cuts: list[int]) -> None:
    reader = ChunkedReader()
    framed = b""
    for start, end in pairwise([0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]):
        framed += b"" if reader.done else chunk(reader.feed(text[start:end]))
    framed += last_chunk(reader.trailers)
    sent = decode_chunked(framed)
    assert sent.end == len(framed)
    assert sent.body == decode_chunked(text).body
    assert framed == sent.plain + sent.lines + b"\r\n", "sizes are written anew, and extensions left out"


@given(
    st.integers(-3, 3), st.sampled_from(["line", "extensions", "trailers", "trailer bytes"]), st.integers(0, 20), CUTS
)
def test_each_bound_holds_to_the_byte_however_it_is_cut(off: int, bound: str, back: int, cuts: list[int]) -> None:
    if bound == "line":
        text = b"1;" + b"x" * (LONGEST_SIZE_LINE - 4 + off) + b"\r\na\r\n0\r\n\r\n"
    elif bound == "extensions":
        each = b"1;" + b"x" * 127 + b"\r\na\r\n"  # 128 bytes of them in each chunk
        text = each * (MOST_EXTENSIONS // 128 - 1) + b"1;" + b"x" * (127 + off) + b"\r\na\r\n0\r\n\r\n"
    elif bound == "trailers":
        text = b"0\r\n" + b"A: b\r\n" * (MOST_TRAILERS + off) + b"\r\n"
    else:
        text = b"0\r\nA: " + b"b" * (LONGEST_TRAILERS - 7 + off) + b"\r\n\r\n"
    assert read(text, [len(text) - back, *(cut * 50 for cut in cuts)]) == decoded(text)
    text = text[: len(text) - back]
    assert read(text, [cut * 50 for cut in cuts]) == decoded(text)
