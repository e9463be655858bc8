"""Which of several media types a client would rather have, by its Accept field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from balancer.http1.fields import TOKEN

LONGEST: Final = 1024
"""Bytes of the field that are read. Browsers send some 150."""
MOST: Final = 32
"""Ranges that are read. Browsers send eight."""
_ELEMENT: Final = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*+"?)++', re.DOTALL)
_RANGE: Final = re.compile(rb"[ \t]*(" + TOKEN + rb")/(" + TOKEN + rb")[ \t]*(?:;(.*))?", re.DOTALL)
_WEIGHT: Final = re.compile(rb"(?:\A|;)[ \t]*[qQ]=(?:(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*(?:;|\Z))?")
_EXACT: Final = 2


def preferred(accept: bytes | None, offers: Sequence[tuple[bytes, bytes]]) -> int:
    """The place among `offers`, pairs of type and subtype in lower case, of the one to send (RFC 9110 section 12.5.1).

    For each offer the most specific range that fits it decides. Between offers of equal weight, the one that is
    named more closely wins, then the one that is named earlier, then the earlier offer. The first one is sent to
    whoever does not say, or wants nothing that is offered: an error that can be read beats one that is not told.
    Parameters other than the weight are not looked at.
    """
    if not accept or accept == b"*/*":
        return 0
    ranges = _ranges(accept)
    ranks = [_rank(kind, subtype, ranges) for kind, subtype in offers]
    best = max(range(len(offers)), key=ranks.__getitem__)  # of equal ones the first
    return best if ranks[best][0] > 0 else 0


def _rank(kind: bytes, subtype: bytes, ranges: Sequence[tuple[bytes, bytes, float]]) -> tuple[float, int, int]:
    """Weight, how closely it is named, and how early: a higher one is rather wanted."""
    closest, weight, early = -1, 0.0, 0
    for position, (one, two, q) in enumerate(ranges):
        if one == kind and two in (subtype, b"*"):
            close = _EXACT if two == subtype else 1
        elif one == two == b"*":
            close = 0
        else:
            continue
        # Said twice, the kinder one holds.
        if close > closest or (close == closest and q > weight):
            closest, weight = close, q
            early = -position if close == _EXACT else 0
    return weight, closest, early


def _ranges(accept: bytes) -> list[tuple[bytes, bytes, float]]:
    """Type, subtype and weight of each range that is one, in lower case."""
    if len(accept) > LONGEST:
        accept = accept[:LONGEST].rpartition(b",")[0]  # the last range may be cut in two
    found = []
    for element in _ELEMENT.findall(accept)[:MOST]:
        match = _RANGE.fullmatch(element)
        weight = _weight(match[3]) if match is not None else None
        if match is not None and weight is not None:
            found.append((match[1].lower(), match[2].lower(), weight))
    return found


def _weight(parameters: bytes | None) -> float | None:
    """The q among a range's parameters, 1 without one; None when it is no weight."""
    match = _WEIGHT.search(parameters) if parameters else None
    if match is None:
        return 1.0
    return float(match[1]) if match[1] is not None else None
