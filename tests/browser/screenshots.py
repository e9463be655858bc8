"""Takes the pictures in docs/img: `make screenshots`, or `python -m tests.browser.screenshots --minutes 5`.

The demonstration runs for some minutes with its traffic. Meanwhile what a team would do is done: a picture is put on
the CDN, something is purged, a server is drained and brought back, one fails for a while, a setting is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import aiohttp
from aiohttp import web
from PIL import Image

from bench.browser import chromium
from bench.program import free_port
from tests.browser.sample import KEY, Sample, sample
from tests.browser.sight import Sight, looking, missing
from tests.system.process import KEY as SYSTEM_KEY
from tests.system.process import Balancer, running
from tests.tree import ROOT

FOLDER: Final = ROOT / "docs" / "img"
SERVERS: Final = "/api/infrastructure/load-balancer/pools/default/servers"
CDN: Final = "/api/infrastructure/cdn"

VIEWS: Final = {
    "overview": "overview",
    "traffic": "traffic?span=1h",
    "pools": "pools?pool=default",
    "routes": "routes",
    "cache": "cache",
    "cdn": "cdn",
    "pictures": "cdn?tab=pictures",
    "community": "community?report=post-activity&range=7",
    "moderation": "community?report=moderation&range=7",
    "errors": "errors",
    "config": "config?tab=edit",
    "system": "system",
    "reference": "reference?op=change_server",
}
"""Names of pictures, and what they show."""
DARK: Final = ("overview", "traffic", "pools")
SMALL: Final = ("overview", "pools")


def landscape(seed: int) -> bytes:
    """A picture of hills at dusk, as JPEG: something to be made smaller."""
    rng = Random(seed)
    picture = Image.new("RGB", (1200, 800))
    hills = [(rng.uniform(0.3, 0.8), rng.uniform(60, 220), rng.uniform(0, 9)) for _ in range(5)]
    for x in range(1200):
        edges = sorted(800 * base + high * abs(((x / 1200 * 2 + shift) % 2) - 1) for base, high, shift in hills)
        for y in range(800):
            depth = sum(y > edge for edge in edges)
            glow = 1 - y / 800
            picture.putpixel((x, y), (int(30 + 150 * glow - 18 * depth), int(40 + 90 * glow), int(90 + 60 * glow)))
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=92)
    return kept.getvalue()


async def live_a_little(site: Sample) -> None:
    """What happens on a day, in a minute."""
    assert site.session is not None
    for number in range(6):
        form = aiohttp.FormData()
        form.add_field("file", await asyncio.to_thread(landscape, number), filename=f"harbour-{number + 1}.jpg")
        async with site.session.post(f"{site.admin}{CDN}/files", data=form) as response:
            assert response.status in (200, 201), await response.text()
    first = (await site.call("GET", SERVERS))["items"][0]["name"]
    await site.call("POST", f"{SERVERS}/{first}/drain")
    await asyncio.sleep(5)
    await site.call("POST", f"{SERVERS}/{first}/ready")
    await site.call("POST", "/api/infrastructure/cache/purge", {"patterns": ["/posts/*"]})
    await site.call("POST", f"{CDN}/purge", {"patterns": ["/communities/*"]})
    await site.key("viewer")
    await site.key("operator")


LONG: Final = "checkout-and-payments-europe-west-blue-green-canary"


async def _answer(request: web.Request) -> web.Response:
    await asyncio.sleep(0.002)
    return web.Response(text="hello")


@asynccontextmanager
async def many_servers(folder: Path, count: int = 300) -> AsyncIterator[str]:
    """A balancer with so many servers in one pool, some of them away, and long names; its admin address."""
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    addresses = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count)]
    for number, address in enumerate(addresses):
        if number % 40 != 7:
            await web.TCPSite(runner, address, port).start()
    pools = {
        "web": {"servers": {f"web-{i + 1:03}": f"http://{one}:{port}" for i, one in enumerate(addresses)}},
        LONG: {"servers": {f"{LONG}-{i + 1}": f"http://{one}:{port}" for i, one in enumerate(addresses[:3])}},
    }
    routes = {"all": {"pool": "web"}, f"{LONG}-route": {"pool": LONG, "match": f"/{LONG}/**"}}
    health = {"health": {"active": {"path": "/", "interval": "2s", "timeout": "1s"}}}
    balancer = Balancer(folder, {"pools": pools, "routes": routes, "defaults": health})
    async with running(balancer):
        for number in (20, 21, 150):
            await balancer.call("POST", f"/api/infrastructure/load-balancer/pools/web/servers/web-{number:03}/drain")
        async with aiohttp.ClientSession() as session:
            for number in range(1500):
                async with session.get(f"{balancer.url}/{LONG if number % 5 == 0 else 'page'}/{number}") as response:
                    await response.read()
                await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{balancer.admin}"
    await runner.cleanup()


async def shoot(sight: Sight, name: str, view: str) -> None:
    await sight.go(view)
    if name == "pictures":
        await sight.page.click("text=Make it")
        await sight.page.wait_for_selector("main img >> nth=1")
    await sight.page.wait_for_timeout(2500)  # so that what comes each second has come, and charts are drawn
    taken = await sight.page.screenshot(full_page=True, animations="disabled")
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    height = min(picture.height, 1400)
    path = FOLDER / f"{name}.webp"
    picture.crop((0, 0, picture.width, height)).save(path, "WEBP", quality=82, method=6)
    print(f"{path.relative_to(ROOT)}: {picture.width} by {height}, {path.stat().st_size / 1000:.0f} kB", flush=True)


async def take(minutes: float) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser, sample() as site:
        await asyncio.sleep(minutes * 60 / 2)
        await live_a_little(site)
        await site.spoil(8)
        await asyncio.sleep(minutes * 60 / 2)
        async with looking(browser, site.admin) as sight:
            await sight.page.goto(sight.url)
            await sight.page.wait_for_selector("form")
            await sight.log_in(KEY)
            for name, view in VIEWS.items():
                await shoot(sight, name, view)
        async with looking(browser, site.admin, theme="dark") as sight:
            await sight.log_in(KEY)
            for name in DARK:
                await shoot(sight, f"{name}-dark", VIEWS[name])
        async with looking(browser, site.admin, size=(360, 740)) as sight:
            await sight.log_in(KEY)
            for name in SMALL:
                await shoot(sight, f"{name}-small", VIEWS[name])
    with TemporaryDirectory() as folder:
        async with chromium() as browser, many_servers(Path(folder)) as admin, looking(browser, admin) as sight:
            await sight.log_in(SYSTEM_KEY)
            await shoot(sight, "overview-300-servers", "overview")
            await shoot(sight, "pools-300-servers", "pools")
            await shoot(sight, "routes-long-names", "routes")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="of traffic before (%(default)s)")
    given = parser.parse_args()
    if lacking := missing():
        print(lacking, file=sys.stderr)
        return 1
    asyncio.run(take(given.minutes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
