"""What makes one picture of another: the seam between the worker and the libraries that do it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from balancer.cdn.images import magic
from balancer.cdn.types import Fit

Input = Literal["jpeg", "png", "webp", "gif", "avif"]
Output = Literal["avif", "webp", "jpeg", "png"]
Wanted = Literal["avif", "webp", "jpeg", "png", "plain"]
"""plain: what every browser shows: JPEG, or PNG for what one can see through."""
Reason = Literal["format", "pixels", "bytes", "dimensions", "decode", "animation", "memory"]
LARGEST_SOURCE_SIDE: Final = 65_535
"""The most that JPEG has."""
HEAD: Final = 256
"""Bytes at the beginning of a file that tell what it is."""
AVIF_PIXELS: Final = 4_000_000
"""What is larger becomes WebP: coding AVIF takes ten times as long as a reader would gain by it."""
SCANS: Final = 100
"""Of a JPEG; programs write ten or so, and none needs more than a few for each bit of each colour."""
_MARKER: Final = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
"""Neither a byte of what was coded nor where decoding may start anew."""
_INPUTS: Final[dict[str, Input]] = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}
MEDIA_TYPES: Final = {"avif": "image/avif", "webp": "image/webp", "jpeg": "image/jpeg", "png": "image/png"}
"""Media types."""


class Rejected(Exception):
    """This picture is not made into another one, however often one asks."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is taken, and what is made."""

    max_bytes: int
    """Of the source."""
    max_pixels: int
    """Of the source, all frames together."""
    max_side: int
    """Of what is made."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be made: `ImageOptions` without anything left to choose."""

    format: Wanted
    quality: int
    width: int | None = None
    """Pixels, `dpr` counted in."""
    height: int | None = None
    fit: Fit = "contain"
    enlarge: bool = False
    background: str | None = None
    """Hex digits; None: white, where one is needed."""


@dataclass(frozen=True, slots=True)
class Made:
    """A picture that was made."""

    data: bytes
    format: Output
    width: int
    height: int


class Transformer(Protocol):
    """A library. It decodes nothing before its header has been held against the bounds."""

    def make(self, source: Path, wish: Wish, bounds: Bounds) -> Made:
        """Raises Rejected, and OSError when the file cannot be read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a picture gets its size: cut, scaled, and put on a canvas."""

    crop: tuple[float, float, float, float]
    """Of the source: left, top, right, bottom."""
    size: tuple[int, int]
    """Of what is cut, scaled."""
    canvas: tuple[int, int]
    """Of the picture; larger than `size` only for `pad`."""


def plan(source: tuple[int, int], wish: Wish, bounds: Bounds) -> Plan:
    """The sizes of a picture, for a source as it is seen (its orientation applied). Pure."""
    width, height = source
    whole = (0.0, 0.0, float(width), float(height))
    most = bounds.max_side
    box = (min(wish.width or most, most), min(wish.height or most, most))
    if wish.fit == "fill":
        size = box if wish.enlarge else (min(box[0], width), min(box[1], height))
        return Plan(whole, size, size)
    if wish.fit == "cover":
        return _cover(source, box, wish.enlarge)
    scale = min(box[0] / width, box[1] / height)
    if scale > 1 and (not wish.enlarge or (wish.width is None and wish.height is None)):
        scale = 1.0
    size = _scaled(width, scale, box[0]), _scaled(height, scale, box[1])
    return Plan(whole, size, box if wish.fit == "pad" else size)


def _cover(source: tuple[int, int], box: tuple[int, int], enlarge: bool) -> Plan:
    """The largest part of the source that has the box's proportions, from its middle."""
    width, height = source
    scale = max(box[0] / width, box[1] / height)
    cut = min(width, box[0] / scale), min(height, box[1] / scale)
    left, top = (width - cut[0]) / 2, (height - cut[1]) / 2
    if scale > 1 and not enlarge:  # the box's proportions, as large as the source has them
        box = _scaled(cut[0], 1, box[0]), _scaled(cut[1], 1, box[1])
    return Plan((left, top, left + cut[0], top + cut[1]), box, box)


