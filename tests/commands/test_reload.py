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
