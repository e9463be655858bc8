import asyncio
from datetime import timedelta
from itertools import pairwise

from structlog.testing import capture_logs

from balancer.health.monitor import AT_ONCE, Monitor
from balancer.health.target import Target
from config.schema import ActiveChecks
from tests.health.wards import MIDNIGHT, STEADY, key, keys, settle, target, together
from tests.health.watch import Watch, soon


async def test_a_new_server_is_unchecked_as_soon_as_it_is_watched(watch: Watch) -> None:
    watch.monitor.watch(together("a"))
    assert watch.monitor.checking == keys("a")
    assert watch.monitor.down == keys()


async def test_the_first_check_decides_at_once(watch: Watch) -> None:
    watch.fall_ill("b")
    await watch.begin(together("a", "b"))
    assert (watch.verdict("a"), watch.verdict("b")) == ("up", "down")
    assert watch.published[-1] == (keys(), keys("b"))


async def test_a_server_that_is_up_is_asked_every_interval(watch: Watch) -> None:
    await watch.begin(together("a"))
    await watch.clock.advance(90)
    assert watch.asked("a") == [0, 30, 60, 90]


async def test_a_server_goes_down_after_fall_failures_which_are_asked_for_sooner(watch: Watch) -> None:
    await watch.begin(together("a"))
    watch.fall_ill("a")
    await watch.clock.advance(39)
    assert watch.verdict("a") == "up"
    await watch.clock.advance(1)
    assert watch.verdict("a") == "down"
    assert watch.asked("a") == [0, 30, 35, 40]


async def test_a_server_comes_up_after_rise_successes_and_is_then_asked_at_leisure(watch: Watch) -> None:
    watch.fall_ill("a")
    await watch.begin(together("a"))
    watch.recover()
    await watch.clock.advance(5)
    assert watch.verdict("a") == "down"
    await watch.clock.advance(5)
    assert watch.verdict("a") == "up"
    await watch.clock.advance(30)
    assert watch.asked("a") == [0, 5, 10, 40]


async def test_with_start_up_a_server_is_up_until_failures_say_otherwise(watch: Watch) -> None:
    watch.fall_ill("a")
    await watch.begin({key("a"): Target("http://a:80", STEADY, "up")})
    assert watch.verdict("a") == "up"
    await watch.clock.advance(10)
    assert watch.verdict("a") == "down"
    assert watch.published == [(keys(), keys("a"))]


async def test_verdicts_that_change_together_are_published_once(watch: Watch) -> None:
    await watch.begin(together("a", "b", "c"))
    watch.fall_ill("a", "c")
    await watch.clock.advance(300)
    assert watch.published == [(keys("a", "b", "c"), keys()), (keys(), keys()), (keys(), keys("a", "c"))]


async def test_nothing_is_published_while_verdicts_stay(watch: Watch) -> None:
    await watch.begin(together("a"))
    before = len(watch.published)
    await watch.clock.advance(3000)
    assert len(watch.published) == before


async def test_a_listener_that_raises_is_told_again_and_does_not_end_the_watch(watch: Watch) -> None:
    watch.deaf = True
    with capture_logs() as logs:
        await watch.begin(together("a"))
    assert "health verdicts could not be published" in [line["event"] for line in logs]
    watch.deaf = False
    await watch.clock.advance(30)
    assert watch.published == [(keys(), keys())]
    assert len(watch.asked("a")) == 2


async def test_changes_of_verdict_are_logged_with_their_reason(watch: Watch) -> None:
    watch.fall_ill("a")
    with capture_logs() as logs:
        await watch.begin(together("a"))
        watch.recover()
        await watch.clock.advance(60)
    named = {"pool": "web", "server": "a", "url": "http://a:80"}
    assert logs == [
        {"event": "server down", "log_level": "warning", "reason": "answered 503, expected 200-399", **named},
        {"event": "server up", "log_level": "info", "reason": "answered 200", **named},
    ]


async def test_jitter_takes_servers_out_of_step_and_keeps_to_its_share(watch: Watch) -> None:
    await watch.begin(together("a", "b", checks=ActiveChecks(jitter=0.1)))
    await watch.clock.advance(600)
    a, b = watch.asked("a"), watch.asked("b")
    assert not set(a[1:]) & set(b[1:])
    for times in (a, b):
        assert all(27 <= later - earlier <= 33 for earlier, later in pairwise(times))


async def test_no_more_probes_run_at_once_than_allowed_and_none_is_forgotten(watch: Watch) -> None:
    names = [f"s{number}" for number in range(AT_ONCE * 3)]
    watch.fall_silent(*names)
    await watch.begin(together(*names))
    assert watch.wards.under_way == AT_ONCE
    watch.wards.speak()
    await settle()
    assert watch.wards.most_at_once == AT_ONCE
    assert all(watch.asked(name) == [0] for name in names)
    assert watch.monitor.checking == keys()


