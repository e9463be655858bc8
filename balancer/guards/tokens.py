"""Signed tokens: what they have to be, to the letter of RFC 7519 and RFC 8725, and who they are about."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from math import isfinite
from typing import Final, NamedTuple

from jwt import PyJWS
from jwt.exceptions import PyJWTError

from balancer.guards.keyset import KeySet
from config.auth import PUBLIC, Jwt

LONGEST: Final = 8192
"""Bytes of a token: it comes with every request, and servers take heads of no more than that."""
MOST_TRIED: Final = 4
"""Keys that one token is held against, if it does not say which signed it."""
_TOKEN: Final = re.compile(rb"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SPACED: Final = ("scope", "scp")
"""Claims whose text is a list of words (RFC 8693 section 4.2)."""


class Verified(NamedTuple):
    """A token that is what it has to be."""

    claims: Mapping[str, object]
    until: float
    """Unix time; inf when it never ends."""


class Fault(NamedTuple):
    """Why a token is not taken: a word for metrics, and a sentence for its bearer."""

    result: str
    reason: str
    lasting: bool = True
    """Whether it is so for as long as the keys are the same."""
    status: int = 401


class UnknownKey(NamedTuple):
    """It is signed with a key that is not there, or not yet."""

    id: str | None


MALFORMED: Final = Fault("malformed", "the token is not well-formed")
ALGORITHM: Final = Fault("wrong", "the token is signed in a way that is not taken here")
SIGNATURE: Final = Fault("wrong", "the signature of the token is wrong")
KEY: Final = Fault("wrong", "the token is signed with a key that is not known", lasting=False)
EXPIRED: Final = Fault("expired", "the token has expired")
EARLY: Final = Fault("wrong", "the token is not valid yet", lasting=False)
ENDLESS: Final = Fault("wrong", "the token never expires")
ISSUER: Final = Fault("wrong", "the token is from another issuer")
AUDIENCE: Final = Fault("wrong", "the token is for another audience")


LACKING: Final = Fault("forbidden", "the token does not allow this", status=403)


class Verifier:
    """Holds tokens against settings and keys. Settings say which algorithms there are; a token names one of them."""

    def __init__(self, settings: Jwt) -> None:
        self._algorithms = frozenset(settings.algorithms or (("HS256",) if settings.secret is not None else PUBLIC))
        self._issuer = settings.issuer
        self._audience = frozenset(settings.audience)
        self._require_exp = settings.require_exp
        self._require = {name: frozenset(values) for name, values in settings.require.items()}
        self._leeway = settings.leeway
        self._signatures = PyJWS(algorithms=sorted(self._algorithms))

    def verify(self, token: bytes, keys: KeySet, now: float) -> Verified | Fault | UnknownKey:
        """Look at a token. `now` is Unix time."""
        match = _TOKEN.fullmatch(token) if len(token) <= LONGEST else None
        header = _object(match[1]) if match is not None else None
        # Nothing critical is understood here (RFC 7515 section 4.1.11); nor is a payload without encoding (RFC 7797).
        if header is None or "crit" in header or "b64" in header:
            return MALFORMED
        algorithm, id_ = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            return ALGORITHM
        if id_ is not None and not isinstance(id_, str):
            return MALFORMED
        candidates = keys.candidates(id_, algorithm)
        if not candidates:
            return UnknownKey(id_)
        payload = None
        for key in candidates[:MOST_TRIED]:
            try:
                payload = self._signatures.decode(token, key.key, [algorithm])
            except (PyJWTError, ValueError, TypeError):
                continue
            break
        if payload is None:
            return SIGNATURE
        claims = _loaded(payload)
        return self._judged(claims, now) if claims is not None else MALFORMED

    def _judged(self, claims: dict[str, object], now: float) -> Verified | Fault:
        leeway = self._leeway
        until = float("inf")
        if "exp" in claims:
            end = _seconds(claims["exp"])
            if end is None:
                return MALFORMED
            until = end + leeway
            if until <= now:
                return EXPIRED
        elif self._require_exp:
            return ENDLESS
        if "nbf" in claims:
            begin = _seconds(claims["nbf"])
            if begin is None:
                return MALFORMED
            if begin - leeway > now:
                return EARLY
        if self._issuer is not None and claims.get("iss") != self._issuer:
            return ISSUER
        if self._audience and self._audience.isdisjoint(_values(claims.get("aud"))):
            return AUDIENCE
        if any(wanted.isdisjoint(_listed(name, claims.get(name))) for name, wanted in self._require.items()):
            return LACKING
        return Verified(claims, until)


def _object(part: bytes) -> dict[str, object] | None:
    try:
        return _loaded(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except ValueError:
        return None


def _loaded(data: bytes) -> dict[str, object] | None:
    """A JSON object in which each name is there once (RFC 7519 section 4), or None."""
    try:
        found = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
        if (
            b"\\u" in data
        ):  # half of a surrogate pair is no character, and breaks whatever writes it (RFC 7493 section 2.1)
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _seconds(value: object) -> float | None:
    """A NumericDate, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if isfinite(seconds) else None


def _values(value: object) -> frozenset[str]:
    """A text, or a list of them, as a set; of whatever else nothing."""
    if isinstance(value, str):
        return frozenset((value,))
    if isinstance(value, list):
        return frozenset(member for member in value if isinstance(member, str))
    return frozenset()


def _listed(name: str, value: object) -> frozenset[str]:
    if isinstance(value, str) and name in _SPACED:
        return frozenset(value.split(" "))
    if isinstance(value, bool):
        return frozenset(("true" if value else "false",))
    if isinstance(value, int):
        return frozenset((str(value),))
    return _values(value)
