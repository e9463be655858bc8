"""The networks of CDNs are there from the start, kept on disk, and fetched only where a configuration names them."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from balancer.ranges.book import AGAIN, FETCHED, FILE, KEPT, REFRESH, Ranges
from balancer.ranges.copies import shipped
from balancer.ranges.fetch import fetch
from balancer.ranges.lists import LARGEST
from config.addresses import CdnName

LIST = "\n".join(f"8.8.{n}.0/24" for n in range(1, 41, 2)).encode()
THEN = 1_800_000_000.0  # after what is shipped


class Shown:
    """Lists as a CDN shows them, and a clock."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.data: bytes | Exception = LIST
        self.wall = THEN
        self.told: list[tuple[str, str, str]] = []
        self.changes = 0

    async def ask(self, place: str) -> bytes:
        self.asked.append(place)
        if isinstance(self.data, Exception):
            raise self.data
        return self.data

    def changed(self) -> None:
        self.changes += 1


async def settle(ranges: Ranges) -> None:
    while tasks := list(ranges._tasks.values()):
        await asyncio.wait(tasks)
        await asyncio.sleep(0)


@asynccontextmanager
async def book(shown: Shown, folder: Path | None, *names: CdnName) -> AsyncIterator[Ranges]:
    places: dict[CdnName, tuple[str, ...]] = {"cloudflare": ("v4",), "cloudfront": ("all",), "bunny": ("four", "six")}
    ranges = Ranges(
        folder, lambda *event: shown.told.append(event), ask=shown.ask, places=places, wall=lambda: shown.wall
    )
    ranges.changed = shown.changed
    await ranges.prepare(names)
    ranges.adopt(names, 0.0)
    await settle(ranges)
    try:
        yield ranges
    finally:
        await ranges.close()


async def test_a_configuration_without_names_asks_nobody(tmp_path: Path) -> None:
    shown = Shown()
    async with book(shown, tmp_path) as ranges:
        for second in range(3):
            ranges.second_passed(second * REFRESH)
        await settle(ranges)
    assert shown.asked == []
    assert os.listdir(tmp_path) == []


async def test_only_the_cdn_that_is_named_is_asked(tmp_path: Path) -> None:
    shown = Shown()
    async with book(shown, tmp_path, "cloudflare") as ranges:
        assert shown.asked == ["v4"]
        assert ranges.networks("cloudfront") == ()


async def test_the_shipped_networks_are_there_while_nobody_answers(tmp_path: Path) -> None:
    shown = Shown()
    shown.data = OSError("no route to host")
    async with book(shown, tmp_path, "cloudflare") as ranges:
        assert ranges.networks("cloudflare") == shipped("cloudflare").networks
        assert ranges.report()["cloudflare"].origin == "shipped"
        assert ranges.tallies["cloudflare"].failures == 1
    ((event, name, detail),) = shown.told
    assert (event, name) == (KEPT, "cloudflare")
    assert "no route to host" in detail
    assert "(shipped)" in detail
    assert not (tmp_path / FILE).exists()


async def test_of_bunny_nobody_is_trusted_until_it_has_answered(tmp_path: Path) -> None:
    shown = Shown()
    shown.data = TimeoutError()
    async with book(shown, tmp_path, "bunny") as ranges:
        assert ranges.networks("bunny") == ()
        assert "none is trusted" in shown.told[0][2]
        shown.data = b'["89.187.188.227"]'
        ranges.second_passed(AGAIN)
        await settle(ranges)
        assert list(map(str, ranges.networks("bunny"))) == ["89.187.188.227/32"]
        assert shown.changes == 1


async def test_what_was_fetched_is_in_force_at_once_and_after_a_restart(tmp_path: Path) -> None:
    shown = Shown()
    async with book(shown, tmp_path, "cloudflare") as ranges:
        fetched = ranges.networks("cloudflare")
        assert len(fetched) == 20
        assert ranges.report()["cloudflare"].origin == "fetched"
        assert [event for event, _, _ in shown.told] == [FETCHED]
        assert shown.changes == 1
    assert oct((tmp_path / FILE).stat().st_mode & 0o777) == "0o600"
    again = Shown()
    again.wall = THEN + 60
    async with book(again, tmp_path, "cloudflare") as ranges:
        assert again.asked == []  # it is a minute old
        assert ranges.networks("cloudflare") == fetched
        assert ranges.report()["cloudflare"].origin == "disk"


