"""/api/session: log in with a key, see who one is, log out."""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_address
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from api.auth import CALLER, Caller, Role
from api.operation import Call, Model, Operation, Reply
from api.problems import Problem
from api.request_checks import own_address
from api.services import Services
from api.sessions import WHOLE, presented_cookie, set_cookie

SESSION = "/api/session"


class Login(Model):
    """The key that a session is to have the rights of."""

    key: Annotated[str, Field(min_length=1, max_length=500)]


class SessionAnswer(Model):
    """Who asks."""

    kind: Literal["key", "session"]
    key: str
    """The id of the key, or of the one that the session began with."""
    role: Role
    csrf_token: str | None
    """What every change in this session must have in X-CSRF-Token; null: it is not needed with a key."""
    ends: datetime | None
    """When the session is over if nothing more is asked; null: it is none."""
    ends_at_last: datetime | None
    """When it is over in any case."""


class SessionEnds:
    """A session has the rights of its key, as they are at each request, and ends with it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", SESSION, "viewer", self.get_session, {200: "Who asks."}),
            Operation(
                "POST",
                SESSION,
                None,
                self.begin_session,
                {201: "Begun; the cookie is set."},
                {
                    401: "The key is not known or has expired.",
                    403: "From a web page of another site, from elsewhere than the key's networks, or without TLS.",
                    429: "Too many wrong keys; see Retry-After.",
                },
                trail="after",
            ),
            Operation(
                "DELETE",
                SESSION,
                "viewer",
                self.end_session,
                {204: "Over; the cookie is gone."},
                {409: "The request came with a key, and not in a session."},
                trail="after",
            ),
        )

    async def get_session(self, call: Call) -> SessionAnswer:
        """Who asks, with which role, and in a session the token that changes need."""
        assert call.caller is not None  # the operation has a role
        return self._answer(call.caller)

    async def begin_session(self, call: Call, body: Login) -> Reply[SessionAnswer]:
        """Begin a session with a key: the answer sets a cookie, which no script can read.

        It is over after 30 minutes without a request, after 12 hours in any case, and when its key is revoked or
        expires. One that the browser had before is over at once.
        """
        services, request = self._services, call.request
        if not request.secure and not _is_local(request):
            raise Problem(403, "a session needs TLS here, as its cookie could be read on the way: see admin.tls")
        key = services.keyring.opened(body.key, request.remote or "")
        if (old := presented_cookie(request)) is not None:
            services.sessions.end(old)
        cookie, session = services.sessions.begin(key)
        request[CALLER] = caller = Caller(key.id, key.role, session)
        return Reply(self._answer(caller), 201, {"Set-Cookie": set_cookie(request, cookie), "Location": SESSION})

    async def end_session(self, call: Call) -> Reply[None]:
        """End the session: its cookie opens nothing any more, here or wherever it was copied to."""
        assert call.caller is not None  # the operation has a role
        cookie = presented_cookie(call.request)
        if call.caller.session is None or cookie is None:
            raise Problem(409, "there is no session to be ended: the request came with a key")
        self._services.sessions.end(cookie)
        return Reply(None, 204, {"Set-Cookie": set_cookie(call.request, "")})

    def _answer(self, caller: Caller) -> SessionAnswer:
        session, moment = caller.session, self._services.moment
        return SessionAnswer(
            kind=caller.kind,
            key=caller.id,
            role=caller.role,
            csrf_token=session.token if session is not None else None,
            ends=moment(session.ends) if session is not None else None,
            ends_at_last=moment(session.begun + WHOLE) if session is not None else None,
        )


def _is_local(request: web.Request) -> bool:
    """Whether the connection came to an address that only this machine has."""
    address = own_address(request)
    return address is None or ip_address(address).is_loopback
