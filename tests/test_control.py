import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from balancer import changes
from balancer.changes import Conflict, Unknown
from balancer.control import PublishError
from balancer.memory import Memory
from balancer.preview import Preview
from balancer.server import ServerKey
from balancer.snapshot import Snapshot
from config.overlay import Overlay
from config.problems import ConfigError
from config.schema import Config, Health, Server
from config.state import StateError, load_overlay
from tests.control_room import Room, room

A, B, C = ("web", "a"), ("web", "b"), ("web", "c")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as found:
        yield found


def marks(home: Room) -> dict[str, set[ServerKey]]:
    """Every mark of the snapshot in force that some server has."""
    snapshot = home.fleet.snapshot
    found = {name: set(getattr(snapshot, name)) for name in ("checking", "down", "drained", "maintenance")}
    return {name: keys for name, keys in found.items() if keys}


# The start.


async def test_the_first_snapshot_says_that_nothing_was_checked_yet(home: Room) -> None:
    control = home.make()
    await control.start()
    assert home.fleet.snapshots[0].generation == 1
    assert home.fleet.snapshots[0].checking == {A, B}
    assert home.fleet.snapshots[0].down == frozenset()
    assert home.applied == [home.fleet.snapshots[0].config]


async def test_servers_come_up_in_the_snapshot_once_they_have_been_asked(home: Room) -> None:
    home.wards["b"].status = 500
    control = await home.begin()
    assert marks(home) == {"down": {B}}
    assert home.fleet.snapshot is control.snapshot


async def test_it_is_ready_after_the_first_round_and_until_a_shutdown_begins(home: Room) -> None:
    control = home.make()
    assert not control.ready
    await control.start()
    await control.check_now()
    assert control.ready
    control.begin_shutdown()
    assert not control.ready


async def test_a_start_that_the_planes_refuse_is_an_error(home: Room) -> None:
    control = home.make()
    with home.fleet.refusing("listeners.main.address: taken"), pytest.raises(PublishError, match="taken"):
        await control.start()


async def test_closing_leaves_no_task_behind(home: Room) -> None:
    control = await home.begin()
    await control.close()
    await control.close()
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert {task.get_name() for task in left} & {"control", "health monitor"} == set()


# Verdicts.


async def test_a_verdict_is_a_new_generation_with_the_very_same_configuration(home: Room) -> None:
    control = await home.begin()
    before = control.snapshot
    home.wards["a"].status = 503
    for _ in range(3):
        await control.check_now([A])
    assert control.snapshot.down == {A}
    assert control.snapshot.generation == before.generation + 1
    assert control.snapshot.config is before.config


async def test_a_verdict_is_published_without_anybody_asking(home: Room) -> None:
    control = home.make()
    await control.start()
    await home.fleet.until(lambda snapshot: not snapshot.checking)
    assert home.fleet.snapshot.down == frozenset()


async def test_a_verdict_does_not_wait_for_a_change_that_is_being_kept_on_a_slow_disk(home: Room) -> None:
    slow = asyncio.Event()

    class SlowMemory(Memory):
        async def keep(self, overlay: Overlay) -> None:
            await slow.wait()
            await super().keep(overlay)

    home.memory = SlowMemory(home.state)
    control = await home.begin()
    home.wards["a"].status = 503
    change = asyncio.create_task(control.change(changes.set_state("web", "b", "drained")))
    for _ in range(3):
        await control.check_now([A])
    assert home.fleet.snapshot.down == {A}
    assert home.fleet.snapshot.drained == frozenset()
    slow.set()
    await change
    assert marks(home) == {"down": {A}, "drained": {B}}


async def test_a_verdict_that_comes_while_planes_are_busy_is_in_the_next_snapshot(home: Room) -> None:
    control = await home.begin()
    home.fleet.open.clear()
    home.fleet.arrived.clear()
    change = asyncio.create_task(control.change(changes.set_state("web", "b", "drained")))
    await home.fleet.arrived.wait()
    home.wards["a"].status = 503
    for _ in range(3):
        await control.monitor.check_now([A])
    home.fleet.open.set()
    await change
    await home.fleet.until(lambda snapshot: snapshot.down == {A})
    assert home.fleet.snapshot.drained == {B}


