"""By what requests are counted apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from balancer.decision import Decision
from balancer.guards.address import client_key, network_key
from balancer.http1.cookies import alike, cookie, times
from balancer.http1.fields import usual
from balancer.http1.head import RequestHead

Key = Callable[[RequestHead, Decision], str]
_Part = Callable[[RequestHead, Decision], str | None]

LONGEST: Final = 64
"""Characters of a value that are kept as they are; of longer ones a hash is, so that clients fill no memory."""
LACKING: Final = "\x00"
"""Begins what stands for a value that a request lacks."""
HASHED: Final = "#"
"""Begins what stands for a long value."""
MEANING: Final = LACKING + HASHED
"""A value that begins so itself is hashed: a claim may begin with anything."""
IDENTITIES: Final = ("api-key", "jwt")
"""Parts that are known only once the request has been let in."""


def needs_identity(parts: Sequence[str]) -> bool:
    return any(part.partition(":")[0] in IDENTITIES for part in parts)


def key_of(parts: Sequence[str], route: str) -> Key | None:
    """The function from a request to its key; None where that is the client's address, which is the usual case."""
    if tuple(parts) == ("client",):
        return None
    found = [_part(part, route) for part in parts]
    if len(found) == 1:
        only = found[0]
        return lambda head, decision: only(head, decision) or LACKING + client_key(decision.client)

    def combined(head: RequestHead, decision: Decision) -> str:
        # What is joined can not contain what it is joined with: no other combination looks the same.
        return "\n".join([part(head, decision) or LACKING + client_key(decision.client) for part in found])

    return combined


def _part(part: str, route: str) -> _Part:
    kind, _, name = part.partition(":")
    if kind == "client":
        return lambda head, decision: client_key(decision.client)
    if kind == "network":
        return lambda head, decision: network_key(decision.client)
    if kind == "route":
        return lambda head, decision: route
    if kind == "header":
        field = name.lower().encode("ascii")
        like = usual(field)
        return lambda head, decision: short(_value(head, field, like))
    if kind == "cookie":
        wanted = name.encode("ascii")
        like = alike(wanted)
        return lambda head, decision: short(cookie(head, wanted)) if times(head, like) == 1 else None
    if kind == "api-key":
        return lambda head, decision: decision.identity.name if _is_key(decision) and decision.identity else None
    assert kind == "jwt"  # the schema has no other
    return lambda head, decision: _claim(decision, name)


def _value(head: RequestHead, name: bytes, like: bytes) -> bytes | None:
    """The value of a field; None also for one that servers could find more than one of, each with a key of its own."""
    found = [field for field in head.common.fields if field[5] == like]
    return found[0][1] if len(found) == 1 and found[0][0] == name else None


def _is_key(decision: Decision) -> bool:
    return decision.identity is not None and decision.identity.kind == "api-key"


def _claim(decision: Decision, name: str) -> str | None:
    identity = decision.identity
    value = identity.claims.get(name) if identity is not None else None
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        # The JSON of a token may have halves of characters in it, which are no UTF-8.
        return short(str(value).encode("utf-8", "surrogatepass"))
    return None


def short(value: bytes | None) -> str | None:
    """A value as it is part of a key; None for one that is not there."""
    if not value:
        return None
    text = value.decode("latin-1")
    if len(text) <= LONGEST and "\n" not in text and text[0] not in MEANING:
        return text
    return HASHED + blake2b(value, digest_size=16).hexdigest()
