"""Which part of a file a request gets, if any: RFC 9110 sections 13 and 14, in the order of section 13.2.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from balancer.cache.conditions import etags, weakly
from balancer.cache.dates import parse_date
from balancer.cache.ranges import Unsatisfiable, span


@dataclass(frozen=True, slots=True)
class Validators:
    """By what a file is recognised."""

    etag: bytes
    """A strong one, in its quotation marks."""
    modified: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is answered."""

    status: int
    """200, 206, 304, 412 or 416."""
    first: int = 0
    size: int = 0
    """Bytes of the body."""


def part(asked: Mapping[str, str], method: str, held: Validators, size: int, now: float) -> Part:
    """`asked` are the request's fields by their names in small letters, those that came twice joined."""
    if not _agreed(asked, held):
        return Part(412)
    if _had(asked, held):
        return Part(304)
    wanted = asked.get("range")
    if wanted is None or method != "GET" or not _same(asked.get("if-range"), held, now):
        return Part(200, 0, size)
    found = span(wanted.encode("latin-1", "replace"), size)
    if found is None:
        return Part(200, 0, size)
    if isinstance(found, Unsatisfiable):
        return Part(416)
    return Part(206, found[0], found[1] - found[0] + 1)


def _agreed(asked: Mapping[str, str], held: Validators) -> bool:
    """Sections 13.1.1 and 13.1.4."""
    wanted = _bytes(asked.get("if-match"))
    if wanted is not None:
        return wanted.strip(_SPACE) == b"*" or held.etag in etags(wanted)
    since = _date(asked.get("if-unmodified-since"))
    return since is None or held.modified <= since


def _had(asked: Mapping[str, str], held: Validators) -> bool:
    """Sections 13.1.2 and 13.1.3."""
    known = _bytes(asked.get("if-none-match"))
    if known is not None:
        return known.strip(_SPACE) == b"*" or held.etag in map(weakly, etags(known))
    since = _date(asked.get("if-modified-since"))
    return since is not None and held.modified <= since


def _same(condition: str | None, held: Validators, now: float) -> bool:
    """Section 13.1.5. By its date only what did not change within that very second (section 8.8.2.2)."""
    if condition is None:
        return True
    if condition[:1] == '"':
        return _bytes(condition) == held.etag
    return _date(condition) == held.modified and now - held.modified >= 1


_SPACE: Final = b"\t "


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode("utf-8", "surrogateescape")


def _date(value: str | None) -> int | None:
    return None if value is None else parse_date(value.encode("utf-8", "surrogateescape"))
