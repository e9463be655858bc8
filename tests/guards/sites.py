"""A running plane with guards, written in the words of a file, over one scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from textwrap import dedent

from config.load import parse
from config.schema import Config
from tests.proxy.wire import Peer, Script, Site, ok, replies, serving, site

__all__ = ["ask", "from_trusted", "guarded", "written"]


def written(text: str, port: int = 1) -> Config:
    """The configuration that a file with this text, a listener and a server would be."""
    begin = f'listen: "127.0.0.1:0"\nservers: ["http://127.0.0.1:{port}"]\ndefaults: {{health: {{active: false}}}}\n'
    return parse(begin + dedent(text), "test", {}).config


@asynccontextmanager
async def guarded(text: str, script: Script | None = None) -> AsyncIterator[Site]:
    async with serving(script or replies(ok())) as [server]:
        async with site(written(text, server.port)) as running:
            yield running


async def ask(
    peer: Peer, *lines: bytes, method: bytes = b"GET", path: bytes = b"/"
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection that stays, and its answer."""
    await peer.send(
        b"%b %b HTTP/1.1\r\nHost: site\r\n%b\r\n" % (method, path, b"".join(b"%b\r\n" % one for one in lines))
    )
    return await peer.answer()


async def from_trusted(
    peer: Peer, address: bytes, *lines: bytes, path: bytes = b"/"
) -> tuple[int, dict[str, str], bytes]:
    """The same of a client with this address, behind a proxy on this machine."""
    return await ask(peer, b"X-Forwarded-For: %b" % address, *lines, path=path)
