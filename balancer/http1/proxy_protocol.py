"""The PROXY protocol, versions 1 and 2: what a proxy says of a connection's two ends before anything else on it.

After the specification that HAProxy publishes as proxy-protocol.txt; its sections are named here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final, TypeAlias

Endpoint: TypeAlias = tuple[str, int]
"""An IP address and a port."""

LONGEST_LINE: Final = 107  # section 2.1, its CRLF included
LONGEST_BINARY: Final = 2048  # the format's own bound is 65551, to be held for anybody who connects

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_LINES: Final = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN")
# Exact spaces, and ports as a number is written.
_LINE: Final = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?")

_HEAD: Final = Struct("!12sBBH")
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_ANY_FAMILY, _IPV4, _IPV6, _UNIX = range(4)
_ANY_TRANSPORT, _STREAM, _DATAGRAM = range(3)
_TWO_IPV4: Final = Struct("!4s4sHH")
_TWO_IPV6: Final = Struct("!16s16sHH")
_ADDRESSES_SIZE: Final = {_IPV4: _TWO_IPV4.size, _IPV6: _TWO_IPV6.size, _UNIX: 216}
_CRC32C: Final = 0x03


class NoPreamble(ValueError):
    """What came is no preamble, or is a broken one; the text says how, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Preamble:
    """One preamble. Without addresses, those of the connection itself are meant."""

    consumed: int
    """Its bytes; what belongs to the connection begins after them."""
    source: Endpoint | None = None
    destination: Endpoint | None = None


def could_begin(data: bytes) -> bool:
    """Whether these first bytes, however few, can be the beginning of a preamble, or hold it."""
    if data[:1] == b"P":
        return any(data[: len(line)] == line[: len(data)] for line in _LINES)
    return data[:12] == _SIGNATURE[: len(data)] and data[12:13] in (b"", b"\x20", b"\x21")


def parse(data: bytes) -> Preamble | None:
    """The preamble that `data` begins with, or None until all of it is there. Raises NoPreamble.

    It waits for at most LONGEST_BINARY bytes.
    """
    if data[:1] == b"P":
        return _parse_line(data)
    if not could_begin(data):
        raise NoPreamble(
            "the version or command of the PROXY protocol is an unknown one"
            if data[:12] == _SIGNATURE
            else "the connection does not begin with the PROXY protocol"
        )
    if len(data) < _HEAD.size:
        return None
    return _parse_binary(data)


# Version 1, section 2.1.


def _parse_line(data: bytes) -> Preamble | None:
    if not could_begin(data):
        raise NoPreamble("the connection does not begin with the PROXY protocol")
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    line = data[:end] if end >= 0 else data[:LONGEST_LINE]
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise NoPreamble(f"the PROXY line is longer than {LONGEST_LINE} bytes")
        line = line.removesuffix(b"\r")  # its LF may be under way
    if b"\r" in line or b"\n" in line:
        raise NoPreamble("the PROXY line must end with CR LF")
    if end < 0:
        return None
    if _UNKNOWN.fullmatch(line):
        return Preamble(end + 2)
    found = _LINE.fullmatch(line)
    if found is None:
        raise NoPreamble("the PROXY line must hold a protocol, two addresses and two ports, one space apart")
    family = IPv4Address if found[1] == b"4" else IPv6Address
    return Preamble(
        end + 2,
        (_address(family, found[2].decode()), _port(found[4])),
        (_address(family, found[3].decode()), _port(found[5])),
    )


def _address(family: type[IPv4Address | IPv6Address], text: str) -> str:
    try:
        return str(family(text))
    except ValueError:
        raise NoPreamble(f"the PROXY line holds what is no {family.__name__[:4]} address") from None


def _port(digits: bytes) -> int:
    port = int(digits)
    if port > 65535:
        raise NoPreamble("the PROXY line holds a port over 65535")
    return port


# Version 2, section 2.2.


