"""One list, over TLS, from the host that publishes it and from no other."""

from __future__ import annotations

import ssl
from typing import Final

import aiohttp
from yarl import URL

from balancer.ranges.lists import LARGEST, BadList

TIME: Final = 30.0
"""Seconds for one list."""
REDIRECTS: Final = 3
_MOVED: Final = frozenset((301, 302, 303, 307, 308))


async def fetch(place: str, tls: ssl.SSLContext | None = None) -> bytes:
    """What is there. Raises BadList, aiohttp.ClientError, OSError, TimeoutError."""
    first = url = URL(place)
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIME),
        headers={"Accept": "application/json, text/plain", "User-Agent": "balancer"},
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        for _ in range(REDIRECTS + 1):
            if url.scheme != "https" or url.host != first.host:
                raise BadList(f"it has moved to {url.scheme}://{url.host}")
            async with session.get(url, ssl=True if tls is None else tls, allow_redirects=False) as answer:
                if answer.status in _MOVED:
                    url = url.join(URL(answer.headers.get("Location", "")))
                    continue
                if answer.status != 200:
                    raise BadList(f"it answered {answer.status}")
                data = bytearray()
                async for chunk in answer.content.iter_chunked(64 * 1024):
                    data += chunk
                    if len(data) > LARGEST:
                        raise BadList(f"it has more than {LARGEST} bytes")
                return bytes(data)
    raise BadList(f"it has moved more than {REDIRECTS} times")
