import pytest

from tests.api.desk import SERVERS, Desk

NEW = {"url": "http://127.0.0.1:2009"}


async def test_servers_are_listed_with_all_that_is_known_of_them(desk: Desk) -> None:
    answer = await desk.ask("GET", SERVERS, role="viewer")
    assert answer.status == 200
    assert answer.at("next") is None
    assert [answer.at("items", n, "name") for n in (0, 1)] == ["a", "b"]
    assert answer.at("items", 0, "state") == "up"
    assert answer.at("items", 0, "checks", "last", "status") == 200
    assert answer.at("items", 0, "latency", "ewma") is None
    assert answer.at("items", 0, "latency", "reason") == "it has not answered yet"


async def test_a_server_is_added_and_told_where_it_is(desk: Desk) -> None:
    answer = await desk.ask("POST", SERVERS, {**NEW, "weight": 3, "backup": True, "max_connections": 9})
    assert answer.status == 201
    assert answer.headers["Location"] == f"{SERVERS}/127.0.0.1%3A2009"
    assert answer.at("name") == "127.0.0.1:2009"
    assert answer.at("state") in ("checking", "down")  # nobody is there, which may have been found out by now
    found = await desk.ask("GET", answer.headers["Location"])
    assert (found.at("weight", "set"), found.at("backup"), found.at("max_connections")) == (3, True, 9)


async def test_a_server_with_tls_is_added_under_the_port_that_its_url_means(desk: Desk) -> None:
    answer = await desk.ask("POST", SERVERS, {"url": "https://127.0.0.1/"})
    assert (answer.status, answer.at("name"), answer.at("url")) == (201, "127.0.0.1:443", "https://127.0.0.1")


async def test_a_server_may_be_given_a_name(desk: Desk) -> None:
    answer = await desk.ask("POST", SERVERS, {**NEW, "name": "spare"})
    assert (answer.status, answer.at("name")) == (201, "spare")
    assert (await desk.ask("POST", SERVERS, {"url": "http://127.0.0.1:2010", "name": "spare"})).status == 409


async def test_a_server_at_an_address_that_is_taken_is_refused_at_its_url(desk: Desk) -> None:
    answer = await desk.ask("POST", SERVERS, {"url": desk.room.wards["a"].url, "name": "twin"})
    assert answer.status == 422
    assert "another address than that of a" in answer.faults["/url"]


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({}, "/url", "is required"),
        ({"url": "127.0.0.1:80"}, "/url", "with its scheme"),
        ({"url": "ftp://a"}, "/url", "such as http://10.0.0.11:8000, https://app.internal"),
        ({"url": "http://user:secret@a"}, "/url", "must hold no user name or password"),
        ({"url": "http://a/path"}, "/url", "must end after the port"),
        ({"url": 80}, "/url", "must be text, not 80"),
        ({**NEW, "weight": False}, "/weight", "must be a whole number, not false"),
        ({**NEW, "weight": "2"}, "/weight", 'must be a whole number, not "2"'),
        ({**NEW, "weight": 2.5}, "/weight", "must be a whole number, not 2.5"),
        ({**NEW, "weight": 0}, "/weight", "must be at least 1, not 0"),
        ({**NEW, "weight": 1001}, "/weight", "must be at most 1000, not 1001"),
        ({**NEW, "backup": 1}, "/backup", "must be true or false, not 1"),
        ({**NEW, "backup": "true"}, "/backup", 'must be true or false, not "true"'),
        ({**NEW, "max_connections": -1}, "/max_connections", "must be at least 0, not -1"),
        ({**NEW, "name": ""}, "/name", "must be a name"),
        ({**NEW, "name": "a/b"}, "/name", "must be a name"),
        ({**NEW, "name": "a\n"}, "/name", "must be a name"),
        ({**NEW, "wieght": 2}, "/wieght", "is not a field that is known here"),
        ({**NEW, "a/b~c": 2}, "/a~1b~0c", "is not a field that is known here"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_changes(
    desk: Desk, body: dict[str, object], pointer: str, says: str
) -> None:
    before = desk.room.control.snapshot
    answer = await desk.ask("POST", SERVERS, body)
    assert answer.status == 422
    assert list(answer.faults) == [pointer]
    assert says in answer.faults[pointer]
    assert "secret" not in answer.content.decode()
    assert desk.room.control.snapshot is before


async def test_every_wrong_field_is_told_at_once(desk: Desk) -> None:
    answer = await desk.ask("POST", SERVERS, {"url": "x", "weight": 0, "more": 1})
    assert set(answer.faults) == {"/url", "/weight", "/more"}
    assert answer.at("detail") == "3 fields are not as expected; nothing was changed"


async def test_weight_cap_and_backup_can_be_changed_each_by_itself(desk: Desk) -> None:
    assert (await desk.ask("PATCH", f"{SERVERS}/a", {"weight": 9}, role="operator")).at("weight", "set") == 9
    assert (await desk.ask("PATCH", f"{SERVERS}/a", {"max_connections": 4})).at("max_connections") == 4
    assert (await desk.ask("PATCH", f"{SERVERS}/a", {"backup": True})).at("backup") is True
    assert (await desk.ask("PATCH", f"{SERVERS}/a", {"max_connections": None})).at("max_connections") == 0
    assert (await desk.ask("GET", f"{SERVERS}/a")).at("weight", "set") == 9


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, ""), ({"weight": None}, "/weight"), ({"backup": None}, "/backup"), ({"url": "http://a"}, "/url")],
)
async def test_a_change_that_says_nothing_is_refused(desk: Desk, body: dict[str, object], pointer: str) -> None:
    answer = await desk.ask("PATCH", f"{SERVERS}/a", body)
    assert answer.status == 422
    assert list(answer.faults) == [pointer]