async def test_a_list_is_fetched_again_when_it_is_a_day_old(tmp_path: Path) -> None:
    shown = Shown()
    async with book(shown, tmp_path, "cloudflare") as ranges:
        shown.wall += REFRESH - 1
        ranges.second_passed(REFRESH - 1)
        assert len(shown.asked) == 1
        shown.wall += 1
        ranges.second_passed(REFRESH)
        await settle(ranges)
        assert len(shown.asked) == 2
        assert shown.changes == 1  # the same list changes nothing
        assert ranges.tallies["cloudflare"].fetched == 2


async def test_an_attempt_that_failed_is_repeated_soon_and_told_once(tmp_path: Path) -> None:
    shown = Shown()
    shown.data = b"<html>maintenance</html>"
    async with book(shown, tmp_path, "cloudflare") as ranges:
        for turn in range(1, 4):
            ranges.second_passed(turn * AGAIN)
            await settle(ranges)
        assert len(shown.asked) == 4
        assert len(shown.told) == 1
        ranges.second_passed(3 * AGAIN + 1)
        assert len(shown.asked) == 4


@pytest.mark.parametrize(
    "bad", [b"", b"0.0.0.0/0", b"8.8.1.0/24", LIST + b"\n10.0.0.0/8", b"<html>", LIST + b"\n8.8.0.0/24 # one"]
)
async def test_a_list_that_is_not_believed_changes_nothing_anywhere(tmp_path: Path, bad: bytes) -> None:
    shown = Shown()
    async with book(shown, tmp_path, "cloudflare") as ranges:
        before, kept = ranges.networks("cloudflare"), (tmp_path / FILE).read_bytes()
        shown.data = bad
        shown.wall += REFRESH
        ranges.second_passed(REFRESH)
        await settle(ranges)
        assert ranges.networks("cloudflare") == before
        assert (tmp_path / FILE).read_bytes() == kept
        assert shown.told[-1][0] == KEPT


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"cloudflare": 1}',
        '{"cloudflare": {"at": 1799999999, "networks": ["0.0.0.0/0"]}}',
        '{"cloudflare": {"at": 1799999999, "networks": []}}',
        '{"cloudflare": {"at": "x", "networks": ["8.8.8.0/24"]}}',
        '{"cloudflare": {"at": 1, "networks": ["8.8.8.0/24"]}}',
        '{"cloudflare": {"at": 9e12, "networks": ["8.8.8.0/24"]}}',
    ],
)
async def test_a_copy_on_disk_that_is_broken_older_or_from_the_future_is_not_used(tmp_path: Path, kept: str) -> None:
    (tmp_path / FILE).write_text(kept)
    shown = Shown()
    shown.data = OSError("no network")
    async with book(shown, tmp_path, "cloudflare") as ranges:
        assert ranges.networks("cloudflare") == shipped("cloudflare").networks


async def test_what_is_kept_of_one_cdn_stays_when_another_is_written(tmp_path: Path) -> None:
    shown = Shown()
    async with book(shown, tmp_path, "cloudflare"):
        pass
    shown.data = b'["89.187.188.227"]'
    async with book(shown, tmp_path, "bunny"):
        pass
    assert set(json.loads((tmp_path / FILE).read_text())) == {"cloudflare", "bunny"}


