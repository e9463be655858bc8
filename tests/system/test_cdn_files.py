"""Files of the local CDN through the running balancer: its routes, its cache, its figures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from balancer.cdn.local.store import Limits, Store
from balancer.cdn.types import UploadRequest
from tests.cdn.local.samples import picture
from tests.system.process import AppServer, Balancer, running

pytestmark = pytest.mark.slow
LIMITS = Limits(1 << 30, None, 0)


async def stored(folder: Path, request: UploadRequest) -> str:
    """The path of a file that is in the folder before the balancer starts."""
    store = Store(folder / "cdn", LIMITS)
    await store.start()
    row, _ = await store.upload(request)
    await store.close()
    return row.path


async def test_a_file_goes_through_the_cache_and_the_site_stays_as_it_was(tmp_path: Path) -> None:
    content = picture("PNG", (64, 64))
    path = await stored(tmp_path, UploadRequest(content, "cat.png", "image", tags=("cats",)))
    server = AppServer("a")
    settings = {
        "servers": [f"http://127.0.0.1:{server.port}"],
        "cdn": {"local": {"directory": str(tmp_path / "cdn")}, "images": None},
    }
    balancer = Balancer(tmp_path, settings)
    async with running(server, balancer), aiohttp.ClientSession() as session:
        url = f"{balancer.url}/cdn/{path}"
        verdicts = []
        for _ in range(3):
            async with session.get(url) as response:
                assert (response.status, await response.read()) == (200, content)
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
                assert "Surrogate-Key" not in response.headers
                verdicts.append(response.headers["Cache-Status"])
        assert "stored" in verdicts[0]
        assert "hit" in verdicts[1]
        assert "hit" in verdicts[2]
        async with session.get(url, headers={"Range": "bytes=0-7"}) as response:
            assert (response.status, await response.read()) == (206, content[:8])
        async with session.get(url, headers={"If-None-Match": response.headers["ETag"]}) as response:
            assert response.status == 304
        async with session.get(f"{balancer.url}/cdn/image/nothing.png") as response:
            assert response.status == 404
        async with session.post(url, data=b"x") as response:
            assert response.status == 405
        async with session.get(f"{balancer.url}/") as response:
            assert response.status == 200


async def test_a_file_beyond_the_cache_is_streamed_and_may_be_read_by_many(tmp_path: Path) -> None:
    content = bytes(range(256)) * (40 * 4096)
    path = await stored(tmp_path, UploadRequest(content, "film.bin", "other"))
    server = AppServer("a")
    settings = {
        "servers": [f"http://127.0.0.1:{server.port}"],
        "cdn": {"local": {"directory": str(tmp_path / "cdn")}, "images": None},
    }
    balancer = Balancer(tmp_path, settings)
    async with running(server, balancer), aiohttp.ClientSession() as session:

        async def read() -> bool:
            async with session.get(f"{balancer.url}/cdn/{path}") as response:
                return await response.read() == content

        assert all(await asyncio.gather(*(read() for _ in range(4))))