def _parse_binary(data: bytes) -> Preamble | None:
    _, command, kind, length = _HEAD.unpack_from(data)
    family, transport = kind >> 4, kind & 15
    total = _HEAD.size + length
    # Whatever can be told from the first 16 bytes is not waited for.
    if total > LONGEST_BINARY:
        raise NoPreamble(f"the PROXY header is longer than {LONGEST_BINARY} bytes")
    # A LOCAL one is skipped whatever it holds: the specification has its family ignored.
    described = command == _PROXY
    if described and (family > _UNIX or transport > _DATAGRAM):
        raise NoPreamble("the PROXY header names an unknown address family or transport")
    described = described and family != _ANY_FAMILY and transport != _ANY_TRANSPORT
    size = _ADDRESSES_SIZE[family] if described else 0
    if length < size:
        raise NoPreamble("the PROXY header is too short for its addresses")
    if len(data) < total:
        return None
    if not described:
        return Preamble(total)
    _check_extensions(data[:total], _HEAD.size + size)
    if transport != _STREAM or family == _UNIX:
        return Preamble(total)  # of no use here, and to be taken all the same
    if family == _IPV4:
        source, destination, source_port, destination_port = _TWO_IPV4.unpack_from(data, _HEAD.size)
    else:
        source, destination, source_port, destination_port = _TWO_IPV6.unpack_from(data, _HEAD.size)
    return Preamble(total, (str(ip_address(source)), source_port), (str(ip_address(destination)), destination_port))


def _check_extensions(header: bytes, at: int) -> None:
    """Walk the type-length-values from `at` to the end: they must fill it, and the checksum among them be right."""
    checksum_at = 0
    while at < len(header):
        value = at + 3
        end = value + int.from_bytes(header[at + 1 : value], "big")
        if value > len(header) or end > len(header):
            raise NoPreamble("the PROXY header ends amid an extension")
        if header[at] == _CRC32C:
            if checksum_at or end - value != 4:
                raise NoPreamble("the PROXY header must hold one checksum of four bytes")
            checksum_at = value
        at = end
    if not checksum_at:
        return
    blank = header[:checksum_at] + bytes(4) + header[checksum_at + 4 :]
    if crc32c(blank) != int.from_bytes(header[checksum_at : checksum_at + 4], "big"):
        raise NoPreamble("the checksum of the PROXY header is wrong")


def crc32c(data: bytes) -> int:
    """The checksum of RFC 4960 appendix B, which zlib does not have."""
    table = _crc32c_table()
    register = 0xFFFFFFFF
    for byte in data:
        register = (register >> 8) ^ table[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


@cache
def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        register = byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
        table.append(register)
    return table


# What is sent.


def encode_v1(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """The line for a connection between these two; UNKNOWN if either has no IP address."""
    ends = _alike(source, destination)
    if ends is None or source is None or destination is None:
        return b"PROXY UNKNOWN\r\n"
    one, other = ends
    return f"PROXY TCP{one.version} {one} {other} {source[1]} {destination[1]}\r\n".encode()


def encode_v2(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """The binary header for a connection between these two; LOCAL if either has no IP address."""
    ends = _alike(source, destination)
    if ends is None or source is None or destination is None:
        return _HEAD.pack(_SIGNATURE, _LOCAL, 0, 0)
    one, other = ends
    family, addresses = (_IPV4, _TWO_IPV4) if one.version == 4 else (_IPV6, _TWO_IPV6)
    return _HEAD.pack(_SIGNATURE, _PROXY, family << 4 | _STREAM, addresses.size) + addresses.pack(
        one.packed, other.packed, source[1], destination[1]
    )


def _alike(
    source: Endpoint | None, destination: Endpoint | None
) -> tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address] | None:
    """Both addresses in one family, as the formats want them: as IPv4 if both are, else as IPv6."""
    if source is None or destination is None:
        return None
    try:
        one, other = _plain(source[0]), _plain(destination[0])
    except ValueError:  # the path of a Unix socket, or a name
        return None
    if isinstance(one, IPv4Address) and isinstance(other, IPv4Address):
        return one, other
    return _wide(one), _wide(other)


def _plain(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])  # no format has room for a zone
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _wide(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
