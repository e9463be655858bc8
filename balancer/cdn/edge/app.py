"""What the balancer answers itself below the CDN's paths: files, and pictures made of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Finder = Callable[[str], Handler | None]
"""From a raw path to whoever answers below it."""


def make_edge(find: Finder) -> web.Application:
    """An application that looks for the handler with each request, as a reload may have changed them.

    It takes no bodies: there is nothing below these paths that a client could send.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return told(405, "only GET and HEAD are taken here", {"Allow": "GET, HEAD"})
        handler = find(request.rel_url.raw_path)
        if handler is None:
            return told(404, "nothing is here")
        return await handler(request)

    app = web.Application(client_max_size=1)
    app.on_response_prepare.append(_mark)
    app.router.add_route("*", "/{rest:.*}", answer)
    return app


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "balancer"  # rather than the versions of Python and aiohttp


def told(status: int, reason: str, fields: dict[str, str] | None = None) -> web.Response:
    """A short text that is not kept by anybody."""
    common = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, text=reason + "\n", headers={**common, **(fields or {})})
