"""Files of the local CDN through the running balancer: its routes, its cache, its figures."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from balancer.cdn.local.room import Limits
from balancer.cdn.local.store import Store
from balancer.cdn.types import UploadRequest
from tests.cdn.local.samples import picture
from tests.system.process import AppServer, Balancer, running, until

pytestmark = pytest.mark.slow
CDN = "/api/infrastructure/cdn"
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
        asked = {"Range": "bytes=30000000-30000009"}  # as players do, who jump within a film
        async with session.get(f"{balancer.url}/cdn/{path}", headers=asked) as response:
            assert (response.status, await response.read()) == (206, content[30_000_000:30_000_010])
            etag = response.headers["ETag"]
        async with session.get(f"{balancer.url}/cdn/{path}", headers={"If-None-Match": etag}) as response:
            assert response.status == 304


async def test_what_is_uploaded_is_served_counted_exchanged_and_gone_when_it_is_deleted(tmp_path: Path) -> None:
    server = AppServer("a")
    settings = {
        "servers": [f"http://127.0.0.1:{server.port}"],
        "cdn": {"local": {"directory": str(tmp_path / "cdn"), "keep_free": 0}, "images": None},
    }
    balancer = Balancer(tmp_path, settings)
    async with running(server, balancer), aiohttp.ClientSession() as session:

        async def upload(content: bytes, more: str = "") -> str:
            assert balancer.session is not None
            api = f"http://127.0.0.1:{balancer.admin}{CDN}/files?name=cat.png&kind=image{more}"
            async with balancer.session.post(api, data=content) as response:
                assert response.status == 201, await response.text()
                path: str = (await response.json())["path"]
                return path

        async def read(path: str) -> tuple[int, bytes, str]:
            async with session.get(f"{balancer.url}/cdn/{path}") as response:
                return response.status, await response.read(), response.headers.get("Cache-Status", "")

        first, second = picture("PNG", (8, 8)), picture("PNG", (9, 9))
        path = await upload(first)
        for verdict in ("stored", "hit", "hit", "hit"):
            status, body, said = await read(path)
            assert (status, body) == (200, first)
            assert verdict in said
        status, stats = await balancer.call("GET", f"{CDN}/stats")
        if status == 200:
            assert (stats["requests"], stats["hits"]) == (4, 3)
            assert stats["hit_ratio"] == 0.75
            assert stats["bytes_out"] == 4 * len(first)
        status, _ = await balancer.call("DELETE", f"{CDN}/files/{path}")
        assert status == 200
        assert (await read(path))[0] == 404  # though it was kept for a year
        plain = await upload(first, "&overwrite=true")
        assert plain == "image/cat.png"
        assert (await read(plain))[1] == first
        assert "fwd-status=304" in (await read(plain))[2]
        await upload(second, "&overwrite=true")
        assert (await read(plain))[1] == second
        _, page = await balancer.call("GET", f"{CDN}/files")
        assert [file["path"] for file in page["items"]] == [plain]


async def test_tags_that_a_file_gets_later_reach_what_is_stored_of_it(tmp_path: Path) -> None:
    settings = {
        "servers": ["http://127.0.0.1:9"],
        "cdn": {"local": {"directory": str(tmp_path / "cdn"), "keep_free": 0}},
    }
    balancer = Balancer(tmp_path, settings)
    async with running(balancer), aiohttp.ClientSession() as session:

        async def upload(more: str) -> dict[str, Any]:
            assert balancer.session is not None
            api = f"http://127.0.0.1:{balancer.admin}{CDN}/files?name=cat.png&kind=image{more}"
            async with balancer.session.post(api, data=picture("PNG", (64, 64))) as response:
                told: dict[str, Any] = await response.json()
                return told

        path = (await upload(""))["path"]
        status, made = await balancer.call("POST", f"{CDN}/optimize-image", {"url": path, "width": 32})
        assert status == 200, made

        async def verdicts() -> list[str]:
            found = []
            for url in (f"/cdn/{path}", made["url"]):
                async with session.get(balancer.url + url) as response:
                    assert response.status == 200
                    found.append(response.headers["Cache-Status"].partition(";")[2].partition(";")[0].strip())
            return found

        missed, hit = ["fwd=uri-miss"] * 2, ["hit"] * 2
        assert (await verdicts(), await verdicts()) == (missed, hit)
        again = await upload("&tags=cats,home")
        assert (again["path"], again["created"], again["tags"]) == (path, False, ["cats", "home"])
        assert (await verdicts(), await verdicts()) == (missed, hit)
        assert (await upload("&tags=home"))["tags"] == ["cats", "home"]
        assert await verdicts() == hit
        status, told = await balancer.call("POST", f"{CDN}/purge", ["tag:cats"])
        assert status == 200, told
        assert await verdicts() == missed


async def test_a_balancer_that_is_killed_in_an_upload_has_nothing_of_it(tmp_path: Path) -> None:
    server = AppServer("a")
    settings = {
        "servers": [f"http://127.0.0.1:{server.port}"],
        "cdn": {"local": {"directory": str(tmp_path / "cdn"), "keep_free": 0}, "images": None},
    }
    balancer, incoming = Balancer(tmp_path, settings), tmp_path / "cdn" / "incoming"

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 16)
            await asyncio.sleep(0.001)

    async def upload(session: aiohttp.ClientSession) -> None:
        url = f"http://127.0.0.1:{balancer.admin}{CDN}/files?name=x.bin&kind=other"
        async with session.post(url, data=endless()) as response:
            await response.read()

    async with running(server, balancer):
        assert balancer.session is not None
        sending = asyncio.create_task(upload(balancer.session))
        await until(lambda: any(file.stat().st_size for file in incoming.iterdir()), balancer)
        balancer.signal(signal.SIGKILL)
        await balancer.wait()
        with pytest.raises(aiohttp.ClientError):
            await sending
    again = Balancer(tmp_path, settings)
    async with running(server, again):
        assert list(incoming.iterdir()) == []
        _, page = await again.call("GET", f"{CDN}/files")
        assert page["items"] == []
