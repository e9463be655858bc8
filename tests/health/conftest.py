"""The monitor that its tests share."""

from collections.abc import AsyncIterator

import pytest

from tests.health.watch import Watch


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch()
    yield watch
    await watch.monitor.close()
