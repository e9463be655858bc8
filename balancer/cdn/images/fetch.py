"""Pictures from elsewhere: fetched from where they may be, and from nowhere that a URL, a name or a redirect leads."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ssl import SSLContext
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from balancer.cdn.errors import Full, SourceBlocked, SourceUnreachable
from balancer.cdn.images.guard import Guard
from balancer.cdn.images.magic import TYPES, kind
from balancer.cdn.images.sources import NoSource, Source, Sources
from balancer.cdn.images.turns import RETRY_AFTER, Turns
from balancer.cdn.lookups import Busy, Lookups, domain_of, results
from balancer.telemetry.program_log import get_logger
from config.cdn import CdnImages

MOST: Final = 8
"""Pictures that are fetched at the same time."""
MOST_OF_ONE: Final = 6
"""Of one domain, so that a slow one leaves room for others."""
REDIRECTS: Final = 3
CONNECT: Final = 3.0
"""Seconds for the connection and its TLS handshake."""
CHUNK: Final = 64 * 1024
TOLD: Final = 512
"""Characters of a URL in the log, which leaves its query out: secrets are there if anywhere."""
LOOP_MARK: Final = "balancer-pictures"
"""Our name in CDN-Loop (RFC 8586), the same for every balancer: a picture of a picture is made nowhere."""

NETWORKS: Final = ", which is not public: name its network in `cdn.images.networks` if it may be"
_REDIRECT: Final = frozenset((301, 302, 303, 307, 308))
_log = get_logger("cdn.images")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A picture as its server sent it."""

    content: bytes
    content_type: str
    """One of `magic.TYPES`, which the bytes agree with."""
    etag: str | None


class Barred(OSError):
    """An address that is not connected to."""


class _Failed(Exception):
    """Why a picture did not come; for the log."""


def looped(cdn_loop: str) -> bool:
    """Whether a request with this CDN-Loop field was sent by a `Fetcher`: then it is to be refused."""
    return any(one.partition(";")[0].strip().lower() == LOOP_MARK for one in cdn_loop.split(","))


class _Resolver(AbstractResolver):
    """Answers with addresses that have been looked at: the connection goes to these, and no name is asked for twice."""

    def __init__(self, lookups: Lookups, guard: Guard) -> None:
        self._lookups = lookups
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._lookups.find(host, port)
        for _, address in found:
            # One that is barred bars them all: a name that answers with a private address beside a public one is up
            # to something, or about to be.
            if not self._guard.admits(address):
                raise Barred(f"{host} is at {address}")
        if not found:
            raise OSError(f"{host} has no address")
        return results(host, port, found)

    async def close(self) -> None:
        """Nothing is kept open."""


class Fetcher:
    """Fetches pictures. Who asks learns only that a source is not fetched from, or gave nothing; the log says why."""

    def __init__(self, settings: CdnImages, *, lookups: Lookups | None = None, tls: SSLContext | None = None) -> None:
        """`lookups` None: as the system says. `tls`: whom to believe instead of the authorities that the machine
        knows."""
        self._sources = Sources(settings.sources)
        self._guard = Guard(settings.networks)
        self._largest = settings.max_source
        self._time = settings.timeout
        self._turns = Turns(MOST, MOST_OF_ONE, settings.queue, settings.timeout)
        self._lookups = lookups if lookups is not None else Lookups()
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._lookups, self._guard),
            use_dns_cache=False,
            socket_factory=self._socket,
            limit=MOST,
            force_close=True,  # each picture goes through every check; making it takes longer than a handshake
            ssl=True if self._tls is None else self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,  # a few bytes could become many
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),  # the whole is bounded around all hops
            headers={
                "Accept": "image/*",
                "Accept-Encoding": "identity",
                "User-Agent": "balancer-pictures",
                "CDN-Loop": LOOP_MARK,
            },
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, url: str) -> Fetched:
        """The picture at a URL. Raises SourceBlocked, SourceUnreachable; Full: others are fetched, ask again."""
        told = url.partition("?")[0][:TOLD]
        try:
            source = self._sources.read(url)
            async with (
                self._turns.of(source.host if source.literal else domain_of(source.host)),
                asyncio.timeout(self._time),
            ):
                return await self._follow(source)
        except (NoSource, Barred) as error:
            _log.warning("source_blocked", url=told, reason=str(error))
            blocked = SourceBlocked("The picture is not fetched from there.")
            blocked.reason = f"{error}{NETWORKS}" if isinstance(error, Barred) else str(error)
            raise blocked from None
        except Busy as error:
            _log.warning("source_not_looked_up", url=told, reason=str(error))
            raise Full("the names of other sources are being looked up", retry_after_s=RETRY_AFTER) from None
        except TimeoutError:
            reason = f"it took longer than {self._time:g} s"
        except (aiohttp.ClientError, _Failed, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
        _log.warning("source_unreachable", url=told, reason=reason)
        unreachable = SourceUnreachable("The picture could not be fetched.")
        unreachable.reason = reason
        raise unreachable from None

    async def _follow(self, source: Source) -> Fetched:
        for _ in range(REDIRECTS + 1):
            found = await self._ask(source)
            if isinstance(found, Fetched):
                return found
            source = self._sources.follow(source, found)
        raise _Failed(f"it redirects more than {REDIRECTS} times")

    async def _ask(self, source: Source) -> Fetched | str:
        """The picture, or where it has gone to."""
        assert self._session is not None  # start() comes first
        if source.literal and not self._guard.admits(source.host):
            raise Barred(f"it is at {source.host}")
        try:
            async with self._session.get(source.url, allow_redirects=False) as answer:
                if answer.status in _REDIRECT:
                    location = answer.headers.getall("Location", [])
                    if len(location) != 1:
                        raise _Failed(f"it answered {answer.status} with {len(location)} places to go to")
                    return location[0]
                return await self._picture(answer)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, Barred | Busy):
                raise error.os_error from None
            raise

    async def _picture(self, answer: aiohttp.ClientResponse) -> Fetched:
        if answer.status != 200:
            raise _Failed(f"it answered {answer.status}")
        if (coding := answer.headers.get("Content-Encoding", "identity").strip().lower()) != "identity":
            raise _Failed(f"its Content-Encoding is {coding}, though none was asked for")
        said = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if said not in TYPES:
            raise _Failed(f"its Content-Type is {said or 'missing'}, which is no picture that is taken")
        if answer.content_length is not None and answer.content_length > self._largest:
            raise _Failed(f"it has {answer.content_length} bytes, {self._largest} are the most")
        content = bytearray()
        async for chunk in answer.content.iter_chunked(CHUNK):
            content += chunk
            if len(content) > self._largest:
                raise _Failed(f"it has more than {self._largest} bytes")
        whole = bytes(content)
        if (real := kind(whole)) != said:
            raise _Failed(f"its Content-Type is {said}, and its bytes are {real or 'no picture'}")
        return Fetched(whole, said, answer.headers.get("ETag"))

    def _socket(self, place: aiohttp.AddrInfoType) -> socket.socket:
        """The last look at an address: whatever way it came, this is where the connection goes."""
        family, kind_, proto, _, address = place
        if not self._guard.admits(str(address[0])):
            raise Barred(f"it is at {address[0]}")
        return socket.socket(family, kind_, proto)
