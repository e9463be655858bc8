"""Everybody who follows what happens: each has a short queue, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import web

from api.problems import Problem

MOST: Final = 100
"""Streams at a time: each holds a connection, and most of those the door lets in are to be left."""
MOST_WAITING: Final = 64
"""Frames that one has not taken; who has more is too slow, or asleep, and is cut off. It comes again."""
QUIET: Final = 15.0
"""Seconds after which a stream says that it is still there, and is asked whether it still may be."""
SLOW: Final = 20.0
"""Seconds that one frame may take to be written."""


@dataclass(eq=False, slots=True)
class Stream:
    """One who follows."""

    key: str
    """Whose: the id of the key."""
    topics: frozenset[str]
    transport: asyncio.Transport | None
    waiting: deque[bytes] = field(default_factory=deque)
    some: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False

    def push(self, frame: bytes) -> None:
        if len(self.waiting) >= MOST_WAITING:
            self.cut()
            return
        self.waiting.append(frame)
        self.some.set()

    def cut(self) -> None:
        """End it at once; whoever writes to it finds the connection gone."""
        self.over = True
        self.some.set()
        if self.transport is not None:
            self.transport.abort()

    def end(self) -> None:
        """End it once everything is written."""
        self.over = True
        self.some.set()


class Streams:
    """All of them. What is published is encoded once, however many there are."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self.cut_off = 0
        """Streams that were too slow."""

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def topics(self) -> set[str]:
        """What anybody wants to hear of."""
        return {topic for stream in self._streams for topic in stream.topics}

    def admit(self, stream: Stream) -> None:
        """Problem 503: there are too many."""
        if len(self._streams) >= MOST:
            raise Problem(
                503, f"{MOST} streams are open already; close pages that nobody looks at", headers={"Retry-After": "10"}
            )
        self._streams[stream] = None

    def publish(self, topic: str, frame: bytes) -> None:
        for stream in list(self._streams):
            if topic in stream.topics:
                stream.push(frame)
                if stream.over:
                    self.cut_off += 1
                    self._streams.pop(stream, None)

    async def read(self, stream: Stream, may_stay: Callable[[], bool]) -> AsyncGenerator[bytes]:
        """The bytes of an admitted stream, until it is over or its reader may not stay."""
        try:
            while True:
                if stream.waiting:
                    frames = b"".join(stream.waiting)
                    stream.waiting.clear()
                    yield frames
                    continue
                if stream.over:
                    return
                stream.some.clear()
                try:
                    async with asyncio.timeout(QUIET):
                        await stream.some.wait()
                except TimeoutError:
                    stream.push(b": still here\n\n")
                if not may_stay():
                    yield frame("over", {"reason": "the session or the key has ended"})
                    return
        finally:
            self._streams.pop(stream, None)

    def close(self) -> None:
        """The process is about to end: tell everybody, so that they come again soon."""
        for stream in self._streams:
            stream.push(frame("over", {"reason": "the balancer stops or restarts"}))
            stream.end()


def frame(event: str, data: object, number: str | None = None) -> bytes:
    """One event as it goes over the wire (HTML, section 9.2.6). JSON has no line breaks, so one line is enough."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {event}\ndata: ".encode() + orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS) + b"\n\n"


async def write(request: web.Request, response: web.StreamResponse, pieces: AsyncGenerator[bytes]) -> None:
    """Send them as they come. A reader who stops reading is not waited for, and one who has left is no failure."""
    # The first is there at once. From then on they know of their end, also if the reader has left before the head.
    first = await anext(pieces)
    with suppress(ConnectionError):
        async with aclosing(pieces):
            await response.prepare(request)
            await response.write(first)
            async for piece in pieces:
                try:
                    async with asyncio.timeout(SLOW):
                        await response.write(piece)
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    return
            await response.write_eof()
