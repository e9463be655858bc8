"""The running balancer with Cloudflare for its CDN: files by its admin API, and how the zone is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import boto3
import pytest

from tests.cdn.aws.moto import Moto
from tests.cdn.cloudflare.accounts import GIF
from tests.cdn.fakes.cloudflare import ACCOUNT, TOKEN, ZONE, FakeCloudflare
from tests.system.process import Balancer, running, until

pytestmark = pytest.mark.slow
CDN = "/api/infrastructure/cdn"
SITE = "https://www.example.com"
KEYS = {"aws_access_key_id": "r2-key-id-of-some-length", "aws_secret_access_key": "r2-secret-that-nobody-may-see"}


@asynccontextmanager
async def balanced(fake: FakeCloudflare, tmp_path: Path, s3: str = "", **own: object) -> AsyncIterator[Balancer]:
    """The program, with this Cloudflare for its CDN, and R2 at `s3`."""
    async with fake.running() as base:
        cdn = {
            "provider": "cloudflare",
            "url": SITE,
            "cloudflare": {"zone_id": ZONE, "account_id": ACCOUNT, **own},
            "local": {"directory": str(tmp_path / "cdn")},
            "endpoints": {"api": base, "storage": s3},
            "tags": False,
        }
        settings = {"pools": {"default": {"servers": ["http://127.0.0.1:9"]}}, "cdn": cdn}
        keys = {"CDN_R2_ACCESS_KEY_ID": KEYS["aws_access_key_id"], "CDN_R2_SECRET": KEYS["aws_secret_access_key"]}
        balancer = Balancer(tmp_path, settings, CDN_API_KEY=TOKEN, **(keys if s3 else {}))
        async with running(balancer):
            yield balancer
    for secret in (TOKEN, KEYS["aws_secret_access_key"]):
        assert secret.encode() not in balancer.output


async def upload(balancer: Balancer, kind: str, name: str, content: bytes, **fields: str) -> dict[str, object]:
    assert balancer.session is not None
    form = aiohttp.FormData(quote_fields=False)
    for field, value in {"kind": kind, **fields}.items():
        form.add_field(field, value)
    form.add_field("file", content, filename=name)
    async with balancer.session.post(f"http://127.0.0.1:{balancer.admin}{CDN}/files", data=form) as response:
        stored: dict[str, object] = await response.json()
        assert response.status in (200, 201), stored
    return stored


async def test_the_zone_is_told_without_the_token_and_pictures_go_to_images(tmp_path: Path) -> None:
    fake = FakeCloudflare()
    async with balanced(fake, tmp_path, storage="images") as balancer:
        status, told = await balancer.call("GET", f"{CDN}/status")
        assert (status, told["ok"], told["provider"]) == (200, True, "cloudflare"), told
        assert TOKEN not in repr(told)
        stored = await upload(balancer, "image", "cat.gif", GIF)
        assert fake.images == {stored["path"]: GIF}
        assert str(stored["url"]).startswith("https://imagedelivery.net/")
        status, _ = await balancer.call("DELETE", f"{CDN}/files/{stored['path']}")
        assert (status, fake.images) == (200, {})


async def test_what_was_overwritten_or_removed_in_r2_leaves_the_edge(tmp_path: Path) -> None:
    fake = FakeCloudflare()
    moto = Moto(tmp_path / "moto.log")
    try:
        client = boto3.client("s3", endpoint_url=moto.url, region_name="us-east-1", **KEYS)
        client.create_bucket(Bucket="media")
        async with balanced(fake, tmp_path, bucket="media", s3=moto.url) as balancer:
            for text in (b"one", b"two"):
                stored = await upload(balancer, "document", "a.txt", text, overwrite="true")
                assert client.get_object(Bucket="media", Key="document/a.txt")["Body"].read() == text
                fake.cached |= dict.fromkeys((f"{stored['url']}", f"{stored['url']}?v=1"), frozenset[str]())
            fake.cached |= {f"{SITE}/kept": frozenset()}
            over = await upload(balancer, "document", "a.txt", b"three", overwrite="true")
            await until(lambda: set(fake.cached) == {f"{SITE}/kept"}, balancer)
            fake.cached[f"{stored['url']}"] = frozenset()
            status, gone = await balancer.call("DELETE", f"{CDN}/files/{stored['path']}")
            assert status == 200
            await until(lambda: set(fake.cached) == {f"{SITE}/kept"}, balancer)
            for ticket in (over["ticket"], gone["ticket"]):
                status, told = await balancer.call("GET", f"{CDN}/purges/{ticket}")
                assert (status, told["targets"]) == (200, [stored["url"]])
            status, page = await balancer.call("GET", f"{CDN}/files")
            assert (status, page["items"]) == (200, [])
    finally:
        moto.kill()
