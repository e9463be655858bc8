"""The whole site as one aiohttp application: its routes, and what happens around every request."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random

from aiohttp import web
from aiohttp.typedefs import Handler

from examples.community import accounts, assets, pages, rest, streams
from examples.community.chaos import Chaos, Mode
from examples.community.context import BORN, CHAOS, COOKIE, DATABASE, FEED, NAME, VISITOR, answer, read
from examples.community.database import Database
from examples.community.inputs import ChaosChange, InvalidInput, body
from examples.community.live import Feed
from examples.community.records import Refusal

log = logging.getLogger("community")

CALM = ("/health", "/chaos")
"""Never hit by chaos: the point of the demonstration is trouble that health checks do not see."""
ANONYMOUS = ("/health", "/chaos", "/static/", "/avatars/", "/slow")
"""Paths whose answers are the same for everybody, so no session is looked up."""
CRASHED = 70


def site(name: str, database: Database, mode: Mode = "none", rate: float = 0.2) -> web.Application:
    """An application ready to be run; `database` must have been prepared."""
    app = web.Application(middlewares=[errors, misbehave, recognise], client_max_size=64 * 1024)
    app[NAME] = name
    app[DATABASE] = database
    app[CHAOS] = Chaos(mode, rate, Random(name))
    app[FEED] = Feed(database)
    app[BORN] = time.monotonic()
    app.on_response_prepare.append(sign)
    app.cleanup_ctx.append(_feed)
    app.on_shutdown.append(_dismiss)
    _routes(app.router)
    return app


def _routes(router: web.UrlDispatcher) -> None:
    number = r"{%s:\d{1,15}}"
    post, user, report = number % "post", number % "user", number % "report"
    add = router.add_route
    router.add_get("/", pages.home)
    router.add_get("/communities/{slug}", pages.community)
    router.add_get(f"/posts/{post}", pages.post)
    router.add_get("/static/style.css", assets.style)
    router.add_get(f"/avatars/{user}.png", assets.face)
    router.add_get("/health", health)
    router.add_get("/slow", slow)
    router.add_get("/ws", streams.socket, allow_head=False)
    router.add_get("/api/events", streams.events, allow_head=False)
    router.add_get("/chaos", show_chaos)
    add("POST", "/chaos", change_chaos)
    add("POST", "/api/users", rest.register)
    router.add_get(f"/api/users/{user}", rest.show_user)
    add("POST", "/api/sessions", rest.log_in)
    add("DELETE", "/api/sessions", rest.log_out)
    router.add_get("/api/communities", rest.list_communities)
    add("POST", "/api/communities", rest.add_community)
    router.add_get("/api/communities/top", rest.top_communities)
    router.add_get("/api/communities/{community}", rest.show_community)
    add("POST", "/api/communities/{community}/members", rest.join)
    add("DELETE", "/api/communities/{community}/members", rest.leave)
    add("POST", "/api/communities/{community}/posts", rest.add_post)
    router.add_get("/api/posts", rest.list_posts)
    router.add_get(f"/api/posts/{post}", rest.show_post)
    add("DELETE", f"/api/posts/{post}", rest.delete_post)
    add("POST", f"/api/posts/{post}/comments", rest.add_comment)
    add("POST", f"/api/posts/{post}/reactions", rest.react)
    router.add_get("/api/reports", rest.list_reports)
    add("POST", "/api/reports", rest.file_report)
    add("POST", f"/api/reports/{report}/resolve", rest.resolve_report)
    add("POST", "/api/uploads", rest.upload)


async def sign(request: web.Request, response: web.StreamResponse) -> None:
    """Say on every answer who made it, and on those to a logged-in user for whom."""
    response.headers["X-Served-By"] = request.app[NAME]
    user = request.get(VISITOR)
    if user is not None:
        response.headers["X-User-Id"] = str(user.id)
        kept = response.headers.get("Cache-Control", "")
        if kept.startswith("public"):  # or a cache would show this user's id to the next one
            response.headers["Cache-Control"] = kept.replace("public", "private", 1)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes JSON with an `error` that says what to do, and the `fields` to blame."""
    try:
        return await handler(request)
    except InvalidInput as error:
        fields: list[object] = [{"field": field, "message": message} for field, message in error.fields]
        return answer({"error": str(error), "fields": fields}, 400)
    except Refusal as error:
        blamed: list[object] = [{"field": error.field, "message": error.message}] if error.field else []
        return answer({"error": error.message, "fields": blamed}, error.status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return answer({"error": error.reason, "fields": []}, error.status, allow)
    except sqlite3.OperationalError as error:
        log.warning("%s %s: %s", request.method, request.path, error)
        return answer({"error": "the database is busy; try again", "fields": []}, 503, {"Retry-After": "1"})
    except ConnectionError:
        raise  # the client has gone, so there is nobody to tell
    except Exception:  # the outermost place of a request: the visitor learns nothing, the log everything
        log.exception("%s %s", request.method, request.path)
        return answer({"error": "something went wrong here", "fields": []}, 500)


@web.middleware
async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
    chaos = request.app[CHAOS]
    match "none" if request.path.startswith(CALM) else chaos.strikes():
        case "slow":
            await asyncio.sleep(chaos.delay())
        case "failing":
            raise Refusal(500, "chaos: this server is failing on purpose")
        case "crashing":
            os._exit(CRASHED)  # no goodbye, as when the kernel kills a process
    return await handler(request)


@web.middleware
async def recognise(request: web.Request, handler: Handler) -> web.StreamResponse:
    token = request.cookies.get(COOKIE)
    if token and not request.path.startswith(ANONYMOUS):
        user = await read(request, lambda connection: accounts.whose(connection, token))
        if user is not None:
            request[VISITOR] = user
    return await handler(request)


async def health(request: web.Request) -> web.Response:
    """GET /health: touches nothing but the clock."""
    return answer({"status": "ok", "name": request.app[NAME], "uptime": time.monotonic() - request.app[BORN]})


async def slow(request: web.Request) -> web.Response:
    """GET /slow?ms=: answers after so many milliseconds."""
    wanted = request.query.get("ms", "1000")
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 6):
        raise Refusal(400, f"expected whole milliseconds from 0 to 99999, not {wanted[:20]!r}", "ms")
    await asyncio.sleep(int(wanted) / 1000)
    return answer({"slept": int(wanted) / 1000, "name": request.app[NAME]})


async def show_chaos(request: web.Request) -> web.Response:
    chaos = request.app[CHAOS]
    return answer({"mode": chaos.mode, "rate": chaos.rate})


async def change_chaos(request: web.Request) -> web.Response:
    """POST /chaos: only asked directly on this machine; what a balancer passes on is somebody else's wish."""
    forwarded = any(field in request.headers for field in ("X-Forwarded-For", "Forwarded", "Via"))
    if forwarded or not _loopback(request.remote):
        raise Refusal(403, "chaos is changed only directly on this machine, at this server's own port")
    given = await body(request, ChaosChange)
    chaos = request.app[CHAOS]
    chaos.mode = given.mode
    chaos.rate = chaos.rate if given.rate is None else given.rate
    return await show_chaos(request)


def _loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


async def _feed(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(app[FEED].run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _dismiss(app: web.Application) -> None:
    app[FEED].close()
