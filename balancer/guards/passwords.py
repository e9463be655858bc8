"""Passwords against what is kept of them. Slow on purpose: not for an event loop."""

from __future__ import annotations

from hashlib import scrypt
from hmac import compare_digest
from typing import Final

from config.passwords import PasswordHash

N: Final = 2**14
R: Final = 8
P: Final = 5
"""16 MiB and about a sixth of a second: the middle of what OWASP's cheat sheet on password storage takes for enough."""
SALT: Final = 16
LONGEST: Final = 1024
"""Bytes of a password: nobody's is longer, and what is longer costs more to look at."""


def hashed(password: bytes, salt: bytes, n: int = N, r: int = R, p: int = P) -> PasswordHash:
    """What is kept of a password."""
    return PasswordHash(n, r, p, salt, _derived(password, salt, n, r, p, 32))


def matches(kept: PasswordHash, password: bytes) -> bool:
    """Whether this is the password; takes as long if it is not."""
    return compare_digest(kept.key, _derived(password, kept.salt, kept.n, kept.r, kept.p, len(kept.key)))


def _derived(password: bytes, salt: bytes, n: int, r: int, p: int, size: int) -> bytes:
    # OpenSSL wants to be told how much memory it may take, with some room beside that of the algorithm.
    return scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 4) + 1024 * 1024, dklen=size)
