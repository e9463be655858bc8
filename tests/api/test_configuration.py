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
    cleared = await desk.ask("DELETE", f"{OVERLAY}?pool=web", headers=ANY)
    assert (cleared.status, cleared.json["overlay"]) == (200, [])
    assert desk.room.fleet.snapshot.config.pools["web"].servers["a"].weight == 1
    assert desk.room.fleet.snapshot.drained == frozenset()
    assert (await desk.ask("DELETE", OVERLAY, headers=ANY)).status == 200
    assert (await desk.ask("DELETE", f"{OVERLAY}?pool=nix", headers=ANY)).status == 404


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


# Changes of the whole.

ANY = {"If-Match": "*"}
HISTORY, ROLLBACK, CONFIRM = "/api/config/history", "/api/config/rollback", "/api/config/confirm"


async def test_a_patch_changes_what_it_says_and_keeps_everything_else(desk: Desk) -> None:
    tag = (await desk.ask("GET", CONFIG)).headers["ETag"]
    body = {"pools": {"web": {"servers": {"a": {"weight": 3}}, "strategy": "least-connections"}}}
    answer = await desk.ask("PATCH", CONFIG, body, headers={"If-Match": tag})
    assert answer.status == 200, answer.content
    assert answer.json["changes"] == [
        {"path": "pools.web.servers.a.weight", "before": "1", "after": "3", "stale": False},
        {"path": "pools.web.strategy", "before": "round-robin", "after": "least-connections", "stale": False},
    ]
    assert answer.json["effects"] == [
        "pool web: server a has weight 3 instead of 1",
        "pool web: picks by least-connections instead of round-robin",
    ]
    pool = desk.room.fleet.snapshot.config.pools["web"]
    assert (pool.servers["a"].weight, pool.strategy) == (3, "least-connections")
    shown = await desk.ask("GET", CONFIG)
    assert shown.headers["ETag"] == answer.headers["ETag"] != tag
    assert (await desk.ask("GET", f"{CONFIG}?source=file")).at("config", "pools", "web", "strategy") == "round-robin"


async def test_a_change_without_if_match_is_a_428_and_one_of_something_older_a_412(desk: Desk) -> None:
    before = desk.room.fleet.snapshot
    body = {"shutdown": {"grace": "5s"}}
    assert (await desk.ask("PATCH", CONFIG, body)).status == 428
    assert (await desk.ask("PUT", CONFIG, body)).status == 428
    tag = (await desk.ask("GET", CONFIG)).headers["ETag"]
    for stale in ('"nonsense"', f"W/{tag}", "", '""'):
        answer = await desk.ask("PATCH", CONFIG, body, headers={"If-Match": stale})
        assert answer.status == 412, stale
        assert tag in str(answer.json["detail"])
    assert desk.room.fleet.snapshot is before
    assert (await desk.ask("PATCH", CONFIG, body, headers={"If-Match": f'"other", {tag}'})).status == 200
    assert (await desk.ask("PATCH", CONFIG, body, headers={"If-Match": tag})).status == 412


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(desk: Desk) -> None:
    before = desk.room.fleet.snapshot
    desk.room.fleet.inflight["web", "b"] = 3
    body = {"pools": {"web": {"servers": {"b": None}}}, "metrics": {"max_series": 1000}}
    answer = await desk.ask("PATCH", f"{CONFIG}?dry_run=true", body, headers=ANY)
    assert answer.json["dry_run"] is True
    assert answer.json["revision"] is None
    assert answer.json["effects"] == [
        "pool web: server b leaves, its 3 requests under way finish",
        "restart needed: metrics.max_series takes effect at the next start",
    ]
    assert desk.room.fleet.snapshot is before


async def test_a_mistake_is_told_with_its_pointer_and_its_place_in_the_body(desk: Desk) -> None:
    before = desk.room.fleet.snapshot
    body = b'{\n  "pools": {"web": {"servers": {"a": {"weight": 0}},\n    "stratgy": "hash"}}\n}'
    answer = await desk.ask("PATCH", CONFIG, raw=body, headers=ANY)
    assert answer.status == 422
    assert answer.json["errors"] == [
        {"pointer": "/pools/web/servers/a/weight", "message": "must be at least 1, not 0", "line": 2, "column": 49},
        {
            "pointer": "/pools/web/stratgy",
            "message": 'is not a known key: did you mean "strategy"?',
            "line": 3,
            "column": 5,
        },
    ]
    yaml = b"pools:\n  web:\n    servers: {a: {weight: 0}}\n"
    answer = await desk.ask("PATCH", CONFIG, raw=yaml, headers=ANY | YAML)
    assert answer.at("errors", 0) == {
        "pointer": "/pools/web/servers/a/weight",
        "message": "must be at least 1, not 0",
        "line": 3,
        "column": 27,
    }
    assert desk.room.fleet.snapshot is before


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"\xff", b"[" * 10_000, b'{"a": 1} x']
)
async def test_a_body_that_is_no_json_object_is_a_400_with_its_place(desk: Desk, raw: bytes) -> None:
    answer = await desk.ask("PATCH", CONFIG, raw=raw, headers=ANY)
    assert answer.status == 400, answer.content
    assert answer.json["errors"]


