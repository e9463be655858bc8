"""Reads the body of a request, within its bounds."""

from __future__ import annotations

import asyncio

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


async def read(request: web.Request, limit: int) -> bytes:
    """The whole body. A Problem when it is too large, too slow, garbled or broken off."""
    length = request.content_length
    if length is not None and length > limit:
        raise too_large(limit, length)
    body = bytearray()
    door = request.app[DOOR]
    patience = door.patience.body
    try:
        with door.hearing(request.transport):
            async with asyncio.timeout(patience):
                await _ask_for(request)
                # Not request.read(): it knows only the one limit of the whole application.
                while piece := await request.content.readany():
                    body += piece
                    if len(body) > limit:
                        raise too_large(limit)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {patience:g} seconds", headers=_LAST) from None
    except web.RequestPayloadError as error:
        raise Problem(400, f"the body can not be read: {error}") from None
    except OSError:
        # Nobody is left to read this; it is said all the same, as the client's fault and not as ours.
        raise Problem(400, "the body broke off") from None
    except RuntimeError:
        if request.transport is not None:
            raise
        raise Problem(400, "the body broke off") from None  # the client had left before it was waited for
    return bytes(body)


_LAST = {"Connection": "close"}


def too_large(limit: int, length: int | None = None) -> Problem:
    size = f"{limit // 1024**2} MiB" if limit >= 1024**2 else f"{limit // 1024} KiB"
    came = f", not {length} bytes" if length is not None else ""
    return Problem(413, f"the body must be at most {size}{came}")
