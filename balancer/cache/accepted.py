"""Which kinds of pictures a request takes, so that answers that vary by Accept need not be stored for each browser."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from balancer.cache.directives import LONGEST_REMEMBERED

FORMATS: Final = (b"avif", b"webp")
"""Those that some browsers take and some do not."""
_TYPES: Final = {b"image/" + name: name for name in FORMATS}
_NEVER: Final = re.compile(rb"q[\t ]*=[\t ]*0(\.0*)?")


def image_formats(accept: bytes) -> frozenset[bytes]:
    """Of `FORMATS`, those that a value of Accept names and does not refuse. Ranges such as image/* name none."""
    return _formats(accept) if len(accept) <= LONGEST_REMEMBERED else _formats.__wrapped__(accept)


@lru_cache(256)
def _formats(accept: bytes) -> frozenset[bytes]:
    found: set[bytes] = set()
    for part in accept.lower().split(b","):
        kind, *parameters = (one.strip(b"\t ") for one in part.split(b";"))
        name = _TYPES.get(kind)
        if name is not None and not any(map(_NEVER.fullmatch, parameters)):
            found.add(name)
    return frozenset(found)
