import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from balancer.commands.client import Client
from balancer.commands.outcome import ERROR, REFUSED, UNREACHABLE, USAGE, Failure
from balancer.commands.places import Admin, Key
from tests.commands.stand_in import Reply, problem, stand_in


def failure(client: Client, *path: str, patience: float = 10.0) -> Failure:
    with pytest.raises(Failure) as caught:
        client.post(*path, patience=patience)
    return caught.value


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port on which nobody listens, for as long as the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_an_answer_is_read_and_the_key_is_sent_in_its_own_field() -> None:
    with stand_in({"GET /api/x": Reply({"a": {"b": 5}})}) as api:
        client = Client(Admin(api.url, "--admin"), Key("secret", "ADMIN_API_KEY"))
        assert client.get("api", "x").part("a").number("b") == 5
    assert api.asked[0].headers["X-API-Key"] == "secret"


def test_without_a_key_none_is_sent() -> None:
    with stand_in({"GET /x": Reply({})}) as api:
        Client(Admin(api.url, ""), None).get("x")
    assert "X-API-Key" not in api.asked[0].headers
    assert "Authorization" not in api.asked[0].headers


def test_a_unix_socket_is_asked_by_the_name_localhost(tmp_path: Path) -> None:
    with stand_in({"GET /x": Reply({"a": "b"})}, tmp_path / "b.sock") as api:
        assert Client(Admin(api.url, ""), None).get("x").text("a") == "b"
    assert api.asked[0].headers["Host"] == "localhost"


def test_what_is_before_the_api_s_own_path_is_kept() -> None:
    with stand_in({"GET /ops/balancer/x": Reply({"a": "b"})}) as api:
        assert Client(Admin(f"{api.url}/ops/balancer", ""), None).get("x").text("a") == "b"


def test_a_part_of_a_path_cannot_become_two_or_a_query() -> None:
    with stand_in({}) as api:
        failure(Client(Admin(api.url, ""), None), "a/b?c#d", "..")
    assert api.asked[0].path == "/a%2Fb%3Fc%23d/.."


def test_where_nobody_listens_the_message_asks_whether_it_is_running(dead_port: int) -> None:
    found = failure(Client(Admin(f"http://127.0.0.1:{dead_port}", "the default"), None), "x")
    assert found.code == UNREACHABLE
    assert f"no balancer answers at http://127.0.0.1:{dead_port} (the default): is it running?" in str(found)
    assert "Connection refused" in str(found)
    assert "balancer run" in str(found)
    assert "admin.listen" not in str(found)
    named = Admin(f"http://127.0.0.1:{dead_port}", "admin.listen in balancer.yaml")
    assert "After a change of admin.listen it stays where it was" in str(failure(Client(named, None), "x"))


def test_a_socket_that_is_not_there_is_no_balancer(tmp_path: Path) -> None:
    found = failure(Client(Admin(f"unix:{tmp_path}/none.sock", "--admin"), None), "x")
    assert found.code == UNREACHABLE
    assert f"no balancer answers at unix:{tmp_path}/none.sock: is it running?" in str(found)


def test_a_name_that_does_not_resolve_is_no_balancer() -> None:
    found = failure(Client(Admin("http://name.invalid:1", "--admin"), None), "x")
    assert found.code == UNREACHABLE


def test_a_port_beyond_the_last_is_a_mistake_of_the_command_line() -> None:
    assert failure(Client(Admin("http://a:99999", "--admin"), None), "x").code == USAGE


def test_silence_ends_with_the_time_that_was_waited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = failure(Client(Admin(url, "--admin"), None), "x", patience=0.05)
    assert found.code == UNREACHABLE
    assert str(found) == f"{url} has not answered within 0.05 s"


def test_what_speaks_no_http_is_no_balancer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.com ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        found = failure(Client(Admin(url, "BALANCER_ADMIN"), None), "x")
        thread.join()
    assert found.code == UNREACHABLE
    assert f"what answers at {url} (BALANCER_ADMIN) is no balancer's admin API" in str(found)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<h1>Hello</h1>", 200, "text/html; charset=utf-8"),
        Reply(b"gone", 404, "text/plain"),
        Reply(b"{", 200),
        Reply(b"[" * 100_000, 200),
        Reply(b"\xff", 200),
    ],
)
def test_an_answer_of_another_kind_is_no_balancer_s(reply: Reply) -> None:
    with stand_in({"POST /x": reply}) as api:
        found = failure(Client(Admin(api.url, "--admin"), None), "x")
    assert found.code == UNREACHABLE
    assert "is no balancer's admin API" in str(found)


def test_a_missing_key_is_told_with_the_ways_to_give_one() -> None:
    with stand_in({"POST /x": problem(401, "a key is needed")}) as api:
        found = failure(Client(Admin(api.url, "--admin"), None), "x")
    assert found.code == REFUSED
    assert str(found).startswith(
        f"{api.url} needs a key: set ADMIN_API_KEY, or name a file that holds one with --key-file. "
    )


def test_a_wrong_key_is_told_by_where_it_is_from_and_not_by_its_text() -> None:
    with stand_in({"POST /x": problem(401, "the key is not known")}) as api:
        found = failure(Client(Admin(api.url, "--admin"), Key("s3cret", "ADMIN_API_KEY")), "x")
    assert found.code == REFUSED
    assert str(found) == f"{api.url} does not take the key from ADMIN_API_KEY: the key is not known"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, USAGE),
        (403, REFUSED),
        (404, USAGE),
        (409, REFUSED),
        (412, REFUSED),
        (421, REFUSED),
        (422, USAGE),
        (429, REFUSED),
        (500, ERROR),
        (503, ERROR),
        (507, ERROR),
    ],
)
def test_a_refusal_keeps_its_reason_and_its_kind_becomes_the_exit_code(status: int, code: int) -> None:
    with stand_in({"POST /x": problem(status, "because of that")}) as api:
        found = failure(Client(Admin(api.url, "--admin"), None), "x")
    assert (found.code, str(found)) == (code, "because of that")


def test_each_field_at_fault_is_told_with_its_place() -> None:
    faults = (
        {"pointer": "pools.app.strategy", "message": "no such strategy", "line": 7, "column": 13},
        {"pointer": "?wait", "message": "must be a duration"},
        {"pointer": "", "message": "port 80 is taken"},
    )
    with stand_in({"POST /x": problem(422, "nothing was changed", *faults)}) as api:
        found = failure(Client(Admin(api.url, "--admin"), None), "x")
    assert str(found).splitlines() == [
        "nothing was changed",
        "  7:13: pools.app.strategy: no such strategy",
        "  --wait: must be a duration",
        "  port 80 is taken",
    ]


def test_an_answer_cannot_write_to_the_terminal_by_itself() -> None:
    with stand_in({"POST /x": problem(500, "\x1b[2Jgone\nbalancer: all is well")}) as api:
        found = failure(Client(Admin(api.url, "--admin"), None), "x")
    assert str(found) == "?[2Jgone?balancer: all is well"
