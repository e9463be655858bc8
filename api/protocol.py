"""aiohttp's protocol, with answers of ours where it refuses a request itself, before any operation is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from api.problems import Problem

log = structlog.get_logger("balancer.api")

_REASON = re.compile(r"([A-Za-z][\w ,.'`/-]{0,79}):\n\n", re.ASCII)
"""How the parser's messages begin: its own words. What follows are bytes of the request."""


class Protocol(web.RequestHandler):
    """Tells nobody what a request that can not be read had in it.

    aiohttp quotes the line at fault to the client, and logs it as an error with a trace. The line may be the one with
    the key; and whoever can reach the port could fill the log.
    """

    __slots__ = ("_refused",)

    def __init__(self, server: web.Server, refused: Callable[[int], None]) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]  # none
        self._refused = refused

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is answered to a request that could not be read, or to one whose handling failed (`status` 500)."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        reason = told(exc)
        log.debug("admin_garbled", address=request.remote, reason=reason)
        self._refused(status)
        response = Problem(status, f"the request can not be read: {reason}").response()
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Server"] = "balancer"
        response.force_close()
        return response


def told(error: HttpProcessingError) -> str:
    """Why the parser refused a request, without a byte of it."""
    if isinstance(error, LineTooLong):
        return "a line of its head is too long"
    if isinstance(error, BadHttpMethod):
        return "its method is none"
    found = _REASON.match(error.message)
    return found[1].lower() if found is not None else "it is not HTTP/1.1 as it should be"
