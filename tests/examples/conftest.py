"""The sample site, running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.examples.copies import Copy, browser


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """One copy for all tests of a module."""
    with Copy(tmp_path_factory.mktemp("site") / "community.db") as running:
        yield running


@pytest.fixture
async def visitor(copy: Copy) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser without a session yet."""
    async with browser(copy.url) as session:
        yield session


@pytest.fixture
async def moderator(copy: Copy) -> AsyncIterator[aiohttp.ClientSession]:
    async with browser(copy.url) as session:
        credentials = {"username": "grace", "password": "community"}
        async with session.post("/api/sessions", json=credentials) as answer:
            assert answer.status == 201
        yield session
