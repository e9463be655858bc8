"""Awaits changes of the configuration file by looking at it, which works on network and container mounts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable

QUIET = 0.3
"""An editor writes in several steps; a file that has kept still for this long is complete."""
Stamp = tuple[int, int, int]


async def changes(
    path: pathlib.Path,
    interval: float = 1.0,
    quiet: float = QUIET,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[str]:
    """The SHA-256 of the file's content, each time it has another one than before and has kept still.

    A file that is away is no change; one that comes back with the same content is none either. Links are
    followed, so the swap of a mounted folder's links is seen. Looking happens in a thread: a network mount
    may make it wait.
    """
    stamp = await asyncio.to_thread(_stamp, path)
    known = await asyncio.to_thread(_digest, path)
    while True:
        await sleep(interval)
        seen = await asyncio.to_thread(_stamp, path)
        if seen == stamp:
            continue
        while seen is not None:
            await sleep(quiet)
            before, seen = seen, await asyncio.to_thread(_stamp, path)
            if seen == before:
                break
        stamp = seen
        digest = await asyncio.to_thread(_digest, path) if seen is not None else None
        if digest is not None and digest != known:
            known = digest
            yield digest


def _stamp(path: pathlib.Path) -> Stamp | None:
    """What changes whenever the file does; None while there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _digest(path: pathlib.Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
