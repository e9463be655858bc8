"""Changes of the whole configuration over a real Control: on trial, undone, restarted, rolled back and saved."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balancer import changes
from balancer.changes import Conflict, Stale, Unknown
from balancer.control import Control, PublishError
from balancer.revisions import Revised, Terms
from config.amend import Amended, Basis, amended
from config.diff import Change
from config.document import document
from config.json_tree import json_tree
from config.load import load
from config.overlay import Overlay
from config.problems import ConfigError
from config.save import HalfSaved
from config.schema import Server
from config.splice import Unsaved
from config.state import StateError, load_overlay
from tests.control_room import Room, room

A = ("web", "a")
ME = Terms("alice")


class Clock:
    """Time that a test moves; whoever sleeps wakes when it has come."""

    def __init__(self) -> None:
        self.now = 100.0
        self._moved = asyncio.Condition()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        async with self._moved:
            await self._moved.wait_for(lambda: self.now >= until)

    async def move(self, seconds: float) -> None:
        async with self._moved:
            self.now += seconds
            self._moved.notify_all()
        for _ in range(50):
            await asyncio.sleep(0)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def begin(home: Room, clock: Clock | None = None) -> Control:
    control = home.make(clock.sleep, clock) if clock is not None else home.make()
    await control.start()
    return control


def patch(body: object):  # type: ignore[no-untyped-def]  # a Proposal
    def proposal(basis: Basis) -> Amended:
        return amended(basis, json_tree(json.dumps(body).encode(), "the body"), json=True)

    return proposal


async def grace(control: Control, text: str, terms: Terms = ME) -> Revised:
    return await control.revisions.revise(patch({"shutdown": {"grace": text}}), terms)


async def until_over(control: Control) -> None:
    for _ in range(10_000):
        if control.revisions.trial is None:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it is still on trial")


# On trial.


async def test_what_nobody_confirms_is_undone_when_its_time_is_over(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    revised = await grace(control, "5s", Terms("alice", confirm=30.0))
    assert revised.trial is not None
    assert control.snapshot.config.shutdown.grace == 5.0
    await clock.move(29.0)
    assert control.revisions.trial is revised.trial
    await clock.move(2.0)
    await until_over(control)
    assert control.snapshot.config.shutdown.grace == 30.0
    assert control.overlay == Overlay()
    last, tried = control.revisions.history.revisions[-1], control.revisions.history.revisions[-2]
    assert (last.author, last.cause) == ("the balancer", "undo")
    assert tried.note == "undone: nobody confirmed it in time"
    with pytest.raises(Conflict, match=f"revision {tried.number} is on trial no more: undone: nobody confirmed it"):
        await control.revisions.confirm(None, "alice")
    assert control.revisions.results["undone"] == 1


async def test_what_undoes_itself_is_told_to_whoever_keeps_the_trail(home: Room, clock: Clock) -> None:
    told: list[tuple[object, ...]] = []

    async def undone(revision: int, author: str, reason: str, changes: Sequence[Change]) -> None:
        told.append((revision, author, reason, [str(change) for change in changes]))

    control = home.make(clock.sleep, clock)
    control.revisions.undone = undone
    await control.start()
    await grace(control, "5s", Terms("alice", confirm=30.0))
    await clock.move(31.0)
    await until_over(control)
    await control.revisions.rollback(1, ME)
    await grace(control, "6s", Terms("alice", confirm=30.0))
    await control.revisions.rollback(1, ME)  # by somebody whose call has lines of its own
    await grace(control, "7s", Terms("bob", confirm=30.0))
    latest = control.revisions.history.latest
    assert latest is not None
    await control.close()
    control = home.make()
    control.revisions.undone = undone
    await control.start()
    ended = "the process ended before it was confirmed"
    assert told == [
        (2, "alice", "nobody confirmed it in time", ["shutdown.grace: 5s -> 30s"]),
        (latest.number, "bob", ended, ["shutdown.grace: 7s -> 30s"]),
    ]


async def test_what_makes_errors_rise_is_undone_before(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "5s", Terms("alice", confirm=300.0))
    home.fleet.listener.requests["GET", 502] += 50
    await clock.move(1.0)
    await until_over(control)
    assert control.snapshot.config.shutdown.grace == 30.0
    assert "errors rose: 100% answers of 500 and more" in control.revisions.history.revisions[-2].note


async def test_what_is_on_trial_does_not_come_back_with_a_restart(home: Room) -> None:
    control = await begin(home)
    await grace(control, "9s")
    await grace(control, "5s", Terms("alice", confirm=30.0))
    await control.close()
    control = await begin(home)
    assert control.snapshot.config.shutdown.grace == 9.0
    assert control.revisions.trial is None
    tried = control.revisions.history.revision(3)
    assert tried is not None
    assert (tried.provisional, tried.note) == (False, "undone: the process ended before it was confirmed")


async def test_what_was_confirmed_stays_and_comes_back(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    revised = await grace(control, "5s", Terms("alice", confirm=30.0))
    assert await control.revisions.confirm(None, "bob") == revised.revision
    await clock.move(60.0)
    assert control.snapshot.config.shutdown.grace == 5.0
    await control.close()
    control = await begin(home)
    assert control.snapshot.config.shutdown.grace == 5.0
    noted = control.revisions.history.revision(2)
    assert noted is not None
    assert noted.note == "confirmed by bob"


async def test_a_server_drained_during_a_trial_stays_drained_after_it(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "5s", Terms("alice", confirm=30.0))
    await control.change(changes.set_state("web", "a", "drained"), "bob")
    assert control.revisions.trial is not None
    await clock.move(31.0)
    await until_over(control)
    assert control.snapshot.drained == {A}
    assert control.snapshot.config.shutdown.grace == 30.0
    assert load_overlay(home.state)[0] == control.overlay


async def test_a_change_to_what_is_on_trial_goes_with_it(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    body = {"pools": {"web": {"servers": {"c": "http://127.0.0.1:9"}}}}
    await control.revisions.revise(patch(body), Terms("alice", confirm=30.0))
    await control.change(changes.set_state("web", "c", "drained"), "bob")
    assert control.snapshot.drained == {("web", "c")}
    await clock.move(31.0)
    await until_over(control)
    assert control.snapshot.drained == frozenset()
    assert "c" not in control.snapshot.config.pools["web"].servers


async def test_taking_everything_back_ends_a_trial(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "5s", Terms("alice", confirm=30.0))
    await control.change(changes.clear(), "bob")
    assert control.revisions.trial is None
    assert control.snapshot.config.shutdown.grace == 30.0
    with pytest.raises(Conflict, match="nothing to confirm"):
        await control.revisions.confirm(None, "alice")


async def test_a_second_change_has_to_wait_but_may_be_tried_dry(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "5s", Terms("alice", confirm=30.0))
    with pytest.raises(Conflict, match="revision 2 of alice is on trial"):
        await grace(control, "6s")
    assert (await grace(control, "6s", Terms("bob", dry_run=True))).changes
    assert control.snapshot.config.shutdown.grace == 5.0


async def test_a_reload_during_a_trial_keeps_it_on_trial(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "5s", Terms("alice", confirm=30.0))
    home.write("shutdown: {delay: 1s}")
    await control.reload()
    assert (control.snapshot.config.shutdown.delay, control.snapshot.config.shutdown.grace) == (1.0, 5.0)
    await clock.move(31.0)
    await until_over(control)
    assert (control.snapshot.config.shutdown.delay, control.snapshot.config.shutdown.grace) == (1.0, 30.0)


async def test_an_undo_that_planes_refuse_is_tried_again(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "5s", Terms("alice", confirm=5.0))
    with home.fleet.refusing("listeners.main.address: taken"):
        await clock.move(6.0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert control.revisions.trial is not None
    await clock.move(1.0)
    await until_over(control)
    assert control.snapshot.config.shutdown.grace == 30.0


async def test_the_configuration_may_say_that_every_change_is_on_trial(home: Room, clock: Clock) -> None:
    home.write("admin: {confirm: 1m}")
    control = await begin(home, clock)
    revised = await grace(control, "5s")
    assert revised.trial is not None
    assert revised.trial.deadline == clock.now + 60.0
    await control.revisions.confirm(revised.revision, "alice")
    assert (await grace(control, "6s", Terms("alice", confirm=0.0))).trial is None


# Nothing half applied.


async def test_a_change_that_planes_refuse_changes_and_keeps_nothing(home: Room) -> None:
    control = await begin(home)
    etag = control.revisions.etag
    with home.fleet.refusing("listeners.main.address: taken"), pytest.raises(PublishError):
        await grace(control, "5s")
    assert (control.overlay, control.revisions.etag) == (Overlay(), etag)
    assert load_overlay(home.state)[0] == Overlay()
    assert len(control.revisions.history.revisions) == 1


async def test_a_change_that_can_not_be_kept_is_not_made(home: Room) -> None:
    control = await begin(home)
    home.state.parent.mkdir(exist_ok=True)
    home.state.mkdir()
    with pytest.raises(StateError):
        await grace(control, "5s")
    assert control.snapshot.config.shutdown.grace == 30.0


async def test_of_two_who_change_the_same_the_second_is_told(home: Room) -> None:
    control = await begin(home)
    terms = Terms("alice", match=frozenset([control.revisions.etag]))
    results = await asyncio.gather(grace(control, "5s", terms), grace(control, "6s", terms), return_exceptions=True)
    assert [type(one) for one in results] == [Revised, Stale]
    assert control.snapshot.config.shutdown.grace == 5.0


async def test_a_tag_is_the_same_until_something_changes_and_again_when_it_is_taken_back(home: Room) -> None:
    control = await begin(home)
    first = control.revisions.etag
    await control.change(changes.set_state("web", "a", "drained"))
    await control.check_now()
    assert control.revisions.etag == first
    await grace(control, "5s")
    second = control.revisions.etag
    assert second != first
    await grace(control, "30s")
    assert control.revisions.etag == first
    home.write("# only a comment")
    await control.reload()
    assert control.revisions.etag not in (first, second)


async def test_a_patch_over_what_single_operations_changed_is_the_last_word(home: Room) -> None:
    control = await begin(home)
    await control.change(changes.change_server("web", "a", {"weight": 7}))
    await control.change(changes.add_server("web", "c", Server(url="http://127.0.0.1:9", weight=2)))
    await control.change(changes.set_state("web", "c", "drained"))
    await control.revisions.revise(patch({"pools": {"web": {"servers": {"a": {"weight": 3}}}}}), ME)
    servers = control.snapshot.config.pools["web"].servers
    assert {name: server.weight for name, server in servers.items()} == {"a": 3, "b": 1, "c": 2}
    assert control.snapshot.drained == {("web", "c")}


async def test_changes_that_do_not_go_with_a_file_any_more_make_a_reload_refused(home: Room) -> None:
    control = await begin(home)
    await control.revisions.revise(patch({"routes": {"x": {"match": "/x", "pool": "web"}}}), ME)
    home.file.write_text("listen: 127.0.0.1:0\nservers: [http://127.0.0.1:9]\n")
    with pytest.raises(ConfigError, match=r"routes\.x\.pool"):
        await control.reload()
    assert "x" in control.snapshot.config.routes
    await control.close()
    control = await begin(home)
    assert "x" not in control.snapshot.config.routes
    assert (home.state.parent / "overlay.yaml.bad").exists()


# History and the way back.


async def test_ten_revisions_are_kept_in_a_file_of_the_owner_without_what_variables_hold(home: Room) -> None:
    home.environ["TOKEN"] = "swordfish"
    home.write('defaults: {health: {active: {headers: {Authorization: "Bearer ${TOKEN}"}}}}')
    control = await begin(home)
    for number in range(12):
        await grace(control, f"{number + 1}s")
    await control.close()
    file = home.state.with_suffix(".history.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert "swordfish" not in text
    assert "${TOKEN}" in text
    control = await begin(home)
    revisions = control.revisions.history.revisions
    assert [one.number for one in revisions] == list(range(4, 14))
    assert revisions[-1].author == "alice"
    with pytest.raises(Unknown, match="there is no revision 1, but 4, 5"):
        await control.revisions.rollback(1, ME)


async def test_a_rollback_goes_back_over_a_reload_as_far_as_the_file_allows(home: Room) -> None:
    home.write("shutdown: {grace: 7s}\nlogs: {level: debug}")
    control = await begin(home)
    first = document(control.snapshot.config)
    home.write("shutdown: {delay: 1s}\nlogs: {level: error}", servers="a: http://127.0.0.1:9")
    await control.reload("carol")
    assert control.revisions.history.revisions[-1].author == "carol"
    await control.revisions.rollback(1, ME)
    assert document(control.snapshot.config) == first
    home.write("admin: {hosts: [new.example]}")
    await control.reload()
    await grace(control, "5s")
    with pytest.raises(ConfigError, match=r"admin\.hosts: can only be said by the file"):
        await control.revisions.rollback(1, ME)


async def test_a_rollback_never_writes_out_what_a_variable_held(home: Room) -> None:
    home.environ["TOKEN"] = "swordfish"
    home.write('routes: {r: {pool: web, headers: {request: {Authorization: "Bearer ${TOKEN}"}}}}')
    control = await begin(home)
    home.write("routes: {r: {pool: web}}")
    await control.reload()
    with pytest.raises(ConfigError, match="holds what TOKEN holds") as error:
        await control.revisions.rollback(1, ME)
    assert "swordfish" not in str(error.value)
    assert not home.state.exists()


async def test_a_rollback_during_a_trial_ends_it(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "9s")
    await grace(control, "5s", Terms("alice", confirm=30.0))
    back = await control.revisions.rollback(2, Terms("bob"))
    assert [(one.before, one.after) for one in back.changes] == [("5s", "9s")]
    assert control.revisions.trial is None
    assert control.snapshot.config.shutdown.grace == 9.0
    noted = control.revisions.history.revision(3)
    assert noted is not None
    assert noted.note == "undone: rolled back by bob"


async def test_a_rollback_over_a_trial_is_one_step_from_the_tag_that_was_read(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "8s")
    await grace(control, "9s")
    await grace(control, "5s", Terms("alice", confirm=30.0))
    generation = control.snapshot.generation
    terms = Terms("bob", match=frozenset([control.revisions.etag]))
    dry = await control.revisions.rollback(2, replace(terms, dry_run=True))
    back = await control.revisions.rollback(2, terms)
    assert [(one.before, one.after) for one in back.changes] == [("5s", "8s")]
    assert dry.changes == back.changes
    assert control.snapshot.generation == generation + 1
    assert control.snapshot.config.shutdown.grace == 8.0
    assert control.revisions.trial is None
    assert load_overlay(home.state)[0] == control.overlay == control.settled
    tried, last = control.revisions.history.revisions[-2:]
    assert (tried.note, tried.provisional) == ("undone: rolled back by bob", False)
    assert (last.number, last.cause, last.author) == (back.revision, "rollback", "bob")


async def test_a_rollback_over_a_trial_that_fails_leaves_it_on_trial(home: Room, clock: Clock) -> None:
    home.environ["TOKEN"] = "swordfish"
    home.write('routes: {r: {pool: web, headers: {request: {Authorization: "Bearer ${TOKEN}"}}}}')
    control = await begin(home, clock)
    home.write("routes: {r: {pool: web}}")
    await control.reload()
    revised = await grace(control, "5s", Terms("alice", confirm=30.0))
    before = (control.snapshot.generation, control.revisions.etag, control.revisions.history.revisions)

    async def refused(number: int, error: type[Exception]) -> None:
        with pytest.raises(error):
            await control.revisions.rollback(number, Terms("bob", match=frozenset([before[1]])))
        assert (control.snapshot.generation, control.revisions.etag, control.revisions.history.revisions) == before
        assert control.revisions.trial is revised.trial is not None

    await refused(1, ConfigError)  # what the variable holds would have to be written out
    del home.environ["TOKEN"]
    await refused(1, ConfigError)  # and now its file can not even be read
    with home.fleet.refusing("listeners.main.address: taken"):
        await refused(2, PublishError)
    await refused(3, Conflict)
    await refused(7, Unknown)
    assert load_overlay(home.state)[0] == Overlay()
    await clock.move(31.0)
    await until_over(control)
    assert control.snapshot.config.shutdown.grace == 30.0


async def test_a_rollback_over_a_trial_may_be_on_trial_itself(home: Room, clock: Clock) -> None:
    control = await begin(home, clock)
    await grace(control, "8s")
    await grace(control, "9s")
    await grace(control, "5s", Terms("alice", confirm=30.0))
    back = await control.revisions.rollback(2, Terms("bob", confirm=60.0))
    assert back.trial is control.revisions.trial is not None
    await clock.move(31.0)
    assert control.snapshot.config.shutdown.grace == 8.0
    await clock.move(30.0)
    await until_over(control)
    assert control.snapshot.config.shutdown.grace == 9.0
    assert control.revisions.results["undone"] == 2


async def test_a_rollback_to_what_was_before_a_trial_needs_no_confirmation(home: Room, clock: Clock) -> None:
    home.write("admin: {confirm: 1m}")
    control = await begin(home, clock)
    await grace(control, "5s")
    assert (await control.revisions.rollback(1, Terms("bob"))).trial is None
    assert control.snapshot.config.shutdown.grace == 30.0


SETTINGS = st.sampled_from(
    [
        {"shutdown": {"grace": "5s"}},
        {"shutdown": {"grace": None}},
        {"pools": {"web": {"servers": {"a": {"weight": 3}}}}},
        {"pools": {"web": {"servers": {"b": None}}}},
        {"pools": {"web": {"servers": {"b": "http://127.0.0.1:9"}}}},
        {"pools": {"two": {"servers": ["http://127.0.0.1:10"]}}},
        {"routes": {"x": {"match": "/x", "respond": {"status": 204}}}},
        {"routes": {"x": None}},
        {"defaults": {"limits": {"lag": None}, "timeouts": {"connect": "2s"}}},
        {"pools": {"web": {"timeouts": {"connect": "9s"}, "health": {"active": None}}}},
    ]
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(SETTINGS, min_size=1, max_size=5), data=st.data())
async def test_any_rollback_returns_to_the_identical_document(
    tmp_path: Path, bodies: list[object], data: st.DataObject
) -> None:
    async with room(Path(mkdtemp(dir=tmp_path))) as home:
        control = await begin(home)
        documents = {1: document(control.snapshot.config, mask=False)}
        for body in bodies:
            try:
                revised = await control.revisions.revise(patch(body), ME)
            except ConfigError:
                continue
            if revised.revision is not None:
                documents[revised.revision] = document(control.snapshot.config, mask=False)
        number = data.draw(st.sampled_from(sorted(documents)))
        await control.revisions.rollback(number, ME)
        assert document(control.snapshot.config, mask=False) == documents[number]


# Saving.


async def test_what_is_saved_is_in_the_file_and_no_more_in_the_overlay(home: Room) -> None:
    home.file.write_text(home.file.read_text() + "\n# the end\n")
    control = await begin(home)
    await control.change(changes.set_state("web", "b", "drained"))
    await control.revisions.revise(
        patch({"pools": {"web": {"servers": {"a": {"weight": 3}}, "strategy": "hash"}}, "shutdown": {"grace": "5s"}}),
        ME,
    )
    before = control.snapshot.config
    dry = await control.revisions.save(Terms("alice", dry_run=True))
    assert control.overlay.patch
    assert await control.revisions.save(ME) == dry
    assert "# the end" in home.file.read_text()
    assert load(home.file, home.environ).config == control.snapshot.config == before
    assert control.overlay.patch == {}
    assert control.snapshot.drained == {("web", "b")}
    assert control.overlay_changes()[0].path == "pools.web.servers.b.state"
    assert home.file.with_name("balancer.yaml.bak").exists()
    reloaded = await control.reload()
    assert reloaded.changes == ()
    assert await control.revisions.save(ME) == control.overlay_changes()


async def test_a_disk_that_fails_after_the_file_was_written_is_told_and_can_be_mended(home: Room) -> None:
    control = await begin(home)
    await grace(control, "5s")
    home.state.unlink()
    home.state.mkdir()  # a folder where the file should be
    with pytest.raises(HalfSaved, match=r"has been written and says what is in force, .* still kept .*Is a directory"):
        await control.revisions.save(ME)
    assert load(home.file, home.environ).config == control.snapshot.config
    assert control.overlay == control.settled != Overlay()
    home.state.rmdir()
    assert (await control.reload()).changes == ()
    await control.revisions.save(ME)
    assert control.overlay == control.settled == load_overlay(home.state)[0] == Overlay()
    assert load(home.file, home.environ).config == control.snapshot.config
    assert control.snapshot.config.shutdown.grace == 5.0


async def test_nothing_is_saved_over_a_file_that_somebody_else_has_changed(home: Room) -> None:
    control = await begin(home)
    await grace(control, "5s")
    home.write("# somebody else")
    with pytest.raises(Conflict, match="has been changed since it was read"):
        await control.revisions.save(ME)
    assert "# somebody else" in home.file.read_text()


async def test_what_can_not_be_saved_stays_in_force_over_the_file(home: Room) -> None:
    home.environ["LOG_LEVEL"] = "debug"
    control = await begin(home)
    await control.revisions.revise(patch({"logs": {"level": "error"}}), ME)
    with pytest.raises(Unsaved, match="LOG_LEVEL is over the file"):
        await control.revisions.save(ME)
    assert control.snapshot.config.logs.level == "error"


# Where it comes from.


async def test_each_setting_says_where_it_is_from(home: Room) -> None:
    home.environ |= {"LOG_LEVEL": "debug", "TIME": "2s"}
    home.write('defaults: {timeouts: {connect: "${TIME}"}}\nshutdown: {grace: 7s}')
    control = await begin(home)
    await grace(control, "5s")

    async def why(*path: str) -> tuple[object, ...]:
        ((one, said),) = await control.revisions.why(".".join(path))
        below = one.below
        return (one.kind, one.value, said.by if said else None, below.kind, below.line, below.under, below.variables)

    assert await why("shutdown", "delay") == ("default", "0s", None, "default", None, None, ())
    assert await why("shutdown", "grace") == ("api", "5s", "alice", "file", 4, None, ())
    assert await why("logs", "level") == ("environment", "debug", None, "environment", None, None, ("LOG_LEVEL",))
    connect = ("file", "2s", None, "file", 3, "defaults.timeouts.connect", ("TIME",))
    assert await why("pools", "web", "timeouts", "connect") == connect
    assert len(await control.revisions.why("pools.web")) > 20
    with pytest.raises(LookupError, match=r"did you mean pools\.web\.strategy"):
        await control.revisions.why("pools.web.stratgy")
    assert await control.revisions.why("strategy") == await control.revisions.why("pools.web.strategy")
    assert await control.revisions.why("listen") == await control.revisions.why("listeners.main.address")


async def test_what_was_empty_is_not_told_as_gone_where_something_has_come_into_it(home: Room) -> None:
    control = await begin(home)
    await control.revisions.revise(patch({"rate_limits": {"a": {"rate": "5/s"}}}), ME)
    revised = await control.revisions.revise(patch({"routes": {"default": {"rate_limit": "a"}}}), ME)
    assert [str(change) for change in revised.changes if change.after is None] == []
    found = await control.revisions.why("routes.default.rate_limit")
    assert [one.path for one, _ in found if one.value is None] == []
    assert not any(change.path == "rate_limits" for change in control.revisions.history.revisions[1].changes)
