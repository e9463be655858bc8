"""Servers with TLS for tests: certificates of a throwaway authority, and scripts behind them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from config.schema import Config, Listener, Pool, Route, Server
from config.values import Address
from tests.proxy.wire import Script, ScriptedServer

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@cache
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@cache
def stranger() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@cache
def context(*names: str, by_stranger: bool = False, expired: bool = False) -> ssl.SSLContext:
    """What a server with a certificate for these names speaks TLS with."""
    ca = stranger() if by_stranger else authority()
    issued = ca.issue_cert(*names, not_after=LONG_AGO if expired else None, key_type=trustme.KeyType.ECDSA)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.set_alpn_protocols(["http/1.1"])
    issued.configure_cert(own)
    return own


def trusted(folder: Path, ca: trustme.CA | None = None) -> str:
    """The path of a file with the authority's certificate."""
    file = folder / "ca.pem"
    file.write_bytes((ca or authority()).cert_pem.bytes())
    return str(file)


class SecureServer(ScriptedServer):
    """A scripted server behind TLS; `shaken` has the TLS object of each connection that got so far."""

    def __init__(self, script: Script, own: ssl.SSLContext) -> None:
        super().__init__(script)
        self.own = own
        self.shaken: list[ssl.SSLObject] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.own)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shaken.append(writer.get_extra_info("ssl_object"))
        await super()._serve(reader, writer)


@asynccontextmanager
async def secure(script: Script, *names: str, own: ssl.SSLContext | None = None) -> AsyncIterator[SecureServer]:
    server = SecureServer(script, own or context(*(names or ("127.0.0.1",))))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    for failure in server.failures:
        raise failure


def https(
    servers: Mapping[str, ScriptedServer | int],
    tls: Mapping[str, Any],
    *,
    host: str = "127.0.0.1",
    plain: tuple[str, ...] = (),
    **pool: Any,
) -> Config:
    """A configuration of one pool of https servers and one route; those in `plain` are http ones."""
    members = {}
    for name, server in servers.items():
        port = server.port if isinstance(server, ScriptedServer) else server
        members[name] = Server(url=f"{'http' if name in plain else 'https'}://{host}:{port}")
    return Config(
        listeners={"main": Listener(address=Address.of("127.0.0.1:0"))},
        pools={
            "app": Pool.model_validate({"servers": members, "health": {"active": None}, "tls": dict(tls), **pool}),
        },
        routes={"all": Route.model_validate({"pool": "app"})},
    )
