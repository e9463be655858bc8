"""What the composition root runs beside the rest."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from balancer.app import Beside


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_has_not_ended_is_not_begun_a_second_time_and_then_again() -> None:
    beside, disk, begun = Beside(), asyncio.Event(), list[str]()

    async def flush() -> None:
        begun.append("flush")
        await disk.wait()

    async def look() -> None:
        begun.append("look")

    for _ in range(100):
        beside.run_once("trail", flush)
        await turns()
    assert begun == ["flush"]
    beside.run_once("certificate", look)
    await turns()
    assert begun == ["flush", "look"], "what hangs holds up nothing else"
    disk.set()
    await turns()
    beside.run_once("trail", flush)
    await turns()
    assert begun == ["flush", "look", "flush"]


async def test_what_fails_is_logged_at_once_and_may_begin_again() -> None:
    beside, begun = Beside(), list[str]()

    async def fail() -> None:
        begun.append("fail")
        raise ValueError("no good")

    with capture_logs() as logged:
        for _ in range(2):
            beside.run_once("uses", fail)
            await turns()
        beside.run(fail())
        await turns()
    assert begun == ["fail"] * 3
    assert [(entry["log_level"], str(entry["exc_info"])) for entry in logged] == [("error", "no good")] * 3


async def test_what_is_cancelled_is_no_failure() -> None:
    beside = Beside()
    task = beside.run(asyncio.Event().wait())  # type: ignore[arg-type]  # what it is worth does not matter
    await turns()
    with capture_logs() as logged:
        beside.cancel()
        await turns()
    assert task.cancelled()
    assert logged == []
