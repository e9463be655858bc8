"""The path of a target as routing sees it: the copy that decides, and the ways in which servers may read it."""

from __future__ import annotations

import re
from typing import Final

from balancer.http1.octets import BACKSLASH, PERCENT, SEMICOLON

_SLASHES: Final = re.compile(rb"/{2,}")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DOUBTFUL: Final = re.compile(rb"(?i)[\\;]|%2f|%5c|%3b|%2e|//|/\.")
_SEPARATORS: Final = re.compile(rb"(?i)\\|%2f|%5c")
_PARAMETERS: Final = re.compile(rb"(?i)(?:;|%3b)[^/]*")
_CLIMBING: Final = re.compile(rb"(?i)(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:/|\\|%2f|%5c|;|%3b|\Z)")


def match_path(target: bytes) -> bytes:
    """The path that patterns are held against.

    Without the query, with needless percent-encoding undone (RFC 3986 section 6.2.2.2) and slashes merged: neither
    "/%61dmin" nor "//admin" is a way around a rule for "/admin".
    """
    path = target.partition(b"?")[0]
    if path.find(b"//") >= 0:  # `in` takes twice as long
        path = _SLASHES.sub(b"/", path)
    if PERCENT in path:
        path = _PERCENT.sub(_decode_unreserved, path)
    return path if path[:1] == b"/" else b"/"


def is_doubtful(target: bytes) -> bool:
    """Whether there may be `other_readings`: quickly, and rather too often than not often enough."""
    return (
        PERCENT in target
        or SEMICOLON in target
        or BACKSLASH in target
        or target.find(b"/.") >= 0
        or target.find(b"//") >= 0
    )


def other_readings(target: bytes, first: bytes) -> set[bytes]:
    """What else a server may take the path for; `first` is what `match_path` gives. Mostly nothing.

    Servers differ in whether they resolve dot segments, take an encoded slash or a backslash for a slash, take what
    follows two slashes for a host (as in a URL relative to their own), leave parameters ("/a;x=1/b") in a segment, and
    merge slashes before or after that. The target is sent on byte for byte, so a rule only holds if all readings lead
    to the same route.
    """
    path = target.partition(b"?")[0]
    if _DOUBTFUL.search(path) is None:
        return set()
    path = _PERCENT.sub(_decode_unreserved, path)
    found = set()
    separations = [path, _SEPARATORS.sub(b"/", path)]
    separations += [b"/" + one[2:].partition(b"/")[2] for one in separations if one.startswith(b"//")]
    for separated in separations:
        for bare in (separated, _PARAMETERS.sub(b"", separated)):
            found.add(_resolved(bare))
            found.add(_resolved(_SLASHES.sub(b"/", bare)))
            found.add(_SLASHES.sub(b"/", bare))
    return found - {first}


def climbs(target: bytes) -> bool:
    """Whether the path has dot segments, in any spelling: what is built from its parts could end up anywhere."""
    return _CLIMBING.search(target.partition(b"?")[0]) is not None


def _resolved(path: bytes) -> bytes:
    """Without dot segments (RFC 3986 section 5.2.4), and then with slashes merged."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments and segments[-1] in (b".", b".."):
        kept.append(b"")
    return _SLASHES.sub(b"/", b"/" + b"/".join(kept))


def _decode_unreserved(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    return bytes((code,)) if code in _UNRESERVED else match[0].upper()