async def test_what_is_fetched_at_the_same_time_is_kept_together(tmp_path: Path) -> None:
    shown = Shown()

    async def ask(place: str) -> bytes:
        await asyncio.sleep(0)
        if place == "all":
            entries = [{"ip_prefix": f"8.9.{n}.0/24", "service": "CLOUDFRONT_ORIGIN_FACING"} for n in range(1, 99, 2)]
            return json.dumps({"prefixes": entries, "ipv6_prefixes": []}).encode()
        return LIST if place == "v4" else b'["89.187.188.227"]'

    shown.ask = ask  # type: ignore[method-assign]  # each CDN has its own list
    for _ in range(5):
        async with book(shown, tmp_path, "cloudflare", "cloudfront", "bunny"):
            assert set(json.loads((tmp_path / FILE).read_text())) == {"cloudflare", "cloudfront", "bunny"}
        (tmp_path / FILE).unlink()


async def test_a_folder_that_is_a_file_is_told_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    shown = Shown()
    async with book(shown, tmp_path / "var", "cloudflare") as ranges:
        assert len(ranges.networks("cloudflare")) == 20
    assert [event for event, _, _ in shown.told] == [FETCHED, KEPT]


async def test_a_cdn_that_leaves_the_configuration_is_asked_no_more(tmp_path: Path) -> None:
    shown = Shown()
    async with book(shown, tmp_path, "cloudflare") as ranges:
        ranges.adopt((), 1.0)
        shown.wall += 2 * REFRESH
        ranges.second_passed(2 * REFRESH)
        await settle(ranges)
        assert len(shown.asked) == 1
        assert ranges.networks("cloudflare") == ()
        assert ranges.report() == {}


# Over the wire -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def publisher(answer: web.StreamResponse | None = None) -> AsyncIterator[tuple[str, ssl.SSLContext, list[str]]]:
    """A server with TLS at /list, and the context that believes it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path == "/list" and answer is not None:
            return answer
        return web.Response(body=LIST)

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=server)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"https://localhost:{port}", client, asked
    finally:
        await runner.cleanup()


async def test_a_list_comes_over_tls_and_is_in_force(tmp_path: Path) -> None:
    async with publisher() as (place, tls, _):
        ranges = Ranges(
            tmp_path, lambda *_: None, ask=partial(fetch, tls=tls), places={"cloudflare": (f"{place}/list",)}
        )
        await ranges.prepare(["cloudflare"])
        ranges.adopt(["cloudflare"], 0.0)
        await settle(ranges)
        assert len(ranges.networks("cloudflare")) == 20
        await ranges.close()


async def test_a_publisher_is_who_its_certificate_says() -> None:
    async with publisher() as (place, _, asked):
        with pytest.raises(Exception, match="certificate"):
            await fetch(f"{place}/list")
        assert asked == []


async def test_a_list_that_has_moved_on_the_same_host_is_followed() -> None:
    async with publisher(web.Response(status=301, headers={"Location": "/list/"})) as (place, tls, asked):
        assert await fetch(f"{place}/list", tls) == LIST
        assert asked == ["/list", "/list/"]


@pytest.mark.parametrize(
    "where", ["http://localhost/list", "https://127.0.0.1/list", "https://evil.example/", "file:///x"]
)
async def test_a_list_that_has_moved_elsewhere_is_not_followed(where: str) -> None:
    async with publisher(web.Response(status=302, headers={"Location": where})) as (place, tls, _):
        with pytest.raises(Exception, match="it has moved to"):
            await fetch(f"{place}/list", tls)


async def test_a_list_without_tls_is_not_asked_for() -> None:
    with pytest.raises(Exception, match="it has moved to"):
        await fetch("http://localhost:9/list")


async def test_a_list_that_never_ends_is_not_read_to_its_end() -> None:
    async with publisher(web.Response(body=b"8.8.8.0/24\n" * (LARGEST // 11 + 2))) as (place, tls, _):
        with pytest.raises(Exception, match="more than"):
            await fetch(f"{place}/list", tls)


@pytest.mark.parametrize("status", [204, 404, 500])
async def test_an_answer_that_is_no_list_is_not_taken(status: int) -> None:
    async with publisher(web.Response(status=status)) as (place, tls, _):
        with pytest.raises(Exception, match=f"it answered {status}"):
            await fetch(f"{place}/list", tls)
