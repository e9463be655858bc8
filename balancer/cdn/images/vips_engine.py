"""Pictures made by libvips, which reads and scales a picture in strips: less memory and less time for large ones."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyvips  # type: ignore[import-untyped]  # it has no types

from balancer.cdn.images.engine import (
    HEAD,
    Bounds,
    Input,
    Made,
    Plan,
    Rejected,
    Wish,
    avif_quality,
    check_bytes,
    check_scans,
    check_size,
    gif_frames,
    kind_of,
    output,
    plan,
)

_SIDEWAYS: Final = frozenset((5, 6, 7, 8))
_NO_MEMORY: Final = re.compile("(?i)memory alloc|out of memory|unable to allocate")
_EFFORT: Final = 2
"""Of 9, for AVIF: more takes several times as long for a few percent of the bytes."""


class VipsEngine:
    """To be made in a process of its own: it changes how libvips behaves for all of it."""

    def __init__(self) -> None:
        pyvips.block_untrusted_set(True)
        pyvips.cache_set_max(0)  # no picture is asked for twice, and what is remembered would keep files open
        # One loader by the first bytes, the same that were looked at: none is guessed.
        self._loaders: Final[dict[Input, Callable[..., Any]]] = {
            "jpeg": pyvips.Image.jpegload,
            "png": pyvips.Image.pngload,
            "webp": pyvips.Image.webpload,
            "gif": pyvips.Image.gifload,
            "avif": pyvips.Image.heifload,
        }

    def make(self, source: Path, wish: Wish, bounds: Bounds) -> Made:
        check_bytes(os.stat(source).st_size, bounds)
        with source.open("rb") as file:
            head = file.read(HEAD)
            kind = kind_of(head)
            if kind == "jpeg":
                check_scans(head + file.read(), kind)
        try:
            header = self._loaders[kind](os.fspath(source), access="sequential")
            frames = _frames(header, kind, source, bounds)
            check_size(header.width, header.height, frames, bounds)
            turn = header.get("orientation") if header.get_typeof("orientation") else 1
            upright = (header.height, header.width) if turn in _SIDEWAYS else (header.width, header.height)
            layout = plan(upright, wish, bounds)
            foreign = header.get_typeof("icc-profile-data") or header.interpretation == "cmyk"
            return _finish(_scaled(source, upright, layout, "srgb" if foreign else None), layout, wish)
        except pyvips.Error as error:
            if _NO_MEMORY.search(str(error)):
                raise MemoryError from None
            raise Rejected("decode", f"it is broken: {_last_line(error)}") from None


def _frames(header: Any, kind: Input, source: Path, bounds: Bounds) -> int:
    if kind == "gif":
        return gif_frames(source.read_bytes(), bounds.max_pixels)
    return int(header.get("n-pages")) if header.get_typeof("n-pages") else 1


def _scaled(source: Path, upright: tuple[int, int], layout: Plan, profile: str | None) -> Any:
    """Upright, in eight bits, cut and scaled, and in another profile: that takes longer than all of the rest."""
    left, top, right, bottom = layout.crop
    width, height = layout.size
    across, down = width / (right - left), height / (bottom - top)
    whole = max(width, round(upright[0] * across)), max(height, round(upright[1] * down))
    into = {"output_profile": profile} if profile is not None else {}
    image = pyvips.Image.thumbnail(
        os.fspath(source), whole[0], height=whole[1], size="force", fail_on="truncated", **into
    )
    if whole != (width, height):
        image = image.crop((whole[0] - width) // 2, (whole[1] - height) // 2, width, height)
    return image.colourspace("srgb").cast("uchar")


def _finish(image: Any, layout: Plan, wish: Wish) -> Made:
    colour = [int((wish.background or "ffffff")[at : at + 2], 16) for at in (0, 2, 4)]
    image = image.copy_memory()  # it is read twice, and files are read once
    see_through = image.hasalpha() and wish.background is None and wish.fit != "pad" and image[-1].min() < 255
    target = output(wish.format, see_through, layout.canvas)
    if image.hasalpha() and (not see_through or target == "jpeg"):
        image = image.flatten(background=colour)
    if layout.canvas != (image.width, image.height):
        left, top = ((c - s) // 2 for c, s in zip(layout.canvas, (image.width, image.height), strict=True))
        image = image.embed(left, top, *layout.canvas, extend="background", background=colour)
    if target == "jpeg":
        data = image.jpegsave_buffer(Q=wish.quality, keep="none", interlace=True, optimize_coding=True)
    elif target == "webp":
        data = image.webpsave_buffer(Q=wish.quality, keep="none", effort=4)
    elif target == "avif":
        data = image.heifsave_buffer(
            Q=avif_quality(wish.quality), keep="none", compression="av1", effort=_EFFORT, bitdepth=8
        )
    else:
        data = image.pngsave_buffer(keep="none")
    return Made(data, target, image.width, image.height)


def _last_line(error: pyvips.Error) -> str:
    """What libvips says, without where the file is."""
    said = str(error).strip().splitlines()
    return said[-1].strip() if said else "no more is known"
