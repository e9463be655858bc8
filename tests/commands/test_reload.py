from balancer.commands.outcome import OK, REFUSED, UNREACHABLE, USAGE
from tests.commands.stand_in import Reply, balancer, problem, stand_in

RELOAD = "POST /api/config/reload"


def test_what_has_changed_is_listed() -> None:
    changes = [
        {"path": "pools.app.strategy", "before": "random", "after": "hash"},
        {"path": "routes.old", "before": "***", "after": None},
    ]
    body = {"generation": 4, "changes": changes, "restart_required": [], "warnings": []}
    with stand_in({RELOAD: Reply(body)}) as api:
        code, out, messages = balancer("reload", "--admin", api.url)
    assert (code, out) == (OK, "")
    assert messages.splitlines() == [
        "reloaded: 2 changes, generation 4",
        "  pools.app.strategy: random -> hash",
        "  routes.old: *** -> nothing",
    ]


def test_what_waits_for_a_restart_is_named() -> None:
    body = {"generation": 2, "changes": [], "restart_required": ["admin.listen", "logs"], "warnings": []}
    with stand_in({RELOAD: Reply(body)}) as api:
        _, _, messages = balancer("reload", "--admin", api.url)
    assert "only when the balancer is started again: admin.listen, logs" in messages


def test_what_was_probably_not_meant_is_told_after_the_reload() -> None:
    warning = {"path": "pools.old", "message": "is used by no route", "line": 4, "column": 3}
    body = {"generation": 2, "changes": [], "restart_required": [], "warnings": [warning]}
    with stand_in({RELOAD: Reply(body)}) as api:
        code, _, messages = balancer("reload", "--admin", api.url)
    assert code == OK
    assert messages == "reloaded: 0 changes, generation 2\n  warning: 4:3: pools.old: is used by no route\n"


def test_a_bad_file_is_exit_code_2_with_every_problem_and_its_place() -> None:
    fault = {"pointer": "pools.app.servers.a.weight", "message": "must be at least 1", "line": 9, "column": 5}
    with stand_in({RELOAD: problem(422, "nothing was changed", fault)}) as api:
        code, out, messages = balancer("reload", "--admin", api.url)
    assert (code, out) == (USAGE, "")
    assert "  9:5: pools.app.servers.a.weight: must be at least 1\n" in messages


def test_without_the_right_key_nothing_is_reloaded() -> None:
    with stand_in({RELOAD: problem(401, "a key is needed")}) as api:
        assert balancer("reload", "--admin", api.url).code == REFUSED


def test_without_a_balancer_there_is_nothing_to_reload() -> None:
    assert balancer("reload", "--admin", "unix:/nonexistent/b.sock").code == UNREACHABLE


def test_a_route_that_is_new_is_one_line_and_not_all_of_its_defaults() -> None:
    values = [{"path": f"routes.docs.{name}", "before": None, "after": "1"} for name in ("a", "b", "c", "match.path")]
    more = [{"path": f"routes.old.maintenance.{name}", "before": None, "after": "1"} for name in "ab"]
    one = {"path": 'pools.app.servers["a:1"].weight', "before": "1", "after": "2"}
    few = {"path": "routes.api.auth", "before": None, "after": "staff"}
    gone = [{"path": f'pools["a.b"].{name}', "before": "1", "after": None} for name in ("a", "b", "strategy")]
    body = {"generation": 4, "changes": [*values, *more, one, few, *gone], "restart_required": [], "warnings": []}
    with stand_in({RELOAD: Reply(body)}) as api:
        _, _, messages = balancer("reload", "--admin", api.url)
    assert messages.splitlines()[1:] == [
        "  routes.docs: is new, with 4 values",
        "  routes.old.maintenance.a: nothing -> 1",
        "  routes.old.maintenance.b: nothing -> 1",
        '  pools.app.servers["a:1"].weight: 1 -> 2',
        "  routes.api.auth: nothing -> staff",
        '  pools["a.b"]: is gone, with 3 values',
    ]
