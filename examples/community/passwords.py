"""Passwords as the users table keeps them."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def sealed(password: str, salt: bytes | None = None) -> str:
    """Salt and scrypt digest in hexadecimal; takes some ten milliseconds, so never on the event loop."""
    salt = salt or secrets.token_bytes(12)
    # A sixteenth of the usual cost: three copies of a demonstration share one machine with the balancer.
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**10, r=8, p=1, dklen=32)
    return f"{salt.hex()}${digest.hex()}"


def matches(password: str, kept: str) -> bool:
    salt = bytes.fromhex(kept.partition("$")[0])
    return hmac.compare_digest(sealed(password, salt), kept)
