"""One browser for the tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from bench.browser import chromium
from tests.browser.sight import missing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    if lacking := missing():
        pytest.skip(lacking)
    async with chromium() as found:
        yield found
