"""A browser, and pages that keep what they complain of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from bench.browser import browser_path
from tests.tree import ROOT

AXE: Final = ROOT / "build" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
VENDOR: Final = ROOT / "api" / "dashboard" / "vendor"
DESK: Final = (1360, 900)
PHONE: Final = (360, 740)
PATIENCE: Final = 20_000.0
"""Milliseconds that anything may take to appear, on a busy machine."""

Theme = Literal["light", "dark"]

LOOK: Final = """
window.shifts = [];
const told = ({ node }) => (node?.outerHTML ?? `${node?.parentElement?.outerHTML}`).slice(0, 160);
const note = (entry) => entry.hadRecentInput || window.shifts.push([entry.value, ...entry.sources.map(told)]);
new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ type: "layout-shift", buffered: true });
"""
"""Runs before each page: what moves without anybody having done anything."""


WIDE: Final = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  const rolls = (one) => one && (getComputedStyle(one).overflowX !== "visible" || rolls(one.parentElement));
  const sticksOut = (one) => one.getBoundingClientRect().right > wide + 1 && !rolls(one.parentElement);
  const all = [...document.querySelectorAll("body *")].filter(sticksOut).map((one) => one.outerHTML.slice(0, 160));
  return [`the page is ${document.documentElement.scrollWidth} wide`, ...all];
}"""


def missing() -> str:
    """What is not there of what these tests need, and how it comes; nothing when all is."""
    if browser_path() is None:
        return "there is no browser: `make test-browser` installs one where it may, or name one in BALANCER_BROWSER"
    if not VENDOR.is_dir() or not AXE.is_file():
        return "what the dashboard is drawn with is not there: `make dashboard` says why"
    return ""


class Sight:
    """One tab of a browser that knows nobody, before the dashboard at `url`."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        """Errors and warnings of the console (broken policies are among them), and of scripts."""
        self.changes: list[str] = []
        """Requests that may change something."""
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{error}\n{error.stack}"))
        page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request) -> None:
        if request.method != "GET":
            self.changes.append(f"{request.method} {request.url.removeprefix(self.url)}")

    async def log_in(self, key: str, view: str = "overview") -> None:
        """With the form, as a person does."""
        await self.page.goto(f"{self.url}/#/{view}")
        await self.page.fill("input[name=key]", key)
        await self.page.click("button[type=submit]")
        await self.page.wait_for_selector("nav.side")
        await self.settled()

    async def go(self, view: str) -> None:
        await self.page.evaluate("view => { location.hash = `#/${view}`; }", view)
        await self.settled()

    async def settled(self) -> None:
        """The view is loaded, and nothing in it waits for its data."""
        await self.page.wait_for_selector("main[aria-busy=false] h1")
        await self.page.wait_for_function("() => !document.querySelector('main .waiting')")

    async def views(self) -> list[str]:
        links = await self.page.eval_on_selector_all("nav.side a", "all => all.map((a) => a.hash.slice(2))")
        return [str(name) for name in links]

    async def text(self, selector: str = "main") -> str:
        return await self.page.inner_text(selector)

    async def axe(self) -> list[str]:
        """What breaks rules of accessibility (WCAG 2.2 A and AA, and good practice), and where."""
        if not await self.page.evaluate("() => 'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = await self.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{problem['id']}: {problem['help']}: {node['html'][:160]} {node.get('failureSummary', '')[-200:]}"
            for problem in found["violations"]
            for node in problem["nodes"]
        ]

    async def wider_than_the_screen(self) -> list[str]:
        """What sticks out to the right where there is nothing to scroll sideways in."""
        return [str(one) for one in await self.page.evaluate(WIDE)]


@asynccontextmanager
async def looking(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESK,
    theme: Theme = "light",
    still: bool = False,
) -> AsyncIterator[Sight]:
    """A new tab, of somebody who wants no motion if `still`. In the end it must have complained of nothing.

    A test that expects a complaint takes it out.
    """
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        reduced_motion="reduce" if still else "no-preference",
    )
    await context.add_init_script(LOOK)
    sight = Sight(context, await context.new_page(), url)
    try:
        yield sight
        assert sight.complaints == [], "\n".join(sight.complaints)
    finally:
        await context.close()
