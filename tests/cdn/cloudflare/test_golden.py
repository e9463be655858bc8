"""What Cloudflare receives, to the byte. GOLDEN=write makes the files anew, to be read before they are committed."""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from balancer.cdn.cloudflare.provider import Cloudflare
from balancer.cdn.types import UploadRequest
from tests.cdn.cloudflare.accounts import GIF, account, purge
from tests.cdn.fakes.cloudflare import EMAIL, KEY, FakeCloudflare

FOLDER = Path(__file__).parent.parent / "golden" / "cloudflare"
NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)

Doing = Callable[[Cloudflare], Awaitable[object]]


def purging(*written: str, soft: bool = False) -> Doing:
    return lambda provider: purge(provider, *written, soft=soft)


def figures(days: int, interval: int) -> Doing:
    return lambda provider: provider.stats(NOW - DAY * days, NOW, interval)


async def picture(provider: Cloudflare) -> None:
    stored = await provider.upload(UploadRequest(GIF, "cat.gif", "image"))
    await provider.delete(stored.path)


DONE: dict[str, Doing] = {
    "status": lambda provider: provider.status(),
    "purge-url": purging("/a/b.png", "/café.png?v=1&w=ä", "https://img.example.com/c d.png"),
    "purge-folder": purging("/posts/*", "https://img.example.com/avatars/*"),
    "purge-tags": purging("tag:post-42", "tag:home"),
    "purge-host": purging("host:img.example.com"),
    "purge-everything": purging("*"),
    "purge-soft": purging("/posts/*", soft=True),
    "picture": picture,
    "statistics-hours": figures(1, 3600),
    "statistics-days": figures(7, 86_400),
}


async def held(name: str, fake: FakeCloudflare) -> None:
    text = "\n".join(one.text for one in fake.received)
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("name", DONE)
async def test_cloudflare_receives_what_is_written_down(name: str) -> None:
    fake = FakeCloudflare(now=NOW)
    async with account(fake, storage="images", cdn_hosts=["www.example.com", "img.example.com"]) as provider:
        await DONE[name](provider)
    await held(name, fake)


async def test_statistics_from_a_sample() -> None:
    fake = FakeCloudflare(now=NOW)
    fake.sets["httpRequests1hGroups"].enabled = fake.sets["httpRequests1dGroups"].enabled = False
    async with account(fake) as provider:
        await figures(1, 3600)(provider)
    await held("statistics-sample", fake)


async def test_a_global_key() -> None:
    fake = FakeCloudflare(now=NOW)
    async with account(fake, cdn_api_key=KEY, email=EMAIL) as provider:
        await purge(provider, "tag:a")
    await held("purge-with-key", fake)


def test_every_file_is_of_a_test() -> None:
    known = {*DONE, "statistics-sample", "purge-with-key"}
    assert {path.stem for path in FOLDER.glob("*.txt")} <= known
