from pathlib import Path

import pytest

from balancer.commands.outcome import ERROR, OK
from tests.commands.stand_in import Reply, balancer, problem, stand_in


def test_it_asks_whether_the_balancer_lives_and_with_ready_whether_it_takes_traffic() -> None:
    with stand_in({"GET /livez": Reply({}), "GET /readyz": problem(503, "it is about to stop")}) as api:
        assert balancer("healthcheck", "--admin", api.url) == (OK, "", f"alive: {api.url}\n")
        ended = balancer("healthcheck", "--ready", "--admin", api.url)
    assert ended == (ERROR, "", f"balancer: {api.url} answers /readyz with 503: it is about to stop\n")


@pytest.mark.parametrize("body", [b"ok", b"", b"\xff", b"[1]"])
def test_only_the_status_counts_and_not_what_is_said_with_it(body: bytes) -> None:
    with stand_in({"GET /livez": Reply(body, kind="text/plain"), "GET /readyz": Reply(body, 503)}) as api:
        assert balancer("healthcheck", "--admin", api.url).code == OK
        assert balancer("healthcheck", "--ready", "--admin", api.url).code == ERROR


def test_no_key_leaves_the_container_for_a_question_that_needs_none() -> None:
    with stand_in({"GET /livez": Reply({})}) as api:
        balancer("healthcheck", "--admin", api.url, environ={"ADMIN_API_KEY": "secret"})
    assert "X-API-Key" not in api.asked[0].headers


def test_every_failure_is_a_1_as_docker_keeps_the_other_codes(tmp_path: Path) -> None:
    assert balancer("healthcheck", "--admin", f"unix:{tmp_path}/none").code == ERROR
    assert balancer("healthcheck", environ={"BALANCER_ADMIN": "nonsense"}).code == ERROR


def test_in_a_container_the_configuration_tells_where_to_ask(tmp_path: Path) -> None:
    with stand_in({"GET /livez": Reply({})}, tmp_path / "b.sock") as api:
        file = tmp_path / "balancer.yaml"
        file.write_text(f"admin: {{listen: '{api.url}'}}\n")
        assert balancer("healthcheck", environ={"BALANCER_CONFIG": str(file)}).code == OK
        assert balancer("healthcheck", "-c", str(file)).code == OK
