"""Analytics over changes of the configuration: what was gathered is kept, and nothing waits for a disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from balancer.analytics.collector import Collector
from balancer.analytics.service import AnalyticsService
from config.schema import Analytics

pytestmark = pytest.mark.slow
RULES = {"events": {"viewed": {"match": [{"path": "/a"}]}}}


def settings(**other: object) -> Analytics:
    return Analytics.model_validate({**RULES, **other})


def events(path: Path) -> int:
    with closing(sqlite3.connect(path)) as found:
        return int(found.execute("SELECT count(*) FROM event").fetchone()[0])


def add(collector: Collector | None, count: int) -> None:
    assert collector is not None
    for number in range(count):
        collector.counted += 1
        collector.queue.append((1_800_000_000_000 + number, "viewed", number, None, 200, 1, 1, {}))


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not fact():  # noqa: ASYNC110  # it is another process's doing
            await asyncio.sleep(0.01)


async def test_what_was_gathered_goes_on_over_a_reload_and_to_another_store(tmp_path: Path) -> None:
    watched: list[Collector | None] = []
    service = AnalyticsService(tmp_path, watched.append)
    await service.change(settings())
    add(service.collector, 500)
    service.tick(1.0)
    desk = service.desk

    def is_there(count: int) -> bool:
        service.tick(1.0)  # as the loop does, ten times a second
        return service.desk is not None and service.desk.figures.stored + service.desk.waiting == count

    await service.change(settings(duplicates=9.0))
    assert service.desk is desk  # the store is as it was
    gathered = service.gathered()
    assert gathered is not None
    assert gathered.counted == 500
    await until(lambda: is_there(500))
    await service.change(settings(store="other.db"))
    add(service.collector, 300)
    await until(lambda: is_there(300) and service.desk is not None and not service.desk.waiting)
    await service.change(None)
    assert (watched[-1], service.desk, service.gathered()) == (None, None, None)
    await service.close()
    assert (events(tmp_path / "analytics.db"), events(tmp_path / "other.db")) == (500, 300)


async def test_without_rules_nothing_is_stored_and_traffic_is_looked_at_all_the_same(tmp_path: Path) -> None:
    service = AnalyticsService(tmp_path)
    await service.change(Analytics())
    assert service.desk is None
    assert service.collector is not None
    await service.close()
    assert not (tmp_path / "analytics.db").exists()


async def test_at_the_end_what_was_gathered_is_stored(tmp_path: Path) -> None:
    service = AnalyticsService(tmp_path)
    await service.change(settings())
    assert service.desk is not None
    await asyncio.wait_for(service.desk.opened.wait(), 15)
    add(service.collector, 700)
    await service.close()
    assert events(tmp_path / "analytics.db") == 700
