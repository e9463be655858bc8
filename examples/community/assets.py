"""Answers that browsers and caches may keep: avatars and the style sheet."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from aiohttp import ETag, web

from examples.community import accounts
from examples.community.avatars import avatar
from examples.community.context import number, read

STYLE = (Path(__file__).parent / "static" / "style.css").read_bytes()


async def style(request: web.Request) -> web.Response:
    return _keep(request, STYLE, "text/css", "public, max-age=300, stale-while-revalidate=3600")


async def face(request: web.Request) -> web.Response:
    user = number(request, "user")
    await read(request, lambda connection: accounts.user(connection, user))
    # A user's picture never changes, so a copy never has to be asked after again.
    return _keep(request, _drawn(user), "image/png", "public, max-age=86400, immutable")


@lru_cache(1000)
def _drawn(user: int) -> bytes:
    return avatar(user)


def _keep(request: web.Request, content: bytes, kind: str, caching: str) -> web.Response:
    """The content with its validator, or 304 when the client's copy is the same (RFC 9110 section 13.1.2)."""
    tag = ETag(hashlib.sha256(content).hexdigest()[:24])
    known = request.if_none_match or ()
    same = any(one.value in (tag.value, "*") for one in known)
    if same:
        response = web.Response(status=304)
    else:
        response = web.Response(body=content, content_type=kind, charset=_charset(kind))
    response.etag = tag
    response.headers["Cache-Control"] = caching
    return response


def _charset(kind: str) -> str | None:
    return "utf-8" if kind.startswith("text/") else None
