"""How the balancer reaches the part of it that serves files: through pairs of sockets, without a port or a path."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from socket import socket, socketpair
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

log = structlog.get_logger("balancer.cdn")
LONGEST_HEAD: Final = 2**24
"""Bytes: beyond whatever an operator may allow."""


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether it is our mistake, and not a client that has left in the middle of an answer, as browsers do."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (ConnectionError, HttpProcessingError))


_logger = logging.getLogger("balancer.cdn.edge")
_logger.addFilter(_is_ours)


class Door:
    """An aiohttp application that is served to this process only."""

    def __init__(self, make_app: Callable[[], web.Application]) -> None:
        self._make_app = make_app
        self._runner: web.AppRunner | None = None
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Be ready for connections; to open it twice does no harm."""
        if self._runner is None:
            runner = web.AppRunner(
                self._make_app(),
                access_log=None,
                handle_signals=False,
                shutdown_timeout=1.0,
                logger=_logger,
                # The balancer has judged the head by `limits.head`, and is the only one who sends any.
                max_line_size=LONGEST_HEAD,
                max_field_size=LONGEST_HEAD,
                max_headers=LONGEST_HEAD,
            )
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
