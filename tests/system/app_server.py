"""An app server for system tests: python -m tests.system.app_server PORT NAME [--delay S] [--status N] [--health N]."""

from __future__ import annotations

import argparse
import asyncio

from aiohttp import web


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("name")
    arguments.add_argument("--delay", type=float, default=0.005)
    arguments.add_argument("--status", type=int, default=200)
    arguments.add_argument("--health", type=int, default=200)
    options = arguments.parse_args()

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(options.delay)
        return web.Response(status=options.status, text=options.name, headers={"X-Served-By": options.name})

    async def cached(request: web.Request) -> web.Response:
        return web.Response(text=options.name, headers={"Cache-Control": "max-age=600"})

    async def health(request: web.Request) -> web.Response:
        return web.Response(status=options.health)

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.Response(text="slow", headers={"X-Served-By": options.name})

    async def websocket(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def started(app: web.Application) -> None:
        print("serving", flush=True)

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/slow", slow)
    app.router.add_get("/cached/{path:.*}", cached)
    app.router.add_get("/ws", websocket)
    app.router.add_route("*", "/{path:.*}", answer)

    async def serve() -> None:
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        await started(app)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
