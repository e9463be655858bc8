"""GET /img/...: pictures in other sizes and forms, and in plain words why there is none."""

from __future__ import annotations

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
            picture = await self._pictures.picture(source, options, accept, client)
        except CdnError as error:
            return refused(error)
        return _answer(request, picture, None if expires is None else ceil(expires - now))


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


def _answer(request: web.Request, picture: Picture, left: int | None) -> web.Response:
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
    return web.Response(body=picture.data, content_type=MEDIA_TYPES[picture.format], headers=fields)


def _has(request: web.Request, etag: str) -> bool:
    """Whether the client has this very picture (RFC 9110 section 13.1.2)."""
    known = request.if_none_match or ()
    return any(one.value in (etag.strip('"'), "*") for one in known)
