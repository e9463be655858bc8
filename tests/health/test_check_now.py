import asyncio

import pytest

from balancer.health.target import Target
from balancer.server import ServerKey
from config.schema import ActiveChecks
from tests.health.wards import key, keys, settle, target, together
from tests.health.watch import Watch, soon


async def test_check_now_asks_all_and_answers_with_every_result(watch: Watch) -> None:
    watch.fall_ill("b")
    await watch.begin(together("a", "b"))
    await watch.clock.advance(2)
    results = await watch.monitor.check_now()
    assert [(check.key, check.result.ok, check.verdict) for check in results] == [
        (key("a"), True, "up"),
        (key("b"), False, "down"),
    ]
    assert watch.asked("a") == [0, 2]


async def test_check_now_asks_only_the_servers_named_and_in_their_order(watch: Watch) -> None:
    await watch.begin(together("a", "b", "c"))
    results = await watch.monitor.check_now([key("c"), key("a"), key("nobody"), key("c")])
    assert [check.key for check in results] == [key("c"), key("a")]
    assert len(watch.asked("b")) == 1


async def test_a_check_on_request_counts_and_is_in_force_when_it_answers(watch: Watch) -> None:
    await watch.begin(together("a"))
    watch.fall_ill("a")
    verdicts = [(await watch.monitor.check_now())[0].verdict for _ in range(3)]
    assert verdicts == ["up", "up", "down"]
    assert watch.published[-1] == (keys(), keys("a"))
    assert watch.monitor.report()[key("a")].failed == 3


async def test_check_now_leaves_out_servers_that_are_not_probed(watch: Watch) -> None:
    await watch.begin({key("a"): target("a", None), key("b"): target("b", maintenance=True)})
    assert await watch.monitor.check_now() == []


async def test_check_now_takes_the_result_of_a_probe_under_way(watch: Watch) -> None:
    watch.fall_silent("a")
    await watch.begin(together("a"))
    one, other = (asyncio.create_task(watch.monitor.check_now()) for _ in range(2))
    await settle()
    one.cancel()
    await settle()
    watch.wards.speak()
    assert [check.key for check in await soon(other)] == [key("a")]
    assert watch.asked("a") == [0]


@pytest.mark.parametrize("after", [{}, {key("a"): target("a", maintenance=True)}, {key("a"): target("moved", None)}])
async def test_check_now_does_not_wait_for_a_server_that_leaves(watch: Watch, after: dict[ServerKey, Target]) -> None:
    watch.fall_silent("a")
    await watch.begin(together("a"))
    check = asyncio.create_task(watch.monitor.check_now())
    await settle()
    watch.monitor.watch(after)
    assert await soon(check) == []


async def test_check_now_waits_for_the_new_checks_when_they_change_meanwhile(watch: Watch) -> None:
    watch.fall_silent("a")
    await watch.begin(together("a"))
    check = asyncio.create_task(watch.monitor.check_now())
    await settle()
    watch.wards.silent.clear()
    watch.monitor.watch(together("a", checks=ActiveChecks(path="/other")))
    assert [found.result.ok for found in await soon(check)] == [True]


async def test_check_now_needs_a_running_monitor(watch: Watch) -> None:
    watch.monitor.watch(together("a"))
    with pytest.raises(RuntimeError, match=r"await start\(\) before check_now\(\)"):
        await watch.monitor.check_now()
