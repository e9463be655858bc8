"""Every check around every operation, in their order: none is skipped because another one was passed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from random import SystemRandom

import structlog
from aiohttp import web

from api.auth import CALLER, CHALLENGE, Caller, Role
from api.door import DOOR
from api.operation import Operation
from api.problems import Problem, of_http
from api.request_checks import LIMIT, SAFE, check_browser, check_host, check_path, check_size, plain_address
from api.services import Services
from api.sessions import check_token, presented_cookie, set_cookie
from api.trail import Actor, Matter, Unwritten
from balancer.witness import Witness
from config.diff import Change
from config.schema import Admin

log = structlog.get_logger("balancer.api")

REQUEST_ID = web.RequestKey("request_id", str)
FIELDS = web.RequestKey("fields", Mapping[str, str])  # of the answer, besides those that every one has
OPERATION = web.RequestKey("operation", Operation)  # once it is known
DENIALS = frozenset((401, 403, 421, 429))
"""Of whoever was not let in."""
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_random = SystemRandom()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """What stands between a connection and the operations.

    First what needs no key: the body's size, Host, what browsers say, the path. Then whose key it is, whether its
    role may, the operation's own precondition, and the act.
    """

    def __init__(self, services: Services, *, guarded: bool = True) -> None:
        """Not `guarded` is a listener with nothing on it that anybody could misuse."""
        self._services = services
        self._guarded = guarded
        self._operations: dict[object, Operation] = {}  # by what aiohttp calls for each

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._attend(request, handler)

        self.middleware = middleware

    def handler(self, operation: Operation) -> Handler:
        """What aiohttp calls for an operation, once its path and method have been found."""
        trail = "none" if operation.method in SAFE else operation.trail

        async def answer(request: web.Request) -> web.StreamResponse:
            request[OPERATION] = operation
            caller = self._authorised(operation, request)
            if trail == "both":
                return await self._act(operation, request, caller)
            response = await operation.respond(request, caller, limit=self._limit(operation))
            if trail == "after":
                await self._services.trail.done(_matter(request), response.status, None, ())
            return response

        self._operations[answer] = operation
        return answer

    def _limit(self, operation: Operation) -> int:
        return operation.limit_in(self._services.control.snapshot.config)

    async def _act(self, operation: Operation, request: web.Request, caller: Caller | None) -> web.StreamResponse:
        """Let it happen between two lines of the audit trail."""
        trail = self._services.trail
        matter = _matter(request)
        noted: list[Change] = []
        witness = Witness()
        begun = False

        async def begin() -> None:
            nonlocal begun
            try:
                await trail.intend(matter)
            except Unwritten as error:
                raise Problem(507, f"{error}; nothing was changed") from None
            begun = True

        status, detail = 500, None
        try:
            with witness.present():
                response = await operation.respond(request, caller, noted, begin, self._limit(operation))
            status = response.status
        except Problem as problem:
            status, detail = problem.status, problem.detail
            raise
        finally:
            if begun:
                changes = await asyncio.to_thread(witness.changes)
                await trail.done(matter, status, detail, [*changes, *noted])
        if caller is not None:
            log.info(
                "admin_call",
                key=caller.id,
                method=request.method,
                path=request.path,
                status=response.status,
                request_id=request[REQUEST_ID],
            )
        return response

    async def _attend(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The outermost function around each request: problems instead of errors, each answer counted."""
        with request.app[DOOR].attending(request.transport):
            request[REQUEST_ID] = _request_id(request)
            response: web.StreamResponse
            try:
                if self._guarded:
                    self._check(request)
                response = await handler(request)
            except Problem as problem:
                response = problem.response()
                if self._guarded and problem.status in DENIALS:
                    self._services.trail.denied(_matter(request), problem.status, problem.detail)
            except web.HTTPException as error:
                response = of_http(error).response()
            except Exception as error:  # the outermost place of a request: it is ours, and goes to the log
                log.exception("admin_fault", path=request.path, request_id=request[REQUEST_ID], error=str(error))
                response = Problem(500, "a fault of the balancer's own; its log has more by the request id").response()
            self._services.requests[response.status] += 1
            return response

    def _check(self, request: web.Request) -> None:
        """What needs no key."""
        found = self._operations.get(request.match_info.handler)
        # Who may send that much is not known yet; nothing of it is read before that is.
        if found is not None and found.streamed:
            check_size(request, max(LIMIT, self._limit(found)), found.too_large)
        else:
            check_size(request)
        check_host(request, _names(self._services.control.snapshot.config.admin))
        check_browser(request, page=found is not None and found.page)
        check_path(request, tail=found is not None and found.tail)

    def _authorised(self, operation: Operation, request: web.Request) -> Caller | None:
        role = operation.role
        if callable(role):
            role = role(self._services.control.snapshot.config)
        if role is None and not operation.key_shows_more:
            if not operation.unlimited:
                self._pace(request, None)
            return None  # a key that somebody sends along is not looked at, right or wrong
        try:
            caller = self._identified(request, needed=role is not None)
        except Problem:
            self._pace(request, None)
            raise
        self._pace(request, caller)
        if caller is not None:
            request[CALLER] = caller
        if role is None:
            return caller
        if caller is None:
            raise Problem(401, "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY", headers=CHALLENGE)
        if not caller.may(role):
            raise Problem(403, _too_low(role, caller))
        return caller

    def _pace(self, request: web.Request, caller: Caller | None) -> None:
        """Count the request. 429: it comes too soon after others."""
        key = caller.id if caller is not None else None
        request[FIELDS] = self._services.pace.take(key, request.remote or "")

    def _identified(self, request: web.Request, *, needed: bool) -> Caller | None:
        """Whose key or session it is; None when there is neither.

        A request has one identity. With a key and a session's cookie it would be for us to say whose doing it was,
        and whether the token is needed, so it is refused.
        """
        services = self._services
        address = request.remote or ""
        cookie = presented_cookie(request)
        caller = services.keyring.identify(request.headers, address)
        if cookie is None:
            return caller
        if caller is not None:
            raise Problem(400, "the request has a key and the cookie of a session: send one of them")
        session = services.sessions.find(cookie)
        key = services.keyring.of_session(session) if session is not None else None
        if session is None or key is None:
            services.sessions.end(cookie)
            if not needed:
                return None
            forget = {"Set-Cookie": set_cookie(request, "")}
            raise Problem(401, "the session is over: log in again", headers={**CHALLENGE, **forget})
        services.keyring.check(key, address)
        if request.method not in SAFE:
            check_token(request, session)
        return Caller(key.id, key.role, session)


