"""The path of a target as routing sees it."""

from __future__ import annotations

import re
from typing import Final

_SLASHES: Final = re.compile(rb"/{2,}")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def match_path(target: bytes) -> bytes:
    """The path that patterns are held against.

    Without the query, with needless percent-encoding undone (RFC 3986 section 6.2.2.2) and slashes merged: neither
    "/%61dmin" nor "//admin" is a way around a rule for "/admin".
    """
    path = target.partition(b"?")[0]
    if b"//" in path:
        path = _SLASHES.sub(b"/", path)
    if b"%" in path:
        path = _PERCENT.sub(_decode_unreserved, path)
    return path if path[:1] == b"/" else b"/"


def _decode_unreserved(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    return bytes((code,)) if code in _UNRESERVED else match[0].upper()
