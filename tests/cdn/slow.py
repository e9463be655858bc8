"""Uploads that take their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Slow:
    """A source that stops in the middle until it is let go."""

    def __init__(self, *pieces: bytes) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self._pieces = pieces

    async def __call__(self) -> AsyncIterator[bytes]:
        *most, last = self._pieces
        for piece in most:
            yield piece
        self.begun.set()
        await self.go.wait()
        yield last
