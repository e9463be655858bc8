"""Asks one server once whether it is well."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from dataclasses import dataclass
from ssl import SSLContext
from time import monotonic
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from balancer.health.pages import Unmatched, has
from balancer.health.target import Target
from balancer.http1.proxy_protocol import encode_v1, encode_v2
from balancer.server import OURS
from balancer.server_tls import Way, explain
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
    ours: bool = False
    """It could not be asked for want of descriptors, memory or ports on this machine, which says nothing of it."""


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
    ours = False
    try:
        async with asyncio.timeout(checks.timeout):
            preambled = server.way is not None and server.way.proxy_protocol is not None
            # The host is a formality with a socket: it has none.
            url = URL(server.url) if server.socket is None else URL("http://localhost")
            if checks.tcp:
                await _connect(server)
                ok, reason = True, "connection opened"
            elif server.socket is None and not preambled:
                status, ok, reason = await _ask(session, url, checks, server.way)
            else:
                # A session's connector leads to one socket, or begins every connection in one way, so this one is
                # made for the probe.
                connector = _Preambled(server) if preambled else aiohttp.UnixConnector(server.socket or "")
                async with open_session(connector) as own:
                    status, ok, reason = await _ask(own, url, checks, None)
    except (aiohttp.ClientError, OSError, ValueError, re.error) as error:
        # TimeoutError is an OSError; ValueError is what a URL or a header field that cannot be sent raises.
        ok, reason = False, _explain(error, server, checks)
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        ours = isinstance(cause, OSError) and cause.errno in OURS
    return ProbeResult(ok, status, reason, monotonic() - started, ours)


async def _connect(server: Target) -> None:
    """Open a connection, shake hands if it is one with TLS, and close it."""
    loop = asyncio.get_running_loop()
    transport: asyncio.BaseTransport
    context, name = _tls(server.way)
    if server.way is not None and server.way.proxy_protocol is not None:
        transport, _ = await loop.create_connection(
            asyncio.Protocol, sock=await _begun(server), ssl=context, server_hostname=name
        )
    elif server.socket is not None:
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, server.socket)
    else:
        host, port = _place(server)
        transport, _ = await loop.create_connection(asyncio.Protocol, host, port, ssl=context, server_hostname=name)
    transport.close()


def _tls(way: Way | None) -> tuple[SSLContext | None, str | None]:
    """What TLS is spoken with, and to whom."""
    return (way.context, way.name) if way is not None and way.context is not None else (None, None)


def _place(server: Target) -> tuple[str, int]:
    url = URL(server.url)
    if url.host is None or url.port is None:
        raise ValueError(f"{server.url} must have a host and a port")
    return url.host, url.port


class _Preambled(aiohttp.BaseConnector):
    """Leads to one server, and begins each connection with a preamble of the PROXY protocol."""

    def __init__(self, server: Target) -> None:
        super().__init__(force_close=True)
        self._server = server

    async def _create_connection(self, req: aiohttp.ClientRequest, *more: object) -> ResponseHandler:
        context, name = _tls(self._server.way)
        try:
            begun = await _begun(self._server)
            _, protocol = await self._loop.create_connection(
                self._factory, sock=begun, ssl=context, server_hostname=name
            )
        except TimeoutError:
            raise
        except OSError as error:  # as aiohttp's own connectors tell it
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol


async def _begun(server: Target) -> socket.socket:
    """A connection on which the preamble has been sent.

    Nobody is behind a check. Version 2 has a word for that; with version 1 the specification has the connection's own
    two ends told, since not everybody takes its UNKNOWN.
    """
    loop = asyncio.get_running_loop()
    places: list[tuple[int, Any]]
    if server.socket is not None:
        places = [(socket.AF_UNIX, server.socket)]
    else:
        found = await loop.getaddrinfo(*_place(server), type=socket.SOCK_STREAM)
        places = [(one[0], one[4]) for one in found]
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, where in places:
        begun = socket.socket(family, socket.SOCK_STREAM)
        begun.setblocking(False)
        try:
            await loop.sock_connect(begun, where)
            await loop.sock_sendall(begun, _preamble(server.way, begun))
        except OSError as error:
            begun.close()
            failure = error
        except BaseException:
            begun.close()
            raise
        else:
            return begun
    raise failure


def _preamble(way: Way | None, begun: socket.socket) -> bytes:
    if way is None or way.proxy_protocol == "v2" or begun.family == socket.AF_UNIX:
        return encode_v1(None, None) if way is not None and way.proxy_protocol == "v1" else encode_v2(None, None)
    return encode_v1(begun.getsockname()[:2], begun.getpeername()[:2])


async def _ask(
    session: aiohttp.ClientSession, base: URL, checks: ActiveChecks, way: Way | None
) -> tuple[int, bool, str]:
    url = URL(str(base).rstrip("/") + checks.path)
    context, name = _tls(way)
    async with session.request(
        checks.method,
        url,
        headers=checks.headers,
        allow_redirects=False,
        ssl=context or True,
        server_hostname=name,
    ) as response:
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
    cause: Exception = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return f"the name {URL(server.url).host} does not resolve"
    match cause:
        case ssl.SSLError():
            return explain(cause)
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
