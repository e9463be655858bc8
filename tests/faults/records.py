"""TLS by hand: every record goes out where a test wants it, and some that OpenSSL would not send."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from tests.faults.stage import Cloth
from tests.proxy.wire import Peer

NAME = "localhost"
ALERT, HANDSHAKE, DATA = 21, 22, 23

PLACES = ("before", "byte", "header", "middle", "short", "after")
"""Where in a record: nothing of it, one byte, its header, half of it, all but one byte, and all of it."""


@cache
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@cache
def leaf() -> trustme.LeafCert:
    return authority().issue_cert(NAME, "127.0.0.1", key_type=trustme.KeyType.ECDSA)


def serving(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    leaf().configure_cert(context)
    return context


def asking(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    authority().configure_trust(context)
    return context


@cache
def _log() -> str:
    """Where the secrets of connections are noted that a `Forge` is to go on with."""
    return f"/proc/self/fd/{os.memfd_create('keys')}"


@cache
def told_serving() -> ssl.SSLContext:
    """It notes its secrets, and sends nothing with them by itself."""
    context = serving()
    context.num_tickets = 0
    context.keylog_filename = _log()
    return context


@cache
def told_asking() -> ssl.SSLContext:
    context = asking()
    context.keylog_filename = _log()
    return context


for _context in (told_serving, told_asking):
    _context()  # the files that they hold open are there before a test counts any


def clothed(folder: Path, *, servers: bool = False, clients: bool = False) -> Cloth:
    """TLS on one side of the balancer, or on both."""
    ca, cert, key = folder / "ca.pem", folder / "own.pem", folder / "own.key"
    ca.write_bytes(authority().cert_pem.bytes())
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf().cert_chain_pems))
    key.write_bytes(leaf().private_key_pem.bytes())
    return Cloth(
        to_server=serving() if servers else None,
        to_client=asking() if clients else None,
        pools={"tls": {"ca": str(ca)}} if servers else {},
        listener={"tls": {"certificates": [{"cert": str(cert), "key": str(key)}]}} if clients else {},
    )


def split(data: bytes) -> Iterator[bytes]:
    """The records that these bytes are."""
    while data:
        end = 5 + int.from_bytes(data[3:5], "big")
        assert end <= len(data)
        yield data[:end]
        data = data[end:]


def part(record: bytes, place: str) -> bytes:
    """As much of it as goes out by that place."""
    lengths = {"before": 0, "lost": 0, "byte": 1, "header": 5, "middle": len(record) // 2, "short": len(record) - 1}
    return record[: lengths.get(place, len(record))]


class Stopped(Exception):
    """The point was reached at which a test wanted to stop."""


class Records:
    """One end of a TLS connection over a plain one; it stops in the record `stop` of those that it sends."""

    def __init__(
        self, peer: Peer, context: ssl.SSLContext, *, server_side: bool, stop: int = -1, place: str = "before"
    ) -> None:
        self.peer = peer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=None if server_side else NAME
        )
        self._stop, self._place = stop, place
        self._sent = 0
        self._random = b""  # the client's, under which secrets are noted

    async def pour(self, data: bytes) -> None:
        """Send these records. Raises Stopped."""
        for record in split(data):
            self._note(record)
            if self._sent == self._stop:
                await self.peer.send(part(record, self._place))
                raise Stopped
            self._sent += 1
            await self.peer.send(record)

    async def _more(self) -> None:
        data = await self.peer.reader.read(65536)
        if data:
            self._note(data)
            self._in.write(data)
        else:
            self._in.write_eof()

    async def shake_hands(self) -> None:
        """Raises Stopped, and what OpenSSL raises."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.pour(self._out.read())
                await self._more()
            else:
                await self.pour(self._out.read())
                return

    def _note(self, hello: bytes) -> None:
        self._random = self._random or hello[11:43]

    def forge(self) -> Forge:
        """It makes the records from now on; nothing but the handshake must have been sent."""
        end = "SERVER" if self.tls.server_side else "CLIENT"
        start = f"{end}_TRAFFIC_SECRET_0 {self._random.hex()} "
        (secret,) = [line for line in Path(_log()).read_text().splitlines() if line.startswith(start)]
        return Forge(bytes.fromhex(secret.removeprefix(start)))

    def sealed(self, data: bytes) -> bytes:
        """A record with these bytes in it."""
        self.tls.write(data)
        return self._out.read()

    def farewell(self) -> bytes:
        """A close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # theirs is still to come
        return self._out.read()

    async def read(self) -> bytes:
        """What comes next; empty at a close_notify. Raises SSLError, such as SSLEOFError for an end without one."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self._more()
            except ssl.SSLZeroReturnError:
                return b""

    async def until(self, end: bytes) -> bytes:
        data = b""
        while end not in data:
            piece = await self.read()
            if not piece:
                raise asyncio.IncompleteReadError(data, None)
            data += piece
        return data


@dataclass
class Forge:
    """Makes records of TLS 1.3 from the secrets of a key log, instead of the end whose secret it has."""

    secret: bytes
    turn: int = 0
    _key: bytes = field(init=False)
    _iv: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._derive()

    def record(self, kind: int, data: bytes) -> bytes:
        inner = data + bytes((kind,))
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = bytes(a ^ b for a, b in zip(self._iv, self.turn.to_bytes(12, "big"), strict=True))
        self.turn += 1
        return header + AESGCM(self._key).encrypt(nonce, inner, header)

    def key_update(self, asking: bool = True) -> bytes:
        """New keys, and maybe the wish that the other end takes new ones as well (RFC 8446 section 4.6.3)."""
        record = self.record(HANDSHAKE, b"\x18\0\0\x01" + bytes((asking,)))
        self.secret = self._expand(b"traffic upd", len(self.secret))
        self.turn = 0
        self._derive()
        return record

    def _derive(self) -> None:
        # With a hash of 48 bytes goes AES-256, with one of 32 AES-128.
        self._key = self._expand(b"key", 32 if len(self.secret) == 48 else 16)
        self._iv = self._expand(b"iv", 12)

    def _expand(self, label: bytes, length: int) -> bytes:
        """HKDF-Expand-Label of RFC 8446 section 7.1, for what one hash is enough for."""
        label = b"tls13 " + label
        mac = HMAC(self.secret, hashes.SHA384() if len(self.secret) == 48 else hashes.SHA256())
        mac.update(length.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0\x01")
        return mac.finalize()[:length]
