"""Asks one server once whether it is well."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from dataclasses import dataclass
from time import monotonic

import aiohttp
from yarl import URL

from balancer.health.pages import Unmatched, has
from balancer.health.target import Target
from config.schema import ActiveChecks

BODY_LIMIT = 64 * 1024
"""Bytes of a body that are looked at: plenty for a health page, and a bound on what a server has us hold."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe found."""

    ok: bool
    status: int | None
    """The answer's status; None without an answer, and for TCP checks."""
    reason: str
    """What happened, for a person: "answered 503, expected 200-399"."""
    seconds: float
    """How long it took, connecting included."""


def open_session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """A session for probes: each on a connection and a name lookup of its own, without cookies.

    The caller closes it.
    """
    return aiohttp.ClientSession(
        # The monitor bounds how many run at once, and every probe bounds its own time.
        connector=connector or aiohttp.TCPConnector(force_close=True, limit=0, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Identity, since the body is to be matched and not to be unpacked.
        headers={"User-Agent": "balancer-health", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
    )


async def probe(session: aiohttp.ClientSession, server: Target, checks: ActiveChecks) -> ProbeResult:
    """Ask `server` once. Whatever it or the network does is a result and never raises.

    `session` comes from `open_session`.
    """
    started = monotonic()
    status: int | None = None
    try:
        async with asyncio.timeout(checks.timeout):
            if checks.tcp:
                await _connect(server)
                ok, reason = True, "connection opened"
            elif server.socket is None:
                status, ok, reason = await _ask(session, URL(server.url), checks)
            else:
                # A session's connector leads to one socket, so this one is made for the probe. The host is a
                # formality: the socket has none.
                connector = aiohttp.UnixConnector(server.socket, force_close=True)
                async with open_session(connector) as own:
                    status, ok, reason = await _ask(own, URL("http://localhost"), checks)
    except (aiohttp.ClientError, OSError, ValueError, re.error) as error:
        # TimeoutError is an OSError; ValueError is what a URL or a header field that cannot be sent raises.
        ok, reason = False, _explain(error, server, checks)
    return ProbeResult(ok, status, reason, monotonic() - started)


async def _connect(server: Target) -> None:
    loop = asyncio.get_running_loop()
    transport: asyncio.BaseTransport
    if server.socket is not None:
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, server.socket)
    else:
        url = URL(server.url)
        if url.host is None or url.port is None:
            raise ValueError(f"{server.url} must have a host and a port")
        transport, _ = await loop.create_connection(asyncio.Protocol, url.host, url.port)
    transport.close()


async def _ask(session: aiohttp.ClientSession, base: URL, checks: ActiveChecks) -> tuple[int, bool, str]:
    url = URL(str(base).rstrip("/") + checks.path)
    async with session.request(checks.method, url, headers=checks.headers, allow_redirects=False) as response:
        status = response.status
        if status not in checks.expect:
            return status, False, f"answered {status}, expected {checks.expect}"
        if checks.body is None:
            return status, True, f"answered {status}"
        body = await _beginning(response.content)
    try:
        if not await has(checks.body, body):
            return status, False, f"body does not match /{checks.body}/"
    except Unmatched as error:
        return status, False, str(error)
    return status, True, f"answered {status}, body matches"


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    pieces = bytearray()
    while len(pieces) < BODY_LIMIT:
        piece = await content.read(BODY_LIMIT - len(pieces))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)


def _explain(error: Exception, server: Target, checks: ActiveChecks) -> str:
    """The sentence for what went wrong; it quotes nothing that the server sent."""
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return f"the name {URL(server.url).host} does not resolve"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    match cause:
        case ConnectionRefusedError():
            return "connection refused"
        case FileNotFoundError():
            return f"the socket {server.socket} does not exist"
        case aiohttp.ServerDisconnectedError():
            return "connection closed before an answer"
        case BrokenPipeError() | OSError(errno=errno.ECONNRESET):
            return "connection reset"
        case TimeoutError():
            return f"no answer within {checks.timeout:g}s"
        case aiohttp.ClientPayloadError():
            return "the answer's body broke off"
        case aiohttp.ClientResponseError():
            return "the answer is not valid HTTP/1.1, or its head is too long"
        case OSError():
            return f"connection failed: {cause.strerror or cause}"
        case _:
            return f"the check cannot be carried out as configured: {cause}"
