"""The configuration as it is told is worked out once for each that there is."""

from __future__ import annotations

import asyncio

from api.shown_config import ShownConfig
from balancer import changes
from tests.api.desk import Desk


async def test_all_who_ask_at_once_and_later_get_the_same(desk: Desk) -> None:
    shown = ShownConfig(desk.room.control)
    first, *others = await asyncio.gather(*(shown.told("running") for _ in range(20)))
    assert all(one is first for one in others)
    assert await shown.told("running") is first
    assert (await shown.told("file")).config == first.config
    assert await shown.told("running") is first, "one source does not drive out the other"


async def test_with_every_change_it_is_told_anew(desk: Desk) -> None:
    control = desk.room.control
    shown = ShownConfig(control)
    await control.change(changes.change_server("web", "a", {"weight": 7}))
    told = await shown.told("running")
    assert told.config["pools"]["web"]["servers"]["a"]["weight"] == 7  # type: ignore[index,call-overload]
    assert [(one.path, one.before, one.after) for one in told.overlay] == [("pools.web.servers.a.weight", "1", "7")]
    await control.change(changes.set_state("web", "a", "drained"))
    assert "pools.web.servers.a.state" in [one.path for one in (await shown.told("running")).overlay]
    await control.change(changes.clear())
    assert (await shown.told("running")).overlay == []


async def test_what_is_told_is_of_the_moment_it_was_asked_for(desk: Desk) -> None:
    control = desk.room.control
    asked = asyncio.create_task(ShownConfig(control).told("running"))
    await asyncio.sleep(0)
    await control.change(changes.change_server("web", "a", {"weight": 7}))
    assert (await asked).overlay == []