async def test_snapshots_never_go_back(home: Room) -> None:
    control = await home.begin()
    for _ in range(3):
        await control.change(changes.set_state("web", "b", "drained"))
        await control.change(changes.set_state("web", "b", None))
        home.wards["a"].status = 503 if home.wards["a"].status == 200 else 200
        await asyncio.gather(control.check_now(), control.check_now(), control.reload())
    generations = [snapshot.generation for snapshot in home.fleet.snapshots]
    assert generations == sorted(set(generations))


# Reload.


async def test_a_reload_tells_what_changed_and_is_in_force(home: Room) -> None:
    control = await home.begin()
    home.write("routes: {all: {pool: web}}\nadmin: {listen: 127.0.0.1:9901}")
    reloaded = await control.reload()
    assert reloaded.generation == home.fleet.snapshot.generation == control.snapshot.generation
    assert "routes.all.pool" in [change.path for change in reloaded.changes]
    assert reloaded.restart_required == ("admin.listen",)
    assert "all" in home.fleet.snapshot.config.routes
    assert home.applied[-1] is home.fleet.snapshot.config
    assert (control.reloads.success, control.reloads.failure, control.reloads.last_ok) == (1, 0, True)


async def test_what_needs_a_restart_is_told_until_it_is_taken_back(home: Room) -> None:
    control = await home.begin()
    home.write("metrics: {listen: 127.0.0.1:9902}")
    await control.reload()
    assert (await control.reload()).restart_required == ("metrics.listen",)
    home.write()
    assert (await control.reload()).restart_required == ()


async def test_the_same_file_again_is_the_very_same_configuration(home: Room) -> None:
    control = await home.begin()
    before = control.snapshot
    assert (await control.reload()).changes == ()
    assert control.snapshot.config is before.config
    assert len(home.applied) == 1


@pytest.mark.parametrize(
    "text", ["pools: {web: {servers: []}}", "listen: [", "strategy: fastest\nservers: [http://a:1]"]
)
async def test_a_bad_file_changes_nothing_and_is_counted(home: Room, text: str) -> None:
    control = await home.begin()
    before = control.snapshot
    loaded = control.loaded
    home.file.write_text(text)
    with pytest.raises(ConfigError):
        await control.reload()
    assert (control.snapshot, control.loaded) == (before, loaded)
    assert (control.reloads.success, control.reloads.failure, control.reloads.last_ok) == (0, 1, False)
    assert control.reloads.last_success is not None
    home.write()
    await control.reload()
    assert control.reloads.last_ok


async def test_a_file_that_has_gone_changes_nothing(home: Room) -> None:
    control = await home.begin()
    home.file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await control.reload()
    assert home.fleet.snapshot is control.snapshot


async def test_a_snapshot_that_planes_refuse_changes_nothing(home: Room) -> None:
    control = await home.begin()
    before = control.snapshot
    home.write(servers=f"a: {home.wards['a'].url}")
    with home.fleet.refusing("listeners.main.address: taken"), pytest.raises(PublishError):
        await control.reload()
    assert control.snapshot is before
    assert home.fleet.snapshot is before
    assert control.reloads.failure == 1


async def test_a_refused_reload_does_not_make_servers_prove_themselves_again(home: Room) -> None:
    control = await home.begin()
    home.write(servers="c: http://127.0.0.1:9")
    with home.fleet.refusing("no"), pytest.raises(PublishError):
        await control.reload()
    assert control.monitor.checking == frozenset()
    assert (await control.check_now([B]))[0].verdict == "up"
    assert home.fleet.snapshot.checking == frozenset()


async def test_a_new_server_is_unchecked_in_the_snapshot_that_brings_it(home: Room) -> None:
    control = await home.begin()
    generation = control.snapshot.generation
    listed = ", ".join(f"{name}: {ward.url}" for name, ward in home.wards.items())
    home.write(servers=f"{listed}, c: {{url: http://127.0.0.1:9}}")
    await control.reload()
    brought = next(s for s in home.fleet.snapshots if s.generation == generation + 1)
    assert brought.checking == {C}
    assert brought.down == frozenset()


async def test_a_server_at_another_address_is_unchecked_again(home: Room) -> None:
    control = await home.begin()
    home.write(servers=f"a: {home.wards['a'].url}, b: http://127.0.0.1:9")
    await control.reload()
    assert home.fleet.snapshots[-1].checking <= {B}
    assert any(snapshot.checking == {B} for snapshot in home.fleet.snapshots)


async def test_a_server_that_may_start_at_once_is_never_unchecked(home: Room) -> None:
    control = await home.begin()
    home.write("defaults: {health: {start: up}}", servers="c: http://127.0.0.1:9")
    await control.reload()
    assert all(C not in snapshot.checking for snapshot in home.fleet.snapshots)


