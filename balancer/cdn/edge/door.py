"""How the balancer reaches the part of it that serves files: through pairs of sockets, without a port or a path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from socket import socket, socketpair

import structlog
from aiohttp import web

log = structlog.get_logger("balancer.cdn")


class Door:
    """An aiohttp application that is served to this process only."""

    def __init__(self, make_app: Callable[[], web.Application]) -> None:
        self._make_app = make_app
        self._runner: web.AppRunner | None = None
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Be ready for connections; to open it twice does no harm."""
        if self._runner is None:
            runner = web.AppRunner(self._make_app(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
            await runner.setup()
            self._runner = runner

    async def close(self) -> None:
        """End what is open."""
        runner, self._runner = self._runner, None
        for task in list(self._opening):
            task.cancel()
        if runner is not None:
            await runner.cleanup()

    def connect(self) -> socket:
        """One end of a connection whose other end is served. ConnectionRefusedError while it is closed."""
        runner = self._runner
        if runner is None or runner.server is None:
            raise ConnectionRefusedError("the CDN of this balancer is switched off")
        ours, theirs = socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._serve(runner.server, theirs))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return ours

    async def _serve(self, server: web.Server, end: socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(server, end)
        except OSError as error:  # no descriptors: whoever has the other end sees this one closed
            log.warning("cdn_connection_failed", reason=error.strerror or str(error))
            end.close()
