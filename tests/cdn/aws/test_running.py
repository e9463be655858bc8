"""The running balancer with AWS for its CDN, which is moto's server; and what it does without the package for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from balancer.cdn.aws.account import Account, Endpoint, Service
from tests.cdn.aws.moto import Moto
from tests.cdn.aws.test_provider import distribution
from tests.cdn.fakes.aws import BUCKET, KEY_ID, SECRET
from tests.system.process import Balancer, running
from tests.tree import ROOT

pytestmark = pytest.mark.slow
CDN = "/api/infrastructure/cdn"
FIRST = """
import asyncio, sys
{before}
from balancer.cdn.errors import CdnError
from balancer.cdn.registry import make_provider
from config.cdn import Cdn

async def main():
    settings = {{"provider": "aws", "url": "https://cdn.example.com", "local": {{"directory": sys.argv[1]}}}}
    try:
        provider = make_provider(Cdn.model_validate(settings))
        await provider.start()
        await provider.close()
    except CdnError as error:
        print(error.code, error)
    print(sorted(name for name in sys.modules if name in ("aiobotocore", "botocore") and sys.modules[name]))

asyncio.run(main())
"""


def first(folder: Path, before: str) -> str:
    script = FIRST.format(before=before)
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_package_is_not_loaded_before_it_is_needed(tmp_path: Path) -> None:
    assert first(tmp_path, "") == "[]\n"


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path) -> None:
    said = first(tmp_path, "sys.modules['aiobotocore'] = None")  # so that importing it fails
    assert said == "cdn_config S3 needs a package that is not installed: pip install 'balancer[aws]'\n[]\n"


async def taken(balancer: Balancer, ticket: str) -> list[str]:
    """The targets of a purge, once CloudFront has taken it; that it is seen to its end is told elsewhere."""
    while True:
        _, told = await balancer.call("GET", f"{CDN}/purges/{ticket}")
        assert told["state"] not in ("partial", "failed"), told
        if told["cdn"]["accepted"]:
            targets: list[str] = told["cdn"]["accepted"]
            return targets
        await asyncio.sleep(0.05)


async def test_a_file_goes_through_the_admin_api_to_the_bucket_and_leaves_it(
    moto: Moto, account: Account, tmp_path: Path
) -> None:
    identifier = await distribution(moto, account)
    eyes = Service(account, Endpoint("s3", "us-east-1", moto.url))
    settings = {
        "pools": {"default": {"servers": ["http://127.0.0.1:9"]}},
        "cdn": {
            "provider": "aws",
            "url": "https://cdn.example.com",
            "aws": {"bucket": BUCKET, "distribution_id": identifier, "cache_tag_header": ""},
            "local": {"directory": str(tmp_path / "cdn")},
            "endpoints": dict.fromkeys(("api", "storage", "statistics"), moto.url),
            "tags": False,
        },
    }
    balancer = Balancer(tmp_path, settings, CDN_API_KEY=f"{KEY_ID}:{SECRET}")
    async with running(balancer):
        status, told = await balancer.call("GET", f"{CDN}/status")
        assert (status, told["ok"], told["provider"]) == (200, True, "aws"), told
        assert balancer.session is not None
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("kind", "document")
        form.add_field("file", b"hello", filename="a b.txt")
        url = f"http://127.0.0.1:{balancer.admin}{CDN}/files"
        async with balancer.session.post(url, data=form) as response:
            stored = await response.json()
            assert response.status == 201, stored
        digest = sha256(b"hello").hexdigest()
        assert stored["path"].endswith(f"/{digest[:2]}/{digest[:16]}-a-b.txt")
        assert stored["url"] == f"https://cdn.example.com/{stored['path']}"
        head = await eyes.call("head_object", {"Bucket": BUCKET, "Key": stored["path"]})
        assert (head["ContentLength"], head["ContentType"]) == (5, "text/plain; charset=utf-8")
        status, page = await balancer.call("GET", f"{CDN}/files?prefix=document/")
        assert [file["path"] for file in page["items"]] == [stored["path"]]
        status, gone = await balancer.call("DELETE", f"{CDN}/files/{stored['path']}")
        assert status == 200, gone
        listed = await eyes.call("list_objects_v2", {"Bucket": BUCKET})
        assert listed["KeyCount"] == 0
        async with balancer.session.post(f"{url}?name=n.txt&kind=document&overwrite=true", data=b"new") as response:
            over = await response.json()
            assert response.status == 201, over
        for ticket, path in ((gone["ticket"], stored["path"]), (over["ticket"], "document/n.txt")):
            assert await taken(balancer, ticket) == [f"https://cdn.example.com/{path}"]
        assert SECRET not in repr((told, stored, page, gone))
    assert SECRET.encode() not in balancer.output
    assert KEY_ID.encode() not in balancer.output
