"""Pictures through the running balancer: its routes, its cache, its workers."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from balancer.cdn.images.key_file import signing_keys
from balancer.cdn.images.links import Links
from balancer.cdn.images.signing import PictureSource
from balancer.cdn.types import ImageOptions, UploadRequest
from bench import usage
from config.cdn import CdnImages
from tests.cdn.images import gallery
from tests.cdn.images.test_pool import alive
from tests.system.process import AppServer, Balancer, running, until
from tests.system.test_cdn_files import stored

pytestmark = pytest.mark.slow
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
SMALL = ImageOptions(320)


def balancer_with(folder: Path, secret: str = "", **images: Any) -> Balancer:
    folder.mkdir(exist_ok=True)
    app = AppServer("a")
    settings = {
        "servers": [f"http://127.0.0.1:{app.port}"],
        "cdn": {"local": {"directory": str(folder / "cdn")}, "images": images or True},
    }
    return Balancer(folder, settings, BALANCER_SECRET=secret)


def link(folder: Path, path: str, options: ImageOptions = SMALL) -> str:
    """As optimize-image gives it: by the key that the balancer has made for itself."""
    return Links(CdnImages(), signing_keys((), folder)).url(PictureSource(path=path), options)


def workers(balancer: Balancer) -> list[int]:
    assert balancer.process is not None
    return usage.family(balancer.process.pid)[1:]


async def photo(folder: Path) -> str:
    content = gallery.as_bytes(gallery.photo(1200, 900), "JPEG", quality=92)
    return await stored(folder, UploadRequest(content, "cat.jpg", "image", tags=("cats",)))


async def test_two_hundred_browsers_cost_one_picture_and_the_next_ones_none(tmp_path: Path) -> None:
    path = await photo(tmp_path)
    balancer = balancer_with(tmp_path)
    async with running(balancer), aiohttp.ClientSession() as session:
        assert workers(balancer) == []
        url = balancer.url + link(tmp_path, path)

        async def ask(accept: str = CHROME) -> tuple[int, bytes, str]:
            async with session.get(url, headers={"Accept": accept}) as response:
                return response.status, await response.read(), response.headers.get("Cache-Status", "")

        answers = await asyncio.gather(*(ask() for _ in range(200)))
        assert {status for status, _, _ in answers} == {200}
        (body,) = {body for _, body, _ in answers}
        image = gallery.upright(body)
        assert (image.format, image.size) == ("AVIF", (320, 240))
        assert len(workers(balancer)) == 1
        assert len(list((tmp_path / "cdn" / "pictures").glob("??/*"))) == 1
        assert "hit" in (await ask())[2]
        assert "hit" in (await ask("image/webp,image/avif,x/y"))[2], "another browser, the same formats"
        assert gallery.upright((await ask("image/webp,*/*"))[1]).format == "WEBP"
        assert gallery.upright((await ask("*/*"))[1]).format == "JPEG"


async def test_a_purge_by_the_tag_of_a_file_reaches_its_pictures(tmp_path: Path) -> None:
    path = await photo(tmp_path)
    balancer = balancer_with(tmp_path)
    async with running(balancer), aiohttp.ClientSession() as session:
        url = balancer.url + link(tmp_path, path)

        async def verdict() -> str:
            async with session.get(url) as response:
                assert response.status == 200
                assert "Surrogate-Key" not in response.headers
                return response.headers["Cache-Status"]

        assert "stored" in await verdict()
        assert "hit" in await verdict()
        status, _ = await balancer.call("POST", "/api/infrastructure/cache/purge", {"tags": [f"file:{path}"]})
        assert status in (200, 202)
        assert "stored" in await verdict()


async def test_what_is_not_signed_costs_nothing(tmp_path: Path) -> None:
    path = await photo(tmp_path)
    balancer = balancer_with(tmp_path)
    async with running(balancer), aiohttp.ClientSession() as session:
        for changed in (link(tmp_path, path).replace("w=320", "w=321"), f"/img/-/w=320/local/{path}", "/img/"):
            async with session.get(balancer.url + changed) as response:
                assert response.status in (400, 403)
        assert workers(balancer) == []


async def test_a_worker_that_is_killed_is_replaced_and_the_balancer_serves_on(tmp_path: Path) -> None:
    path = await photo(tmp_path)
    balancer = balancer_with(tmp_path, workers=1)
    async with running(balancer), aiohttp.ClientSession() as session:

        async def ask(width: int) -> int:
            async with session.get(balancer.url + link(tmp_path, path, ImageOptions(width))) as response:
                return response.status

        assert await ask(100) == 200
        (first,) = workers(balancer)
        os.kill(first, signal.SIGSEGV)
        await until(lambda: not alive(first), balancer)
        assert await ask(110) == 200
        assert workers(balancer) != [first]
        async with session.get(f"{balancer.url}/cdn/{path}") as response:
            assert response.status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_worker_outlives_the_balancer(tmp_path: Path, number: signal.Signals) -> None:
    path = await photo(tmp_path)
    balancer = balancer_with(tmp_path)
    async with running(balancer), aiohttp.ClientSession() as session:
        async with session.get(balancer.url + link(tmp_path, path)) as response:
            assert response.status == 200
        left = workers(balancer)
        assert left
        balancer.signal(number)
        await balancer.wait()
        await until(lambda: not any(map(alive, left)), balancer)


async def test_the_url_of_a_picture_is_good_on_all_machines_that_know_one_secret_and_on_no_other(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("one", "two", "alone")]
    upload = UploadRequest(gallery.as_bytes(gallery.photo(400, 300), "JPEG"), "cat.jpg", "image")
    (path,) = {await stored(folder, upload) for folder in folders}
    secrets = ["s" * 32, "s" * 32, ""]
    one, two, alone = (balancer_with(*each) for each in zip(folders, secrets, strict=True))
    async with running(one), running(two), running(alone), aiohttp.ClientSession() as session:
        status, made = await one.call(
            "POST", "/api/infrastructure/cdn/optimize-image", {"url": path, "width": 320, "format": "webp"}
        )
        assert status == 200, made
        found = []
        for balancer in (one, two, alone):
            async with session.get(balancer.url + made["url"]) as response:
                found.append(response.status)
    assert found == [200, 200, 403]
