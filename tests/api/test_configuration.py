import pytest

from tests.api.desk import SERVERS, Desk

CONFIG, RELOAD, CHECK, OVERLAY = "/api/config", "/api/config/reload", "/api/config/check", "/api/config/overlay"
YAML = {"Content-Type": "application/yaml"}


async def test_the_configuration_is_shown_whole_and_without_its_secrets(desk: Desk) -> None:
    secret = "defaults: {health: {active: {headers: {Authorization: Bearer swordfish}}}}"
    desk.room.write(f"{desk.keys.lines}\nredis: {{url: 'redis://:swordfish@127.0.0.1:1'}}\n{secret}")
    await desk.ask("POST", RELOAD)
    answer = await desk.ask("GET", CONFIG, role="viewer")
    assert answer.status == 200
    assert answer.at("config", "pools", "web", "health", "active", "interval") == "30s"
    assert "swordfish" not in answer.content.decode()
    assert desk.keys.text["viewer"] not in answer.content.decode()
    assert answer.at("config", "admin", "keys", 0, "hash") == "sha256:***"


async def test_what_the_api_changed_is_told_apart_and_can_be_taken_back(desk: Desk) -> None:
    await desk.ask("PATCH", f"{SERVERS}/a", {"weight": 7})
    await desk.ask("POST", f"{SERVERS}/b/drain")
    answer = await desk.ask("GET", CONFIG)
    assert answer.json["overlay"] == [
        {"path": "pools.web.servers.a.weight", "before": "1", "after": "7", "stale": False},
        {"path": "pools.web.servers.b.state", "before": "ready", "after": "drained", "stale": False},
    ]
    cleared = await desk.ask("DELETE", f"{OVERLAY}?pool=web")
    assert (cleared.status, cleared.json["overlay"]) == (200, [])
    assert desk.room.fleet.snapshot.config.pools["web"].servers["a"].weight == 1
    assert desk.room.fleet.snapshot.drained == frozenset()
    assert (await desk.ask("DELETE", OVERLAY)).status == 200
    assert (await desk.ask("DELETE", f"{OVERLAY}?pool=nix")).status == 404


async def test_a_reload_answers_with_changes_and_what_needs_a_restart(desk: Desk) -> None:
    desk.room.write(f"{desk.keys.lines}\nshutdown: {{grace: 5s}}\nmetrics: {{listen: 127.0.0.1:9902}}")
    answer = await desk.ask("POST", RELOAD, role="operator")
    assert answer.status == 200
    changes = answer.json["changes"]
    assert isinstance(changes, list)
    assert {"path": "shutdown.grace", "before": "30s", "after": "5s", "stale": False} in changes
    assert answer.json["restart_required"] == ["metrics.listen"]
    assert answer.json["generation"] == desk.room.fleet.snapshot.generation


async def test_a_bad_file_is_a_422_with_every_place_and_changes_nothing(desk: Desk) -> None:
    before = desk.room.fleet.snapshot
    desk.room.write(f"{desk.keys.lines}\nshutdown: {{grace: soon, dealy: 1s}}")
    answer = await desk.ask("POST", RELOAD)
    assert answer.status == 422
    assert "duration" in answer.faults["shutdown.grace"]
    assert 'did you mean "delay"?' in answer.faults["shutdown.dealy"]
    assert answer.at("errors", 0, "line") == 4
    assert isinstance(answer.at("errors", 0, "column"), int)
    assert desk.room.fleet.snapshot is before


async def test_a_configuration_that_planes_refuse_is_a_422(desk: Desk) -> None:
    desk.room.write(f"{desk.keys.lines}\nshutdown: {{grace: 5s}}")
    with desk.room.fleet.refusing("listeners.main.address: cannot listen on :80: Permission denied"):
        answer = await desk.ask("POST", RELOAD)
    assert answer.status == 422
    assert answer.faults == {"listeners.main.address": "cannot listen on :80: Permission denied"}


async def test_a_check_says_what_a_reload_would_and_changes_nothing(desk: Desk) -> None:
    before = desk.room.fleet.snapshot
    text = desk.room.file.read_bytes() + b"\nshutdown: {grace: 5s}"
    answer = await desk.ask("POST", CHECK, raw=text, headers=YAML)
    assert (answer.status, answer.json["valid"], answer.json["problems"]) == (200, True, [])
    assert answer.json["changed"] == ["shutdown.grace"]
    answer = await desk.ask("POST", CHECK, raw=b"listen: 127.0.0.1:0\nservers: []", headers=YAML)
    assert (answer.status, answer.json["valid"]) == (200, False)
    assert answer.at("problems", 0, "path") == "servers"
    assert answer.at("problems", 0, "line") == 2
    assert desk.room.fleet.snapshot is before


@pytest.mark.parametrize("raw", [b"", b"\xff", b"a: &a [*a]", b"!!python/object:os.system {}", b"[" * 10_000])
async def test_a_check_of_nonsense_is_an_answer_and_no_fault(desk: Desk, raw: bytes) -> None:
    answer = await desk.ask("POST", CHECK, raw=raw, headers=YAML)
    assert (answer.status, answer.json["valid"]) == (200, False)


async def test_a_check_takes_yaml_and_nothing_else(desk: Desk) -> None:
    assert (await desk.ask("POST", CHECK, raw=b"a: b")).status == 415
