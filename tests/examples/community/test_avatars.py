"""Avatars are valid PNG files, always the same for a user."""

from __future__ import annotations

import struct
import zlib

from examples.community.avatars import CELLS, MARGIN, SCALE, avatar


def chunks(png: bytes) -> dict[bytes, bytes]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert int.from_bytes(png[at + 8 + length : at + 12 + length]) == zlib.crc32(name + content)
        found[name] = content
        at += 12 + length
    return found


def test_an_avatar_is_a_png_whose_pixels_fill_its_size():
    parts = chunks(avatar(7))
    side = CELLS * SCALE + 2 * MARGIN
    assert struct.unpack(">IIBBBBB", parts[b"IHDR"]) == (side, side, 8, 3, 0, 0, 0)
    assert len(zlib.decompress(parts[b"IDAT"])) == side * (side + 1)
    assert list(parts)[-1] == b"IEND"


def test_an_avatar_is_a_mirror_image_of_itself():
    side = CELLS * SCALE + 2 * MARGIN
    pixels = zlib.decompress(chunks(avatar(12))[b"IDAT"])
    for y in range(side):
        line = pixels[y * (side + 1) + 1 : (y + 1) * (side + 1)]
        assert line == line[::-1]


def test_users_differ_and_a_user_never_changes():
    assert avatar(3) == avatar(3)
    assert len({avatar(user) for user in range(1, 21)}) == 20
