"""An upload that goes through as it comes, looked at on its way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from hashlib import sha256

from balancer.cdn.errors import TooLarge
from balancer.cdn.local import kinds
from balancer.cdn.local.request import as_announced
from balancer.cdn.types import UploadRequest


class Stream:
    """One source, read once: `begin`, and then `pieces`."""

    def __init__(self, source: AsyncIterator[bytes], most: int) -> None:
        self._source = source
        self._most = most
        self._digest = sha256()
        self._size = 0
        self._held: list[bytes] = []

    @property
    def sha256_hex(self) -> str:
        return self._digest.hexdigest()

    async def begin(self) -> bytes:
        """The first bytes, enough to tell what the file is."""
        size = 0
        while size < kinds.HEAD:
            piece = await anext(self._source, None)
            if piece is None:
                break
            self._held.append(piece)
            size += len(piece)
        return b"".join(self._held)[: kinds.HEAD]

    async def pieces(self, request: UploadRequest) -> AsyncGenerator[bytes]:
        """All of it. Before its end, so that nothing is stored: TooLarge, and Invalid where it is not as announced."""
        held, self._held = self._held, []
        for piece in held:
            self._count(piece)
            yield piece
        async for piece in self._source:
            self._count(piece)
            yield piece
        as_announced(request, self._size, self.sha256_hex)

    def _count(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            raise TooLarge(f"the file has more than {self._most} bytes (cdn.max_upload)")
        self._digest.update(piece)
