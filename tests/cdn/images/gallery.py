"""Real pictures, drawn for tests, of every kind that is sent in and some that should not be."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw
from PIL.TiffImagePlugin import IFDRational

GPS = (IFDRational(52), IFDRational(31), IFDRational(12))
RED, GREEN, BLUE, YELLOW = (200, 30, 40), (40, 160, 60), (40, 60, 200), (230, 210, 60)


def quarters(width: int = 400, height: int = 300) -> Image.Image:
    """Red, green, blue and yellow from the left upper to the right lower quarter."""
    image = Image.new("RGB", (width, height), RED)
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height // 2), GREEN)
    draw.rectangle((0, height // 2, width // 2, height), BLUE)
    draw.rectangle((width // 2, height // 2, width, height), YELLOW)
    return image


def gradient(width: int = 400, height: int = 300) -> Image.Image:
    """Dark on the left, light on the right, and redder downwards: smooth, so that scaling hides nothing."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height), Image.Resampling.BICUBIC)
    down = Image.linear_gradient("L").resize((width, height), Image.Resampling.BICUBIC)
    return Image.merge("RGB", (down, across, Image.new("L", (width, height), 90)))


def photo(width: int, height: int) -> Image.Image:
    """With as much detail as a photograph, so that decoding it takes as long."""
    noise = Image.effect_noise((max(1, width // 4), max(1, height // 4)), 40).convert("RGB")
    return Image.blend(noise.resize((width, height), Image.Resampling.BICUBIC), gradient(width, height), 0.5)


def as_bytes(image: Image.Image, kind: str, **settings: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **settings)
    return out.getvalue()


def upright(data: bytes) -> Image.Image:
    """What is in a file, decoded."""
    image = Image.open(BytesIO(data))
    image.load()
    return image


def rotated_with_gps(orientation: int, kind: str = "JPEG") -> bytes:
    """`quarters` as a camera stores it that was held otherwise, with the place where it was."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = quarters()
    if orientation in undo:
        image = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "CameraMaker"
    exif.get_ifd(0x8825).update({1: "N", 2: GPS, 3: "E", 4: GPS})
    return as_bytes(image, kind, exif=exif.tobytes(), quality=95)


def sixteen_bit_grey(width: int = 256, height: int = 64) -> bytes:
    """A PNG of 16 bits, from black on the left to white on the right."""
    row = b"".join(struct.pack(">H", x * 65535 // (width - 1)) for x in range(width))
    return png(width, height, 16, 0, (b"\0" + row) * height)


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a hundred kilobytes with nine hundred million pixels."""
    packed = zlib.compressobj(9)
    line = b"\0" * (1 + (side + 7) // 8)
    body = b"".join(packed.compress(line) for _ in range(side)) + packed.flush()
    return _png(side, side, 1, 0, body)


def many_scans(side: int = 64, more: int = 400) -> bytes:
    """A progressive JPEG whose last scan comes many times over."""
    whole = as_bytes(photo(side, side).convert("L"), "JPEG", progressive=True)
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[start:end] * more + whole[end:]


def png(width: int, height: int, depth: int, colour: int, raw: bytes) -> bytes:
    return _png(width, height, depth, colour, zlib.compress(raw))


def lying_png(said: tuple[int, int], real: tuple[int, int]) -> bytes:
    """A PNG whose header tells of another size than its data have."""
    raw = (b"\0" + b"\x80" * (3 * real[0])) * real[1]
    return png(*said, 8, 2, raw)


def _png(width: int, height: int, depth: int, colour: int, body: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def animated(kind: str, frames: int = 3, size: tuple[int, int] = (40, 30)) -> bytes:
    """Of which the first picture is red."""
    colours = [RED, GREEN, BLUE, YELLOW]
    images = [Image.new("RGB", size, colours[n % 4]) for n in range(frames)]
    return as_bytes(images[0], kind, save_all=True, append_images=images[1:], duration=100)


def endless_gif(frames: int) -> bytes:
    """A GIF of many frames of a whole screen each, which a few bytes stand for."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1000, 1000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\x00"
    return head + frame * frames + b"\x3b"


def save(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
