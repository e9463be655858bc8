"""Cookies that keep a client where it was."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from hmac import digest
from math import ceil
from typing import Generic, TypeVar

from balancer.server import Server
from balancer.strategy.contract import Strategy
from config.schema import Sticky

Member = TypeVar("Member")

SECRET_LENGTH = 16
"""Bytes that a secret has at least: with a shorter one, names could be found by trying."""
TOKEN_BYTES = 9
"""Of the keyed hash; 12 characters. Two names share a token once in 10^21, and it says nothing of either."""


class StickyCookie(Generic[Member]):
    """A cookie that says which of some named members a client was given, without telling its name.

    Its value is a keyed hash of scope and name: the same over restarts and in every process that has the
    secret, meaningless to anybody else, and good for nothing but coming back.
    """

    __slots__ = ("_attributes", "_members", "_name", "_pattern", "_scope", "_secret")

    def __init__(self, scope: str, members: Mapping[str, Member], settings: Sticky, secret: bytes) -> None:
        """`scope` keeps apart members of the same name elsewhere: "pool web", "route canary"."""
        if len(secret) < SECRET_LENGTH:
            raise ValueError(
                f"the secret of sticky cookies must have at least {SECRET_LENGTH} bytes, not {len(secret)}"
            )
        self._scope = scope
        self._secret = secret
        self._name = settings.cookie.encode("ascii")
        self._attributes = _attributes(settings)
        # A whole pair and nothing around it (RFC 6265 section 4.2.1); a quoted value was never ours.
        self._pattern = re.compile(rb"(?:\A|;)[ \t]*" + re.escape(self._name) + rb"=([A-Za-z0-9_-]{12})[ \t]*(?=;|\Z)")
        self._members = {self.token(name): member for name, member in members.items()}

    def token(self, name: str) -> bytes:
        """The cookie's value for a name. Lengths are hashed too, so scope and name cannot run together."""
        text = f"{len(self._scope)}:{self._scope}{len(name)}:{name}"
        return urlsafe_b64encode(digest(self._secret, text.encode(), sha256)[:TOKEN_BYTES])

    def read(self, field: bytes) -> Member | None:
        """The member that a Cookie field's value names; None when it names none of these."""
        if self._name not in field:  # most fields, at a tenth of the cost
            return None
        # There may be several of one name, from other paths and domains (RFC 6265 section 4.2.2).
        for found in self._pattern.finditer(field):
            member = self._members.get(found[1])
            if member is not None:
                return member
        return None

    def write(self, name: str) -> bytes:
        """The value of a Set-Cookie field that makes the client come back to a name."""
        return self._name + b"=" + self.token(name) + self._attributes


class StickySessions:
    """Keeps each client on the server it was given first, for as long as that is in rotation.

    Built over the servers in rotation, like the strategy that it asks for everybody else.
    """

    __slots__ = ("_cookie", "_set")

    def __init__(self, pool: str, servers: Sequence[Server], settings: Sticky, secret: bytes) -> None:
        self._cookie = StickyCookie(f"pool {pool}", {server.name: server for server in servers}, settings, secret)
        self._set = {server: self._cookie.write(server.name) for server in servers}

    def named(self, field: bytes) -> Server | None:
        """The server in rotation that a Cookie field's value names."""
        return self._cookie.read(field)

    def cookie(self, server: Server) -> bytes | None:
        """The Set-Cookie value that brings a client back to a server; None when it has left the rotation since."""
        return self._set.get(server)

    def pick(
        self, field: bytes, strategy: Strategy, key: int, now: float, tried: Collection[Server] = ()
    ) -> tuple[Server | None, bytes | None]:
        """A server, and the Set-Cookie value to send with its answer if the client was not there already."""
        named = self._cookie.read(field) if field else None
        if named is not None and named not in tried:
            return named, None
        server = strategy.pick(key, now, tried)
        return server, None if server is None else self._set[server]


def _attributes(settings: Sticky) -> bytes:
    parts = ["; Path=/; HttpOnly; SameSite=Lax"]
    if settings.ttl is not None:
        parts.append(f"; Max-Age={max(ceil(settings.ttl), 1)}")  # 0 would delete it
    if settings.secure:
        parts.append("; Secure")
    return "".join(parts).encode("ascii")
