"""What is uploaded to a provider that has to be told its SHA-256 first: read once, known, and read again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final, Protocol

from balancer.cdn.errors import Full, Invalid, TooLarge

IN_MEMORY: Final = 1024 * 1024
"""Bytes of a file that is not worth a trip to the disk."""
PIECE: Final = 256 * 1024
"""Bytes that are read, hashed or written at once, in a thread."""
HEAD: Final = 4096
"""Bytes of the beginning that are kept, to tell what the file is."""
Source = Path | bytes | AsyncIterator[bytes]


class Spool:
    """All of a file, with what its name may be made of."""

    def __init__(self, held: IO[bytes], size: int, sha256_hex: str, head: bytes) -> None:
        self.size = size
        self.sha256_hex = sha256_hex
        self.head = head
        """The first bytes of it, HEAD at most."""
        self._held = held

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Its bytes, from the beginning; not twice at once. Invalid: the file has changed since it was read first."""
        await asyncio.to_thread(self._held.seek, 0)
        digest = sha256()
        while piece := await asyncio.to_thread(_read, self._held, digest):
            yield piece
        if digest.hexdigest() != self.sha256_hex:
            raise Invalid("the file was changed while it was read; upload it again")


@asynccontextmanager
async def spooled(source: Source, folder: Path, most: int) -> AsyncGenerator[Spool]:
    """The source, read to its end. What does not fit into memory is kept in `folder` under no name, so that nothing
    stays behind whatever happens.

    TooLarge: it has more than `most` bytes. Full: the disk has no room. Invalid: its path can not be read. What the
    source itself raises is raised.
    """
    held = await asyncio.to_thread(_opened, source)
    try:
        if isinstance(source, Path | bytes):
            yield await _known(held, most)
        else:
            held, spool = await _written(held, source, folder, most)
            yield spool
    finally:
        await asyncio.to_thread(held.close)


def _opened(source: Source) -> IO[bytes]:
    if isinstance(source, bytes):
        return BytesIO(source)
    if not isinstance(source, Path):
        return BytesIO()
    try:
        return open(source, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK))
    except OSError as error:
        raise Invalid(f"{source} can not be read: {error.strerror}") from None


async def _known(held: IO[bytes], most: int) -> Spool:
    digest, size, head = sha256(), 0, b""
    while piece := await asyncio.to_thread(_read, held, digest):
        head = head or piece[:HEAD]
        size = _counted(size, piece, most)
    return Spool(held, size, digest.hexdigest(), head)


async def _written(held: IO[bytes], source: AsyncIterator[bytes], folder: Path, most: int) -> tuple[IO[bytes], Spool]:
    digest, size, head = sha256(), 0, b""
    try:
        async with aclosing(_gathered(source)) as gathered:
            async for piece in gathered:
                if len(head) < HEAD:
                    head += piece[: HEAD - len(head)]
                size = _counted(size, piece, most)
                try:
                    if size > IN_MEMORY and isinstance(held, BytesIO):
                        held = await asyncio.to_thread(_moved, held, folder)
                    await asyncio.to_thread(_write, held, digest, piece)
                except OSError as error:
                    reason = error.strerror or str(error)
                    raise Full(f"the file can not be kept in {folder} on its way: {reason}") from None
    except BaseException:
        held.close()
        raise
    return held, Spool(held, size, digest.hexdigest(), head)


async def _gathered(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """In pieces that are worth a thread's while."""
    waiting: list[bytes] = []
    size = 0
    async for piece in source:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _counted(size: int, piece: bytes, most: int) -> int:
    size += len(piece)
    if size > most:
        raise TooLarge(f"the file has more than {most} bytes (cdn.max_upload)")
    return size


class _Digest(Protocol):
    """hashlib's own type has no public name."""

    def update(self, content: bytes, /) -> None: ...


def _read(held: IO[bytes], digest: _Digest) -> bytes:
    piece = held.read(PIECE)
    digest.update(piece)
    return piece


def _write(held: IO[bytes], digest: _Digest, piece: bytes) -> None:
    digest.update(piece)
    held.write(piece)


def _moved(held: BytesIO, folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    file = TemporaryFile(dir=folder)  # noqa: SIM115  # whoever spools closes it
    file.write(held.getbuffer())
    return file
