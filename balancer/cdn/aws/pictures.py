"""URLs of pictures that something deployed at AWS changes on the way. Nothing that is built in does. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from balancer.cdn.errors import ConfigError, Invalid, Unsupported
from balancer.cdn.types import Fit, ImageOptions, OptimizedImage

NONE: Final = "none"
THUMBOR: Final = "thumbor"
NAMES: Final = ("url", "path", "width", "height", "quality", "format", "fit")
"""What a template may have between braces."""
LARGEST: Final = 16_383
"""Pixels of a side, dpr counted in: no format of them all has more."""
_FORMATS: Final = {"jpeg": "jpeg", "png": "png", "webp": "webp", "avif": "avif", "gif": "gif"}
_FITS: Final[dict[Fit, str]] = {"contain": "inside", "cover": "cover", "fill": "fill", "pad": "contain"}
"""In a template, by the words of the library that solutions for AWS are made with (sharp): inside keeps proportions
and adds nothing, contain adds a border."""
_HOLE: Final = re.compile(r"\{([^{}]*)\}")
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AS_WRITTEN: Final = "%!$&'()*+,;=:@/~-._[]"


def image_url(style: str, base: str, source: str, options: ImageOptions, quality: int | None = None) -> OptimizedImage:
    """The URL below `base`, which is scheme and host of the distribution; `quality` where the options have none.

    `source` is a path of the distribution that begins with a slash, or a URL of it. Unsupported: nothing is deployed.
    Invalid: it has no form. ConfigError: the template is none.
    """
    if style == NONE:
        raise Unsupported(
            "AWS changes no pictures by itself: deploy something that does and set cdn.aws.image_url_style, "
            "or let the balancer do it",
            provider="aws",
        )
    path = _path(base, source)
    width, height = (
        _pixels(name, side, options.dpr) for name, side in (("width", options.width), ("height", options.height))
    )
    good = options.quality if options.quality is not None else quality
    notes: list[str] = []
    make = _thumbor if style == THUMBOR else _template(style)
    url = make(_Wanted(base, path, width, height, good, options), notes)
    return OptimizedImage(url, options, "aws", notes=tuple(notes))


def check_style(style: str) -> None:
    """ConfigError: it is neither none nor thumbor nor a template that can be filled in."""
    if style in (NONE, THUMBOR):
        return
    for name in _HOLE.findall(style):
        if name not in NAMES:
            raise ConfigError(
                f"cdn.aws.image_url_style: {{{name}}} is nothing that a template has; expected {', '.join(NAMES)}"
            )
    if not {"url", "path"} & set(_HOLE.findall(style)) or "{" in _HOLE.sub("", style) or "}" in _HOLE.sub("", style):
        raise ConfigError(
            f"cdn.aws.image_url_style must be none, thumbor or a template with {{url}} or {{path}} in it, not {style!r}"
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a URL is made of."""

    base: str
    path: str
    width: int | None
    height: int | None
    quality: int | None
    options: ImageOptions


_Maker = Callable[[_Wanted, list[str]], str]


def _thumbor(wanted: _Wanted, notes: list[str]) -> str:
    """/fit-in/320x240/filters:quality(80)/filters:format(webp)/a.png, each filter by itself."""
    options = wanted.options
    pieces: list[str] = []
    if wanted.width is not None or wanted.height is not None:
        size = f"{wanted.width or 0}x{wanted.height or 0}"
        if options.fit == "fill" and wanted.width is not None and wanted.height is not None:
            pieces += [size, "filters:stretch()"]
        elif options.fit == "cover":
            pieces += [size]
        else:
            pieces += ["fit-in", size]
        if options.fit == "pad":
            pieces += [f"filters:fill({options.background or 'ffffff'})"]
        if options.enlarge and options.fit in ("contain", "pad"):
            pieces += ["filters:upscale()"]
        if not options.enlarge and options.fit in ("cover", "fill"):
            notes.append(f"fit {options.fit}: a smaller picture is enlarged")
    if wanted.quality is not None:
        pieces.append(f"filters:quality({wanted.quality})")
    if options.format in _FORMATS:
        pieces.append(f"filters:format({_FORMATS[options.format]})")
    else:
        notes.append("format auto: the deployment decides by its AutoWebP, else the source's is kept")
    return f"{wanted.base}/{'/'.join([*pieces, wanted.path.lstrip('/')])}"


def _template(style: str) -> _Maker:
    check_style(style)

    def make(wanted: _Wanted, notes: list[str]) -> str:
        options = wanted.options
        values = {
            "url": wanted.base + wanted.path,
            "path": wanted.path,
            "width": str(wanted.width) if wanted.width is not None else "",
            "height": str(wanted.height) if wanted.height is not None else "",
            "quality": str(wanted.quality) if wanted.quality is not None else "",
            "format": options.format,
            "fit": _FITS[options.fit],
        }
        holes = set(_HOLE.findall(style))
        asked = {
            "width": wanted.width is not None,
            "height": wanted.height is not None,
            "quality": options.quality is not None,
            "format": options.format != "auto",
            "fit": options.fit != "contain",
            "enlarge": options.enlarge,
            "background": options.background is not None,
        }
        notes += [
            f"{name}: the template has no {{{name}}}"
            for name, is_asked in asked.items()
            if is_asked and name not in holes
        ]
        filled = _HOLE.sub(lambda found: values[found[1]], style)
        return wanted.base + filled if filled.startswith("/") else filled

    return make


def _pixels(name: str, side: int | None, dpr: float) -> int | None:
    if side is None:
        return None
    pixels = round(side * dpr)
    if not 1 <= pixels <= LARGEST:
        raise Invalid(f"{name}: expected 1 to {LARGEST} pixels with dpr counted in, not {pixels}")
    return pixels


def _path(base: str, source: str) -> str:
    """The source as a path below the distribution."""
    if any(not char.isprintable() or char == "\\" for char in source):
        raise Invalid("the source has a character that no URL has")
    if source.startswith("/") and not source.startswith("//"):
        path = source
    else:
        own = f"{base}/"
        if not source.lower().startswith(own.lower()):
            raise Invalid(f"expected a path that begins with a slash, or a URL below {own}, not {source!r}")
        path = source[len(own) - 1 :]
    if "#" in path or "?" in path:
        raise Invalid(f"a picture's path has neither a query nor what comes after #: {source!r}")
    if _BROKEN.search(path):
        raise Invalid(f"the source has a % that begins no two hex digits; the sign itself is %25: {source!r}")
    if any(part in (".", "..") for part in unquote(path, errors="replace").split("/")):
        raise Invalid(f"the source has . or .. between slashes; write the path that is meant: {source!r}")
    if "filters:" in path:
        raise Invalid(f"the source has filters: in it, which would be taken for an option: {source!r}")
    return quote(path, safe=_AS_WRITTEN)
