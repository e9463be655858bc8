"""Reads the body of a request, within its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import HttpVersion11, web

from api.door import DOOR
from api.problems import Problem


async def not_yet(request: web.Request) -> None:
    """In the place of aiohttp's answer to `Expect`, which asks for the body before anybody has seen the key."""


async def _ask_for(request: web.Request) -> None:
    """Tell a client that waits with its body (`Expect: 100-continue`) to send it."""
    if request.version == HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp does: the answer proper has not begun


SLOWEST: Final = 16 * 1024
"""Bytes in a second that whoever sends a long body must come to on average, beyond the patience for a short one."""
_LAST = {"Connection": "close"}


async def read(request: web.Request, limit: int) -> bytes:
    """The whole body. A Problem when it is too large, too slow, garbled or broken off."""
    length = request.content_length
    if length is not None and length > limit:
        raise too_large(limit, length)
    body = bytearray()
    door = request.app[DOOR]
    patience = door.patience.body
    with door.hearing(request.transport), _broken_off(request):
        try:
            async with asyncio.timeout(patience):
                await _ask_for(request)
                # Not request.read(): it knows only the one limit of the whole application.
                while piece := await request.content.readany():
                    body += piece
                    if len(body) > limit:
                        raise too_large(limit)
        except TimeoutError:
            raise Problem(408, f"the body did not come within {patience:g} seconds", headers=_LAST) from None
    return bytes(body)


class Stream:
    """A body that is not read as a whole: its pieces, once, as they come.

    What is done with a piece takes as long as it takes; a client that keeps the next one back is not waited for longer
    than for any body, and beyond that only as long as it comes to `SLOWEST`.
    """

    def __init__(
        self, request: web.Request, limit: int, refusal: Callable[[int, int | None], Problem] | None = None
    ) -> None:
        """`refusal` tells of a body with more than `limit` bytes, in words of its own."""
        self.request = request
        self._too_large = too_large if refusal is None else refusal
        self.limit = limit
        self.size = 0
        """Bytes that have come so far."""
        self.failure: Problem | None = None
        """Why the pieces ended before the body did. Whoever is handed them may tell that in words of its own."""
        self._waited = 0.0

    @property
    def length(self) -> int | None:
        """Bytes, as announced."""
        return self.request.content_length

    async def pieces(self) -> AsyncIterator[bytes]:
        """Each piece. A Problem when it is too large, too slow, garbled or broken off."""
        try:
            async for piece in self._bounded():
                yield piece
        except Problem as problem:
            self.failure = problem
            raise

    async def _bounded(self) -> AsyncIterator[bytes]:
        request = self.request
        if self.length is not None and self.length > self.limit:
            raise self._too_large(self.limit, self.length)
        with _broken_off(request):
            await _ask_for(request)
        while piece := await self._piece():
            self.size += len(piece)
            if self.size > self.limit:
                raise self._too_large(self.limit, None)
            yield piece

    async def _piece(self) -> bytes:
        request, clock = self.request, asyncio.get_running_loop().time
        door, begun = request.app[DOOR], clock()
        left = left_of(door.patience.body, self.size, self._waited)
        with door.hearing(request.transport), _broken_off(request):
            try:
                async with asyncio.timeout(left):
                    return await request.content.readany()
            except TimeoutError:
                waited = self._waited + clock() - begun
                raise Problem(
                    408, f"the body came too slowly: {self.size} bytes in {waited:.0f} seconds", headers=_LAST
                ) from None
            finally:
                self._waited += clock() - begun


def left_of(patience: float, size: int, waited: float) -> float:
    """Seconds for the next piece of a body of which so many bytes have come, after being waited for so long."""
    return min(patience, max(0.0, patience + size / SLOWEST - waited))


@contextmanager
def _broken_off(request: web.Request) -> Iterator[None]:
    """What goes wrong with a body on its way, as the client's fault."""
    try:
        yield
    except web.RequestPayloadError as error:
        raise Problem(400, f"the body can not be read: {error}") from None
    except OSError:
        # Nobody is left to read this; it is said all the same, as the client's fault and not as ours.
        raise Problem(400, "the body broke off") from None
    except RuntimeError:
        if request.transport is not None:
            raise
        raise Problem(400, "the body broke off") from None  # the client had left before it was waited for


def too_large(limit: int, length: int | None = None) -> Problem:
    came = f", not {length} bytes" if length is not None else ""
    return Problem(413, f"the body must be at most {exactly(limit)}{came}")


def exactly(size: int) -> str:
    """`100 MiB`, and all digits where it is no whole number of a unit."""
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if size % UNITS[unit] == 0), "bytes")
    return f"{size // UNITS[unit]} {unit}"


def amount(size: int) -> str:
    """`120.0 MiB`: in the largest unit that it has one of."""
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if size >= UNITS[unit]), "bytes")
    return f"{size} bytes" if unit == "bytes" else f"{size / UNITS[unit]:.1f} {unit}"


UNITS: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "bytes": 1}
