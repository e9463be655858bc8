"""Which format a picture has for whoever asks: what `auto` is, by the request field Accept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from balancer.cdn.images.engine import Wanted
from balancer.cdn.types import Format
from config.cdn import PictureFormat

LONGEST: Final = 1024
"""Letters of Accept that are looked at; browsers send a hundred and fifty."""
_NEVER: Final = re.compile(r"0(\.0*)?")
_TYPES: Final[dict[str, PictureFormat]] = {"image/avif": "avif", "image/webp": "webp"}


def chosen(wanted: Format, accept: str | None, formats: Sequence[PictureFormat]) -> Wanted:
    """The format of a picture. Only a type that is named counts: to whom */* is all the same, JPEG is, too."""
    if wanted != "auto" and wanted != "gif":
        return wanted
    taken = named(accept)
    for one in formats:
        if one in taken:
            return one
    if "jpeg" in formats and "png" in formats:
        return "plain"
    plain = [one for one in formats if one in ("jpeg", "png")]
    return plain[0] if plain else formats[0] if formats else "plain"


def named(accept: str | None) -> set[PictureFormat]:
    """Of AVIF and WebP, those that a field names and does not refuse."""
    found: set[PictureFormat] = set()
    for part in (accept or "")[:LONGEST].lower().split(","):
        kind, *parameters = (one.strip() for one in part.split(";"))
        one = _TYPES.get(kind)
        weights = [value.strip() for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"]
        if one is not None and not any(_NEVER.fullmatch(weight) for weight in weights):
            found.add(one)
    return found
