"""The admin API as an aiohttp application: every check around every operation."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

import balancer
from api.alerts import AlertViews
from api.analytics import Analytics
from api.audit import Audit
from api.body import not_yet
from api.cache import Cache
from api.cdn import Cdn
from api.cdn_files import CdnFiles
from api.cdn_purges import CdnPurges
from api.configuration import Configuration
from api.databases import DatabaseViews
from api.door import DOOR, PATIENCE, Door, Patience
from api.gate import FIELDS, REQUEST_ID, Gate
from api.history import Histories
from api.infrastructure import Infrastructure
from api.keys import Keys
from api.limits import Limits
from api.live import LiveViews
from api.monitoring import Monitoring
from api.openapi import document
from api.operation import Operation, Text
from api.pages import Pages
from api.request_checks import LIMIT
from api.servers import Servers
from api.services import Services
from api.session import SessionEnds

EVERYWHERE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
"""Fields of every answer that does not say otherwise: none of them is a page, or to be part of one."""


def make_app(services: Services, patience: Patience = PATIENCE) -> web.Application:
    """The application of the admin listener. The caller runs it, on a `Site` that takes no other traffic."""
    operations = (*all_operations(services), *Pages(services).operations())
    gate = Gate(services)
    app = web.Application(middlewares=[gate.middleware], client_max_size=LIMIT)
    app[DOOR] = _door(services, patience)
    app.on_response_prepare.append(_mark)
    for operation in operations:
        app.router.add_route(operation.method, operation.pattern, gate.handler(operation), expect_handler=not_yet)
        if operation.method == "GET":
            app.router.add_route("HEAD", operation.pattern, gate.handler(operation), expect_handler=not_yet)
    return app


def make_metrics_app(services: Services, patience: Patience = PATIENCE) -> web.Application:
    """The application of `metrics.listen`: the metrics and nothing else, for whoever can reach the port."""
    monitoring = Monitoring(services)

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await monitoring.prometheus_operation.respond(request, None)

    app = web.Application(middlewares=[Gate(services, guarded=False).middleware], client_max_size=1024)
    app[DOOR] = _door(services, patience)
    app.on_response_prepare.append(_mark)
    app.router.add_get(services.control.snapshot.config.metrics.path, metrics)
    return app


def _door(services: Services, patience: Patience) -> Door:
    def refused(status: int) -> None:
        services.requests[status] += 1

    return Door(patience, refused)


def all_operations(services: Services) -> tuple[Operation, ...]:
    """Every operation of the API, its document's own included."""
    operations = [
        *Monitoring(services).operations(),
        *Analytics(services).operations(),
        *AlertViews(services).operations(),
        *Histories(services).operations(),
        *LiveViews(services).operations(),
        *DatabaseViews(services).operations(),
        *Infrastructure(services).operations(),
        *Cache(services).operations(),
        *Cdn(services).operations(),
        *CdnFiles(services).operations(),
        *CdnPurges(services).operations(),
        *Limits(services).operations(),
        *Servers(services).operations(),
        *Configuration(services).operations(),
        *SessionEnds(services).operations(),
        *Keys(services).operations(),
        *Audit(services).operations(),
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


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers["Server"] = "balancer"  # rather than the versions of Python and aiohttp
    for name, value in {**EVERYWHERE, **request.get(FIELDS, {})}.items():
        response.headers.setdefault(name, value)