async def test_a_down_server_stays_down_over_a_reload(home: Room) -> None:
    home.wards["a"].status = 500
    control = await home.begin()
    home.write("defaults: {timeouts: {connect: 1s}}")
    await control.reload()
    assert home.fleet.snapshot.down == {A}


# The operator's changes.


async def test_drain_maintenance_and_ready_are_marks_of_the_snapshot(home: Room) -> None:
    control = await home.begin()
    config = control.snapshot.config
    await control.change(changes.set_state("web", "a", "drained"))
    assert marks(home) == {"drained": {A}}
    assert control.marked_since(A) is not None
    await control.change(changes.set_state("web", "a", "maintenance"))
    assert marks(home) == {"maintenance": {A}}
    await control.change(changes.set_state("web", "a", None))
    assert "drained" not in marks(home)
    assert "maintenance" not in marks(home)
    assert control.marked_since(A) is None
    assert control.snapshot.config is config


async def test_a_server_back_from_maintenance_is_checked_before_it_has_traffic(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.set_state("web", "a", "maintenance"))
    asked = home.wards["a"].asked
    await control.check_now()
    assert home.wards["a"].asked == asked
    generation = control.snapshot.generation
    await control.change(changes.set_state("web", "a", None))
    back = next(s for s in home.fleet.snapshots if s.generation == generation + 1)
    assert back.checking == {A}
    await control.check_now([A])
    assert home.fleet.snapshot.checking == frozenset()


async def test_a_change_is_kept_before_it_is_answered_and_survives_a_restart(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.set_state("web", "a", "drained"))
    await control.change(changes.change_server("web", "b", {"weight": 7}))
    assert load_overlay(home.state)[0] == control.overlay
    await control.close()
    again = await home.begin()
    assert home.fleet.snapshot.drained == {A}
    assert home.fleet.snapshot.config.pools["web"].servers["b"].weight == 7
    assert again.marked_since(A) is None, "when that was, the process does not know"


async def test_changes_stay_over_a_reload(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.change_server("web", "b", {"weight": 7}))
    home.write("routes: {all: {pool: web}}")
    await control.reload()
    assert "all" in control.snapshot.config.routes
    assert control.snapshot.config.pools["web"].servers["b"].weight == 7
    assert [str(change) for change in control.overlay_changes()] == ["pools.web.servers.b.weight: 1 -> 7"]


async def test_initialize_replaces_servers_strategy_and_health_at_once(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.set_state("web", "a", "drained"))
    servers = {"x": Server(url="http://127.0.0.1:9"), "a": Server(url=home.wards["a"].url, backup=True)}
    await control.change(changes.initialize("web", servers, "two-choices", Health(active=None)))
    pool = home.fleet.snapshot.config.pools["web"]
    assert (dict(pool.servers), pool.strategy, pool.health.active) == (servers, "two-choices", None)
    assert home.fleet.snapshot.drained == frozenset()
    assert home.fleet.snapshot.checking == frozenset(), "there are no checks any more"


async def test_clear_brings_the_file_back(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.remove_server("web", "a"))
    await control.change(changes.add_server("web", "x", Server(url="http://127.0.0.1:9")))
    assert set(control.snapshot.config.pools["web"].servers) == {"b", "x"}
    await control.change(changes.clear("web"))
    assert control.snapshot.config == control.loaded.config
    assert load_overlay(home.state)[0].is_empty


async def test_other_settings_than_the_weight_may_change_too(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.change_server("web", "a", {"backup": True, "max_connections": 5}))
    await control.change(changes.change_server("web", "a", {"max_connections": None}))
    server = control.snapshot.config.pools["web"].servers["a"]
    assert (server.backup, server.max_connections, server.url) == (True, None, home.wards["a"].url)


async def test_a_change_that_changes_nothing_makes_no_snapshot(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.set_state("web", "a", "drained"))
    published = len(home.fleet.snapshots)
    await control.change(changes.set_state("web", "a", "drained"))
    assert len(home.fleet.snapshots) == published


