"""A line that tells how far a long transfer has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import BinaryIO, Final

from balancer.commands import figures
from balancer.commands.console import Console

PIECE: Final = 256 * 1024
LONG: Final = 1024 * 1024
"""Bytes from which on there is something to watch."""
BEAT: Final = 0.1
"""Seconds between two looks."""
WIDTH: Final = 24


def pieces(
    file: BinaryIO, size: int, name: str, console: Console, clock: Callable[[], float] = monotonic
) -> Iterator[bytes]:
    """What is in the file, `size` bytes at most; who watches is told how much of it has been taken."""
    watched = size > LONG and console.shows_progress
    begun, last, sent = clock(), float("-inf"), 0
    try:
        while sent < size and (piece := file.read(min(PIECE, size - sent))):
            yield piece
            sent += len(piece)
            now = clock()
            if watched and (now - last >= BEAT or sent == size):
                last = now
                console.progress(line(name, sent, size, now - begun))
    finally:
        if watched:
            console.progress("")


def line(name: str, sent: int, size: int, seconds: float) -> str:
    """`cat.mp4   42% [#########               ] 42 MiB of 100 MiB   12 MiB/s   5s`."""
    share = sent / size
    filled = int(share * WIDTH)
    told = f"{name}  {share * 100:3.0f}% [{'#' * filled:{WIDTH}}] {figures.size(sent)} of {figures.size(size)}"
    if seconds <= 0 or not sent:
        return told
    speed = sent / seconds
    return f"{told}  {figures.size(speed)}/s  {figures.age((size - sent) / speed)}"
