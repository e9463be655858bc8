"""What kind of picture some bytes are, by how they begin."""

from __future__ import annotations

from typing import Final

TYPES: Final = frozenset(("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"))
"""The kinds that are taken."""
_AVIF: Final = frozenset((b"avif", b"avis"))


def kind(content: bytes) -> str | None:
    """The media type, if it is one of `TYPES`."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp":
        end = min(int.from_bytes(content[:4], "big"), len(content), 256)
        brands = {content[8:12], *(content[at : at + 4] for at in range(16, end, 4))}
        if brands & _AVIF:
            return "image/avif"
    return None