def _scaled(side: float, scale: float, most: int) -> int:
    return max(1, min(round(side * scale), most))


def check_size(width: int, height: int, frames: int, bounds: Bounds) -> None:
    """Raises Rejected for what a header says. `frames` is 1 where the format has one."""
    if width < 1 or height < 1:
        raise Rejected("dimensions", f"it is {width} by {height} pixels")
    if max(width, height) > LARGEST_SOURCE_SIDE:
        raise Rejected("dimensions", f"a side has {max(width, height)} pixels; at most {LARGEST_SOURCE_SIDE} are taken")
    pixels = width * height * frames
    if pixels > bounds.max_pixels:
        of_frames = f" in {frames} frames" if frames > 1 else ""
        raise Rejected("pixels", f"it has {pixels} pixels{of_frames}; at most {bounds.max_pixels} are taken")


def check_bytes(size: int, bounds: Bounds) -> None:
    """Raises Rejected for a file that is too large."""
    if size > bounds.max_bytes:
        raise Rejected("bytes", f"it has {size} bytes; at most {bounds.max_bytes} are taken")
    if size == 0:
        raise Rejected("format", "it is empty")


def output(wanted: Wanted, see_through: bool, size: tuple[int, int]) -> Output:
    """The format that a picture of this size gets."""
    if wanted == "plain":
        return "png" if see_through else "jpeg"
    if wanted == "avif" and size[0] * size[1] > AVIF_PIXELS:
        return "webp"
    return wanted


def kind_of(head: bytes) -> Input:
    """What a file is by its first `HEAD` bytes, whatever it is called. Raises Rejected for what is not taken."""
    found = _INPUTS.get(magic.kind(head) or "")
    if found is None:
        raise Rejected("format", "it is neither JPEG, PNG, WebP, GIF nor AVIF")
    return found


def gif_frames(data: bytes, most: int) -> int:
    """The frames of a GIF, counted up to one more than `most`; where it makes no sense counting ends.

    A blocks' walk (GIF89a, sections 17 to 27): libraries decode on the way, which is what the count is to prevent.
    """
    end = len(data)
    if end < 13:
        return 1
    place = 13 + _colours(data[10])
    frames = 0
    while place < end and frames <= most:
        mark = data[place]
        if mark == 0x2C and place + 10 < end:  # an image: its descriptor, its colours, the size of its codes
            frames += 1
            place += 10 + _colours(data[place + 9]) + 1
        elif mark == 0x21:  # an extension: its label
            place += 2
        else:
            break
        while place < end and (length := data[place]):
            place += length + 1
        place += 1
    return max(1, frames)


def check_scans(data: bytes, kind: Input) -> None:
    """Raises Rejected for a JPEG that has its decoder go over all of its pixels time and again.

    Of a progressive one each scan does, and may take a few bytes of the file (T.81 annex B): a walk from marker to
    marker, as decoders have it, to the end of the picture and not of the file.
    """
    if kind != "jpeg" or data.count(b"\xff\xda") <= SCANS:  # a walk of a large file takes as long as its picture
        return
    place, scans = 2, 0
    while (found := _MARKER.search(data, place)) is not None and (mark := data[found.end() - 1]) != 0xD9:
        place = found.end()
        scans += mark == 0xDA
        if scans > SCANS:
            raise Rejected("decode", f"it has more than {SCANS} scans")
        if mark not in (0x01, 0xD8):  # these two stand by themselves
            place += max(2, int.from_bytes(data[place : place + 2]))


def _colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def avif_quality(quality: int) -> int:
    """AVIF's number for what others call 80: its scale is another, and there 80 would be as large as JPEG."""
    return max(1, round(quality * 0.79))
