"""Connections that stay open: the WebSocket and the event stream."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

from aiohttp import WSCloseCode, WSMsgType, web

from examples.community import content
from examples.community.context import FEED, NAME, read
from examples.community.live import Subscription
from examples.community.records import Post

HEARTBEAT = 15.0
"""Seconds of silence after which a sign of life is sent, well inside the idle limits of proxies."""


async def socket(request: web.Request) -> web.WebSocketResponse:
    """GET /ws: sends every message back, and new posts as {"type": "post", ...}; `?posts=no`: echo alone."""
    ws = web.WebSocketResponse(heartbeat=2 * HEARTBEAT, max_msg_size=1024 * 1024)
    await ws.prepare(request)
    wanted = request.query.get("posts") != "no"
    with request.app[FEED].subscribe() as posts:
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(_pump(ws, posts, wanted))
            await _echo(ws)
            pump.cancel()
    return ws


async def _echo(ws: web.WebSocketResponse) -> None:
    try:
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await ws.send_bytes(message.data)
    except ConnectionError:
        pass  # the other side has gone, which is how most of these end


async def _pump(ws: web.WebSocketResponse, posts: Subscription, wanted: bool) -> None:
    try:
        while (post := await posts.get()) is not None:
            if wanted:
                await ws.send_str(_json(post))
        await ws.close(code=WSCloseCode.GOING_AWAY, message=b"the server is restarting")
    except ConnectionError:
        pass  # _echo sees it too, and ends the handler


async def events(request: web.Request) -> web.StreamResponse:
    """GET /api/events: new posts as server-sent events; `Last-Event-ID` picks up after a cut."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    last = request.headers.get("Last-Event-ID", "")
    with request.app[FEED].subscribe() as posts:
        await response.prepare(request)
        try:
            await response.write(f": served by {request.app[NAME]}\nretry: 2000\n\n".encode())
            newest = int(last) if last.isascii() and last.isdecimal() and len(last) < 16 else None
            if newest is not None:
                after = newest
                for post in await read(request, lambda connection: content.posts_after(connection, after)):
                    await response.write(_event(post))
                    newest = post.id
            await _follow(response, posts, newest or 0)
        except ConnectionError:
            pass  # the reader has gone
    return response


async def _follow(response: web.StreamResponse, posts: Subscription, newest: int) -> None:
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT):
                post = await posts.get()
        except TimeoutError:
            await response.write(b": still here\n\n")
            continue
        if post is None:
            return
        if post.id > newest:
            await response.write(_event(post))


def _event(post: Post) -> bytes:
    return f"id: {post.id}\nevent: post\ndata: {_json(post)}\n\n".encode()


def _json(post: Post) -> str:
    return json.dumps({"type": "post", **asdict(post)}, separators=(",", ":"))
