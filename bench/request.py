"""The request that is measured, as a browser's script would send it, and the answers to it."""

from __future__ import annotations

import re
import socket

SMALL = "/small"
LARGE = "/large"
STORABLE = "/storable/"
"""Whatever begins so is the small answer, and may be stored by a cache."""
MEDIUM = "/storable-64k"
BRIEF = "/brief/"
"""The same as STORABLE, for a second; of our own server only."""

SMALL_BODY = b'{"id":1042,"name":"Ada","member":true,"communities":[3,7,12]}'
LARGE_SIZE = 1024 * 1024
MEDIUM_SIZE = 64 * 1024

# What Chrome sends with fetch(), in its order; Host comes before them.
FIELDS = {
    "Connection": "keep-alive",
    "sec-ch-ua-platform": '"Linux"',
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Accept": "application/json, text/plain, */*",
    "sec-ch-ua": '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Referer": "http://community.example/communities/7",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9",
    "Cookie": "session=5f2b1c0e9a7d4f63b8e1; theme=dark",
}

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def encoded(port: int, path: str, *, fresh: bool = False) -> bytes:
    """The request's bytes; `fresh` asks for the connection to be closed after the answer."""
    fields = {"Host": f"127.0.0.1:{port}", **FIELDS}
    if fresh:
        fields["Connection"] = "close"
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def answer_size(data: bytes | bytearray) -> int | None:
    """Bytes of the answer that `data` begins with, head and body; None while the head is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    match = _CONTENT_LENGTH.search(data, 0, end + 2)
    if match is None:
        raise ValueError(f"expected an answer with a Content-Length, not {bytes(data[:end])!r}")
    return end + 4 + int(match[1])


def ask(connection: socket.socket, port: int, path: str) -> tuple[int, bytes]:
    """Send the request on an open connection; the answer's status and body."""
    connection.sendall(encoded(port, path))
    data = bytearray()
    size = None
    while size is None or len(data) < size:
        piece = connection.recv(256 * 1024)
        if not piece:
            raise ConnectionResetError(f"port {port} closed after {len(data)} bytes of an answer")
        data += piece
        size = answer_size(data) if size is None else size
    return int(data[9:12]), bytes(data[data.find(b"\r\n\r\n") + 4 :])
