"""The browser that is on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Browser, async_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str | None:
    """Where it is, or what BALANCER_BROWSER names; None: there is none."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get("BALANCER_BROWSER"), *NAMES)))), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Running without a window, and asking nobody but whom it is sent to."""
    options = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium's sandbox refuses root
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=browser_path(), args=options)
        try:
            yield browser
        finally:
            await browser.close()
