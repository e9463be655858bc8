"""A server with ready-made answers, for machines without nginx.

`python -m bench.canned_server PORT`
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop

from bench.request import BRIEF, LARGE, LARGE_SIZE, SMALL_BODY

_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: canned\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    b"Content-Type: %b\r\nContent-Length: %d\r\n%b\r\n"
)
_SMALL = _HEAD % (b"application/json", len(SMALL_BODY), b"Cache-Control: private, no-cache\r\n") + SMALL_BODY
_LARGE = _HEAD % (b"application/octet-stream", LARGE_SIZE, b"") + bytes(LARGE_SIZE)
_BRIEF = (_HEAD % (b"application/json", len(SMALL_BODY), b"Cache-Control: max-age=1\r\n") + SMALL_BODY).replace(
    b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n", b""
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ASKS_FOR_LARGE = b"GET %b HTTP/1.1\r\n" % LARGE.encode()
_ASKS_FOR_BRIEF = b"GET %b" % BRIEF.encode()


class Connection(asyncio.Protocol):
    """Answers each request as soon as it is complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < size:
                return
            self._data = self._data[size:]
            self._transport.write(_answer(head))
            if b"\r\nconnection: close" in head.lower():
                self._transport.close()


def _answer(head: bytes) -> bytes:
    if head.startswith(_ASKS_FOR_LARGE):
        return _LARGE
    return _BRIEF if head.startswith(_ASKS_FOR_BRIEF) else _SMALL


async def serve(port: int) -> None:
    listening = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