@pytest.mark.parametrize(
    ("edit", "error", "says"),
    [
        (changes.set_state("nix", "a", "drained"), Unknown, "there is no pool 'nix', but 'web'"),
        (changes.set_state("web", "nix", None), Unknown, "pool 'web' has no server 'nix', but 'a', 'b'"),
        (changes.change_server("web", "nix", {"weight": 2}), Unknown, "no server"),
        (changes.remove_server("web", "nix"), Unknown, "no server"),
        (changes.initialize("nix", {}), Unknown, "no pool"),
        (changes.clear("nix"), Unknown, "no pool"),
        (changes.add_server("web", "a", Server(url="http://127.0.0.1:9")), Conflict, "already"),
        (changes.add_server("web", "c", Server(url="ftp://x")), ConfigError, "http://"),
        (changes.add_server("web", "no name", Server(url="http://127.0.0.1:9")), ConfigError, "name"),
        (changes.initialize("web", {"x": Server(url="http://127.0.0.1:9")}, "fastest"), ConfigError, "strategy"),
    ],
)
async def test_a_change_that_can_not_be_leaves_everything_as_it_was(
    home: Room, edit: changes.Edit, error: type[Exception], says: str
) -> None:
    control = await home.begin()
    before = control.snapshot
    with pytest.raises(error, match=says):
        await control.change(edit)
    assert control.snapshot is before
    assert control.overlay.is_empty
    assert not home.state.exists()


async def test_the_last_server_of_a_pool_stays(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.remove_server("web", "a"))
    with pytest.raises(Conflict, match="last server"):
        await control.change(changes.remove_server("web", "b"))


async def test_two_servers_at_one_address_are_refused(home: Room) -> None:
    control = await home.begin()
    with pytest.raises(ConfigError, match=r"pools.web.servers.c.url"):
        await control.change(changes.add_server("web", "c", Server(url=home.wards["a"].url)))


async def test_a_change_that_planes_refuse_is_not_kept_either(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.set_state("web", "a", "drained"))
    kept = home.state.read_bytes()
    before = control.snapshot
    with home.fleet.refusing("pools.web.strategy: can not be built"), pytest.raises(PublishError):
        await control.change(changes.initialize("web", {"x": Server(url="http://127.0.0.1:9")}, "hash"))
    assert (control.snapshot, home.state.read_bytes()) == (before, kept)


async def test_a_disk_that_fails_while_a_refusal_is_taken_back_does_not_hide_the_refusal(home: Room) -> None:
    control = await home.begin()

    def refuse(_: Snapshot) -> tuple[str, ...]:
        home.state.unlink()
        home.state.mkdir()  # a folder where the file should be
        return ("pools.web.strategy: can not be built",)

    home.fleet.refuses = refuse
    with capture_logs() as logged, pytest.raises(PublishError, match="can not be built"):
        await control.change(changes.set_state("web", "a", "drained"))
    assert control.settled == control.overlay == Overlay()
    told = [entry for entry in logged if entry["event"] == "a change that was refused is still kept"]
    assert [str(home.state) in entry["problem"] for entry in told] == [True]


async def test_a_change_that_is_cancelled_on_its_way_is_neither_kept_nor_taken_for_one_on_trial(home: Room) -> None:
    control = await home.begin()
    home.fleet.open.clear()
    home.fleet.arrived.clear()
    change = asyncio.create_task(control.change(changes.set_state("web", "a", "drained")))
    await home.fleet.arrived.wait()
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    home.fleet.open.set()
    assert control.settled == control.overlay == load_overlay(home.state)[0] == Overlay()


async def test_a_change_that_is_cancelled_once_it_is_in_force_stays_and_is_kept(home: Room) -> None:
    control = await home.begin()
    told = asyncio.Event()

    async def applied(_: Config) -> None:
        told.set()
        await asyncio.Event().wait()

    control._applied = applied
    change = asyncio.create_task(control.change(changes.add_server("web", "c", Server(url="http://127.0.0.1:9"))))
    await told.wait()
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    assert "c" in home.fleet.snapshot.config.pools["web"].servers
    assert control.settled == control.overlay == load_overlay(home.state)[0] != Overlay()


async def test_a_change_that_can_not_be_kept_is_not_made(home: Room) -> None:
    control = await home.begin()
    before = control.snapshot
    home.state.mkdir(parents=True)  # a folder where the file should be
    with pytest.raises(StateError):
        await control.change(changes.set_state("web", "a", "drained"))
    assert control.snapshot is before
    assert control.overlay.is_empty


async def test_changes_made_at_once_are_all_made(home: Room) -> None:
    control = await home.begin()
    await asyncio.gather(
        *(
            control.change(changes.add_server("web", f"x{n}", Server(url=f"http://127.0.0.1:{n + 2000}")))
            for n in range(10)
        ),
        control.reload(),
    )
    assert len(home.fleet.snapshot.config.pools["web"].servers) == 12
    assert load_overlay(home.state)[0] == control.overlay


