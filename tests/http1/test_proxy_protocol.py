"""The PROXY protocol: what is sent can be read, and whatever comes is taken whole or refused."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.proxy_protocol import (
    LONGEST_BINARY,
    LONGEST_LINE,
    Endpoint,
    NoPreamble,
    Preamble,
    could_begin,
    crc32c,
    encode_v1,
    encode_v2,
    parse,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 0x04, 0x01, 0xBB])

PORTS = st.integers(0, 65535)
IPV4 = st.tuples(st.ip_addresses(v=4).map(str), PORTS)
IPV6 = st.tuples(
    st.ip_addresses(v=6).filter(lambda address: isinstance(address, IPv6Address) and not address.ipv4_mapped).map(str),
    PORTS,
)
ENDS = st.tuples(IPV4, IPV4) | st.tuples(IPV6, IPV6)
ENCODE = st.sampled_from([encode_v1, encode_v2])


def binary(kind: int, rest: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, kind]) + len(rest).to_bytes(2, "big") + rest


def extension(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


SOUND = st.one_of(
    st.builds(lambda encode, ends: encode(*ends), ENCODE, ENDS),
    st.sampled_from(
        [
            encode_v1(None, None),
            encode_v2(None, None),
            binary(0x31, bytes(216)),
            binary(0x11, V4 + extension(0x04, b"pad") + extension(0xE0, b"")),
        ]
    ),
)


@given(ENCODE, ENDS, st.binary(max_size=20))
def test_what_is_encoded_is_parsed(encode, ends: tuple[Endpoint, Endpoint], rest: bytes) -> None:  # type: ignore[no-untyped-def]
    sent = encode(*ends)
    assert parse(sent + rest) == Preamble(len(sent), *ends)


@given(SOUND, st.binary(max_size=20))
def test_nothing_is_decided_before_the_last_byte(sent: bytes, rest: bytes) -> None:
    for cut in range(len(sent)):
        assert could_begin(sent[:cut])
        assert parse(sent[:cut]) is None
    whole = parse(sent + rest)
    assert whole is not None
    assert whole.consumed == len(sent)


@given(SOUND, st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=3), st.binary(max_size=20))
def test_broken_bytes_are_refused_or_taken_within_bounds(
    sent: bytes, changes: list[tuple[int, int]], rest: bytes
) -> None:
    data = bytearray(sent + rest)
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        found = parse(bytes(data))
    except NoPreamble:
        return
    if found is None:
        assert len(data) < LONGEST_BINARY
    else:
        assert 0 < found.consumed <= len(data)
        assert parse(bytes(data[: found.consumed])) == found


@given(st.binary(max_size=400))
def test_what_cannot_begin_one_is_refused_and_never_waited_for(data: bytes) -> None:
    if not could_begin(data):
        with pytest.raises(NoPreamble):
            parse(data)


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=8))
def test_a_refusal_stays_one_whatever_comes_after(pieces: list[bytes]) -> None:
    data, refused = b"", False
    for piece in pieces:
        data += piece
        try:
            parse(data)
        except NoPreamble:
            refused = True
        else:
            assert not refused


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        b"PROXY TCP6 2001:db8::1 2001:DB8::2 1 2\r\n",
        b"PROXY TCP6 ::ffff:192.0.2.1 :: 1 2\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 what ever 1 2\r\n",
        b"PROXY UNKNOWN" + b" " * 92 + b"\r\n",
    ],
)
def test_these_lines_are_preambles(line: bytes) -> None:
    found = parse(line + b"GET / HTTP/1.1\r\n")
    assert found is not None
    assert found.consumed == len(line)
    assert (found.source is None) == (b"UNKNOWN" in line)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.256 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UNKNOWN\0\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN \x01\r\n",
        b"PROXY UNKNOWN" + b" " * 93 + b"\r\n",
        b"PROXY \r\n",
    ],
)
def test_these_lines_are_none(line: bytes) -> None:
    with pytest.raises(NoPreamble):
        parse(line)


def test_a_line_without_end_is_waited_for_no_longer_than_the_longest_line() -> None:
    endless = b"PROXY UNKNOWN" + b" " * 200
    assert parse(endless[: LONGEST_LINE - 1]) is None
    with pytest.raises(NoPreamble, match="longer than 107"):
        parse(endless[:LONGEST_LINE])


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (binary(0x11, V4), ("192.0.2.1", 56324)),
        (binary(0x21, bytes(15) + b"\1" + bytes(15) + b"\2" + b"\0\1\0\2"), ("::1", 1)),
        (binary(0x00, b""), None),
        (binary(0x00, b"anything"), None),
        (binary(0x12, V4), None),  # of a datagram: valid, and of no use
        (binary(0x31, bytes(216)), None),
        (binary(0x00, b"", command=0x20), None),
        (binary(0xFF, b"whatever", command=0x20), None),  # LOCAL: the specification has it skipped unread
        (binary(0x11, V4, command=0x20), None),
        (binary(0x11, V4 + extension(0x01, b"h2") + extension(0x04, bytes(100))), ("192.0.2.1", 56324)),
        (binary(0x11, V4 + bytes([4]) + (2017).to_bytes(2, "big") + bytes(2017)), ("192.0.2.1", 56324)),
    ],
)
def test_these_headers_are_preambles(data: bytes, source: Endpoint | None) -> None:
    found = parse(data + b"GET /")
    assert found is not None
    assert (found.consumed, found.source) == (len(data), source)


@pytest.mark.parametrize(
    "data",
    [
        binary(0x11, V4, command=0x22),
        binary(0x11, V4, command=0x11),
        binary(0x11, V4, command=0x31),
        binary(0x13, V4),
        binary(0x41, V4),
        binary(0x11, V4[:-1]),
        binary(0x21, V4),
        binary(0x31, V4),
        binary(0x11, V4 + b"\4"),
        binary(0x11, V4 + b"\4\0"),
        binary(0x11, V4 + b"\4\0\1"),
        binary(0x11, V4 + extension(0x04, b"")[:-1] + b"\x09abc"),
        binary(0x11, V4 + extension(0x03, b"abc")),
        binary(0x11, V4 + extension(0x03, b"abcd")),
        binary(0x11, V4 + bytes(2021)),
        b"\r\n\r\nGET / HTTP/1.1",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_these_headers_are_none(data: bytes) -> None:
    with pytest.raises(NoPreamble):
        parse(data)


def test_a_header_that_announces_too_much_is_refused_at_its_sixteenth_byte() -> None:
    data = SIGNATURE + b"\x21\x11\xff\xff"
    assert parse(data[:-1]) is None
    with pytest.raises(NoPreamble, match="longer than 2048"):
        parse(data)


def test_the_checksum_is_the_one_that_its_rfc_tests_with() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4


@given(st.binary(max_size=40), st.integers(0, 1000))
def test_a_header_whose_checksum_is_right_is_taken_and_any_other_refused(value: bytes, place: int) -> None:
    blank = binary(0x11, V4 + extension(0xE0, value) + extension(0x03, bytes(4)))
    sealed = blank[:-4] + crc32c(blank).to_bytes(4, "big")
    assert parse(sealed) == Preamble(len(sealed), ("192.0.2.1", 56324), ("192.0.2.2", 443))
    spoilt = bytearray(sealed)
    spoilt[16 + place % 12] ^= 1
    with pytest.raises(NoPreamble, match="checksum"):
        parse(bytes(spoilt))


@pytest.mark.parametrize(
    ("source", "destination", "line"),
    [
        (("::ffff:192.0.2.1", 1), ("192.0.2.2", 2), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        (("192.0.2.1", 1), ("2001:db8::2", 2), b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"),
        (("fe80::1%lo", 1), ("::1", 2), b"PROXY TCP6 fe80::1 ::1 1 2\r\n"),
        (None, ("192.0.2.2", 2), b"PROXY UNKNOWN\r\n"),
        (("", 0), ("192.0.2.2", 2), b"PROXY UNKNOWN\r\n"),
    ],
)
def test_ends_of_different_families_are_told_in_one(
    source: Endpoint | None, destination: Endpoint | None, line: bytes
) -> None:
    sent = encode_v1(source, destination).replace(b"::ffff:c000:201", b"::ffff:192.0.2.1")
    assert sent == line
    one, other = parse(encode_v1(source, destination)), parse(encode_v2(source, destination))
    assert one is not None
    assert other is not None
    assert (one.source, one.destination) == (other.source, other.destination)
