"""What is uploaded, as pieces that are neither too small to be worth a thread's while nor too large to keep."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from balancer.cdn.errors import Invalid
from balancer.cdn.types import UploadRequest

Piece = bytes | bytearray | memoryview


class InThread(Protocol):
    """Does something that blocks."""

    def __call__(self, work: Callable[[int, int], bytes], at: int, most: int, /) -> Awaitable[bytes]: ...


async def pieces(request: UploadRequest, most: int, in_thread: InThread) -> AsyncIterator[Piece]:
    """The source, piece by piece. Invalid: its path is not one of a file that can be read."""
    source = request.source
    if isinstance(source, bytes):
        whole = memoryview(source)
        for start in range(0, len(whole), most):
            yield whole[start : start + most]
    elif isinstance(source, Path):
        async for piece in _of_file(source, most, in_thread):
            yield piece
    else:
        async for piece in _gathered(source, most):
            yield piece


async def _gathered(source: AsyncIterator[bytes], most: int) -> AsyncIterator[Piece]:
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


async def _of_file(source: Path, most: int, in_thread: InThread) -> AsyncIterator[Piece]:
    fd = _opened(source)
    try:
        while piece := await in_thread(os.read, fd, most):
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
