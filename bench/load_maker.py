"""A load maker for machines without wrk; it prints the line of JSON that `report.lua` makes wrk print.

`python -m bench.load_maker PORT PATH CONNECTIONS SECONDS keep|fresh`
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import monotonic
from typing import cast

import uvloop

from bench.request import answer_size, encoded


class Load:
    """Keeps a number of requests under way until the time is up, and counts the answers."""

    def __init__(self, port: int, path: str, *, fresh: bool) -> None:
        self.fresh = fresh
        self.request = encoded(port, path, fresh=fresh)
        self.requests = 0
        self.errors = 0
        self.over = False
        self._port = port
        self._dials: set[asyncio.Task[None]] = set()

    def dial(self) -> None:
        """Open a connection without waiting for it."""
        task = asyncio.get_running_loop().create_task(self._connect())
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        except OSError:
            self.errors += 1


class Connection(asyncio.Protocol):
    """Sends a request, awaits the whole answer, and sends the next; here or on a new connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._head = b""
        self._left = -1  # bytes of the answer still to come; -1 while its head is incomplete
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            size = answer_size(self._head)
            if size is None:
                return
            self._load.errors += not self._head.startswith(b"HTTP/1.1 2")
            self._left = size - len(self._head)
        else:
            self._left -= len(data)
        if self._left == 0:
            self._answer_complete()

    def _answer_complete(self) -> None:
        load = self._load
        load.requests += 1
        self._head = b""
        self._left = -1
        if load.over or load.fresh:
            self._answered = True
            self._transport.close()
            if not load.over:
                load.dial()
        else:
            self._transport.write(load.request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answered and not self._load.over:
            self._load.errors += 1
            self._load.dial()


async def make_load(port: int, path: str, connections: int, seconds: float, *, fresh: bool) -> Load:
    load = Load(port, path, fresh=fresh)
    for _ in range(connections):
        load.dial()
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()
    load.over = True
    return load


if __name__ == "__main__":
    port, path, connections, seconds, mode = sys.argv[1:]
    start = monotonic()
    load = uvloop.run(make_load(int(port), path, int(connections), float(seconds), fresh=mode == "fresh"))
    print(json.dumps({"requests": load.requests, "errors": load.errors, "seconds": monotonic() - start}))
