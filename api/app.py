"""The admin API as an aiohttp application: every check around every operation."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from random import SystemRandom

import orjson
import structlog
from aiohttp import web

import balancer
from api.auth import CHALLENGE, Caller
from api.cache import Cache
from api.configuration import Configuration
from api.door import DOOR, PATIENCE, Door, Patience
from api.guard import LIMIT, check_browser, check_host, check_size
from api.infrastructure import Infrastructure
from api.monitoring import Monitoring
from api.openapi import document
from api.operation import Operation, Text
from api.problems import Problem, of_http
from api.servers import Servers
from api.services import Services

log = structlog.get_logger("balancer.api")

REQUEST_ID = web.RequestKey("request_id", str)
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_random = SystemRandom()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(services: Services, patience: Patience = PATIENCE) -> web.Application:
    """The application of the admin listener. The caller runs it, on a `Site` that takes no other traffic."""
    operations = all_operations(services)
    app = web.Application(middlewares=[_gate(services)], client_max_size=LIMIT)
    app[DOOR] = Door(patience)
    app.on_response_prepare.append(_mark)
    for operation in operations:
        app.router.add_route(operation.method, operation.path, _handler(services, operation))
        if operation.method == "GET":
            app.router.add_route("HEAD", operation.path, _handler(services, operation))
    return app


def make_metrics_app(services: Services, patience: Patience = PATIENCE) -> web.Application:
    """The application of `metrics.listen`: the metrics and nothing else, for whoever can reach the port."""
    monitoring = Monitoring(services)

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await monitoring.prometheus_operation.respond(request, None)

    app = web.Application(middlewares=[_gate(services, guarded=False)], client_max_size=1024)
    app[DOOR] = Door(patience)
    app.on_response_prepare.append(_mark)
    app.router.add_get(services.control.snapshot.config.metrics.path, metrics)
    return app


def all_operations(services: Services) -> tuple[Operation, ...]:
    """Every operation there is, its document's own included."""
    operations = [
        *Monitoring(services).operations(),
        *Infrastructure(services).operations(),
        *Cache(services).operations(),
        *Servers(services).operations(),
        *Configuration(services).operations(),
    ]
    operations.append(_document_operation(operations))
    return tuple(operations)


def _document_operation(operations: Iterable[Operation]) -> Operation:
    async def openapi(_call: object) -> Text:
        """This document."""
        return Text(content, "application/json")

    own = Operation("GET", "/openapi.json", None, openapi, {200: "The OpenAPI 3.1 document."})
    content = orjson.dumps(document([*operations, own], balancer.__version__))
    return own


def _handler(services: Services, operation: Operation) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        caller = _authorised(services, operation, request)
        response = await operation.respond(request, caller)
        if operation.method != "GET" and caller is not None:
            log.info(
                "admin_call",
                key=caller.id,
                method=request.method,
                path=request.path,
                status=response.status,
                request_id=request[REQUEST_ID],
            )
        return response

    return answer


def _authorised(services: Services, operation: Operation, request: web.Request) -> Caller | None:
    role = operation.role
    if callable(role):
        role = role(services.control.snapshot.config)
    if role is None and not operation.key_shows_more:
        return None  # a key that somebody sends along is not looked at, right or wrong
    caller = services.keyring.identify(request.headers, request.remote or "")
    if role is None:
        return caller
    if caller is None:
        raise Problem(401, "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY", headers=CHALLENGE)
    if not caller.may(role):
        raise Problem(403, f"this needs a key of role {role}; {caller.id} has role {caller.role}")
    return caller


def _gate(services: Services, *, guarded: bool = True) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The outermost function around each request: checks that need no key, and problems instead of errors."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        with request.app[DOOR].attending(request.transport):
            return await attend(request, handler)

    async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = _request_id(request)
        response: web.StreamResponse
        try:
            if guarded:
                admin = services.control.snapshot.config.admin
                check_size(request)
                check_host(request, (*admin.hosts, admin.listen.host))
                check_browser(request)
            response = await handler(request)
        except Problem as problem:
            response = problem.response()
        except web.HTTPException as error:
            response = of_http(error).response()
        except Exception as error:  # the outermost place of a request: whatever it is, it is ours and goes to the log
            log.exception("admin_fault", path=request.path, request_id=request[REQUEST_ID], error=str(error))
            response = Problem(500, "a fault of the balancer's own; its log has more by the request id").response()
        services.requests[response.status] += 1
        return response

    return gate


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "balancer"  # rather than the versions of Python and aiohttp


def _request_id(request: web.Request) -> str:
    sent = request.headers.get("X-Request-Id", "")
    return sent if _SANE_ID.fullmatch(sent) else f"{_random.getrandbits(128):032x}"
