"""The running balancer with Bunny for its CDN: files by its admin API, and how the account is."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from tests.cdn.fakes.bunny import HOST, KEY, PASSWORD, PULL_ZONE, ZONE, FakeBunny
from tests.cdn.fakes.bunny import running as bunny_running
from tests.system.process import Balancer, running, until

pytestmark = pytest.mark.slow
CDN = "/api/infrastructure/cdn"


async def test_a_file_goes_through_the_admin_api_to_the_storage_and_leaves_it_and_the_edge(tmp_path: Path) -> None:
    fake = FakeBunny()
    async with bunny_running(fake) as bunny:
        base = f"http://127.0.0.1:{bunny.port}"
        cdn = {
            "provider": "bunny",
            "url": f"https://{HOST}",
            "bunny": {"pull_zone_id": PULL_ZONE, "storage_zone": ZONE},
            "local": {"directory": str(tmp_path / "cdn")},
            "endpoints": {"api": base, "storage": f"{base}/storage"},
            "tags": False,
        }
        settings = {"pools": {"default": {"servers": ["http://127.0.0.1:9"]}}, "cdn": cdn}
        balancer = Balancer(tmp_path, settings, CDN_API_KEY=KEY, CDN_BUNNY_STORAGE_PASSWORD=PASSWORD)
        async with running(balancer):
            status, told = await balancer.call("GET", f"{CDN}/status")
            assert (status, told["ok"], told["provider"]) == (200, True, "bunny"), told
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
            assert stored["url"] == f"https://{HOST}/{stored['path']}"
            assert fake.files == {stored["path"]: b"hello"}
            status, page = await balancer.call("GET", f"{CDN}/files?prefix=document/")
            assert status == 200, page
            assert [file["path"] for file in page["items"]] == [stored["path"]]
            fake.cached = dict.fromkeys((stored["url"], f"{stored['url']}?v=1"), "") | {f"https://{HOST}/kept": ""}
            status, gone = await balancer.call("DELETE", f"{CDN}/files/{stored['path']}")
            assert (status, fake.files) == (200, {})
            await until(lambda: set(fake.cached) == {f"https://{HOST}/kept"}, balancer)
            status, ticket = await balancer.call("GET", f"{CDN}/purges/{gone['ticket']}")
            assert (status, ticket["targets"]) == (200, [stored["url"]])
            for content in (b"one", b"two"):
                fake.cached[f"https://{HOST}/document/n.txt"] = ""
                query = "?name=n.txt&kind=document&overwrite=true"
                async with balancer.session.post(url + query, data=content) as response:
                    over = await response.json()
                    assert response.status == 201, over
                await until(lambda: set(fake.cached) == {f"https://{HOST}/kept"}, balancer)
                status, ticket = await balancer.call("GET", f"{CDN}/purges/{over['ticket']}")
                assert (status, ticket["targets"]) == (200, [over["url"]])
            for secret in (KEY, PASSWORD):
                assert secret not in repr((told, stored, page))
        assert KEY.encode() not in balancer.output
        assert PASSWORD.encode() not in balancer.output
