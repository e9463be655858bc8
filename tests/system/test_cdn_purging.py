"""Purges by the running balancer: its own cache, then the CDN; through slow servers, kills and a disk that fails."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cdn.fakes.cloudflare import ACCOUNT, TOKEN, ZONE, FakeCloudflare
from tests.system.process import Balancer, running, until
from tests.system.test_cdn_pictures import balancer_with, link, photo

pytestmark = pytest.mark.slow
CDN = "/api/infrastructure/cdn"
SITE = "https://www.example.com"


class Site:
    """An app that counts what it is asked, and holds its answers back when it is told to."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.goes = asyncio.Event()
        self.goes.set()
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        async with TestServer(app) as server:
            self.url = f"http://127.0.0.1:{server.port}"
            yield
            self.goes.set()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked[request.path_qs] += 1
        said = f"{request.path_qs} {self.asked[request.path_qs]}"
        await self.goes.wait()
        headers = {
            "Cache-Control": "max-age=3600",
            "Surrogate-Key": request.path.strip("/").replace("/", " ") or "home",
        }
        return web.Response(text=said, headers=headers)


class World:
    """A site, a Cloudflare, and what a balancer between them is told."""

    def __init__(self, folder: Path, site: Site, fake: FakeCloudflare, base: str) -> None:
        self.folder = folder
        self.site = site
        self.fake = fake
        self._base = base

    def balancer(self, **cdn: object) -> Balancer:
        settings = {
            "pools": {"default": {"servers": [self.site.url], "health": {"active": None}}},
            "cache": True,
            "cdn": {
                "provider": "cloudflare",
                "url": SITE,
                "cloudflare": {"zone_id": ZONE, "account_id": ACCOUNT},
                "images": None,
                "endpoints": {"api": self._base},
                "coalesce": "10ms",
                **cdn,
            },
        }
        return Balancer(self.folder, settings, CDN_API_KEY=TOKEN)

    @property
    def purges(self) -> int:
        """That Cloudflare has heard of."""
        return sum("/purge_cache" in one.line for one in self.fake.received)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    site, fake = Site(), FakeCloudflare()
    async with site.running(), fake.running() as base:
        yield World(tmp_path, site, fake, base)


async def read(session: aiohttp.ClientSession, balancer: Balancer, path: str) -> str:
    async with session.get(f"{balancer.url}{path}", headers={"Host": "www.example.com"}) as response:
        assert response.status == 200, await response.text()
        return await response.text()


async def purge(balancer: Balancer, *patterns: str, **more: object) -> dict[str, Any]:
    status, ticket = await balancer.call("POST", f"{CDN}/purge", {"patterns": patterns, **more})
    assert status in (200, 202), ticket
    found: dict[str, Any] = ticket
    return found


async def ended(balancer: Balancer, ticket: str) -> dict[str, Any]:
    """The ticket, once it is done."""
    found: dict[str, Any] = {}

    async def is_done() -> bool:
        status, answer = await balancer.call("GET", f"{CDN}/purges/{ticket}")
        assert status == 200, answer
        found.update(answer)
        return answer["state"] not in ("queued", "in_progress")

    await until(is_done, balancer)
    return found


async def test_a_purge_empties_the_balancer_and_then_the_cdn_and_nothing_else(world: World) -> None:
    world.fake.cached = dict.fromkeys((f"{SITE}/posts/1", f"{SITE}/posts/2?page=3", f"{SITE}/about"), frozenset[str]())
    balancer = world.balancer()
    async with running(balancer), aiohttp.ClientSession() as session:
        for path in ("/posts/1", "/posts/2?page=3", "/about") * 2:
            assert await read(session, balancer, path) == f"{path} 1"
        ticket = await purge(balancer, "/posts/*", "/a/*/b")
        assert ticket["own"][0]["entries"] == 2
        assert await read(session, balancer, "/posts/1") == "/posts/1 2"
        assert await read(session, balancer, "/posts/2?page=3") == "/posts/2?page=3 2"
        assert await read(session, balancer, "/about") == "/about 1"
        ticket = await ended(balancer, ticket["ticket"])
        assert set(world.fake.cached) == {f"{SITE}/about"}
        assert (ticket["state"], ticket["verified"]) == ("partial", False)
        assert ticket["cdn"]["accepted"] == ["/posts/*"]
        assert ticket["cdn"]["rejected"][0]["nearest"] == "/a/*"


async def test_a_fetch_that_began_before_the_purge_is_not_stored_after_it(world: World) -> None:
    balancer = world.balancer()
    async with running(balancer), aiohttp.ClientSession() as session:
        for pattern, path in (("/slow", "/slow"), ("/deep/*", "/deep/a?x"), ("tag:tagged", "/tagged")):
            world.site.goes.clear()
            early = asyncio.create_task(read(session, balancer, path))
            await until(lambda path=path: world.site.asked[path] == 1, balancer)
            await purge(balancer, pattern)
            late = asyncio.create_task(read(session, balancer, path))
            await until(lambda path=path: world.site.asked[path] == 2, balancer)
            world.site.goes.set()
            assert await early == f"{path} 1"
            assert await late == f"{path} 2"  # it did not wait for what was asked for before the purge
            assert await read(session, balancer, path) == f"{path} 2"


