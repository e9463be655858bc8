from pathlib import Path

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


LEAKS = [
    'routes: {x: {match: "/a", pool: "${file:%s}"}}',
    'routes: {x: {match: "/a", pool: "${SECRET}"}}',
    'routes: {x: {match: "/{a}", pool: web, rewrite: {path: "/{${SECRET}}"}}}',
    'routes: {x: {match: "/{${SECRET}}/{${SECRET}}", pool: web}}',
    'routes: {x: {match: "/{${SECRET}}", pool: web, rewrite: {path: "/{no}"}}}',
    'routes: {x: {match: "/a", redirect: {to: "https://x/{${SECRET}}"}}}',
    'pools: {web: ["http://${SECRET}:1", "http://${SECRET}:1"]}',
    'pools: {web: ["http://${SECRET}:1"]}',
    'pools: {web: {servers: [http://a:1], health: {active: {body: "(?P=${SECRET})"}}}}',
    'shutdown: {grace: "${file:%s}"}',
    'logs: {level: "${SECRET}"}',
    'trusted_proxies: ["${SECRET}"]',
]


@pytest.mark.parametrize("written", LEAKS)
async def test_a_check_tells_nothing_of_files_and_variables(desk: Desk, tmp_path: Path, written: str) -> None:
    desk.room.environ["SECRET"] = "hunter2"  # the same mapping that the control looks into
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    more = written.replace("%s", str(secret))
    base = "" if "pools:" in more else "pools: {web: [http://a:1]}\n"
    answer = await desk.ask("POST", CHECK, raw=f"listen: 127.0.0.1:0\n{base}{more}".encode(), headers=YAML)
    assert answer.status == 200
    assert "hunter2" not in answer.content.decode()
    told = [*answer.json["problems"], *answer.json["warnings"]]  # type: ignore[misc]  # JSON's lists
    assert any("not looked at here" in str(one) for one in told), answer.json


async def test_a_check_can_not_tell_a_guess_from_the_value(desk: Desk) -> None:
    answers = []
    for guess in ("hunter2", "another"):
        desk.room.environ["SECRET"] = "hunter2"
        text = f'listen: 127.0.0.1:0\npools: {{{guess}: [http://a:1]}}\nroutes: {{x: {{pool: "${{SECRET}}"}}}}'
        answer = await desk.ask("POST", CHECK, raw=text.encode(), headers=YAML)
        answers.append(answer.content.replace(guess.encode(), b"-"))
    assert answers[0] == answers[1]


async def test_a_check_judges_what_variables_have_no_part_in(desk: Desk) -> None:
    desk.room.environ["APP"] = "http://127.0.0.1:1"
    text = desk.room.file.read_text()
    good = text.replace("a: http", "c: '${APP}', a: http") + "\nshutdown: {grace: 5s}"
    answer = await desk.ask("POST", CHECK, raw=good.encode(), headers=YAML)
    assert (answer.json["valid"], answer.json["problems"]) == (True, [])
    assert answer.json["changed"] == ["shutdown.grace"]
    assert answer.at("warnings", 0, "message") == "was not judged: what APP holds is not looked at here"
    bad = good.replace("5s", "soon").replace("APP", "NO_APP")
    answer = await desk.ask("POST", CHECK, raw=bad.encode(), headers=YAML)
    found = str(answer.json["problems"])
    assert "shutdown.grace" in found
    assert "needs the environment variable NO_APP, which is not set" in found
