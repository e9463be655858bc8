"""The name a client asks for, from every ClientHello there is a library for, and from what is none."""

import ssl
from random import Random

import pytest

from balancer.tls.hello import LONGEST, server_name


def hello(name: str | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = newest
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of so many bytes each."""
    message = data[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["a.test", "A.Test", "x" * 60 + ".test", None])
def test_the_name_is_found_once_the_message_is_whole(name: str | None, newest: ssl.TLSVersion) -> None:
    whole = hello(name, newest)
    expected = (name or "").lower().encode()
    for data in (whole, in_records(whole, 200), in_records(whole, 100)):
        assert server_name(data) == expected
        assert server_name(data + b"more") == expected
        for at in range(0, len(data), 7):
            assert server_name(data[:at]) is None


def test_a_name_that_is_not_ascii_is_a_name_like_others() -> None:
    assert server_name(hello("a.test").replace(b"a.test", b"a\xff\x00est")) == b"a\xff\x00est"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x00",
        in_records(b"\x16\x03\x01\x00\x00" + b"\x01\x00\x01\x00" + b"x" * 256, 1),
    ],
)
def test_what_is_no_hello_has_no_name(data: bytes) -> None:
    assert server_name(data) == b""


def test_what_does_not_end_is_not_waited_for_without_end() -> None:
    endless = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\x00" * (0x4000 - 4)
    assert server_name(endless[: LONGEST - 1]) is None
    assert server_name(endless[:LONGEST]) == b""


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_raised_whatever_comes(seed: int) -> None:
    rng = Random(seed)
    whole = bytearray(hello("a.test"))
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(5, len(data))] = rng.randrange(256)
        cut = bytes(data[: rng.randrange(len(data) + 1)])
        found = server_name(rng.choice((bytes(data), cut, rng.randbytes(rng.randrange(100)), b"\x16\x03\x01" + cut)))
        assert found is None or len(found) < len(data)
