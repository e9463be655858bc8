"""Pictures made by Pillow."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import AvifImagePlugin, Image, ImageCms, ImageFile, UnidentifiedImageError

from balancer.cdn.images.engine import (
    HEAD,
    Bounds,
    Made,
    Output,
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

_DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    Warning,
)
"""What Pillow's readers raise for files that are broken."""
_GAP: Final = 2.0
"""How much larger than the result a picture is at least when pixels are averaged in whole blocks: with three times as
large nobody could tell, with two only who looks for it."""
_JPEG_GAP: Final = 1.5
"""The same where JPEG is decoded smaller, which averages better: with twice as large, pictures of half the size would
be decoded in full."""
_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = frozenset((5, 6, 7, 8))
_AVIF_SPEED: Final = 8
"""Of 10: slower ones take several times as long for a few percent of the bytes."""


class PillowEngine:
    """To be made in a process of its own: it changes how Pillow behaves for all of it."""

    def __init__(self) -> None:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one picture, one processor: others are for other workers
        self._srgb = ImageCms.createProfile("sRGB")

    def make(self, source: Path, wish: Wish, bounds: Bounds) -> Made:
        data = _read(source, bounds)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                warnings.simplefilter("ignore", UserWarning)  # of what a file's metadata say
                small, layout = _decoded(data, wish, bounds)
                return self._finish(small, layout, wish)
        except UnidentifiedImageError:
            raise Rejected("decode", "it begins as a picture does, and is none") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise Rejected("pixels", f"it has more than {bounds.max_pixels} pixels") from None
        except _DECODE_ERRORS as error:
            raise Rejected("decode", f"it is broken: {error}") from None

    def _finish(self, image: Image.Image, layout: Plan, wish: Wish) -> Made:
        image = self._to_srgb(image)
        image.info = {}  # what comes from the source besides its pixels: where it was taken, by whom, with what
        see_through = image.mode == "RGBA" and wish.background is None and image.getchannel("A").getextrema()[0] != 255
        see_through = see_through and wish.fit != "pad"
        target = output(wish.format, see_through, layout.canvas)
        colour = f"#{wish.background or 'ffffff'}"
        if image.mode == "RGBA" and (not see_through or target == "jpeg"):
            below = Image.new("RGB", image.size, colour)
            below.paste(image, mask=image.getchannel("A"))
            image = below
        if layout.canvas != image.size:
            canvas = Image.new("RGB", layout.canvas, colour)
            canvas.paste(image, ((layout.canvas[0] - image.width) // 2, (layout.canvas[1] - image.height) // 2))
            image = canvas
        out = BytesIO()
        image.save(out, target.upper(), **_settings(target, wish.quality))
        return Made(out.getvalue(), target, *image.size)

    def _to_srgb(self, image: Image.Image) -> Image.Image:
        """RGB or RGBA as browsers show it. A profile that cannot be used is as none."""
        profile = image.info.get("icc_profile")
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        if profile and image.mode in ("RGB", "RGBA", "L", "CMYK"):
            try:
                theirs = ImageCms.ImageCmsProfile(BytesIO(profile))
                turned = ImageCms.profileToProfile(image, theirs, self._srgb, outputMode=mode)
                if turned is not None:
                    return turned
            except (ImageCms.PyCMSError, OSError, ValueError):
                pass
        return image if image.mode == mode else image.convert(mode)


def _read(source: Path, bounds: Bounds) -> bytes:
    with source.open("rb") as file:
        data = file.read(bounds.max_bytes + 1)
    check_bytes(len(data), bounds)
    return data


def _decoded(data: bytes, wish: Wish, bounds: Bounds) -> tuple[Image.Image, Plan]:
    """A function of its own: what the decoder holds is given back with its end."""
    kind = kind_of(data[:HEAD])
    check_scans(data, kind)
    Image.MAX_IMAGE_PIXELS = bounds.max_pixels
    with Image.open(BytesIO(data), formats=[kind.upper()]) as image:
        frames = gif_frames(data, bounds.max_pixels) if kind == "gif" else _frames(image)
        check_size(*image.size, frames, bounds)
        return _load(image, wish, bounds)


def _frames(image: Image.Image) -> int:
    """Of MPO, which cameras write, only the first picture is read, and counts."""
    return getattr(image, "n_frames", 1) if image.format in ("WEBP", "AVIF", "PNG") else 1


def _load(image: Image.Image, wish: Wish, bounds: Bounds) -> tuple[Image.Image, Plan]:
    """Decode no more of it than is needed, in a mode that can be scaled; scaled and upright."""
    profile = image.info.get("icc_profile")
    turn = _orientation(image)
    upright = image.size if turn not in _SIDEWAYS else (image.size[1], image.size[0])
    layout = plan(upright, wish, bounds)
    crop, size = layout.crop, layout.size
    if turn in _SIDEWAYS:  # as it is stored; crops are from the middle, so that the other turns change nothing
        crop, size = (crop[1], crop[0], crop[3], crop[2]), (size[1], size[0])
    whole = image.size
    share = max(size[0] / (crop[2] - crop[0]), size[1] / (crop[3] - crop[1])) * _JPEG_GAP
    if share < 1:
        image.draft(None, (round(whole[0] * share), round(whole[1] * share)))  # JPEG only: decoded at 1/2, 1/4 or 1/8
    image.load()
    shrunk = image.size[0] / whole[0], image.size[1] / whole[1]
    box = (crop[0] * shrunk[0], crop[1] * shrunk[1], crop[2] * shrunk[0], crop[3] * shrunk[1])
    plain = _scalable(image)
    if plain.size != size or box != (0.0, 0.0, *map(float, plain.size)):
        plain = plain.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_GAP)
    if turn is not None:
        plain = plain.transpose(_TURNS[turn])
    plain.info = {"icc_profile": profile} if profile else {}
    return plain, layout


def _orientation(image: Image.Image) -> int | None:
    """How it has to be turned to be upright; None: not at all."""
    try:
        turn = image.getexif().get(_ORIENTATION)
    except _DECODE_ERRORS:  # of the metadata; the picture may be whole
        return None
    return turn if turn in _TURNS else None


def _scalable(image: Image.Image) -> Image.Image:
    """As L, RGB, RGBA or CMYK, of eight bits: modes whose values can be averaged."""
    if image.mode.startswith("I"):  # 16 bits of grey: the upper eight
        return Image.frombytes("L", image.size, _upper_bytes(image))
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _upper_bytes(image: Image.Image) -> bytes:
    return image.convert("I;16").tobytes()[1::2] if image.mode != "I;16B" else image.tobytes()[0::2]


def _settings(target: Output, quality: int) -> dict[str, Any]:
    if target == "jpeg":
        return {"quality": quality, "progressive": True, "optimize": True}
    if target == "webp":
        return {"quality": quality, "method": 4}
    if target == "avif":
        return {"quality": avif_quality(quality), "speed": _AVIF_SPEED, "max_threads": 1}
    return {}
