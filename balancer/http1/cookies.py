"""Cookies of a request."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from balancer.http1.head import RequestHead

_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_AROUND: Final = bytes(code for code in range(256) if code not in _TOKEN)
_LIKE: Final = bytes(code if chr(code).isascii() and chr(code).isalnum() else ord("_") for code in range(256))
_PERCENT: Final = re.compile(rb"%[^%;,=]*=")
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
    return told.lower().partition(b"[")[0].strip(_AROUND).translate(_LIKE)


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
    return sum([alike(before) == like or alike(last(before)) == like for before in names(value)])


def names(value: bytes) -> list[bytes]:
    """What stands before each `=`. Some servers take a comma for the end of a cookie, too."""
    parts = value.replace(b",", b";").split(b"=")
    return [part.rpartition(b";")[2] for part in parts[:-1]]


def last(name: bytes) -> bytes:
    """The last word of it: some servers take a blank for the end of a cookie."""
    return name.replace(b"\t", b" ").rstrip(b" ").rpartition(b" ")[2]


def times(head: RequestHead, like: bytes) -> int:
    """How often some server would find it in a request."""
    return sum([places(field[1], like) for field in head.common.fields if field[5] == b"cookie"])
