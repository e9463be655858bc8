"""The table of lies against the real process, over its own loop and with everything else that runs in it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.base import descriptors, resident
from tests.faults.lies import LIES
from tests.faults.server import FaultServer
from tests.faults.test_lies import judge, told
from tests.proxy.wire import Peer
from tests.system.crowd import Good
from tests.system.process import Balancer, running, until

pytestmark = pytest.mark.slow

SHORT = {"first_byte": "500ms", "idle": "500ms", "request_body_idle": "500ms"}


class Scene:
    """No connection to the liar is kept, so that each request gets a new one."""

    def __init__(self, liar: FaultServer) -> None:
        self.liar = liar

    def fresh(self) -> None: ...


def settings(liar: FaultServer, honest: FaultServer) -> dict[str, object]:
    off = {"active": False, "passive": False}
    return {
        "defaults": {"timeouts": SHORT, "limits": {"lag": None}},
        "pools": {
            "lies": {
                "servers": {"liar": f"http://127.0.0.1:{liar.port}"},
                "health": off,
                "timeouts": SHORT,
                "connections": {"idle_per_server": 0},
            },
            "honest": {"servers": [f"http://127.0.0.1:{honest.port}"], "health": off},
        },
        "routes": {"lies": {"pool": "lies"}, "good": {"match": "/good/bystander", "pool": "honest"}},
    }


def told_of(log: Path) -> Counter[str]:
    """Lines of the access log by path, bystanders left out."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return Counter(line["path"] for line in lines if not line["path"].endswith("bystander"))


async def test_the_real_process_passes_no_lie_on_and_is_as_before(tmp_path: Path) -> None:
    liar, honest = FaultServer(), FaultServer()
    await liar.start()
    await honest.start()
    balancer = Balancer(tmp_path, settings(liar, honest))
    wrong = []
    try:
        async with running(balancer):
            assert balancer.process is not None
            pid = balancer.process.pid
            async with Good(balancer.port, clients=2, path=b"/good/bystander") as good:
                await until(lambda: len(good.times) > 20, balancer)
                base = descriptors(pid)
                sizes, asked = [], 0
                for turn in range(2):
                    # What has to be waited for is told once; it holds nothing that the others do not.
                    lies = [lie for lie in LIES if not turn or not (lie.failure == "timeout" or 504 in lie.statuses)]
                    for number, lie in enumerate(lies):
                        client = Peer(*await asyncio.open_connection("127.0.0.1", balancer.port, limit=2**20))
                        try:
                            judge(await told(Scene(liar), lie, f"{turn}-{number}-", client), lie)
                        except AssertionError as error:
                            wrong.append(f"{lie}: {error}")
                        client.cut()
                    await until(lambda: descriptors(pid) <= base + 2, balancer)
                    assert (await balancer.server("liar", "lies"))["in_flight"] == 0
                    sizes.append(resident(pid))
                    asked += len(lies)
                print("\nbystanders:", good.since_last())
            # Each left one line in the log, which is written once a second.
            await until(lambda: Counter(told_of(tmp_path / "access.log").values()) == {1: asked}, balancer)
            assert not wrong, "\n".join(wrong)
            assert sizes[1] < sizes[0] + 8 * 2**20
            twice = {target: count for target, count in liar.seen.items() if count > 1}
            assert not twice  # not one of them was a stale connection's
    finally:
        await liar.stop()
        await honest.stop()
