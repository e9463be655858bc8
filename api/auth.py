"""Keys of the admin API: who presents one, what it allows, and how fast wrong ones may be tried."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import Literal

import structlog

from api.problems import Problem
from config.schema import AdminKey, Config

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
UNGUESSABLE = 32
"""Characters from which the right key need not wait; `balancer key` makes 61."""

log = structlog.get_logger("balancer.api")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the id of the key, and its role."""

    id: str
    role: Role

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


def new_key(role: Role = "admin") -> tuple[str, AdminKey]:
    """Make a key: its text, which is shown once and kept nowhere, and what is written down of it."""
    id_ = secrets.token_hex(4)
    text = f"balancer_{id_}_{secrets.token_urlsafe(32)}"
    return text, known_key(text, id_, role)


def known_key(text: str, id_: str = "ADMIN_API_KEY", role: Role = "admin") -> AdminKey:
    """The record of a key that the operator chose; for the environment's one."""
    return AdminKey(id=id_, hash=_hash(text), role=role)


def _hash(text: str) -> str:
    # A fast hash is right: it protects 256 random bits, and a slow one would let strangers burn our time.
    return "sha256:" + sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Keyring:
    """The keys that open the API: those of the configuration in force, and `fallback`, made for this process alone."""

    def __init__(
        self,
        config: Callable[[], Config],
        fallback: AdminKey | None,
        clock: Callable[[], float],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._fallback = fallback
        self._wall = wall
        self._clock = clock
        self.guesses = Guesses()

    def identify(self, headers: Mapping[str, str], address: str) -> Caller | None:
        """Who presents the key in `headers`; None when there is none. A wrong one: 401 or 429."""
        text = presented(headers)
        if text is None:
            return None
        hashed = _hash(text)
        if len(text) < UNGUESSABLE:
            self._wait_over(address)
        found = None
        for key in self._keys():
            if compare_digest(key.hash, hashed):
                found = key
        if found is None:
            self._wait_over(address)
            self.guesses.count(address, hashed, self._clock())
            log.warning("a wrong key", address=address)  # at most as often as guesses are let through
            raise Problem(401, "the key is not known", headers=CHALLENGE)
        if found.expires is not None and self._wall().date() > date.fromisoformat(found.expires):
            raise Problem(401, f"the key {found.id} expired on {found.expires}", headers=CHALLENGE)
        return Caller(found.id, found.role)

    def _wait_over(self, address: str) -> None:
        """A 429 while the address has to wait for its wrong keys.

        A long key is looked at first, and so is not kept waiting when it is right: any user of this machine could
        lock the operator out else. That helps nobody to guess, as 256 random bits are found at no speed. A short one,
        which somebody thought of, is not looked at: it must not be told from the wrong ones by now.
        """
        wait = self.guesses.wait(address, self._clock())
        if wait > 0:
            raise Problem(
                429,
                f"too many wrong keys came from this address: wait {wait:.0f} seconds",
                headers={"Retry-After": f"{max(1.0, wait):.0f}"},
            )

    def _keys(self) -> tuple[AdminKey, ...]:
        keys = self._config().admin.keys
        return keys if self._fallback is None else (*keys, self._fallback)


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


class Guesses:
    """Limits how fast an address may try wrong keys.

    The same wrong key again is no new guess: a scraper left with an old key must not lock out an operator who
    works from the same host. The table is bounded; an IPv6 address counts as its /64, which one host owns.
    """

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Seconds until the address may present a key again; 0 when it may now."""
        record = self._records.get(_block(address))
        if record is None:
            return 0.0
        used = record.used - (now - record.stamp) / PACE
        return max(0.0, (used - (BURST - 1)) * PACE)

    def count(self, address: str, hashed: str, now: float) -> None:
        """The address presented a wrong key."""
        block = _block(address)
        record = self._records.setdefault(block, _Record())
        self._records.move_to_end(block)
        if hashed in record.wrong:
            return
        record.wrong = [*record.wrong, hashed][-BURST:]
        record.used = max(0.0, record.used - (now - record.stamp) / PACE) + 1
        record.stamp = now
        if len(self._records) > ADDRESSES:
            self._records.popitem(last=False)

    def __len__(self) -> int:
        return len(self._records)


def _block(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a Unix socket's other end has none
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(IPv6Address(int(parsed) >> 64 << 64))
