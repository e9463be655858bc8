"""What the dashboard costs, and how soon it is there: `python -m bench.dashboard`.

Some requests a second pass through a balancer before three servers. In turns, nobody and `--pages` dashboards follow
it, each as a page on the overview does: one stream, and what is asked for beside it. With a browser on the machine
(see tests/browser) it also tells how long a page takes to show its figures, what all views weigh, and for `--minutes`
what one open page holds in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp
import yaml
from aiohttp import web
from playwright.async_api import Browser

from bench.browser import browser_path, chromium
from bench.program import free_port
from bench.usage import cpu, resident

KEY = "a-key-of-the-bench-that-is-long"
ASKED = "/api/infrastructure/stats"
EVERY = 15.0
"""Seconds between two questions of a page on the overview, beside its stream."""
FIGURES = """() => new Promise((done) => {
  const look = () => {
    const figures = [...document.querySelectorAll(".figure-value")].map((one) => one.innerText);
    if (figures.length && /\\d/.test(figures[0])) done(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})"""
"""Milliseconds since the navigation began, once the figures are there."""


class Subject:
    """The balancer that is looked at."""

    def __init__(self, pid: int, site: str, admin: str) -> None:
        self.pid = pid
        self.site = site
        self.admin = admin


async def _answer(request: web.Request) -> web.Response:
    return web.Response(text="x" * 500)


@asynccontextmanager
async def subject(load: float) -> AsyncIterator[Subject]:
    """Running, with traffic."""
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    backs = [free_port() for _ in range(3)]
    for port in backs:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    front, admin = free_port(), free_port()
    with tempfile.TemporaryDirectory() as name:
        settings = {
            "listen": f"127.0.0.1:{front}",
            "servers": [f"http://127.0.0.1:{port}" for port in backs],
            "admin": {"listen": f"127.0.0.1:{admin}", "state": f"{name}/overlay.yaml"},
            "logs": {"access": {"to": "none"}, "level": "error"},
        }
        config = Path(name) / "balancer.yaml"
        config.write_text(yaml.safe_dump(settings))
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "balancer", "run", "-c", str(config)), env={**os.environ, "ADMIN_API_KEY": KEY}
        )
        traffic = asyncio.get_running_loop().create_task(_traffic(f"http://127.0.0.1:{front}/", load))
        try:
            await asyncio.sleep(5)
            yield Subject(child.pid, f"http://127.0.0.1:{front}", f"http://127.0.0.1:{admin}")
        finally:
            traffic.cancel()
            child.terminate()
            await child.wait()
            await runner.cleanup()


async def _traffic(url: str, rate: float) -> None:
    async with aiohttp.ClientSession() as session:
        due = perf_counter()
        while True:
            due += 1 / rate
            try:
                async with session.get(url) as answer:
                    await answer.read()
            except aiohttp.ClientError:
                pass  # it is not there yet
            await asyncio.sleep(max(due - perf_counter(), 0.001))


async def _page(admin: str, number: int, counted: list[int]) -> None:
    """As one does that shows the overview."""
    headers = {"Authorization": f"Bearer {KEY}"}

    async def asks(session: aiohttp.ClientSession) -> None:
        await asyncio.sleep(number % EVERY)
        while True:
            async with session.get(admin + ASKED) as answer:
                await answer.read()
            await asyncio.sleep(EVERY)

    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
        beside = group.create_task(asks(session))
        try:
            timeout = aiohttp.ClientTimeout(total=None)
            async with session.get(f"{admin}/api/events", timeout=timeout) as stream:
                async for line in stream.content:
                    counted[0] += line.startswith(b"event: second")
        finally:
            beside.cancel()


async def followed(under: Subject, pages: int, seconds: float, turns: int) -> float:
    """Shares of a core that the pages cost; what each turn took is printed."""
    shares: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * turns):
        on = bool(turn % 2)
        counted = [0]
        following = [
            asyncio.get_running_loop().create_task(_page(under.admin, number, counted))
            for number in range(pages if on else 0)
        ]
        await asyncio.sleep(3)
        before, begun = cpu(under.pid), perf_counter()
        counted[0] = 0
        await asyncio.sleep(seconds)
        took = perf_counter() - begun
        shares[on].append((cpu(under.pid) - before) / took)
        print(f"{pages if on else 0:3} pages: {shares[on][-1]:6.2%} of a core; {counted[0] / took:.1f} events a second")
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    cost = median(shares[True]) - median(shares[False])
    print(f"{pages} pages cost {cost:.2%} of a core")
    return cost


async def first_views(browser: Browser, under: Subject, times: int) -> float:
    """Median of milliseconds until a page that the browser does not know shows its figures."""
    fresh, again, weight = [], [], 0
    for _ in range(times):
        context = await browser.new_context(viewport={"width": 1360, "height": 900})
        page = await context.new_page()
        await page.goto(f"{under.admin}/#login={KEY}")
        fresh.append(float(await page.evaluate(FIGURES)))
        await page.reload()
        again.append(float(await page.evaluate(FIGURES)))
        if not weight:
            weight = await _weight(browser, under)
        await context.close()
    print(
        f"figures after {median(fresh):.0f} ms the first time, with the log-in, and {median(again):.0f} ms after that"
    )
    print(f"all views weigh {weight / 1000:.1f} kB as they are sent")
    return median(fresh)


async def _weight(browser: Browser, under: Subject) -> int:
    """Bytes of every file of the page, once every view was opened."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{under.admin}/#login={KEY}")
    await page.wait_for_selector("nav.side")
    links = await page.eval_on_selector_all("nav.side a", "all => all.map((a) => a.hash)")
    for link in links:
        await page.evaluate("hash => { location.hash = hash; }", link)
        await page.wait_for_selector("main[aria-busy=false] h1")
    sizes = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
      .filter((one) => !one.name.includes("/api/") && !one.name.includes("openapi"))
      .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
    found = int(await page.evaluate(sizes))
    await context.close()
    return found


async def memory(browser: Browser, under: Subject, minutes: float) -> None:
    """What one page holds, minute by minute, after its rubbish was collected."""
    context = await browser.new_context(viewport={"width": 1360, "height": 900})
    page = await context.new_page()
    await page.goto(f"{under.admin}/#login={KEY}")
    await page.wait_for_selector("nav.side")
    inspector = await context.new_cdp_session(page)
    views = ["overview", "pools?pool=default", "traffic?span=5m"]
    minute = 0
    while minute <= minutes:
        await inspector.send("HeapProfiler.collectGarbage")
        heap = (await inspector.send("Runtime.getHeapUsage"))["usedSize"]
        nodes = (await inspector.send("Memory.getDOMCounters"))["nodes"]
        own = resident(under.pid)
        print(f"after {minute:3} min: page {heap / 1e6:.2f} MB, {nodes} nodes; balancer {own / 1e6:.1f} MB", flush=True)
        await page.evaluate("view => { location.hash = `#/${view}`; }", views[minute % len(views)])
        await asyncio.sleep(60)
        minute += 1
    await context.close()


async def bench(pages: int, seconds: float, turns: int, load: float, minutes: float) -> int:
    async with subject(load) as under:
        cost = await followed(under, pages, seconds, turns) if turns else 0.0
        soon = 0.0
        if browser_path() is None:
            print("no browser is here: nothing is known of pages", file=sys.stderr)
        else:
            async with chromium() as browser:
                soon = await first_views(browser, under, 7)
                if minutes:
                    await memory(browser, under, minutes)
        return 0 if cost < 0.02 and soon <= 300 else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard", description=__doc__)
    add = parser.add_argument
    add("--pages", type=int, default=50, help="dashboards that are open (%(default)s)")
    add("--seconds", type=float, default=20.0, help="of each turn (%(default)s)")
    add("--turns", type=int, default=3, help="with nobody and with them (%(default)s); 0: not at all")
    add("--load", type=float, default=20.0, help="requests a second (%(default)s)")
    add("--minutes", type=float, default=0.0, help="to watch what a page holds in memory (%(default)s)")
    given = parser.parse_args()
    return asyncio.run(bench(given.pages, given.seconds, given.turns, given.load, given.minutes))


if __name__ == "__main__":
    sys.exit(main())