async def test_a_server_is_removed_and_then_not_found(desk: Desk) -> None:
    gone = await desk.ask("DELETE", f"{SERVERS}/a")
    assert (gone.status, gone.content) == (204, b"")
    again = await desk.ask("DELETE", f"{SERVERS}/a")
    assert again.status == 404
    assert again.at("detail") == "pool 'web' has no server 'a', but 'b'"
    last = await desk.ask("DELETE", f"{SERVERS}/b")
    assert last.status == 409


@pytest.mark.parametrize("action", ["", "/drain", "/ready", "/maintenance"])
async def test_a_server_or_pool_that_is_not_there_is_not_found(desk: Desk, action: str) -> None:
    method = "POST" if action else "GET"
    for path in (f"{SERVERS}/nix{action}", f"{SERVERS.replace('web', 'nix')}/a{action}"):
        answer = await desk.ask(method, path)
        assert answer.status == 404
        assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_drain_maintenance_and_ready(desk: Desk) -> None:
    drained = await desk.ask("POST", f"{SERVERS}/a/drain", role="operator")
    assert (drained.status, drained.at("state"), drained.at("in_rotation")) == (200, "drained", False)
    assert drained.at("reason") == "the operator drains it"
    assert drained.at("since") is not None
    away = await desk.ask("POST", f"{SERVERS}/a/maintenance", role="operator")
    assert (away.status, away.at("state")) == (200, "maintenance")
    ready = await desk.ask("POST", f"{SERVERS}/a/ready", role="operator")
    assert (ready.status, ready.at("state")) == (200, "checking")


async def test_a_drain_with_wait_answers_200_when_nothing_is_in_flight_any_more(desk: Desk) -> None:
    answer = await desk.ask("POST", f"{SERVERS}/a/drain?wait=10s")
    assert (answer.status, answer.at("in_flight")) == (200, 0)


async def test_a_drain_whose_wait_is_over_answers_202_and_stays_drained(desk: Desk) -> None:
    desk.room.fleet.inflight["web", "a"] = 2
    answer = await desk.ask("POST", f"{SERVERS}/a/drain?wait=1ms")
    assert (answer.status, answer.at("in_flight"), answer.at("state")) == (202, 2, "drained")
    assert desk.room.fleet.snapshot.drained == {("web", "a")}


@pytest.mark.parametrize("wait", ["30", "-1s", "forever", "", "11m", "1e3s"])
async def test_a_wait_that_is_no_duration_or_too_long_is_refused_before_anything_happens(desk: Desk, wait: str) -> None:
    answer = await desk.ask("POST", f"{SERVERS}/a/drain?wait={wait}")
    assert answer.status == 422
    assert list(answer.faults) == ["?wait"]
    assert desk.room.fleet.snapshot.drained == frozenset()


async def test_a_change_that_can_not_be_kept_is_a_507_that_says_what_to_do(desk: Desk) -> None:
    desk.room.state.mkdir(parents=True)  # a folder where the file should be
    answer = await desk.ask("POST", f"{SERVERS}/a/drain")
    assert answer.status == 507
    assert "admin.state" in str(answer.at("detail"))
    assert desk.room.fleet.snapshot.drained == frozenset()


async def test_changes_survive_a_restart(desk: Desk) -> None:
    await desk.ask("POST", SERVERS, NEW)
    await desk.ask("POST", f"{SERVERS}/a/drain")
    await desk.room.control.close()
    control = await desk.room.begin()
    assert list(control.snapshot.config.pools["web"].servers) == ["a", "b", "127.0.0.1:2009"]
    assert control.snapshot.drained == {("web", "a")}


async def test_an_ejected_server_tells_until_when_and_a_panicking_pool_why_it_has_traffic(desk: Desk) -> None:
    desk.room.fleet.ejected.add(("web", "a"))
    answer = await desk.ask("GET", f"{SERVERS}/a")
    assert (answer.at("state"), answer.at("in_rotation")) == ("ejected", False)
    assert str(answer.at("ejected_until")).endswith("Z")
    desk.room.fleet.panic.add("web")
    answer = await desk.ask("GET", f"{SERVERS}/a")
    assert answer.at("in_rotation") is True
    assert "has traffic all the same" in str(answer.at("reason"))
