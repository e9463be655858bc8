"""The floor of the comparison: copies bytes between two connections and looks at none of them.

`python -m bench.blind_copy PORT UPSTREAM_PORT`
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One of two connections; whatever comes in on it goes out on the other."""

    def __init__(self, other: Side | None = None) -> None:
        self._other = other
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # came in before the other side was connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._other is not None:
            self._other.pair(self)

    def pair(self, other: Side) -> None:
        """The other side is connected now."""
        self._other = other
        if self._transport is None or self._transport.is_closing():
            other.close()
            return
        for piece in self._early:
            other.send(piece)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.send(data)
        else:
            self._early.append(data)

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        if self._other is not None and self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other._transport is not None:
            self._other._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None:
            self._other.close()


async def serve(port: int, upstream: int) -> None:
    loop = asyncio.get_running_loop()
    dials: set[asyncio.Task[object]] = set()  # the loop itself keeps no strong reference

    def accept() -> Side:
        client = Side()
        dial = loop.create_task(loop.create_connection(lambda: Side(client), "127.0.0.1", upstream))
        dials.add(dial)
        dial.add_done_callback(dials.discard)
        return client

    listening = await loop.create_server(accept, "127.0.0.1", port, backlog=4096)
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
