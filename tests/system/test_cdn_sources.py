"""Attacks by the source of a picture, against the running balancer: what it may connect to, and what it says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from balancer.cdn.images.fetch import LOOP_MARK
from balancer.cdn.images.signing import PictureSource, spell_source
from tests.cdn.images import gallery
from tests.cdn.images.test_fetch import Server, picture, redirect, server
from tests.system.process import AppServer, Balancer, running

pytestmark = pytest.mark.slow
PHOTO = gallery.as_bytes(gallery.photo(64, 48), "PNG")


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[Balancer, Server, Server]]:
    """A balancer that may fetch from one place on this machine, that place, and another one where it may not."""
    async with server(host="127.0.0.2") as media, server() as inside:
        media.answers["/cat.png"] = picture(PHOTO)
        images = {
            "sources": [
                f"http://127.0.0.2:{media.port}/",
                f"http://127.0.0.1:{inside.port}/",  # allowed by its name, and not by its address
                f"http://localhost:{inside.port}/",
            ],
            "networks": ["127.0.0.2"],
            "presets": {"thumb": {"width": 16}},
        }
        app = AppServer("a")
        settings = {
            "servers": [f"http://127.0.0.1:{app.port}"],
            "cdn": {"local": {"directory": str(folder / "cdn")}, "images": images},
        }
        balancer = Balancer(folder, settings)
        async with running(balancer):
            yield balancer, media, inside


async def ask(balancer: Balancer, source: str, **headers: str) -> tuple[int, bytes]:
    url = f"{balancer.url}/img/p/thumb/{spell_source(PictureSource(url=source))}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.read()


async def test_a_picture_comes_from_where_it_may_and_from_nowhere_else(tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, media, inside):
        place = f"http://127.0.0.2:{media.port}"
        status, body = await ask(balancer, f"{place}/cat.png")
        assert status == 200
        assert gallery.upright(body).width == 16

        attacks = [
            f"http://127.0.0.1:{inside.port}/x",
            f"http://localhost:{inside.port}/x",
            f"http://127.1:{inside.port}/x",
            f"http://2130706433:{inside.port}/x",
            f"http://[::ffff:127.0.0.1]:{inside.port}/x",
            f"http://127.0.0.2:{media.port}@127.0.0.1:{inside.port}/x",
            f"http://127.0.0.2:{inside.port}/x",
            f"http://127.0.0.1:{balancer.admin}/livez",
            "http://169.254.169.254/latest/meta-data/",
            "https://metadata.google.internal/",
        ]
        said = set()
        for attack in attacks:
            status, body = await ask(balancer, attack)
            assert status == 403, (attack, body)
            said.add(body)
        assert len(said) == 1, "who asks is told the same of every source that is not fetched from"

        for way in attacks:
            media.answers["/moved.png"] = redirect(way)
            status, body = await ask(balancer, f"{place}/moved.png")
            assert status == 403, (way, body)
        assert inside.connections == 0


async def test_who_asks_for_a_picture_does_not_learn_why_there_is_none(tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, media, _):
        place = f"http://127.0.0.2:{media.port}"
        media.answers["/gone"] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        media.answers["/page"] = picture(b"<html>", kind="text/html")
        media.answers["/lie"] = picture(b"<html>")
        media.answers["/cut"] = picture(length=100_000)
        media.answers["/ssh"] = b"SSH-2.0-OpenSSH_9.6\r\n"
        found = {await ask(balancer, f"{place}/{path}") for path in ("gone", "page", "lie", "cut", "ssh")}
        assert len(found) == 1
        ((status, body),) = found
        assert status == 502
        assert str(media.port).encode() not in body


async def test_a_picture_of_a_picture_is_refused_to_balancers_and_kept_for_others(tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, media, _):
        place = f"http://127.0.0.2:{media.port}/cat.png"
        looping, plain = await asyncio.gather(
            ask(balancer, place, **{"CDN-Loop": LOOP_MARK}), ask(balancer, place, **{"CDN-Loop": "other; n=1"})
        )
        assert looping[0] in (508, 200)  # 200: it had been made by then
        assert plain[0] == 200
        media.answers["/dog.png"] = picture(PHOTO)
        assert (await ask(balancer, place.replace("cat", "dog"), **{"CDN-Loop": f"a, {LOOP_MARK}"}))[0] == 508
        assert (await ask(balancer, place.replace("cat", "dog")))[0] == 200


async def test_optimize_image_tells_operators_why_a_source_is_blocked_or_gave_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as (balancer, media, inside):
        media.answers["/gone"] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        for source, status, code, why in (
            (f"http://127.0.0.1:{inside.port}/x", 400, "source_blocked", "name its network in `cdn.images.networks`"),
            ("https://elsewhere.test/x", 400, "source_blocked", "`cdn.images.sources`"),
            (f"http://127.0.0.1:{inside.port}/cdn/a.png?b", 400, "source_blocked", "127.0.0.1, which is not public"),
            (f"http://127.0.0.2:{media.port}/gone", 502, "source_unreachable", "it answered 404"),
        ):
            answer = await balancer.call(
                "POST",
                "/api/infrastructure/cdn/optimize-image",
                {"url": source, "width": 16, "format": "png", "render": True},
            )
            assert answer[0] == status, answer
            assert code in json.dumps(answer[1])
            assert why in json.dumps(answer[1]), answer
        assert inside.connections == 0
