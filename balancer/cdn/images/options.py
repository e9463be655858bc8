"""What is to be made of a picture, as it is spelled in a URL: w=320,h=240,fit=cover,q=80."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, get_args

from balancer.cdn.errors import Invalid
from balancer.cdn.types import Fit, Format, ImageOptions

AS_IT_IS: Final = "-"
"""Spells options that are all left out: two slashes in a row would be another path to some who pass URLs on."""
LARGEST_SIDE: Final = 16_383
"""The most that WebP has, and that the configuration takes."""
LARGEST_DPR: Final = 4.0
SMALLEST_DPR: Final = 0.1
LONGEST: Final = 200
"""Letters of options; all of them together take less than a hundred."""
FORMATS: Final[tuple[Format, ...]] = ("auto", "avif", "webp", "jpeg", "png")
FITS: Final[tuple[Fit, ...]] = get_args(Fit)
DEFAULTS: Final = ImageOptions()

_WHOLE: Final = re.compile(r"[0-9]{1,6}")
_DECIMAL: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,4})?")
_COLOUR: Final = re.compile(r"[0-9a-fA-F]{6}")


def parse(text: str) -> ImageOptions:
    """The options that a text spells. Invalid: none, or it is not as `spell` has it: one picture has one URL."""
    options = _read(text)
    canonical = spell(options)
    if text != canonical:
        raise Invalid(f"options {_short(text)} have to be spelled {canonical!r}, so that one picture has one URL")
    return options


def spell(options: ImageOptions) -> str:
    """The one spelling of options: in a fixed order, without what goes without saying."""
    said = [
        ("w", options.width),
        ("h", options.height),
        ("fit", options.fit if options.fit != DEFAULTS.fit else None),
        ("q", options.quality),
        ("f", options.format if options.format != DEFAULTS.format else None),
        ("dpr", _decimal(options.dpr) if options.dpr != DEFAULTS.dpr else None),
        ("bg", options.background),
        ("enlarge", 1 if options.enlarge else None),
    ]
    return ",".join(f"{name}={value}" for name, value in said if value is not None) or AS_IT_IS


def checked(options: ImageOptions) -> ImageOptions:
    """The same, within bounds and in the form that `parse` gives. Invalid: out of bounds."""
    for name, size in (("w", options.width), ("h", options.height)):
        if size is not None:
            _within(name, size, 1, LARGEST_SIDE)
    if options.quality is not None:
        _within("q", options.quality, 1, 100)
    _within("dpr", options.dpr, SMALLEST_DPR, LARGEST_DPR)
    _one_of("f", options.format, FORMATS)
    _one_of("fit", options.fit, FITS)
    background = options.background
    if background is not None:
        if not _COLOUR.fullmatch(background):
            raise Invalid(f"bg must be six hex digits such as ffffff, not {_short(background)}")
        background = background.lower()
    if options.fit != "contain" and (options.width is None or options.height is None):
        raise Invalid(f"fit={options.fit} needs both w and h: with one of them there is no box to fit")
    return replace(options, dpr=round(options.dpr, 2), background=background)


def _read(text: str) -> ImageOptions:
    """What a text says, spelled as it may be."""
    if text == AS_IT_IS:
        return DEFAULTS
    if len(text) > LONGEST:
        raise Invalid(f"options must have at most {LONGEST} letters, not {len(text)}")
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in _READERS:
            raise Invalid(f"options are {', '.join(_READERS)} with a value each, such as w=320; {_short(part)} is none")
        if name in found:
            raise Invalid(f"option {name} is given twice")
        found[name] = value
    values = {_READERS[name][0]: _READERS[name][1](name, value) for name, value in found.items()}
    return checked(replace(DEFAULTS, **values))  # type: ignore[arg-type]  # each reader gives what its field takes


def _whole(name: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise Invalid(f"{name} must be a whole number, not {_short(text)}")
    return int(text)


def _number(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise Invalid(f"{name} must be a number such as 2 or 1.5, not {_short(text)}")
    return float(text)


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise Invalid(f"{name} must be 1, not {_short(text)}")
    return text == "1"


def _word(_name: str, text: str) -> str:
    return text


def _decimal(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise Invalid(f"{name} must be from {least:g} to {most:g}, not {value:g}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise Invalid(f"{name} must be one of {', '.join(known)}, not {_short(value)}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


_READERS: Final[dict[str, tuple[str, Callable[[str, str], int | float | bool | str]]]] = {
    "w": ("width", _whole),
    "h": ("height", _whole),
    "fit": ("fit", _word),
    "q": ("quality", _whole),
    "f": ("format", _word),
    "dpr": ("dpr", _number),
    "bg": ("background", _word),
    "enlarge": ("enlarge", _switch),
}