async def test_a_killed_balancer_goes_on_with_what_it_had_not_sent(world: World) -> None:
    world.fake.cached = {f"{SITE}/a": frozenset()}
    first = world.balancer(coalesce="30s")
    async with running(first):
        ticket = (await purge(first, "/a"))["ticket"]
        first.signal(signal.SIGKILL)
        await first.wait()
    assert world.purges == 0
    second = world.balancer()
    async with running(second):
        told = await ended(second, ticket)
        assert (told["state"], told["targets"], told["cdn"]["accepted"]) == ("submitted", ["/a"], ["/a"])
        assert world.fake.cached == {}


async def test_a_killed_balancer_goes_on_with_what_it_had_no_answer_to_and_clients_do_not_notice(world: World) -> None:
    world.fake.cached = {f"{SITE}/a": frozenset()}
    first = world.balancer()
    world.fake.faults.extend(["silence"])
    async with running(first), aiohttp.ClientSession() as session:
        ticket = (await purge(first, "tag:t", "/a"))["ticket"]
        await until(lambda: world.purges == 1, first)
        assert await read(session, first, "/b") == "/b 1"
        status, told = await first.call("GET", f"{CDN}/purges/{ticket}")
        assert (status, told["state"]) == (200, "queued")
        first.signal(signal.SIGKILL)
        await first.wait()
    second = world.balancer()
    async with running(second):
        assert (await ended(second, ticket))["state"] == "submitted"
        assert world.fake.cached == {}
        status, page = await second.call("GET", f"{CDN}/purges")
        assert (status, [one["ticket"] for one in page["items"]]) == (200, [ticket])


async def test_a_disk_that_keeps_no_ticket_keeps_no_purge_back(world: World) -> None:
    (world.folder / "cdn-purges.db").mkdir()
    world.fake.cached = {f"{SITE}/a": frozenset()}
    balancer = world.balancer()
    async with running(balancer), aiohttp.ClientSession() as session:
        assert await read(session, balancer, "/a") == "/a 1"
        ticket = await purge(balancer, "/a")
        assert "does not outlive" in ticket["warnings"][0]
        assert await read(session, balancer, "/a") == "/a 2"
        assert (await ended(balancer, ticket["ticket"]))["state"] == "submitted"
        assert world.fake.cached == {}


async def test_a_bad_order_purges_nothing_and_tells_each_fault_with_its_place(world: World) -> None:
    balancer = world.balancer()
    async with running(balancer), aiohttp.ClientSession() as session:
        assert await read(session, balancer, "/a") == "/a 1"
        for order, pointers in (
            ({"patterns": ["/a", "/b/../c", "d"]}, ["/patterns/1", "/patterns/2"]),
            ({"patterns": ["/*"]}, ["/patterns/0"]),
        ):
            status, problem = await balancer.call("POST", f"{CDN}/purge", order)
            assert status in (400, 422), problem
            assert [fault["pointer"] for fault in problem["errors"]] == pointers
        status, problem = await balancer.call("POST", f"{CDN}/purge", {})
        assert status in (400, 422)
        assert await read(session, balancer, "/a") == "/a 1"
        assert world.purges == 0


@pytest.mark.parametrize("pattern", ["/cdn/{path}", "/cdn/image/*", "tag:file:{path}", "*.jpg"])
async def test_pictures_go_with_the_file_that_they_were_made_of(tmp_path: Path, pattern: str) -> None:
    path = await photo(tmp_path)
    balancer = balancer_with(tmp_path)
    async with running(balancer), aiohttp.ClientSession() as session:

        async def verdicts() -> list[str]:
            found = []
            for url in (link(tmp_path, path), f"/cdn/{path}"):
                async with session.get(f"{balancer.url}{url}") as response:
                    assert response.status == 200
                    await response.read()
                    said = response.headers["Cache-Status"]
                    # Who comes before the last byte of it is stored shares it with who came first.
                    found.append("hit" if "hit" in said or "collapsed" in said else "miss")
            return found

        assert [await verdicts() for _ in range(2)] == [["miss", "miss"], ["hit", "hit"]]
        ticket = await purge(balancer, pattern.format(path=path))
        assert (ticket["state"], ticket["verified"], ticket["cdn"]) == ("completed", True, None)
        levels = {level["level"]: level["entries"] for level in ticket["own"]}
        assert levels == {"memory": 2, "pictures": 1}
        assert await verdicts() == ["miss", "miss"]


async def test_a_key_that_came_before_purges_nothing_again(world: World) -> None:
    balancer = world.balancer()
    async with running(balancer):
        assert balancer.session is not None
        url, tickets = f"http://127.0.0.1:{balancer.admin}{CDN}/purge", []
        for tag, status in (("t", 202), ("t", (200, 202)), ("u", 409)):
            async with balancer.session.post(url, json={"tags": [tag]}, headers={"Idempotency-Key": "k"}) as answer:
                assert answer.status in (status if isinstance(status, tuple) else (status,)), await answer.text()
                tickets.append((await answer.json()).get("ticket"))
        assert tickets[0] == tickets[1]
        await ended(balancer, tickets[0])
        assert world.purges == 1
