"""Looks at the beginning of what is uploaded, and leaves it there for whoever stores it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from balancer.cdn.errors import Invalid

Source = Path | bytes | AsyncIterator[bytes]


async def beginning(source: Source, size: int) -> tuple[bytes, Source]:
    """The first `size` bytes, fewer where there are no more, and the source with all of them. Invalid: it is a file
    that can not be read."""
    if isinstance(source, bytes):
        return source[:size], source
    if isinstance(source, Path):
        try:
            return await asyncio.to_thread(_head, source, size), source
        except OSError as error:
            raise Invalid(f"{source} can not be read: {error.strerror}") from None
    held = bytearray()
    while len(held) < size:
        piece = await anext(source, b"")
        if not piece:
            break
        held += piece
    return bytes(held[:size]), _again(bytes(held), source)


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


async def _again(held: bytes, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if held:
        yield held
    async for piece in source:
        yield piece