async def test_a_server_that_takes_its_time_is_not_asked_again_meanwhile(watch: Watch) -> None:
    watch.fall_silent("a")
    await watch.begin(together("a"))
    await watch.clock.advance(100)
    assert watch.asked("a") == [0]
    watch.wards.speak()
    await watch.clock.advance(30)
    assert watch.asked("a") == [0, 130]


async def test_the_watch_sleeps_between_probes(watch: Watch) -> None:
    await watch.begin(together("a"))
    await watch.clock.advance(3000)
    assert watch.clock.naps <= 2 * len(watch.asked("a"))


async def test_a_server_that_left_makes_room_for_the_probe_of_another(watch: Watch) -> None:
    names = [f"s{number}" for number in range(AT_ONCE)]
    watch.fall_silent(*names)
    await watch.begin(together(*names))
    watch.monitor.watch(together("a"))
    await settle()
    assert watch.verdict("a") == "up"


async def test_a_probe_that_raises_counts_as_failed_and_others_go_on(watch: Watch) -> None:
    watch.wards.faulty.add("http://a:80")
    with capture_logs() as logs:
        await watch.begin(together("a", "b"))
        await watch.clock.advance(30)
    assert (watch.verdict("a"), watch.verdict("b")) == ("down", "up")
    assert len(watch.asked("a")) == 7
    assert len(watch.asked("b")) == 2
    raised = [line for line in logs if line["event"] == "health check raised"]
    assert isinstance(raised[0]["exc_info"], ZeroDivisionError)
    last = watch.monitor.report()[key("a")].last
    assert last is not None
    assert last.reason == "the check itself failed, see the log"


async def test_the_first_round_is_over_when_every_server_has_been_asked_once(watch: Watch) -> None:
    watch.fall_silent("b")
    watch.fall_ill("a")
    await watch.begin(together("a", "b"))
    assert not watch.monitor.first_round.is_set()
    watch.wards.speak()
    await settle()
    assert watch.monitor.first_round.is_set()


async def test_the_first_round_is_over_at_once_when_there_is_nobody_to_ask(watch: Watch) -> None:
    await watch.monitor.start()
    await settle()
    assert not watch.monitor.first_round.is_set()
    watch.monitor.watch({key("a"): target("a", maintenance=True), key("b"): target("b", None)})
    await settle()
    assert watch.monitor.first_round.is_set()


async def test_the_first_round_ends_after_its_verdicts_are_published_and_stays_ended(watch: Watch) -> None:
    rounds: list[bool] = []
    watch.monitor = Monitor(
        lambda checking, down: rounds.append(watch.monitor.first_round.is_set()),
        clock=watch.clock,
        sleep=watch.clock.sleep,
        probe=watch.wards.probe,
    )
    await watch.begin(together("a"))
    assert rounds == [False, False]
    watch.fall_silent("b")
    watch.monitor.watch(together("a", "b"))
    await settle()
    assert watch.monitor.checking == keys("b")
    assert watch.monitor.first_round.is_set()


async def test_the_report_says_what_was_found_and_when(watch: Watch) -> None:
    watch.monitor.watch(together("a"))
    unasked = watch.monitor.report()[key("a")]
    assert (unasked.verdict, unasked.last, unasked.checked, unasked.checked_wall) == (
        "checking",
        None,
        None,
        None,
    )
    await watch.monitor.start()
    await watch.clock.advance(30)
    watch.fall_ill("a")
    await watch.clock.advance(45)
    record = watch.monitor.report()[key("a")]
    assert (record.verdict, record.probed, record.passed, record.failed) == ("down", True, 2, 4)
    assert (record.since, record.since_wall) == (1070.0, MIDNIGHT + timedelta(seconds=70))
    assert (record.checked, record.checked_wall) == (1075.0, MIDNIGHT + timedelta(seconds=75))
    assert record.last is not None
    assert record.last.reason == "answered 503, expected 200-399"


async def test_closing_ends_probes_under_way_and_answers_those_who_wait(watch: Watch) -> None:
    watch.fall_silent("a")
    await watch.begin(together("a"))
    check = asyncio.create_task(watch.monitor.check_now())
    await settle()
    await watch.monitor.close()
    assert await soon(check) == []
    assert watch.wards.under_way == 0
    await watch.monitor.close()
    await watch.clock.advance(100)
    assert watch.asked("a") == [0]


async def test_a_closed_monitor_can_start_again(watch: Watch) -> None:
    await watch.begin(together("a"))
    await watch.monitor.close()
    await watch.clock.advance(100)
    await watch.monitor.start()
    await watch.monitor.start()
    await settle()
    assert watch.asked("a") == [0, 100]


async def test_a_machine_that_cannot_ask_takes_nobody_down(watch: Watch) -> None:
    watch.fall_ill("b")
    await watch.begin(together("a", "b"))
    watch.wards.out_of_means = True
    await watch.clock.advance(300)
    assert (watch.verdict("a"), watch.verdict("b")) == ("up", "down")
    assert len(watch.asked("a")) > 10  # it is asked again soon
    watch.wards.out_of_means = False
    watch.fall_ill("a")
    await watch.clock.advance(15)
    assert watch.verdict("a") == "down"