async def test_what_is_got_can_be_put_and_changes_nothing(desk: Desk) -> None:
    desk.room.environ["TOKEN"] = "swordfish"
    secret = 'defaults: {health: {active: {headers: {Authorization: "Bearer ${TOKEN}"}}}}'
    desk.room.write(f"{desk.keys.lines}\nredis: {{url: 'redis://:swordfish@127.0.0.1:1'}}\n{secret}")
    await desk.ask("POST", RELOAD)
    found = await desk.ask("GET", CONFIG)
    put = await desk.ask("PUT", CONFIG, found.json["config"], headers={"If-Match": found.headers["ETag"]})
    assert (put.status, put.json["changes"], put.json["revision"]) == (200, [], None), put.content
    file = desk.room.file.read_bytes()
    put = await desk.ask("PUT", CONFIG, raw=file, headers=ANY | YAML)
    assert (put.status, put.json["changes"]) == (200, []), put.content
    assert not desk.room.state.exists()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"admin": {"insecure": True}}, "/admin/insecure"),
        ({"admin": {"state": "/etc/cron.d/x"}}, "/admin/state"),
        ({"admin": ":9"}, "/admin"),
        ({"errors": {"page": "/etc/passwd"}}, "/errors/page"),
        ({"logs": {"access": {"to": "/etc/cron.d/x"}}}, "/logs/access/to"),
        ({"logs": {"access": "/etc/cron.d/x"}}, "/logs/access"),
        ({"metrics": {"listen": "0.0.0.0:1"}}, "/metrics/listen"),
        ({"pools": {"web": {"tls": {"ca": "/etc/passwd"}}}}, "/pools/web/tls/ca"),
        ({"pools": {"web": {"strategy": "os:system"}}}, "/pools/web/strategy"),
        ({"pools": {"web": {"servers": {"x": "unix:/var/run/docker.sock"}}}}, "/pools/web/servers/x"),
        ({"pools": {"web": ["UNIX:/var/run/docker.sock"]}}, None),
        ({"pools": {"new": {"servers": ["http://n:1"], "tls": {"ca": "/etc/passwd"}}}}, "/pools/new/tls/ca"),
        ({"listeners": {"main": {"tls": {"certificates": [{"cert": "/a", "key": "/b"}]}}}}, None),
        ({"redis": {"url": "redis://elsewhere"}}, "/redis/url"),
        ({"listen": "unix:/etc/x"}, "/listen"),
    ],
)
async def test_what_names_files_programs_or_who_may_is_for_the_file_to_say(
    desk: Desk, body: object, pointer: str | None
) -> None:
    before = desk.room.fleet.snapshot
    answer = await desk.ask("PATCH", CONFIG, body, headers=ANY)
    assert answer.status == 422, answer.content
    if pointer:
        assert all(found.startswith(pointer) for found in answer.faults)
        assert "can only be said by the file" in answer.faults[pointer]
    assert desk.room.fleet.snapshot is before


@pytest.mark.parametrize("written", ["${SECRET}", "x${file:/etc/passwd}", "${NO_SUCH:-1}"])
async def test_no_variable_and_no_file_is_read_for_a_change(desk: Desk, written: str) -> None:
    desk.room.environ["SECRET"] = "hunter2"
    body = {"routes": {"x": {"match": {"path": "/x"}, "respond": {"body": written}}}}
    answer = await desk.ask("PATCH", CONFIG, body, headers=ANY)
    assert answer.status == 422
    assert "must hold no ${...}" in answer.faults["/routes/x/respond/body"]
    assert b"hunter2" not in answer.content
    assert b"root:" not in answer.content


async def test_a_change_survives_a_restart_and_a_reload_and_can_be_taken_back(desk: Desk) -> None:
    await desk.ask("PATCH", CONFIG, {"shutdown": {"grace": "5s"}}, headers=ANY)
    assert "swordfish" not in desk.room.state.read_text()
    desk.room.write(f"{desk.keys.lines}\nshutdown: {{delay: 1s}}")
    await desk.ask("POST", RELOAD)
    shutdown = desk.room.fleet.snapshot.config.shutdown
    assert (shutdown.delay, shutdown.grace) == (1.0, 5.0)
    await desk.room.control.close()
    control = await desk.room.begin()
    assert control.snapshot.config.shutdown.grace == 5.0
    assert (await desk.ask("DELETE", OVERLAY, headers=ANY)).status == 200


