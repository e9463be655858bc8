"""What a server is told in a field: each value in one spelling, and no two alike."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 4096
"""Bytes of one field; more than a server takes would keep somebody out of everything."""
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f%\ud800-\udfff]|\A[ ]+|[ ]+\Z")
_UNFIT_IN_LIST: Final = re.compile(r"[\x00-\x1f\x7f%,\ud800-\udfff]|\A[ ]+|[ ]+\Z")


def text(value: object) -> bytes | None:
    """One value, or a list of them with commas between; None for what is neither, and for what is too long.

    Control characters, which would end a line, and spaces around it, which are dropped on the way, are percent-encoded,
    and so is the sign for that. A comma inside of a list's member is, too: somebody in a group "a,b" is in neither of
    the groups a and b.
    """
    if isinstance(value, list):
        members = [_one(member, _UNFIT_IN_LIST) for member in value]
        told: bytes | None = b",".join([member for member in members if member])
    else:
        told = _one(value, _UNFIT)
    return told if told is not None and 0 < len(told) <= LONGEST else None


def _one(value: object, unfit: re.Pattern[str]) -> bytes | None:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (int, float)):
        return repr(value).encode("ascii")
    if not isinstance(value, str):
        return None
    return unfit.sub(_encoded, value).encode("utf-8")


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))
