"""Accept-Encoding: what a client takes, and how much it likes it (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import re
from typing import Final

from balancer.http1.fields import TOKEN

_MEMBER: Final = re.compile(rb"(" + TOKEN + rb")(?:[\t ]*;[\t ]*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
_ALIASES: Final = {b"x-gzip": b"gzip"}  # RFC 9110 section 8.4.1.3


def weights(value: bytes) -> dict[bytes, float]:
    """What is named, in lower case, with its quality value; `*` is a name too.

    A member that is not by the grammar is left out: what cannot be understood is not wanted. Of one that is named
    twice the lower value counts.
    """
    found: dict[bytes, float] = {}
    for part in value.split(b","):
        match = _MEMBER.fullmatch(part.strip(b"\t "))
        if match is None:
            continue
        name = match[1].lower()
        name = _ALIASES.get(name, name)
        quality = float(match[2] or 1)
        found[name] = min(quality, found.get(name, 1.0))
    return found


def choice(value: bytes | None, offered: tuple[bytes, ...]) -> bytes | None:
    """The offered coding that the client likes best, the first of these at a tie; None: none, send it as it is.

    A client without the field takes anything (rule 1 there), but has most likely never heard of codings. When not even
    identity is acceptable, what is sent is identity all the same, as the section has it.
    """
    if value is None:
        return None
    found = weights(value)
    anything = found.get(b"*", 0.0)
    best, most = None, found.get(b"identity", 0.0)  # identity that is not named is the last resort
    for coding in offered:
        quality = found.get(coding, anything)
        if quality > most or (quality == most > 0.0 and best is None):
            best, most = coding, quality
    return best
