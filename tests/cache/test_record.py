"""Records: what comes back is what was put in, and whatever else is in Redis is refused."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancer.cache import record
from balancer.cache.entry import NEVER, Entry
from balancer.cache.record import BadRecord, pack, unpack
from balancer.http1.fields import CONTENT_LENGTH, Field, parse_line

KEY = b"https://example.com/posts/7"
NOW, WALL = 1000.0, 1_795_000_000.0
TEXT = b"<p>All of it is said here, and here it is said again.</p>\n" * 40


def entry(body: bytes = b"hello", status: int = 200, fields: tuple[Field, ...] | None = None) -> Entry:
    if fields is None:
        fields = (
            parse_line(b'ETag: "one"'),
            parse_line(b"X_Odd:a,b "),
            parse_line(b"Date: Tue, 24 Nov 2026 22:00:00 GMT"),
        )
    made = Entry(
        KEY, (b"site", None), ((b"accept", None), (b"cookie", b"a=b")), status, b"HTTP/1.1 %d OK\r\n" % status, fields
    )
    made.body = body
    made.born, made.fresh_until, made.revalidate_until, made.error_until = 990.0, 1060.0, 1090.0, NEVER
    made.etag = b'"one"'
    made.last_modified = 1_700_000_000
    made.tags = (b"posts", b"post-7")
    made.groups = (b"of all",)
    return made


def packed(made: Entry | None = None, marks: bytes = b"marks") -> bytes:
    return pack(made or entry(), now=NOW, wall=WALL, marks=marks)


def read(data: bytes, **how: int) -> Entry:
    return unpack(data, KEY, now=NOW, wall=WALL, **how).entry


def told(made: Entry) -> tuple[object, ...]:
    """All that is to come back."""
    return (
        *(made.key, made.lane, made.vary, made.status, made.line, made.fields, made.body),
        *(made.etag, made.last_modified, made.tags, made.groups, made.strict),
    )


def times(made: Entry) -> list[float]:
    return [made.born, made.fresh_until, made.revalidate_until, made.error_until]


_VALUES = st.binary(max_size=30).map(lambda value: bytes(each for each in value if each >= 32 and each != 127).strip())
_NAMES = st.sampled_from([b"Content-Type", b"X-A", b"x_a", b"Set-Cookie", b"Server", b"ETag", b"A.B"])
_FIELDS = st.lists(st.builds(lambda name, value: parse_line(name + b": " + value), _NAMES, _VALUES), max_size=5)
_TIMES = st.one_of(st.floats(0, 1e9), st.just(NEVER))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    made = entry(draw(st.one_of(st.binary(), st.just(TEXT))), draw(st.sampled_from([200, 299, 404, 499, 999])))
    made = Entry(KEY, made.lane, made.vary, made.status, made.line, tuple(draw(_FIELDS)))
    made.body = draw(st.one_of(st.binary(), st.just(TEXT)))
    made.lane = tuple(draw(st.lists(st.none() | st.binary(max_size=9), max_size=4)))
    made.vary = tuple(draw(st.lists(st.tuples(st.sampled_from([b"accept", b"x-a"]), st.none() | _VALUES), max_size=3)))
    made.born = draw(st.floats(0, NOW))
    made.fresh_until, made.revalidate_until, made.error_until = draw(_TIMES), draw(_TIMES), draw(_TIMES)
    made.etag = draw(st.sampled_from([None, b'"one"', b'W/""', b'"\xe9"']))
    made.last_modified = draw(st.none() | st.integers(-62135596800, 253402300799))
    made.tags = tuple(draw(st.lists(st.sampled_from([b"a", b"\xc3\xa9"]), max_size=2)))
    made.groups = tuple(draw(st.lists(st.sampled_from([b"", b"of all"]), max_size=2)))
    made.strict = draw(st.booleans())
    if draw(st.booleans()):
        made.fold()
    return made


@given(entries(), st.binary(max_size=300))
def test_what_comes_back_is_what_was_put_in(made, marks):
    data = packed(made, marks)
    back = unpack(data, KEY, now=NOW, wall=WALL)
    assert told(back.entry) == told(made)
    assert times(back.entry) == pytest.approx(times(made), abs=1e-5)
    assert back.marks == marks


def test_times_are_those_of_the_clock_that_reads():
    there = unpack(packed(), KEY, now=50.0, wall=WALL + 20).entry
    assert times(there) == pytest.approx([20.0, 90.0, 120.0, NEVER])


def test_a_clock_that_is_ahead_makes_no_answer_live_longer():
    there = unpack(packed(), KEY, now=NOW, wall=WALL - 3600).entry
    assert times(there) == pytest.approx([NOW, NOW + 70, NOW + 100, NEVER])


def test_a_body_that_gets_smaller_by_it_is_compressed():
    assert len(packed(entry(TEXT))) < len(TEXT) / 4


@pytest.mark.parametrize("packing", [record.ZLIB, record.BEST])
def test_what_would_take_long_to_compress_is_left_as_it_is(packing):
    data = pack(entry(bytes(600_000)), now=NOW, wall=WALL, packing=packing)
    assert data[1] == record.PLAIN
    assert read(data).body == bytes(600_000)


def test_what_does_not_get_smaller_is_left_as_it_is():
    body = zlib.compress(struct.pack(">400d", *(1 / each for each in range(1, 401))), 9)
    data = packed(entry(body))
    assert data[1] == 0
    assert body in data


def test_a_machine_without_zstd_writes_zlib_and_any_reads_it():
    data = pack(entry(TEXT), now=NOW, wall=WALL, packing=record.ZLIB)
    assert data[1] == record.ZLIB
    assert read(data).body == TEXT


def test_a_packing_that_is_not_known_here_is_refused():
    with pytest.raises(BadRecord, match="packing 3 is not known here"):
        read(b"\x01\x03" + packed()[2:])


def harmless(data: bytes, most: int = 1 << 20) -> bool:
    """Whether it was taken; whatever was taken may be sent, and a BadRecord is all that is raised."""
    try:
        made, _ = unpack(data, KEY, now=NOW, wall=WALL, most=most)
    except BadRecord:
        return False
    assert made.key == KEY
    assert made.line.count(b"\n") == 1
    assert made.line.endswith(b"\r\n")
    assert all(field == parse_line(field.line[:-2]) for field in made.fields)
    assert all(field.kind != CONTENT_LENGTH for field in made.fields)
    assert len(made.body) <= most
    assert all(each == NEVER or abs(each) < 1e12 for each in times(made))
    pack(made, now=NOW, wall=WALL)
    return True


@given(st.binary(max_size=400))
@example(b"")
@example(struct.pack("<BBHI", 1, 0, 0xFFFF, 0))
@example(struct.pack("<BBHI", 1, 0, 0, 0xFFFFFFFF))
@example(struct.pack("<BBHI", 1, 1, 0, 0xFFFFF) + zlib.compress(b"")[:5])
def test_any_bytes_are_an_entry_or_a_bad_record(data):
    harmless(data)


@given(st.sampled_from([0, 1, 2]), st.binary(max_size=400))
def test_any_content_is_an_entry_or_a_bad_record(packing, content):
    harmless(struct.pack("<BBHI", record.VERSION, packing, 0, len(content)) + content)


@given(entries(), st.data())
def test_a_damaged_record_is_an_entry_or_a_bad_record(made, data):
    content = bytearray(plain(made))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not content:
            break
    harmless(bytes(content))
    damaged = bytearray(packed(made))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    harmless(bytes(damaged))


@given(st.integers(0, 400))
def test_a_record_that_was_cut_off_is_none(length):
    data = packed(entry(TEXT))
    assert not harmless(data[: min(length, len(data) - 1)])


def plain(made: Entry) -> bytes:
    """The record without marks and compression."""
    return pack(made, now=NOW, wall=WALL, packing=record.PLAIN)


def swapped(old: bytes, new: bytes) -> bytes:
    """A record in which a piece stands in the place of another one, with the lengths that it takes."""
    data = plain(entry())
    was, now = struct.pack("<I", len(old)) + old, struct.pack("<I", len(new)) + new
    assert data.count(was) == 1, old
    data = data.replace(was, now)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def test_a_piece_that_is_swapped_for_itself_leaves_a_record():
    assert harmless(swapped(b"posts", b"roasts"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'ETag: "one"\r\n', b'ETag: "one"\r\nSet-Cookie: a=b\r\n', "field line"),
        (b'ETag: "one"\r\n', b'ETag: "one"\n', "field line"),
        (b'ETag: "one"\r\n', b'ETag: "one"', "field line"),
        (b'ETag: "one"\r\n', b"\r\n", "field line"),
        (b'ETag: "one"\r\n', b"", "field line"),
        (b'ETag: "one"\r\n', b"ETag : x\r\n", "field line"),
        (b'ETag: "one"\r\n', b"Content-Length: 3\r\n", "content-length is never stored"),
        (b'ETag: "one"\r\n', b"Transfer-Encoding: chunked\r\n", "transfer-encoding is never stored"),
        (b'ETag: "one"\r\n', b"Connection: close\r\n", "connection is never stored"),
        (b'ETag: "one"\r\n', b"Content_Length: 3\r\n", "content_length is never stored"),
        (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 OK\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK", "status line"),
        (b'"one"', b'"one"\r\nA: b', "etag"),
        (b'"one"', b"one", "etag"),
        (b"cookie", b"coo kie", "selecting field"),
        (b"a=b", b"a=b\r\n", "selecting field"),
        (b"post-7", b"post 7", "tags"),
        (b"post-7", b"", "tags"),
        (b"post-7", b"x" * 257, "tags"),
        (b"of all", b"of\nall", "tags or groups"),
        (KEY, KEY + b"?", "another URL"),
    ],
)
def test_what_pack_would_not_have_written_is_refused(old, new, why):
    with pytest.raises(BadRecord, match=why):
        read(swapped(old, new))


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (3, "<d", float("nan")),
        (3, "<d", NEVER),
        (11, "<d", float("inf")),
        (11, "<d", float("nan")),
        (19, "<d", 1e300),
        (27, "<d", -1e300),
        (35, "<q", 1 << 62),
        (0, "<H", 206),
        (0, "<H", 99),
    ],
)
def test_numbers_that_mean_nothing_are_refused(offset, form, value):
    data = bytearray(plain(entry()))
    struct.pack_into(form, data, 8 + offset, value)
    with pytest.raises(BadRecord):
        read(bytes(data))


@pytest.mark.parametrize("status", [206, 304, 416])
def test_an_answer_that_is_never_stored_is_refused(status):
    with pytest.raises(BadRecord, match=f"a {status} is not stored"):
        read(packed(entry(b"", status)))


def test_an_answer_that_has_no_body_is_refused_with_one():
    assert read(packed(entry(b"", 204))).status == 204
    with pytest.raises(BadRecord, match="has no body"):
        read(packed(entry(b"HTTP/1.1 200 OK\r\n\r\n", 204)))


def test_another_version_is_refused():
    with pytest.raises(BadRecord, match="version 2, not 1"):
        read(b"\x02" + packed()[1:])


def test_a_record_that_would_be_too_large_is_refused_before_it_is_unpacked():
    data = packed(entry(TEXT * 1000))
    with pytest.raises(BadRecord, match=r"it would be \d+ bytes, more than 100000"):
        read(data, most=100_000)


@pytest.mark.parametrize("packing", ["zlib", "zstd"])
def test_what_claims_to_be_small_and_is_not_takes_no_memory(packing):
    bomb = bytes(50_000_000)
    if packing == "zlib":
        number, content = record.ZLIB, zlib.compress(bomb, 1)
    else:
        zstd = pytest.importorskip("compression.zstd" if record.sys.version_info >= (3, 14) else "backports.zstd")
        number, content = record.ZSTD, zstd.compress(bomb, 1)
    del bomb
    data = struct.pack("<BBHI", record.VERSION, number, 0, 1000) + content
    tracemalloc.start()
    try:
        with pytest.raises(BadRecord):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_window_that_takes_too_much_memory_is_refused():
    zstd = pytest.importorskip("compression.zstd" if record.sys.version_info >= (3, 14) else "backports.zstd")
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    content = compressor.compress(b"x" * 1000) + compressor.flush()
    with pytest.raises(BadRecord, match="does not decompress"):
        read(struct.pack("<BBHI", record.VERSION, record.ZSTD, 0, 1000) + content)
