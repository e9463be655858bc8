"""Avatar images: a small PNG for each user, made from nothing but their id."""

from __future__ import annotations

import colorsys
import hashlib
import struct
import zlib

CELLS = 5
SCALE = 20  # pixels of one cell
MARGIN = 10  # pixels around all cells


def avatar(user_id: int) -> bytes:
    """A mirrored pattern of 5 by 5 cells in one colour: always the same bytes for the same user."""
    digest = hashlib.sha256(f"avatar {user_id}".encode()).digest()
    ink = bytes(round(part * 255) for part in colorsys.hls_to_rgb(digest[0] / 256, 0.45, 0.6))
    middle = CELLS // 2
    rows = []
    for y in range(CELLS):
        bits = [digest[1 + y * CELLS + min(x, CELLS - 1 - x)] & 1 for x in range(middle + 1)]
        mirrored = bits + bits[-2::-1]
        rows.append(b"\0" * MARGIN + b"".join(bytes([bit]) * SCALE for bit in mirrored) + b"\0" * MARGIN)
    blank = b"\0" * (CELLS * SCALE + 2 * MARGIN)
    lines = [blank] * MARGIN + [row for row in rows for _ in range(SCALE)] + [blank] * MARGIN
    return _png(lines, palette=b"\xf2\xf2\xf2" + ink)


def _png(lines: list[bytes], palette: bytes) -> bytes:
    """A picture of one palette index a byte (PNG specification, colour type 3)."""
    header = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 3, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)  # 0: no filter
    parts = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
