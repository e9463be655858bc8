"""The admin listener asked byte by byte, as no client library would."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

from pydantic import JsonValue

from tests.api.desk import Desk


class Said(NamedTuple):
    """An answer as it came."""

    status: int
    fields: dict[str, list[str]]
    """By name in lower case."""
    body: bytes

    @property
    def detail(self) -> str:
        document: dict[str, JsonValue] = json.loads(self.body)
        return str(document["detail"])


async def said(host: str, port: int, *lines: str, body: bytes = b"") -> Said:
    """What is answered to a request of these lines, after which the connection ends."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode("latin-1") + body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        first, *rest = head.decode("latin-1").strip().split("\r\n")
        fields: dict[str, list[str]] = {}
        for line in rest:
            name, _, value = line.partition(":")
            fields.setdefault(name.lower(), []).append(value.strip())
        length = 0 if lines[0].startswith("HEAD ") else int(fields.get("content-length", ["0"])[0])
        return Said(int(first.split()[1]), fields, await asyncio.wait_for(reader.readexactly(length), 10))
    finally:
        writer.close()


async def ask(desk: Desk, target: str, *lines: str, method: str = "GET", host: str = "Host: localhost") -> Said:
    """Ask the desk's listener. `lines` are whole field lines; an empty `host` leaves that out."""
    return await said(
        desk.client.host,
        int(desk.client.port or 0),
        f"{method} {target} HTTP/1.1",
        *([host] if host else []),
        *lines,
    )
