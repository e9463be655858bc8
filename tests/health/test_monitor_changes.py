from balancer.health.target import Target
from config.schema import ActiveChecks
from tests.health.wards import STEADY, key, keys, settle, target, together
from tests.health.watch import Watch


async def test_unchanged_servers_keep_verdict_and_turn(watch: Watch) -> None:
    watch.fall_ill("b")
    await watch.begin(together("a", "b"))
    await watch.clock.advance(3)
    watch.recover()
    watch.monitor.watch(together("a", "b", "c"))
    assert watch.monitor.down == keys("b")
    assert watch.monitor.checking == keys("c")
    await watch.clock.advance(30)
    assert watch.asked("a") == [0, 30]
    assert watch.asked("b") == [0, 5, 10]
    assert watch.asked("c") == [3, 33]


async def test_a_server_that_left_is_not_asked_any_more_and_leaves_no_mark(watch: Watch) -> None:
    watch.fall_ill("a")
    await watch.begin(together("a", "b"))
    watch.monitor.watch(together("b"))
    await watch.clock.advance(100)
    assert watch.asked("a") == [0]
    assert watch.published[-1] == (keys(), keys())
    assert set(watch.monitor.report()) == keys("b")


async def test_a_server_at_another_url_is_another_server(watch: Watch) -> None:
    await watch.begin(together("a"))
    watch.monitor.watch({key("a"): target("moved")})
    assert watch.monitor.checking == keys("a")
    await settle()
    assert watch.verdict("a") == "up"
    assert watch.monitor.report()[key("a")].passed == 1


async def test_other_checks_leave_the_verdict_and_are_made_at_once(watch: Watch) -> None:
    await watch.begin(together("a"))
    await watch.clock.advance(10)
    other = ActiveChecks(path="/other", jitter=0.0)
    watch.monitor.watch(together("a", checks=other))
    assert watch.verdict("a") == "up"
    await settle()
    assert watch.asked("a") == [0, 10]
    assert watch.wards.with_checks[-1] == other


async def test_another_start_changes_nothing_for_a_server_that_has_its_verdict(watch: Watch) -> None:
    watch.fall_ill("a")
    await watch.begin(together("a"))
    watch.monitor.watch({key("a"): Target("http://a:80", STEADY, "up")})
    await settle()
    assert watch.verdict("a") == "down"
    assert watch.asked("a") == [0]


async def test_the_result_of_checks_no_longer_configured_does_not_count(watch: Watch) -> None:
    watch.fall_silent("a")
    watch.fall_ill("a")
    await watch.begin(together("a"))
    watch.monitor.watch(together("a", checks=ActiveChecks(path="/other")))
    watch.wards.speak()
    watch.recover()
    await settle()
    record = watch.monitor.report()[key("a")]
    assert (record.verdict, record.passed, record.failed) == ("up", 1, 0)


async def test_a_server_in_maintenance_is_not_asked_and_keeps_its_verdict(watch: Watch) -> None:
    await watch.begin(together("a"))
    watch.monitor.watch({key("a"): target("a", maintenance=True)})
    await watch.clock.advance(100)
    assert watch.asked("a") == [0]
    assert watch.verdict("a") == "up"
    assert not watch.monitor.report()[key("a")].probed


async def test_after_maintenance_a_server_starts_as_a_new_one_would(watch: Watch) -> None:
    await watch.begin(together("a"))
    assert watch.verdict("a") == "up"
    watch.monitor.watch({key("a"): target("a", maintenance=True)})
    await watch.clock.advance(100)
    watch.monitor.watch(together("a"))
    assert watch.monitor.checking == keys("a")
    await settle()
    assert watch.asked("a") == [0, 100]
    assert watch.verdict("a") == "up"


async def test_a_server_without_checks_is_up(watch: Watch) -> None:
    await watch.begin(together("a", checks=None))
    await watch.clock.advance(100)
    assert watch.asked("a") == []
    assert watch.verdict("a") == "up"


async def test_switching_checks_off_brings_a_server_up_that_was_down(watch: Watch) -> None:
    watch.fall_ill("a")
    await watch.begin(together("a"))
    watch.monitor.watch(together("a", checks=None))
    await settle()
    assert watch.published[-1] == (keys(), keys())
