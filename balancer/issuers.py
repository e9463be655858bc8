"""The public keys of those who issue tokens: fetched in the background, and kept while they cannot be."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Final

import aiohttp

from balancer.guards.keyset import LARGEST, BadKeys, KeySet, parse
from balancer.tally import IssuerTally
from config.auth import Auth, Jwt

SOON: Final = 10.0
"""Seconds between two attempts, at least: tokens with made-up keys must not become requests to the issuer."""
Tell = Callable[[str, str, str], None]
Fetch = Callable[[Jwt], Awaitable[bytes]]
UNREACHABLE: Final = "issuer_unreachable"
REACHABLE: Final = "issuer_reachable"
OF_ISSUERS: Final = frozenset((UNREACHABLE, REACHABLE))


async def fetch(settings: Jwt) -> bytes:
    """What is at the address of the keys, up to a little more than may be."""
    assert settings.jwks is not None
    timeout = aiohttp.ClientTimeout(total=settings.timeout)
    context: ssl.SSLContext | bool = True
    if settings.ca is not None:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=settings.ca)
    headers = {"Accept": "application/jwk-set+json, application/json"}
    jar = aiohttp.DummyCookieJar()
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers, cookie_jar=jar) as session,
        session.get(settings.jwks, ssl=context, allow_redirects=False) as answer,  # elsewhere could be anywhere
    ):
        if answer.status != 200:
            raise BadKeys(f"it answered {answer.status}")
        data = b""
        while len(data) <= LARGEST and (more := await answer.content.read(LARGEST + 1 - len(data))):
            data += more
        return data


class Issuer:
    """One of them. The keys are there as soon as it has answered once; after that the last good ones stay."""

    def __init__(self, name: str, settings: Jwt, tally: IssuerTally, tell: Tell, fetch: Fetch = fetch) -> None:
        """`tell` hears when it cannot be asked, and when it can again: event, where, detail."""
        assert settings.jwks is not None  # others have their keys in the configuration
        self.name = name
        self.settings = settings
        self.keys = KeySet()
        self.tally = tally
        self._ask = fetch
        self._tell = tell
        self._waiting: list[Callable[[], None]] = []
        self._fetching: asyncio.Task[None] | None = None
        self._asked = float("-inf")
        self._fails = False
        tally.keys = 0  # whoever had the name before may have had some

    def second_passed(self, now: float) -> None:
        """Fetch the keys when it is time: when there are none, or when they are old."""
        due = self.settings.refresh if self.keys and not self._fails else SOON
        if now - self._asked >= due:
            self._begin(now)

    def ask_anew(self, done: Callable[[], None]) -> bool:
        """See `token_way.Issuer`."""
        if self._fetching is None:
            now = monotonic()
            if now - self._asked < SOON:
                return False
            self._begin(now)
        self._waiting.append(done)
        return True

    def forget(self, done: Callable[[], None]) -> None:
        if done in self._waiting:
            self._waiting.remove(done)

    def _begin(self, now: float) -> None:
        if self._fetching is None:
            self._asked = now
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)

    async def _fetch(self) -> None:
        try:
            keys = parse(await self._ask(self.settings))
        except Exception as error:  # outermost place of this task: what comes from elsewhere may make anything fail
            self.tally.failures += 1
            if not self._fails:
                self._fails = True
                reason = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
                kept = f"{len(self.keys)} keys stay in use" if self.keys else "no token can be checked"
                self._tell(UNREACHABLE, self.name, f"{reason}; {kept}")
            return
        self.tally.fetched += 1
        self.tally.keys = len(keys)
        if self._fails:
            self._fails = False
            self._tell(REACHABLE, self.name, f"{len(keys)} keys")
        if keys != self.keys:  # the same ones are no news, and what was known of tokens stays
            self.keys = keys

    def _fetched(self, fetching: asyncio.Task[None]) -> None:
        self._fetching = None
        waiting, self._waiting = self._waiting, []
        for done in waiting:  # each by itself: what comes of one does not touch the others
            fetching.get_loop().call_soon(done)

    async def close(self) -> None:
        """It is in no configuration any more."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])


class Issuers:
    """All of a configuration; one that stays as it was keeps its keys."""

    def __init__(self, tell: Tell) -> None:
        self.of: dict[str, Issuer] = {}
        self.tallies: dict[str, IssuerTally] = {}
        self._tell = tell
        self._leaving: set[asyncio.Task[None]] = set()

    def change(self, auth: Mapping[str, Auth], now: float) -> None:
        """Take a configuration: whoever is new is asked at once."""
        old, self.of = self.of, {}
        for name, settings in auth.items():
            if settings.jwt is None or settings.jwt.jwks is None:
                continue
            issuer = old.get(name)
            if issuer is None or _place(issuer.settings) != _place(settings.jwt):
                issuer = Issuer(name, settings.jwt, self.tallies.setdefault(name, IssuerTally()), self._tell)
            else:
                del old[name]
                issuer.settings = settings.jwt
            self.of[name] = issuer
        for name in self.tallies.keys() - self.of.keys():
            del self.tallies[name]
        for issuer in old.values():
            leaving = asyncio.get_running_loop().create_task(issuer.close())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        self.second_passed(now)

    def second_passed(self, now: float) -> None:
        for issuer in self.of.values():
            issuer.second_passed(now)

    async def close(self) -> None:
        for issuer in self.of.values():
            await issuer.close()
        if self._leaving:
            await asyncio.wait(self._leaving)


def _place(settings: Jwt) -> tuple[str | None, str | None]:
    """What makes it another issuer."""
    return settings.jwks, settings.ca
