"""What has happened is found by comparing, and told once."""

from hypothesis import given
from hypothesis import strategies as st

from balancer.telemetry.happenings import AT_ONCE, KEPT, Happening, Happenings, Scene

A, B = ("web", "a"), ("web", "b")


def scene(
    servers: dict[tuple[str, str], str] | None = None,
    *,
    reasons: dict[tuple[str, str], str] | None = None,
    opened: frozenset[str] = frozenset(),
    configuration: tuple[int, str] | None = (1, "configuration 1"),
    checks: dict[str, tuple[str, str | None]] | None = None,
    firing: dict[str, str] | None = None,
) -> Scene:
    found = {A: "up", B: "up"} if servers is None else servers
    return Scene(found, reasons or {}, opened, configuration, checks or {}, firing or {})


def told(*scenes: Scene) -> list[Happening]:
    """All but the start."""
    happenings = Happenings()
    found = [one for at, each in enumerate(scenes) for one in happenings.look(float(at), each)]
    assert found[0].kind == "start"
    return found[1:]


def texts(*scenes: Scene) -> list[tuple[str, str]]:
    return [(one.level, one.text) for one in told(*scenes)]


def test_what_is_well_at_the_start_is_not_told() -> None:
    assert told(scene({A: "up", B: "checking"}, checks={"cdn": ("ok", None)})) == []


def test_what_is_not_well_at_the_start_is_told_once() -> None:
    ill = scene(
        {A: "down", B: "drained"},
        reasons={A: "connection refused"},
        opened=frozenset({"web"}),
        checks={"redis": ("degraded", "timed out")},
        firing={"errors": "5 % of answers are 5xx"},
    )
    assert texts(ill, ill) == [
        ("bad", "a of web is down: connection refused"),
        ("info", "b of web is drained"),
        ("bad", "web fails open: too few of its servers are well, so all have traffic"),
        ("warning", "redis: timed out"),
        ("bad", "alert errors: 5 % of answers are 5xx"),
    ]


def test_a_server_that_goes_is_told_with_the_reason_and_once() -> None:
    gone = scene({A: "down", B: "up"}, reasons={A: "connection refused"})
    assert texts(scene(), gone, gone, scene()) == [
        ("bad", "a of web is down: connection refused"),
        ("good", "a of web is up"),
    ]


def test_servers_that_are_new_or_leave_the_configuration_are_no_change_of_state() -> None:
    assert told(scene({A: "up"}), scene({A: "up", B: "checking"}), scene({A: "up"})) == []


def test_many_servers_at_once_are_one_line() -> None:
    many = {("web", str(n)): "up" for n in range(AT_ONCE + 1)}
    (one,) = told(scene(many), scene(dict.fromkeys(many, "down")))
    assert (one.level, one.subject, one.text) == ("bad", "web", "servers of web: 21 are down now")


def test_a_pool_that_fails_open_and_recovers_is_told_and_one_that_is_removed_has_not_recovered() -> None:
    opened = scene(opened=frozenset({"web"}))
    assert [level for level, _ in texts(scene(), opened, scene())] == ["bad", "good"]
    assert [level for level, _ in texts(scene(), opened, scene({("other", "x"): "up"}))] == ["bad"]


def test_checks_tell_when_they_fail_and_when_they_are_well_again_but_not_that_they_became_known() -> None:
    unknown, well = scene(checks={"redis": ("unknown", None)}), scene(checks={"redis": ("ok", None)})
    ill = scene(checks={"redis": ("degraded", "timed out")})
    assert texts(unknown, well, ill, well) == [("warning", "redis: timed out"), ("good", "redis is well again")]


def test_alerts_and_configurations_are_told() -> None:
    firing = scene(firing={"errors": "5 % of answers are 5xx"})
    later = scene(configuration=(2, "configuration 2 came into force by alice"))
    assert texts(scene(), firing, later) == [
        ("bad", "alert errors: 5 % of answers are 5xx"),
        ("info", "configuration 2 came into force by alice"),
        ("good", "alert errors is over"),
    ]


States = dict[tuple[str, str], str]
STATES = st.sampled_from(("up", "down", "ejected", "checking", "drained", "maintenance"))


@given(st.lists(st.fixed_dictionaries({A: STATES, B: STATES}), min_size=1, max_size=60))
def test_however_servers_change_each_change_is_told_and_numbers_have_no_gaps(states: list[States]) -> None:
    happenings = Happenings()
    count = 0
    for at, each in enumerate(states):
        found = happenings.look(float(at), scene(each))
        if at:
            assert len(found) == sum(each[key] != states[at - 1][key] for key in (A, B))
        else:  # the start, and what was not well then
            assert len(found) == 1 + sum(each[key] not in ("up", "checking") for key in (A, B))
        assert [one.number for one in found] == list(range(count + 1, count + len(found) + 1))
        count += len(found)
    assert happenings.last == count
    assert [one.number for one in happenings.after(0)] == list(range(max(count - KEPT, 0) + 1, count + 1))
    assert len(happenings.after(count - 1)) == 1
