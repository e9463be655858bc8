"""URLs of pictures that Cloudflare changes on the way: /cdn-cgi/image/OPTIONS/SOURCE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, unquote

from balancer.cdn.errors import Invalid
from balancer.cdn.types import Fit, Format, ImageOptions, OptimizedImage

WIDEST: Final = 12_000
"""Pixels of a side."""
WIDEST_AVIF: Final = 1200

_FORMATS: Final[dict[Format, str]] = {"auto": "auto", "avif": "avif", "webp": "webp", "jpeg": "jpeg"}
_FITS: Final[dict[tuple[Fit, bool], str]] = {
    ("contain", False): "scale-down",
    ("contain", True): "contain",
    ("cover", False): "crop",
    ("cover", True): "cover",
    ("fill", False): "squeeze",
    ("fill", True): "squeeze",
    ("pad", False): "pad",
    ("pad", True): "pad",
}
"""By whether a small picture may grow."""
_AS_WRITTEN: Final = "%!$&'()*+,;=:@/~-._?[]"
"""What a source keeps as it is: it is a part of the URL, and not encoded once more."""
_SOURCE: Final = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#@\s]+)(?P<path>/[^#]*)", re.IGNORECASE)
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def image_url(base: str, source: str, options: ImageOptions, quality: int | None = None) -> OptimizedImage:
    """The URL below `base`, which is scheme and host of the zone; `quality` where the options have none.

    `source` is a path of the zone that begins with a slash, or a URL. Invalid: it is none of a picture that Cloudflare
    would take, or there is no form for the options.
    """
    notes: list[str] = []
    spelled = ",".join(_options(options, quality, notes))
    place = _place(base, source, notes)
    return OptimizedImage(f"{base}/cdn-cgi/image/{spelled}{place}", options, "cloudflare", notes=tuple(notes))


def _options(options: ImageOptions, quality: int | None, notes: list[str]) -> Iterator[str]:
    for name, side in (("width", options.width), ("height", options.height)):
        if side is None:
            continue
        if not 1 <= side * options.dpr <= WIDEST:
            raise Invalid(f"{name}: expected 1 to {WIDEST} pixels with dpr counted in, not {side * options.dpr:g}")
        if options.format == "avif" and side * options.dpr > WIDEST_AVIF:
            notes.append(f"avif: Cloudflare makes it of at most {WIDEST_AVIF} pixels, and may answer in another format")
        yield f"{name}={side}"
    if options.width is not None or options.height is not None:
        yield f"fit={_FITS[options.fit, options.enlarge]}"
    good = options.quality if options.quality is not None else quality
    if good is not None:
        yield f"quality={good}"
    if options.format in _FORMATS:
        yield f"format={_FORMATS[options.format]}"
    else:
        notes.append(f"format {options.format}: Cloudflare has none, the source's is kept")
        if options.width is None and options.height is None and good is None:
            raise Invalid(
                f"format {options.format} alone changes nothing at Cloudflare: give a width, height or quality"
            )
    if options.dpr != 1.0:
        yield f"dpr={options.dpr:g}"
    if options.background is not None and options.fit == "pad":
        yield f"background=%23{options.background}"


def _place(base: str, source: str, notes: list[str]) -> str:
    """The source as the end of the URL, its slash included."""
    if any(not char.isprintable() or char == "\\" for char in source):
        raise Invalid("the source has a character that no URL has")
    if _BROKEN.search(source):
        raise Invalid(f"the source has a % that begins no two hex digits; the sign itself is %25: {source!r}")
    if source.startswith("/") and not source.startswith("//"):
        path, before = source, ""
    else:
        found = _SOURCE.fullmatch(source)
        if found is None:
            raise Invalid(f"expected a path that begins with a slash, or a URL of a picture, not {source!r}")
        own = base.partition("://")[2].lower()
        path, host = found["path"], found["host"].lower()
        before = "" if host == own else f"/https://{host}"
        if before and found["scheme"].lower() != "https":
            raise Invalid(f"Cloudflare takes pictures of other sites by https only, not {source!r}")
        if before:
            notes.append(
                f"{host} has to be among the zone's allowed sources of pictures; redirects from there are followed "
                "by Cloudflare, wherever they lead"
            )
    if "#" in path:
        raise Invalid(f"the part after # is never sent to anybody: {source!r}")
    plain = unquote(path.partition("?")[0], errors="replace")
    if any(part in (".", "..") for part in plain.split("/")):
        raise Invalid(f"the source has . or .. between slashes; write the path that is meant: {source!r}")
    if plain.lower().startswith("/cdn-cgi/"):
        raise Invalid("what is below /cdn-cgi/ is Cloudflare's own: give the original picture")
    return before + quote(path, safe=_AS_WRITTEN)
