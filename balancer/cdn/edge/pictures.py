"""GET /img/...: pictures in other sizes and forms, and in plain words why there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from math import ceil
from time import time as wall_time  # noqa: TID251  # when URLs expire
from typing import Final

from aiohttp import web

from balancer.cdn.edge.app import told
from balancer.cdn.errors import (
    CdnError,
    Full,
    ImageRejected,
    Invalid,
    NotFound,
    SourceBlocked,
    SourceUnreachable,
    Unavailable,
)
from balancer.cdn.images.engine import MEDIA_TYPES
from balancer.cdn.images.fetch import looped
from balancer.cdn.images.links import Links, NotSigned
from balancer.cdn.images.opened import PIECE, Body
from balancer.cdn.images.pictures import Picture, Pictures, TooMany
from balancer.cdn.images.pool import Failed

Trusts = Callable[[str], bool]
"""Whether an address is one of `trusted_proxies`."""
_REJECTED: Final = {"bytes": 413, "format": 415}
"""Statuses by why a picture is not made; for the rest it is 422: it is a picture, and this one is not taken."""
_STATUSES: Final[tuple[tuple[type[CdnError], int], ...]] = (
    (NotSigned, 403),
    (SourceBlocked, 403),
    (Invalid, 400),
    (NotFound, 404),
    (TooMany, 429),
    (SourceUnreachable, 502),
    (Full, 503),
    (Unavailable, 503),
)


class PictureHandler:
    """What answers below `cdn.images.path`."""

    def __init__(
        self,
        prefix: str,
        links: Links,
        pictures: Pictures,
        wall: Callable[[], float] = wall_time,
        trusts: Trusts = lambda address: False,
    ) -> None:
        """`trusts` knows the trusted proxies."""
        self._trusts = trusts
        self._prefix = prefix
        self._links = links
        self._pictures = pictures
        self._wall = wall

    def covers(self, path: str) -> bool:
        """Whether a raw path is a picture's."""
        return path.startswith(self._prefix)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer."""
        if looped(", ".join(request.headers.getall("CDN-Loop", ()))):
            return told(508, "this picture is asked for to make a picture of it")
        path = request.raw_path
        if "?" in path:
            return told(400, "a picture's URL has no query, so that one picture has one URL")
        now = self._wall()
        try:
            source, options, expires = self._links.read(path.removeprefix(self._prefix), now)
            client = client_of(request.headers.getall("X-Forwarded-For", ()), self._trusts)
            accept = ", ".join(request.headers.getall("Accept", ()))
            picture = await self._pictures.picture(
                source, options, accept, client, lambda etag: request.method != "HEAD" and not _has(request, etag)
            )
        except CdnError as error:
            return refused(error)
        return await _answer(request, picture, None if expires is None else ceil(expires - now))


def client_of(told: Iterable[str], trusts: Trusts) -> str | None:
    """Who asks, by X-Forwarded-For: the nearest address that is no trusted proxy.

    The last one is the balancer's own word, and what a stranger has written before it never gets here. None: it has
    been told not to say it (`headers.forwarded`).
    """
    address = None
    for part in reversed(",".join(told).split(",")):
        said = part.strip()
        if not said:
            break
        address = said
        if not trusts(address):
            break
    return address


def refused(error: CdnError) -> web.Response:
    """Why there is no picture."""
    if isinstance(error, ImageRejected):
        return told(_REJECTED.get(error.reason, 422), f"the source is not made into a picture: {error}")
    if isinstance(error, Failed):
        return told(504 if error.late else 500, f"the picture could not be made: {error}")
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 502)
    again = {} if error.retry_after_s is None else {"Retry-After": str(ceil(error.retry_after_s))}
    return told(status, str(error), again)


async def _answer(request: web.Request, picture: Picture, left: int | None) -> web.StreamResponse:
    fields = {
        "Cache-Control": picture.cache_control if left is None else f"public, max-age={left}, must-revalidate",
        "ETag": picture.etag,
        "Surrogate-Key": " ".join(picture.tags),
        "X-Content-Type-Options": "nosniff",
    }
    if picture.varies:
        fields["Vary"] = "Accept"
    if _has(request, picture.etag):
        return web.Response(status=304, headers=fields)
    fields["Content-Disposition"] = "inline"
    fields["Content-Type"] = MEDIA_TYPES[picture.format]
    body = picture.body
    if isinstance(body, bytes) and len(body) <= PIECE:
        return web.Response(body=body, headers=fields)
    response = web.StreamResponse(headers=fields)
    response.content_length = picture.size
    if request.method == "HEAD" or body is None:
        return response
    await response.prepare(request)
    for at in range(0, picture.size, PIECE):
        await response.write(await _piece(body, at))
    await response.write_eof()
    return response


async def _piece(body: Body, at: int) -> bytes | memoryview:
    if isinstance(body, bytes):
        return memoryview(body)[at : at + PIECE]
    piece = await asyncio.to_thread(body.read, at, PIECE)
    if len(piece) != min(PIECE, body.size - at):  # it was cut short meanwhile; the length is promised already
        raise ConnectionResetError("a picture has become shorter while it was sent")
    return piece


def _has(request: web.Request, etag: str) -> bool:
    """Whether the client has this very picture (RFC 9110 section 13.1.2)."""
    known = request.if_none_match or ()
    return any(one.value in (etag.strip('"'), "*") for one in known)
