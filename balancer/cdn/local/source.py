"""What is uploaded, as pieces that are neither too small to be worth a thread's while nor too large to keep."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from balancer.cdn.errors import Invalid

Piece = bytes | bytearray | memoryview


class InThread(Protocol):
    """Does something that blocks."""

    def __call__(self, work: Callable[[int, int, int], bytes], fd: int, most: int, at: int, /) -> Awaitable[bytes]: ...


def pieces(source: Path | bytes | AsyncIterator[bytes], most: int, in_thread: InThread) -> AsyncGenerator[Piece]:
    """The source, piece by piece; to be closed. Invalid: its path is not one of a file that can be read."""
    if isinstance(source, bytes):
        return _cut(source, most)
    if isinstance(source, Path):
        return _of_file(source, most, in_thread)
    return _gathered(source, most)


async def _cut(source: bytes, most: int) -> AsyncGenerator[Piece]:
    whole = memoryview(source)
    for start in range(0, len(whole), most):
        yield whole[start : start + most]


async def _gathered(source: AsyncIterator[bytes], most: int) -> AsyncGenerator[Piece]:
    waiting = bytearray()
    async for piece in source:
        rest = memoryview(piece)
        while rest:
            free = most - len(waiting)
            waiting += rest[:free]
            rest = rest[free:]
            if len(waiting) == most:
                yield waiting
                waiting = bytearray()
    if waiting:
        yield waiting


async def _of_file(source: Path, most: int, in_thread: InThread) -> AsyncGenerator[Piece]:
    fd, at = _opened(source), 0
    try:
        # By positions: a thread that comes too late then takes nothing from whatever has this descriptor next.
        while piece := await in_thread(os.pread, fd, most, at):
            at += len(piece)
            yield piece
    finally:
        os.close(fd)


def _opened(source: Path) -> int:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Invalid(f"{source} can not be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Invalid(f"expected a file to upload, and {source} is none")
    return fd
