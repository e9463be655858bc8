"""Cookies of a request."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from balancer.http1.head import RequestHead

_BEFORE: Final = re.compile(rb"([^;,=]*)=")
"""What stands before each `=`: some servers take a blank or a comma for the end of a cookie, too."""
_AROUND: Final = re.compile(rb"^[^!#$%&'*+\-.^_`|~0-9a-z]+|[^!#$%&'*+\-.^_`|~0-9a-z]+$")
_UNUSUAL: Final = re.compile(rb"[^0-9a-z]")
_LIKE: Final = bytes(code if chr(code).isascii() and chr(code).isalnum() else ord("_") for code in range(256))
_PERCENT: Final = re.compile(rb"%[^;,=]*=")
_LAST: Final = re.compile(rb"[^ \t]*[ \t]*$")
_BOUNDS: Final = (b"", b" ", b"\t", b";", b",")


def cookie(head: RequestHead, name: bytes) -> bytes | None:
    """The value of a cookie, or None (RFC 6265 section 5.4)."""
    prefix = name + b"="
    for field in head.common.fields:
        if field[0] == b"cookie":
            for part in field[1].split(b";"):
                pair = part.strip(b" \t")
                if pair.startswith(prefix):
                    return pair[len(prefix) :].strip(b'"')
    return None


def alike(name: bytes) -> bytes:
    """The name that some server cannot tell this one from.

    Names are stripped of blanks by some, of more by others; PHP has `_` for a dot and an index after `[`, some decode
    percent signs, and some look at no case.
    """
    told = unquote_to_bytes(name) if b"%" in name else name
    return _UNUSUAL.sub(b"_", _AROUND.sub(b"", told.lower().partition(b"[")[0]))


def places(value: bytes, like: bytes) -> int:
    """How often some server would find a cookie in the value of a field; `like` is `alike` of its name."""
    if _PERCENT.search(value) is None:  # mostly it is there not at all, or once and as it should be
        written = value.lower().translate(_LIKE)
        at = written.find(like)
        if at < 0:
            return 0
        end = at + len(like)
        if value[end : end + 1] == b"=" and value[at - 1 : at] in _BOUNDS and written.find(like, at + 1) < 0:
            return 1
    found = 0
    for before in _BEFORE.findall(value):
        if len(before) >= len(like) and (alike(before) == like or alike(_LAST.findall(before)[0]) == like):
            found += 1
    return found


def times(head: RequestHead, like: bytes) -> int:
    """How often some server would find it in a request."""
    return sum([places(field[1], like) for field in head.common.fields if field[5] == b"cookie"])
