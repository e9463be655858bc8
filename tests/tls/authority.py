"""A certificate authority of the tests, and the files and contexts that go with it."""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from tests.proxy.wire import Peer, ScriptedServer, Site, config

NAME = "site.test"
ECDSA = trustme.KeyType.ECDSA
RSA = trustme.KeyType.RSA


@cache
def authority() -> trustme.CA:
    return trustme.CA(key_type=ECDSA)


@cache
def stranger() -> trustme.CA:
    """An authority that nobody trusts."""
    return trustme.CA(key_type=ECDSA)


def write(folder: Path, stem: str, leaf: trustme.LeafCert) -> dict[str, str]:
    """The files of a certificate, put into place as a whole, as an ACME client would."""
    folder.mkdir(exist_ok=True)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    for name, content in ((f"{stem}.pem", chain), (f"{stem}.key", leaf.private_key_pem.bytes())):
        fresh = folder / f"{name}.new"
        fresh.write_bytes(content)
        os.replace(fresh, folder / name)
    return {"cert": str(folder / f"{stem}.pem"), "key": str(folder / f"{stem}.key")}


def rewrite(path: str, content: bytes) -> None:
    """Write over a file, as careless copying would."""
    Path(path).write_bytes(content)


def issued(
    folder: Path, *names: str, stem: str = "", key: trustme.KeyType = ECDSA, ca: trustme.CA | None = None
) -> dict[str, str]:
    """A new certificate for these names, and its files."""
    return write(folder, stem or names[0].replace("*", "any"), (ca or authority()).issue_cert(*names, key_type=key))


def ca_file(folder: Path, ca: trustme.CA | None = None) -> str:
    path = folder / "ca.pem"
    path.write_bytes((ca or authority()).cert_pem.bytes())
    return str(path)


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


def serving_tls(server: ScriptedServer, tls: dict[str, Any], **whole: Any) -> Any:
    """The configuration of a site whose one listener speaks TLS. `listener` adds to that listener's settings."""
    listener = {"address": "127.0.0.1:0", "tls": tls, **whole.pop("listener", {})}
    return config({"one": server}, whole={"listeners": {"main": listener}, **whole})


async def secure(here: Site, context: ssl.SSLContext | None = None, name: str = NAME, listener: str = "main") -> Peer:
    """A client that has got through the handshake."""
    port = here.plane.listeners[listener].port
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context or trusting(), server_hostname=name, limit=2**20
    )
    peer = Peer(reader, writer)
    here.peers.append(peer)
    return peer


def names_of(peer: Peer) -> set[str]:
    """The names in the certificate that the balancer has shown."""
    shown = peer.writer.get_extra_info("peercert")
    return {value for kind, value in shown["subjectAltName"] if kind == "DNS"}


def serial_of(peer: Peer) -> str:
    return str(peer.writer.get_extra_info("peercert")["serialNumber"])


def request(target: str = "/", fields: str = "", body: str = "") -> bytes:
    method = "POST" if body else "GET"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: {NAME}\r\n{fields}{length}\r\n{body}".encode()