async def test_kept_changes_that_do_not_go_with_the_file_are_set_aside_and_the_start_goes_on(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.add_server("web", "x", Server(url="http://127.0.0.1:9")))
    await control.close()
    listed = ", ".join(f"{name}: {ward.url}" for name, ward in home.wards.items())
    home.write(servers=f"{listed}, y: http://127.0.0.1:9")
    again = await home.begin()
    assert set(again.snapshot.config.pools["web"].servers) == {"a", "b", "y"}
    assert again.overlay.is_empty
    assert not home.state.exists()
    assert home.state.with_name("overlay.yaml.bad").exists()


async def test_a_kept_file_that_can_not_be_read_does_not_prevent_a_start(home: Room) -> None:
    home.state.parent.mkdir()
    home.state.write_text("pools: [")
    with capture_logs() as logged:
        control = await home.begin()
    assert control.overlay.is_empty
    assert "kept changes" in [entry["event"] for entry in logged]
    assert home.state.with_name("overlay.yaml.bad").read_text() == "pools: ["


async def test_kept_changes_that_planes_refuse_are_set_aside_and_the_start_goes_on(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.set_state("web", "a", "drained"))
    await control.close()
    again = home.make()
    home.fleet.refuses = lambda snapshot: ("no such plug-in",) if snapshot.drained else ()
    await again.start()
    assert home.fleet.refused[0].drained == {A}
    assert home.fleet.snapshots[0].drained == frozenset()


async def test_kept_changes_stay_where_they_are_when_the_file_alone_cannot_be_made_so_either(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.set_state("web", "a", "drained"))
    await control.close()
    again = home.make()
    home.fleet.refuses = lambda snapshot: ("the port is taken",)
    with pytest.raises(PublishError):
        await again.start()
    await again.close()
    home.fleet.refuses = lambda snapshot: ()
    third = home.make()
    await third.start()
    assert home.fleet.snapshots[0].drained == {A}


async def test_a_reload_that_collides_with_kept_changes_is_refused_and_names_them(home: Room) -> None:
    control = await home.begin()
    await control.change(changes.add_server("web", "x", Server(url="http://127.0.0.1:9")))
    listed = ", ".join(f"{name}: {ward.url}" for name, ward in home.wards.items())
    home.write(servers=f"{listed}, y: http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="the file with the API's changes"):
        await control.reload()


async def test_a_check_of_a_configuration_changes_nothing(home: Room) -> None:
    control = await home.begin()
    before = control.snapshot
    checked = await control.check(b"listen: 127.0.0.1:0\nservers: [http://127.0.0.1:9]")
    assert list(checked.config.pools) == ["default"]
    with pytest.raises(ConfigError, match="the body:1:"):
        await control.check(b"listen: 127.0.0.1:99999999")
    assert control.snapshot is before


# Waiting, and asking planes.


async def test_a_drained_server_is_waited_for_until_nothing_is_in_flight(home: Room) -> None:
    now = 0.0
    looks = 0

    async def sleep(seconds: float) -> None:
        nonlocal now, looks
        now += seconds
        looks += 1
        home.fleet.inflight[A] = max(0, home.fleet.inflight[A] - 1)

    control = home.make(sleep, lambda: now)
    home.fleet.inflight[A] = 5
    await control.start()
    assert await control.emptied("web", "a", wait=10.0)
    assert looks == 5


async def test_waiting_ends_when_the_time_is_up_and_not_later(home: Room) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    control = home.make(sleep, lambda: now)
    home.fleet.inflight[A] = 1
    await control.start()
    assert not await control.emptied("web", "a", wait=0.25)
    assert now == pytest.approx(0.25)


async def test_waiting_ends_with_a_shutdown(home: Room) -> None:
    control = await home.begin()
    home.fleet.inflight[A] = 1
    control.begin_shutdown()
    assert not await control.emptied("web", "a", wait=3600.0)


async def test_nobody_waits_for_a_server_that_has_gone(home: Room) -> None:
    control = await home.begin()
    assert await control.emptied("web", "nix", wait=3600.0)


async def test_a_preview_goes_to_the_planes_unless_the_pool_is_not_there(home: Room) -> None:
    control = await home.begin()
    answers = await control.preview(Preview("web"))
    assert answers[0].server == "a"
    with pytest.raises(Unknown):
        await control.preview(Preview("nix"))
