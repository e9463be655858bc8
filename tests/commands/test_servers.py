import pytest

from balancer.commands.outcome import OK, REFUSED, TIMED_OUT, USAGE
from tests.commands.answers import server
from tests.commands.stand_in import Reply, StandIn, balancer, problem, stand_in

SERVERS = "/api/infrastructure/load-balancer/pools/app/servers"


def reply(status: int = 200, **said: object) -> Reply:
    return Reply({**server("a").model_dump(mode="json"), **said}, status)


def change(api: StandIn, *words: str, **environ: str) -> tuple[int, str, str]:
    return balancer(*words, "--admin", api.url, environ=environ)


def test_draining_tells_what_the_server_still_has_to_finish() -> None:
    with stand_in({f"POST {SERVERS}/a/drain": reply(state="drained", in_flight=3, tunnels=1)}) as api:
        ended = change(api, "drain", "app/a")
    assert ended == (OK, "", "app/a is drained: it takes nothing new and finishes 3 requests and 1 tunnel\n")


def test_a_drain_that_is_waited_for_ends_when_nothing_is_left() -> None:
    with stand_in({f"POST {SERVERS}/a/drain?wait=30s": reply(state="drained", in_flight=0)}) as api:
        ended = change(api, "drain", "app/a", "--wait", "30s")
    assert ended == (OK, "", "app/a is drained; nothing is left on it\n")


def test_a_wait_that_is_over_too_soon_has_an_exit_code_of_its_own() -> None:
    with stand_in({f"POST {SERVERS}/a/drain?wait=50ms": reply(202, state="drained", in_flight=1)}) as api:
        code, out, messages = change(api, "drain", "app/a", "--wait", "50ms")
    assert (code, out) == (TIMED_OUT, "")
    assert "app/a still has 1 request after 50ms; it stays drained" in messages


def test_a_wait_without_a_unit_is_not_sent() -> None:
    with stand_in({}) as api:
        code, _, messages = change(api, "drain", "app/a", "--wait", "soon")
    assert code == USAGE
    assert "--wait must be a duration such as 250ms, 30s, 5m or 1h, not 'soon'" in messages
    assert api.asked == []


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("up", "app/a is up\n"),
        ("checking", "app/a is ready; now it is checking: no check has come to an end yet\n"),
    ],
)
def test_ready_tells_what_the_server_is_now(state: str, told: str) -> None:
    found = reply(state=state, reason="no check has come to an end yet")
    with stand_in({f"POST {SERVERS}/a/ready": found}) as api:
        assert change(api, "ready", "app/a") == (OK, "", told)


def test_maintenance_is_told_like_a_drain() -> None:
    with stand_in({f"POST {SERVERS}/a/maintenance": reply(state="maintenance", in_flight=1)}) as api:
        ended = change(api, "maintenance", "app/a")
    assert ended == (OK, "", "app/a is in maintenance: it takes nothing new and finishes 1 request\n")


def test_a_name_may_hold_any_character_but_only_the_first_slash_divides() -> None:
    with stand_in({f"POST {SERVERS}/10.0.0.1%3A80%2Fx/ready": reply()}) as api:
        assert change(api, "ready", "app/10.0.0.1:80/x")[0] == OK


@pytest.mark.parametrize("where", ["a", "app/", "/a", ""])
def test_a_server_without_its_pool_is_not_guessed(where: str) -> None:
    with stand_in({}) as api:
        code, _, messages = change(api, "drain", where)
    assert code == USAGE
    assert "expected POOL/SERVER, such as default/10.0.0.11:8000" in messages
    assert api.asked == []


def test_an_unknown_server_is_a_mistake_of_the_command_line() -> None:
    missing = problem(404, "pool 'app' has no server 'x', but 'a', 'b'")
    with stand_in({f"POST {SERVERS}/x/drain": missing}) as api:
        ended = change(api, "drain", "app/x")
    assert ended == (USAGE, "", "balancer: pool 'app' has no server 'x', but 'a', 'b'\n")


def test_a_key_that_may_only_read_is_refused_with_what_would_do() -> None:
    refusal = problem(403, "this needs a key of role operator; ci has role viewer")
    with stand_in({f"POST {SERVERS}/a/drain": refusal}) as api:
        code, _, messages = change(api, "drain", "app/a", ADMIN_API_KEY="k")
    assert code == REFUSED
    assert messages == "balancer: this needs a key of role operator; ci has role viewer\n"
