"""What the coders make, taken apart by the decoders of others."""

from __future__ import annotations

import gzip
import zlib

import brotli  # type: ignore[import-untyped]  # it has no stubs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.compression import SLICE, coder, compress, packing
from balancer.compression.coders import MOST_MEMORY, Room, weight
from balancer.compression.packages import AVAILABLE, zstd
from balancer.compression.packing import ROOM
from balancer.tally import RouteTally

CODINGS = (b"gzip", b"br", b"zstd")
some = st.sampled_from(CODINGS)
pieces = st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([b"abc" * 500, b"\0" * 5000])), max_size=8)


def decoded(coding: bytes, data: bytes) -> bytes:
    if coding == b"gzip":
        return gzip.decompress(data)
    if coding == b"br":
        return bytes(brotli.decompress(data))
    return zstd.decompress(data)


def beginning(coding: bytes, data: bytes) -> bytes:
    """What can be read of an unfinished stream."""
    if coding == b"gzip":
        return zlib.decompressobj(zlib.MAX_WBITS + 16).decompress(data)
    if coding == b"br":
        return bytes(brotli.Decompressor().process(data))
    return zstd.ZstdDecompressor().decompress(data)


def test_these_tests_have_all_codings() -> None:
    assert set(CODINGS) == AVAILABLE


@given(some, pieces, st.booleans(), st.booleans(), st.sets(st.integers(0, 8)))
def test_what_is_fed_comes_out_whatever_the_pieces(
    coding: bytes, body: list[bytes], known: bool, events: bool, flushed: set[int]
) -> None:
    whole = b"".join(body)
    made = coder(coding, len(whole) if known and not events else -1, events)
    sent = b""
    for number, piece in enumerate(body):
        sent += made.feed(piece)
        if number in flushed:
            sent += made.flush()
            assert beginning(coding, sent) == b"".join(body[: number + 1])
    assert decoded(coding, sent + made.finish()) == whole


@given(some, st.binary(max_size=2000))
def test_a_whole_body_comes_out_or_does_not_pay(coding: bytes, body: bytes) -> None:
    packed = compress(coding, body)
    if packed is None:
        made = coder(coding, len(body))
        assert len(made.feed(body) + made.finish()) > len(body) * 0.9
    else:
        assert decoded(coding, packed) == body
        assert len(packed) <= len(body) * 0.9


@pytest.mark.parametrize("coding", CODINGS)
def test_noise_does_not_pay_and_repetition_does(coding: bytes) -> None:
    assert compress(coding, bytes(range(256)) * 4) is not None
    assert compress(coding, zlib.compress(b"".join(b"%d" % (i * i) for i in range(3000)))) is None


@pytest.mark.parametrize("coding", [b"deflate", b"identity", b"", b"GZIP"])
def test_what_is_no_coding_of_ours_is_refused(coding: bytes) -> None:
    with pytest.raises(KeyError):
        coder(coding)


def test_a_zstd_frame_needs_no_window_that_clients_need_not_have() -> None:
    made = coder(b"zstd")
    frame = made.feed(b"".join(b"%d" % i for i in range(10**6))) + made.finish()
    parameters = {zstd.DecompressionParameter.window_log_max: 19}  # 512 KiB; RFC 9659 allows 8 MiB
    assert zstd.decompress(frame, options=parameters).startswith(b"0123")


# A body of an answer.


@given(some, pieces, st.booleans())
def test_the_bytes_of_a_body_are_counted_before_and_after(coding: bytes, body: list[bytes], flushed: bool) -> None:
    tally = RouteTally()
    body = [piece for piece in body if piece]
    through = packing(coding, -1, tally, events=False)
    assert through is not None
    sent = b""
    for piece in body:
        sent += through.feed([piece])
        if flushed:
            sent += through.flush()
            assert through.flush() == b""  # there is nothing more to tell
    sent += through.finish()
    through.drop()
    name = coding.decode()
    assert decoded(coding, sent) == b"".join(body)
    assert (tally.compression_in[name], tally.compression_out[name]) == (len(b"".join(body)), len(sent))


def test_when_coders_take_too_much_memory_answers_go_as_they_are() -> None:
    tally = RouteTally()
    before = ROOM.held
    taken = []
    while (through := packing(b"gzip", -1, tally, events=False)) is not None:
        taken.append(through)
        assert len(taken) < 5000
    assert ROOM.held <= MOST_MEMORY
    assert tally.compression_declined == 1
    taken.pop().drop()
    again = packing(b"gzip", -1, tally, events=False)
    assert again is not None
    for through in [*taken, again]:
        through.drop()
    assert ROOM.held == before


@given(some, st.integers(-2, 10 * SLICE), st.booleans())
def test_what_is_taken_is_given_back(coding: bytes, length: int, events: bool) -> None:
    room = Room()
    taken = [room.take(coding, length, events) for _ in range(3)]
    assert room.held == sum(taken) == 3 * weight(coding, length, events) > 0
    for size in taken:
        room.give(size)
    assert room.held == 0
