"""The public keys of an issuer of tokens: a JWK Set (RFC 7517), read with a bound on everything in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

LARGEST: Final = 256 * 1024
"""Bytes of a set: the largest known have some dozens of keys with certificates, in 50 KB."""
MOST_KEYS: Final = 100
WEAKEST: Final = 2048
STRONGEST: Final = 8192
"""Bits of an RSA key. With more, each look at a signature would take milliseconds."""
_RSA: Final = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_LONGEST_ID: Final = 256
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
_PUBLIC: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""What is read of a key: if an issuer shows private parts by mistake, they are not even looked at."""


class Key(NamedTuple):
    """One key, and the algorithms that go with its kind: none of them is ever chosen by a token alone."""

    id: str | None
    algorithms: frozenset[str]
    key: PublicKey | bytes


class BadKeys(ValueError):
    """What came is no set of keys. Its text quotes nothing of it."""


class KeySet:
    """Keys that tokens may be signed with."""

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[Key, ...] = ()) -> None:
        self.keys = keys

    def candidates(self, id_: str | None, algorithm: str) -> list[Key]:
        """The keys that a token may be signed with: by its key's id if it has one, else all of that kind."""
        return [
            key for key in self.keys if algorithm in key.algorithms and (id_ is None or key.id is None or key.id == id_)
        ]

    def __len__(self) -> int:
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySet) and self.keys == other.keys

    __hash__ = None  # type: ignore[assignment]  # what is equal by its keys is no key itself


def of_secret(secret: str) -> KeySet:
    """A secret that issuer and balancer share."""
    return KeySet((Key(None, frozenset(("HS256", "HS384", "HS512")), secret.encode("utf-8")),))


def of_pem(text: str) -> KeySet:
    """One public key; raises ValueError, which the check of the configuration has kept away."""
    key = load_pem_public_key(text.strip().encode())
    assert isinstance(key, PublicKey)  # the check has looked
    return KeySet((Key(None, _algorithms(key), key),))


def parse(data: bytes) -> KeySet:
    """Read a JWK Set; raises BadKeys. Keys that are of no use are left out, as the RFC wants it (section 5)."""
    if len(data) > LARGEST:
        raise BadKeys(f"it is larger than {LARGEST // 1024} KiB")
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        raise BadKeys("it is no JSON") from None
    members = whole.get("keys") if isinstance(whole, dict) else None
    if not isinstance(members, list):
        raise BadKeys('it has no list "keys"')
    keys = tuple(key for member in members[:MOST_KEYS] if (key := _key(member)) is not None)
    if not keys:
        raise BadKeys("it has no public key that tokens can be checked with")
    return KeySet(keys)


def _key(member: object) -> Key | None:
    """One of a set, or None if it is none for signatures. Symmetric keys are none: whoever reads the set has them."""
    if not isinstance(member, dict) or member.get("use", "sig") != "sig":
        return None
    operations = member.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    id_ = member.get("kid")
    if id_ is not None and (not isinstance(id_, str) or len(id_) > _LONGEST_ID):
        return None
    try:
        key = _public(member)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key is None:
        return None
    algorithms = _algorithms(key)
    said = member.get("alg")
    if said is not None:
        algorithms &= {"EdDSA"} if said in ("Ed25519", "Ed448") else {said} if isinstance(said, str) else set()
    return Key(id_, algorithms, key) if algorithms else None


def _public(member: Mapping[str, object]) -> PublicKey | None:
    kind = member.get("kty")
    if not isinstance(kind, str) or kind not in _PUBLIC:
        return None
    parts: dict[str, object] = {"kty": kind}
    for name in _PUBLIC[kind]:
        value = member.get(name)
        if not isinstance(value, str) or len(value) > STRONGEST // 6 + 16:
            return None
        parts[name] = value
    key: object
    if kind == "RSA":
        key = RSAAlgorithm.from_jwk(parts)
    elif kind == "EC":
        key = ECAlgorithm.from_jwk(parts)
    else:
        key = OKPAlgorithm.from_jwk(parts)
    return key if isinstance(key, PublicKey) else None


def _algorithms(key: PublicKey) -> frozenset[str]:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA if WEAKEST <= key.key_size <= STRONGEST else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey):
        named = _CURVES.get(key.curve.name)
        return frozenset((named,)) if named is not None else frozenset()
    return frozenset(("EdDSA",))
