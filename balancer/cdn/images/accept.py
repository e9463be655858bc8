"""Which format a picture has for whoever asks: what `auto` is, by the request field Accept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from balancer.cache.accepted import image_formats
from balancer.cdn.images.engine import Wanted
from balancer.cdn.types import Format
from config.cdn import PictureFormat

_FORMATS: Final[dict[bytes, PictureFormat]] = {b"avif": "avif", b"webp": "webp"}


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
    """Of AVIF and WebP, those that a field names and does not refuse: as the cache in front reads it, since it keeps
    what is made for all who name the same."""
    return {_FORMATS[name] for name in image_formats((accept or "").encode("utf-8", "surrogateescape"))}