def _too_low(role: Role, caller: Caller) -> str:
    return (
        f"this needs the role {role}; the key {caller.id} has the role {caller.role}, which may {_MAY[caller.role]}. "
        f"Whoever has a key of role admin can make one that may: balancer key create --role {role}"
    )


_MAY: Mapping[Role, str] = {
    "viewer": "only read",
    "operator": "operate what is configured, and change nothing else",
    "admin": "do everything",
}


def _names(admin: Admin) -> tuple[str, ...]:
    """The names that an operator gave the listener; "every address" is none."""
    host = admin.listen.host
    try:
        own = not ip_address(host).is_unspecified
    except ValueError:
        own = bool(host)
    return (*admin.hosts, host) if own else admin.hosts


def _matter(request: web.Request) -> Matter:
    """What the audit trail says of a request. Its query is not there before it is known to be one of ours."""
    caller, operation = request.get(CALLER), request.get(OPERATION)
    return Matter(
        request_id=request[REQUEST_ID],
        actor=Actor(caller.kind, caller.id, caller.role) if caller is not None else Actor(),
        address=plain_address(request.remote or "") or "unix",
        method=request.method,
        operation=operation.name if operation is not None else None,
        path=request.path,
    )


def _request_id(request: web.Request) -> str:
    sent = request.headers.get("X-Request-Id", "")
    return sent if _SANE_ID.fullmatch(sent) else f"{_random.getrandbits(128):032x}"
