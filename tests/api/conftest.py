"""The desk that the API's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import DummyCookieJar
from pytest_aiohttp import AiohttpClient

from api.app import make_app
from config.cdn import Cdn
from tests.api.desk import Clock, Desk, Keys, services
from tests.control_room import room


@pytest.fixture
async def desk(tmp_path: Path, aiohttp_client: AiohttpClient) -> AsyncIterator[Desk]:
    keys = Keys()
    async with room(tmp_path, keys.lines + "\nrate_limits: {calm: {rate: 1000/s}}\n") as found:
        await found.begin()
        clock = Clock()
        parts = services(found, clock)
        await parts.cdn.change(Cdn())
        client = await aiohttp_client(make_app(parts), cookie_jar=DummyCookieJar())  # a test says what is sent
        yield Desk(client, found, keys, parts, clock)
        await parts.cdn.close()
