"""Keys of the admin API: who presents one, what it allows, and how fast wrong ones may be tried."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from math import ceil
from typing import Literal, NamedTuple

import structlog
from aiohttp import web

from api.key_store import KeyStore, LastUse
from api.problems import Problem
from api.request_checks import plain_address
from api.sessions import Session
from balancer.guards.address import client_key
from balancer.guards.gcra import Gcra
from config.expiry import over
from config.schema import AdminKey, Config
from config.values import Network

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""Each may do what the ones before it may."""

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="balancer"'}
ADDRESSES = 4096
"""How many addresses are remembered; the one that was quiet longest is forgotten first."""
BURST = 10
"""Different wrong keys that an address may present before it has to wait."""
PACE = 10.0
"""Seconds for each further one."""
BURST_OF_ALL = 100
"""Different wrong keys that all addresses together may present before everybody has to wait."""
PACE_OF_ALL = 1.0
"""Seconds for each further one."""
ENVIRONMENT = "ADMIN_API_KEY"
"""The id of the key that the environment gives."""
UNGUESSABLE = 32
"""Characters from which the right key need not wait; `balancer key` makes 61."""

log = structlog.get_logger("balancer.api")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the id of the key, its role, and the session if it is asked in one."""

    id: str
    role: Role
    session: Session | None = None

    @property
    def kind(self) -> Literal["key", "session"]:
        return "key" if self.session is None else "session"

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


CALLER = web.RequestKey("caller", Caller)
"""Of a request, once it is known whose it is."""
Source = Literal["file", "environment", "api", "process"]


class Held(NamedTuple):
    """A key that is known, and where from."""

    key: AdminKey
    source: Source
    """file: `admin.keys`; environment: ADMIN_API_KEY; api: made over the API; process: made for this process alone."""


def new_key(
    role: Role = "admin", id_: str = "", expires: str | None = None, networks: tuple[Network, ...] = ()
) -> tuple[str, AdminKey]:
    """Make a key: its text, which is shown once and kept nowhere, and what is written down of it."""
    tag = secrets.token_hex(4)
    text = f"balancer_{tag}_{secrets.token_urlsafe(32)}"
    return text, AdminKey(id=id_ or tag, hash=_hash(text), role=role, expires=expires, networks=networks)


def _hash(text: str) -> str:
    # A fast hash is right: it protects 256 random bits, and a slow one would let strangers burn our time.
    return "sha256:" + sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Keyring:
    """The keys that open the API: those of the configuration in force, those that were made over the API, and
    `fallback`, made for this process alone."""

    def __init__(
        self,
        config: Callable[[], Config],
        fallback: AdminKey | None,
        clock: Callable[[], float],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        store: KeyStore | None = None,
        uses: LastUse | None = None,
    ) -> None:
        """Without `store` and `uses`, keys made over the API and last uses are forgotten with the process."""
        self._config = config
        self._fallback = fallback
        self._wall = wall
        self._clock = clock
        self.store = store or KeyStore(None)
        self.uses = uses or LastUse(None, wall)
        self.guesses = KeyGuesses()
        self._guesses_of_all = Gcra(PACE_OF_ALL, BURST_OF_ALL, 1)

    def make_one_if_needed(self) -> str | None:
        """Make a key of role admin for this process alone, and return its text; None where there is a key already.

        Keys that were made over the API are enough if one of them is an admin's that still works: a start is not to
        write a key into a log which nobody needs.
        """
        if self._config().admin.keys or any(
            key.role == "admin" and not self.expired(key) for key in self.store.keys.values()
        ):
            return None
        text, self._fallback = new_key("admin")
        return text

    def has_admin(self) -> bool:
        """Whether some key may do everything, and has not expired."""
        return any(key.role == "admin" and not self.expired(key) for key, _ in self.held())

    def identify(self, headers: Mapping[str, str], address: str) -> Caller | None:
        """Who presents the key in `headers`; None when there is none. A wrong one: 401 or 429."""
        text = presented(headers)
        if text is None:
            return None
        found = self.opened(text, address)
        return Caller(found.id, found.role)

    def opened(self, text: str, address: str) -> AdminKey:
        """The key of this text. A Problem when there is none, or when it may not be used now and from there."""
        hashed = _hash(text)
        if len(text) < UNGUESSABLE:
            self._wait_over(address)
        found = None
        for key, _ in self.held():
            if compare_digest(key.hash, hashed):
                found = key
        if found is None:
            self._wait_over(address)
            now = self._clock()
            if self.guesses.count(address, hashed, now):
                self._guesses_of_all.take("", 1, now)
            log.warning("a wrong key", address=address)  # at most as often as guesses are let through
            raise Problem(401, "the key is not known", headers=CHALLENGE)
        self.check(found, address)
        return found

    def check(self, key: AdminKey, address: str) -> None:
        """Note that a key is used; a Problem when it may not be, now and from there."""
        if self.expired(key):
            raise Problem(401, f"the key {key.id} expired on {key.expires}", headers=CHALLENGE)
        if key.networks and not _within(address, key.networks):
            raise Problem(403, f"the key {key.id} may not be used from {address or 'a Unix socket'}")
        self.uses.note(key, plain_address(address) or "unix")

    def of_session(self, session: Session) -> AdminKey | None:
        """The key that a session began with; None when it is not known any more, or another one has its id."""
        for key, _ in self.held():
            if key.id == session.key and key.hash == session.hash:
                return key
        return None

    def expired(self, key: AdminKey) -> bool:
        return over(key.expires, self._wall().date())

    def held(self) -> Iterator[Held]:
        """Every key that opens the API, or did until it expired.

        What the configuration calls by an id goes before what the API has made under it, which opens nothing then:
        whom the audit trail names is one key.
        """
        ids = set()
        for key in self._config().admin.keys:
            ids.add(key.id)
            yield Held(key, "environment" if key.id == ENVIRONMENT else "file")
        for kept in self.store.keys.values():
            if kept.id not in ids:
                yield Held(kept, "api")
        if self._fallback is not None:
            yield Held(self._fallback, "process")

    def _wait_over(self, address: str) -> None:
        """A 429 while the address, or everybody, has to wait for wrong keys.

        A long key is looked at first, and so is not kept waiting when it is right: any user of this machine could
        lock the operator out else. That helps nobody to guess, as 256 random bits are found at no speed. A short one,
        which somebody thought of, is not looked at: it must not be told from the wrong ones by now.
        """
        now = self._clock()
        wait, whence = self.guesses.wait(address, now), "came from this address"
        everybody = self._guesses_of_all
        if wait <= 0 and everybody.left("", now) < 1:
            wait, whence = everybody.full_in("", now) - everybody.tolerance + everybody.interval, "came of late"
        if wait > 0:
            raise Problem(
                429,
                f"too many wrong keys {whence}: wait {max(1.0, wait):.0f} seconds",
                headers={"Retry-After": f"{max(1, ceil(wait))}"},
            )


def _within(address: str, networks: Iterable[Network]) -> bool:
    """Whoever comes by a Unix socket comes from this machine."""
    parsed = ip_address(plain_address(address) or "127.0.0.1")
    return any(parsed in network for network in networks)


def presented(headers: Mapping[str, str]) -> str | None:
    """The key's text, from `Authorization: Bearer` or `X-API-Key`; 400 when it is not one key, said once."""
    sent = [value for name, value in headers.items() if name.lower() in ("authorization", "x-api-key")]
    if len(sent) > 1:
        raise Problem(400, "the key must be there once: in Authorization, or in X-API-Key")
    authorization = headers.get("Authorization")
    if authorization is None:
        return headers.get("X-API-Key")
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Problem(401, "Authorization must be: Bearer, a space, and the key", headers=CHALLENGE)
    return text.strip()


@dataclass(slots=True)
class _Record:
    """What one address tried: `used` of its burst at `stamp`, and the hashes of its last wrong keys."""

    used: float = 0.0
    stamp: float = 0.0
    wrong: list[str] = field(default_factory=list)


class KeyGuesses:
    """Limits how fast an address may try wrong keys.

    The same wrong key again is no new guess: a scraper left with an old key must not lock out an operator who
    works from the same host. The table is bounded; an IPv6 address counts as its /64, which one host owns.
    """

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Seconds until the address may present a key again; 0 when it may now."""
        record = self._records.get(client_key(address))
        if record is None:
            return 0.0
        used = record.used - (now - record.stamp) / PACE
        return max(0.0, (used - (BURST - 1)) * PACE)

    def count(self, address: str, hashed: str, now: float) -> bool:
        """The address presented a wrong key; whether that was a new guess."""
        block = client_key(address)
        record = self._records.setdefault(block, _Record())
        self._records.move_to_end(block)
        if hashed in record.wrong:
            return False
        record.wrong = [*record.wrong, hashed][-BURST:]
        record.used = max(0.0, record.used - (now - record.stamp) / PACE) + 1
        record.stamp = now
        if len(self._records) > ADDRESSES:
            self._records.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._records)