async def test_the_history_says_who_changed_what_and_a_rollback_goes_back_to_it(desk: Desk) -> None:
    first = (await desk.ask("GET", CONFIG)).json["config"]
    await desk.ask("PATCH", CONFIG, {"shutdown": {"grace": "5s"}}, headers=ANY)
    await desk.ask("PATCH", f"{SERVERS}/a", {"weight": 7})
    await desk.ask("POST", f"{SERVERS}/b/drain")
    items = (await desk.ask("GET", HISTORY, role="viewer")).json["items"]
    assert isinstance(items, list)
    assert [(one["revision"], one["author"], one["cause"]) for one in items] == [  # type: ignore[index,call-overload]  # JSON's objects
        (3, "admin", "change"),
        (2, "admin", "change"),
        (1, "the file", "start"),
    ]
    back = await desk.ask("POST", ROLLBACK, {"revision": 1}, headers=ANY)
    assert back.status == 200, back.content
    assert (await desk.ask("GET", CONFIG)).json["config"] == first
    assert desk.room.fleet.snapshot.drained == {("web", "b")}
    assert (await desk.ask("POST", ROLLBACK, {"revision": 99}, headers=ANY)).status == 404


async def test_a_change_on_trial_is_in_force_and_kept_only_when_it_is_confirmed(desk: Desk) -> None:
    answer = await desk.ask("PATCH", f"{CONFIG}?confirm=30s", {"shutdown": {"grace": "5s"}}, headers=ANY)
    assert answer.at("provisional", "revision") == answer.json["revision"] == 2
    assert desk.room.fleet.snapshot.config.shutdown.grace == 5.0
    assert not desk.room.state.exists()
    second = await desk.ask("PATCH", CONFIG, {"shutdown": {"grace": "6s"}}, headers=ANY)
    assert (second.status, "on trial" in str(second.json["detail"])) == (409, True)
    assert (await desk.ask("POST", CONFIRM, {"revision": 1})).status == 409
    confirmed = await desk.ask("POST", CONFIRM)
    assert (confirmed.status, confirmed.json["provisional"]) == (200, None)
    assert "5s" in desk.room.state.read_text()
    assert (await desk.ask("POST", CONFIRM)).status == 409


async def test_of_very_many_faults_the_first_are_told(desk: Desk) -> None:
    many = "\n".join(f"k{number}: 1" for number in range(3000)).encode()
    sent = {"Content-Type": "application/yaml", "If-Match": "*"}
    answer = await desk.ask("PATCH", "/api/config", raw=many, headers=sent)
    assert answer.status == 422
    assert len(answer.faults) == 100
    assert "of 3000 faults the first 100 are told" in str(answer.json["detail"])
    checked = await desk.ask("POST", "/api/config/check", raw=many, headers=sent)
    problems = checked.at("problems")
    assert isinstance(problems, list)
    assert len(problems) == 1000


async def test_a_save_that_ends_half_way_does_not_say_that_nothing_was_changed(desk: Desk) -> None:
    assert (await desk.ask("PATCH", CONFIG, {"shutdown": {"grace": "5s"}}, headers=ANY)).status == 200
    desk.room.state.unlink()
    desk.room.state.mkdir()  # a folder where the file should be
    answer = await desk.ask("POST", f"{CONFIG}/save", headers=ANY)
    assert answer.status == 507
    assert "has been written" in answer.json["detail"]
    assert "nothing was changed" not in answer.json["detail"]
    assert "grace: 5s" in desk.room.file.read_text()


async def test_who_goes_back_or_takes_back_says_from_which_configuration(desk: Desk) -> None:
    calls: list[tuple[str, str, object]] = [("POST", ROLLBACK, {"revision": 1}), ("DELETE", OVERLAY, None)]
    for method, path, body in calls:
        patched = await desk.ask("PATCH", CONFIG, {"shutdown": {"grace": "5s"}}, headers=ANY)
        seen = patched.headers["ETag"]
        assert (await desk.ask(method, path, body)).status == 428
        other = await desk.ask("PATCH", CONFIG, {"shutdown": {"delay": "1s"}}, headers=ANY)
        assert (await desk.ask(method, path, body, headers={"If-Match": seen})).status == 412
        assert desk.room.control.snapshot.config.shutdown.delay == 1.0, "what somebody else did is not undone unseen"
        answer = await desk.ask(method, path, body, headers={"If-Match": other.headers["ETag"]})
        assert answer.status == 200
        assert desk.room.control.snapshot.config.shutdown.grace == 30.0
