"""Host names looked up in threads of their own: servers are looked up by the loop's, which a slow name would hold."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

MOST: Final = 16
"""Names that are looked up at the same time. A lookup cannot be called off: one that hangs does so for as long as the
system's resolver has patience, whoever has given up on it."""
MOST_OF_ONE: Final = 12
"""Of names below one domain, so that whoever answers for it slowly leaves room for others."""


class Busy(OSError):
    """A name that is not looked up now, as too many others have no answer yet."""


Found = tuple[socket.AddressFamily, str]
"""An address, with its scope if it has one: that is what makes it one of this machine's own links."""
SockAddress = tuple[object, ...]
Lookup = Callable[..., Sequence[tuple[socket.AddressFamily, int, int, str, SockAddress]]]
"""`socket.getaddrinfo`, or what stands in for it."""
_Asked = tuple[str, int, int]


class Lookups:
    """Asks the system, in daemon threads: one that hangs does not keep the process from ending.

    Who asks for what is being looked up waits with whoever asked first. Owner of all state: the loop it is used on.
    """

    def __init__(self, lookup: Lookup = socket.getaddrinfo) -> None:
        self._lookup = lookup
        self._waiting: dict[_Asked, list[asyncio.Future[list[Found]]]] = {}
        self._domains: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """Names that are being looked up, also those that nobody waits for any more."""
        return len(self._waiting)

    async def find(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Found]:
        """The addresses of a host, each once. OSError: it has none; Busy: ask again later."""
        asked = host, port, family
        loop = asyncio.get_running_loop()
        if asked not in self._waiting:
            domain = domain_of(host)
            if len(self._waiting) >= MOST or self._domains[domain] >= MOST_OF_ONE:
                raise Busy(f"{host} is not looked up: {len(self._waiting)} other names have no answer yet")
            # A thread for each, as there are few and most are answered at once; those of an executor would be waited
            # for at the end of the process.
            try:
                Thread(target=self._work, args=(loop, asked), name="balancer-lookup", daemon=True).start()
            except RuntimeError as error:  # the system has no more of them
                raise Busy(f"{host} is not looked up: {error}") from None
            self._waiting[asked] = []
            self._domains[domain] += 1
        answer: asyncio.Future[list[Found]] = loop.create_future()
        waiting = self._waiting[asked]
        waiting.append(answer)
        try:
            return await answer
        finally:
            waiting.remove(answer)

    def _work(self, loop: asyncio.AbstractEventLoop, asked: _Asked) -> None:
        host, port, family = asked
        found: list[Found] | OSError
        try:
            answers = self._lookup(host, port, family, socket.SOCK_STREAM)
            found = list(dict.fromkeys((answer[0], _text(answer[4])) for answer in answers))
        except OSError as error:
            found = error
        except Exception as error:  # outermost place of this thread: a name that cannot even be written for the system
            found = OSError(f"{host} cannot be looked up: {error}")
        try:
            loop.call_soon_threadsafe(self._answered, asked, found)
        except RuntimeError:  # the loop has ended meanwhile
            pass

    def _answered(self, asked: _Asked, found: list[Found] | OSError) -> None:
        domain = domain_of(asked[0])
        self._domains[domain] -= 1
        if not self._domains[domain]:
            del self._domains[domain]
        for answer in self._waiting.pop(asked):
            if answer.done():  # whoever it is for has left at this very moment
                continue
            if isinstance(found, OSError):
                answer.set_exception(OSError(*found.args))  # one for each, as each gets a traceback of its own
            else:
                answer.set_result(found)


class Resolver(AbstractResolver):
    """The same for sessions of aiohttp."""

    def __init__(self, lookups: Lookups | None = None) -> None:
        self._lookups = lookups if lookups is not None else Lookups()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return results(host, port, await self._lookups.find(host, port, family))

    async def close(self) -> None:
        """Nothing is kept open."""


def results(host: str, port: int, found: Sequence[Found]) -> list[ResolveResult]:
    """Addresses as aiohttp wants to have them."""
    return [
        ResolveResult(
            hostname=host,
            host=address,
            port=port,
            family=family,
            proto=0,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for family, address in found
    ]


def domain_of(host: str) -> str:
    """What names below one domain have in common, roughly: their last two labels."""
    return ".".join(host.rstrip(".").rsplit(".", 2)[-2:])


def _text(place: SockAddress) -> str:
    return f"{place[0]}%{place[3]}" if len(place) > 3 and place[3] else str(place[0])
