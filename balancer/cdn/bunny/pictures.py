"""URLs of pictures that Bunny's Optimizer changes on the way: by their query, signed where the zone wants it."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from balancer.cdn.errors import Invalid
from balancer.cdn.types import ImageOptions, OptimizedImage

WIDEST: Final = 16_383
"""Pixels of a side, as of WebP."""
MOST_AVIF: Final = 4_000_000
"""Pixels of a picture that becomes AVIF."""
DAY: Final = 86_400
VALID: Final = 7 * DAY
"""Seconds that a signed URL lasts at least. All that are made on one day end at the same time, so that caches see one
URL a day and not one each time."""
OWN: Final = frozenset(("width", "height", "aspect_ratio", "upscaling", "quality", "format", "token", "expires"))
"""Parameters of the query that we say ourselves."""

_SOURCE: Final = re.compile(r"https?://(?P<host>[^/?#@\s]+)(?P<path>/[^#]*)", re.IGNORECASE)
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AS_WRITTEN: Final = "%!$&'()*+,;=:@/~-._"


def image_url(
    base: str,
    hosts: Sequence[str],
    source: str,
    options: ImageOptions,
    *,
    quality: int | None = None,
    token_key: str = "",
    now: float = 0.0,
) -> OptimizedImage:
    """The URL at `base`; `quality` where the options have none, `now` is Unix time.

    `source` is a path that begins with a slash, or a URL of one of the pull zone's `hosts`. Invalid: it is neither, or
    there is no form for the options.
    """
    notes: list[str] = []
    path, given = _place(base, hosts, source)
    said = [*given, *_options(options, quality, notes)]
    expires_at = None
    if token_key:
        expires = (int(now) // DAY + 1) * DAY + VALID
        said = [("token", signature(token_key, path, expires, dict(said))), *sorted(said), ("expires", str(expires))]
        expires_at = datetime.fromtimestamp(expires, UTC)
        if len(given) != len(dict(given)):
            raise Invalid(f"a parameter of the source is there twice, which can not be signed: {source!r}")
    if not said:
        notes.append("nothing is to be changed: this is the picture itself")
    query = f"?{urlencode(said, quote_via=quote)}" if said else ""
    return OptimizedImage(f"{base}{path}{query}", options, "bunny", expires_at, tuple(notes))


def signature(key: str, path: str, expires: int, parameters: Mapping[str, str]) -> str:
    """The token of a URL, which is for everybody who has it, by the zone's token authentication.

    Its message has path, end and parameters by their names, as they are meant and not as they are encoded.
    """
    told = "&".join(f"{name}={value}" for name, value in sorted(parameters.items()))
    made = digest(key.encode(), f"{path}{expires}{told}".encode(), sha256)
    return "HS256-" + urlsafe_b64encode(made).decode().rstrip("=")


def _options(options: ImageOptions, quality: int | None, notes: list[str]) -> Iterator[tuple[str, str]]:
    if options.fit in ("fill", "pad") and options.width is not None and options.height is not None:
        other = "stretched" if options.fit == "fill" else "padded"
        raise Invalid(f"fit {options.fit}: Bunny has no {other} pictures; ask for contain or cover")
    width, height = (_pixels(name, side, options.dpr) for name, side in _sides(options))
    if width is not None and height is not None and options.fit == "cover":
        yield "aspect_ratio", f"{width}:{height}"  # cropped first, then made smaller
        yield "width", str(width)
    else:
        if width is not None:
            yield "width", str(width)
        if height is not None:
            yield "height", str(height)
    if options.enlarge and (width is not None or height is not None):
        yield "upscaling", "resampling"
    good = options.quality if options.quality is not None else quality
    if good is not None:
        yield "quality", str(good)
    if options.format == "auto":
        return
    yield "format", options.format
    if options.format == "avif" and (width is None or height is None or width * height > MOST_AVIF):
        notes.append(f"avif: of more than {MOST_AVIF} pixels Bunny answers in another format")


def _sides(options: ImageOptions) -> tuple[tuple[str, int | None], tuple[str, int | None]]:
    return ("width", options.width), ("height", options.height)


def _pixels(name: str, side: int | None, dpr: float) -> int | None:
    """A side with the density counted in, which Bunny has no word for."""
    if side is None:
        return None
    pixels = round(side * dpr)
    if not 1 <= pixels <= WIDEST:
        raise Invalid(f"{name}: expected 1 to {WIDEST} pixels with dpr counted in, not {side * dpr:g}")
    return pixels


def _place(base: str, hosts: Sequence[str], source: str) -> tuple[str, list[tuple[str, str]]]:
    """The path of the source, percent-encoded, and what its query says already."""
    if any(not char.isprintable() or char == "\\" for char in source):
        raise Invalid("the source has a character that no URL has")
    if _BROKEN.search(source):
        raise Invalid(f"the source has a % that begins no two hex digits; the sign itself is %25: {source!r}")
    if source.startswith("/") and not source.startswith("//"):
        place = source
    else:
        found = _SOURCE.fullmatch(source)
        if found is None:
            raise Invalid(f"expected a path that begins with a slash, or a URL of a picture, not {source!r}")
        own = {base.partition("://")[2].partition("/")[0].lower(), *(host.lower() for host in hosts)}
        if found["host"].lower() not in own:
            raise Invalid(f"Bunny changes pictures of its pull zone alone, and {found['host']} is not of it")
        place = found["path"]
    path, _, query = place.partition("?")
    if "#" in place:
        raise Invalid(f"the part after # is never sent to anybody: {source!r}")
    if any(part in (".", "..") for part in unquote(path, errors="replace").split("/")):
        raise Invalid(f"the source has . or .. between slashes; write the path that is meant: {source!r}")
    given = parse_qsl(query, keep_blank_values=True)
    if taken := sorted(OWN.intersection(name for name, _ in given)):
        raise Invalid(f"the source is a changed picture already, by {', '.join(taken)}: give the original")
    return quote(path, safe=_AS_WRITTEN), given
