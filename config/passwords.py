"""The text that is written down of a password: `scrypt:N:r:p:SALT:KEY`, from which nobody learns it."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from config.masking import MASK
from config.problems import Unfit

_TEXT = re.compile(r"scrypt:([0-9]{1,7}):([0-9]{1,2}):([0-9]{1,2}):([A-Za-z0-9_-]{16,86}):([A-Za-z0-9_-]{22,86})")
_EXPECTED = (
    "must be what `balancer hash-password` prints, such as scrypt:16384:8:5:... with a salt and a key; "
    "hashes of other kinds, such as bcrypt, are not taken"
)
LEAST = 2**13
"""Of N: less is guessed at too quickly."""
MOST_MEMORY = 64 * 1024 * 1024
"""Bytes that one look at a password may take."""
MOST_WORK = 2**22
"""N times r times p: more would keep a core busy for seconds."""


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A password as it is kept: what scrypt (RFC 7914) makes of it, and with which parameters."""

    n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    @classmethod
    def of(cls, text: str) -> PasswordHash:
        """Read it; raises Unfit, without a word of what it was."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise Unfit(_EXPECTED, MASK)
        n, r, p = int(found[1]), int(found[2]), int(found[3])
        if n & (n - 1) or n < LEAST:
            raise Unfit(
                f"must have an N that is a power of 2 and at least {LEAST}; `balancer hash-password` makes one", MASK
            )
        if not r or not p or 128 * n * r > MOST_MEMORY or n * r * p > MOST_WORK:
            raise Unfit("must take at most 64 MiB and about a second; `balancer hash-password` makes one", MASK)
        try:
            return cls(n, r, p, _bytes(found[4]), _bytes(found[5]))
        except ValueError:
            raise Unfit(_EXPECTED, MASK) from None

    def __str__(self) -> str:
        return f"scrypt:{self.n}:{self.r}:{self.p}:{_text(self.salt)}:{_text(self.key)}"


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
