"""What the balancer and the process with its event store say to each other, over a pair of sockets of their own."""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass, field
from typing import Any, Final

LENGTH: Final = struct.Struct("!I")
LONGEST: Final = 256 * 1024 * 1024
"""Bytes of one frame."""


@dataclass(frozen=True, slots=True)
class Open:
    """The first thing that is said: which store it is."""

    store: str
    """A path, or a URL."""
    zone: str
    keep: float
    keep_summaries: float
    max_size: int
    run: str
    """Who numbers the batches."""


@dataclass(frozen=True, slots=True)
class Write:
    """Store these."""

    batch: int
    events: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Ask:
    """Call this of the engine."""

    number: int
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The last thing that is said: nothing else will come. Who goes without a word may have had more to say."""


@dataclass(frozen=True, slots=True)
class Opened:
    """It is there; `zone` is that of its days."""

    zone: str
    unclean: int | None


@dataclass(frozen=True, slots=True)
class Written:
    """The batch is stored; `seconds` is what it took."""

    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The batch can not be stored, today or tomorrow, for what is in it; others can."""

    batch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The store has failed, with a batch (which is tried again) or at its opening (0)."""

    batch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: its result, or the exception that it raised."""

    number: int
    result: Any = None
    error: BaseException | None = field(default=None)


def packed(message: object) -> bytes:
    """A frame. Both ends are the same program, of the same version; nobody else can write to this pair."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(content)) + content


async def read(reader: asyncio.StreamReader) -> object:
    """The next message. Raises IncompleteReadError when the other end has gone."""
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > LONGEST:
        raise asyncio.IncompleteReadError(b"", length)
    return pickle.loads(await reader.readexactly(length))
