"""A balancer that is killed in the middle of its events: what it had stored is whole, and the next one tells of it."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.system.process import AppServer, Balancer, running, until

pytestmark = pytest.mark.slow


def _stored(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {
            "events": store.execute("SELECT count(*) FROM event").fetchone()[0],
            "summed": store.execute("SELECT coalesce(sum(n), 0) FROM total").fetchone()[0],
            "told": store.execute("SELECT value FROM meta WHERE key = 'events'").fetchone()[0],
            "closed": store.execute("SELECT value FROM meta WHERE key = 'closed'").fetchone()[0],
        }


async def test_after_a_kill_the_store_is_whole_and_the_next_run_says_since_when_events_may_be_missing(tmp_path):
    settings = {"analytics": {"events": {"visit": {"match": {"path": "/**"}}}}}
    path = tmp_path / "analytics.db"
    app = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": [f"http://127.0.0.1:{app.port}"], **settings})
    answered: list[float] = []
    loop = asyncio.get_running_loop()

    async def visit(session: aiohttp.ClientSession) -> None:
        with suppress(aiohttp.ClientError):
            while True:
                async with session.get(balancer.url, headers={"User-Agent": "Mozilla/5.0 Firefox/130.0"}) as answer:
                    await answer.read()
                answered.append(loop.time())

    async def kept() -> bool:
        status, told = await balancer.call("GET", "/api/monitoring/analytics/status")
        return status == 200 and bool(told["stored"]["ok"])

    async with running(app, balancer):
        await until(kept, balancer)
        async with aiohttp.ClientSession() as session:
            visits = [asyncio.create_task(visit(session)) for _ in range(4)]
            await until(lambda: len(answered) > 500, balancer)
            balancer.signal(signal.SIGKILL)
            killed = loop.time()
            await asyncio.gather(*visits)
        await balancer.wait()
        await asyncio.sleep(2)  # its store's process goes on for as long as it has something to store

        found = _stored(path)
        assert found["events"] == found["summed"] == found["told"]
        assert found["events"] >= sum(at < killed - 1 for at in answered)

        assert balancer.session is not None
        await balancer.session.close()
        balancer.output.clear()
        await balancer.start()
        await until(kept, balancer)
        _, told = await balancer.call("GET", "/api/monitoring/analytics/status")
        assert told["stored"]["unclean"] is not None
        lines = [json.loads(line) for line in balancer.output.decode().splitlines() if line.startswith("{")]
        first = next(line for line in lines if line["logger"] == "balancer.analytics")
        assert first["event"] == "the event store was not closed"
        assert first["detail"].endswith("may be missing: at most the last second before the end")
        balancer.signal(signal.SIGTERM)
        await balancer.wait()
    assert _stored(path)["closed"] == 1
