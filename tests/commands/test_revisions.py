"""The commands that change, explain and save the configuration of a running balancer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from balancer.commands.outcome import OK, REFUSED, USAGE
from tests.commands.stand_in import Reply, balancer, problem, stand_in

TAG = (("ETag", '"abc"'),)
CONFIG = {"generation": 3, "revision": 2, "config": {"shutdown": {"grace": "30s"}, "x": "a$b ${C}"}}
GET = Reply(CONFIG, fields=TAG)
CHANGE = {"path": "pools.app.strategy", "before": "random", "after": "hash", "stale": False}
REVISED = {
    "dry_run": False,
    "revision": 3,
    "changes": [CHANGE],
    "effects": ["pool app: picks by hash instead of random"],
    "provisional": None,
    "warnings": [],
}


def test_settings_become_one_patch_of_what_was_got_before() -> None:
    words = ["pools.app.strategy=hash", 'pools.app.servers["10.0.0.1:80"].weight=3', "pools.old=", "cache.enabled=true"]
    with stand_in({"GET /api/config": GET, "PATCH /api/config": Reply(REVISED)}) as api:
        code, out, messages = balancer(
            "config", "patch", *(part for word in words for part in ("--set", word)), "--admin", api.url
        )
    asked = api.asked[-1]
    assert (code, out) == (OK, "")
    assert asked.headers["If-Match"] == '"abc"'
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(asked.body) == {
        "pools": {"app": {"strategy": "hash", "servers": {"10.0.0.1:80": {"weight": 3}}}, "old": None},
        "cache": {"enabled": True},
    }
    assert messages.splitlines() == [
        "changed: 1 change, revision 3",
        "  pools.app.strategy: random -> hash",
        "what it does:",
        "  pool app: picks by hash instead of random",
    ]


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("# why\nservers: [http://a]\n")
    trial = {**REVISED, "provisional": {"seconds_left": 29.9}}
    with stand_in({"GET /api/config": GET, "PUT /api/config?confirm=30s": Reply(trial)}) as api:
        code, _, messages = balancer("config", "put", str(file), "--confirm", "30s", "--admin", api.url)
    assert code == OK
    assert (api.asked[-1].body, api.asked[-1].headers["Content-Type"]) == (file.read_bytes(), "application/yaml")
    assert messages.splitlines()[-1].startswith("it is on trial: `balancer config confirm` within 30 s")


def test_a_dry_run_says_what_would_be() -> None:
    dry = {**REVISED, "dry_run": True, "revision": None}
    with stand_in({"GET /api/config": GET, "PATCH /api/config?dry_run=true": Reply(dry)}) as api:
        _, _, messages = balancer(
            "config", "patch", "--set", "pools.app.strategy=hash", "--dry-run", "--admin", api.url
        )
    assert messages.startswith("this would be 1 change:\n")
    assert "what it would do:" in messages


def test_somebody_elses_change_in_between_is_exit_code_4() -> None:
    with stand_in({"GET /api/config": GET, "PATCH /api/config": problem(412, "the configuration has changed")}) as api:
        code, _, messages = balancer("config", "patch", "--set", "a=1", "--admin", api.url)
    assert (code, messages) == (REFUSED, "balancer: the configuration has changed\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["patch"], "say what to change"),
        (["patch", "--set", "a"], "--set must be PATH=VALUE"),
        (["patch", "--set", "=1"], "--set must be PATH=VALUE"),
        (["patch", "--set", "a..b=1"], "--set must be such as"),
        (["patch", "--set", "a={b: {c}"], "--set a: the value"),
        (["patch", "/nonexistent.yaml"], "cannot be read"),
        (["put", "/nonexistent.yaml"], "cannot be read"),
    ],
)
def test_mistakes_in_the_command_line_are_told(words: list[str], says: str) -> None:
    code, _, messages = balancer("config", *words, "--admin", "http://127.0.0.1:1")
    assert (code, says in messages) == (USAGE, True), messages


RUNNING = {
    "config": {
        "listeners": {"main": {"address": "127.0.0.1:8080"}},
        "pools": {"app": {"servers": {"127.0.0.1:3001": {"weight": 1}, "b": {"weight": 1}}}},
        "routes": {"default": {"rate_limit": []}},
    }
}


def sent(*settings: str, config: object = RUNNING) -> object:
    """The patch that these make."""
    with stand_in({"GET /api/config": Reply(config, fields=TAG), "PATCH /api/config": Reply(REVISED)}) as api:
        words = [part for setting in settings for part in ("--set", setting)]
        code, _, messages = balancer("config", "patch", *words, "--admin", api.url)
    return json.loads(api.asked[-1].body) if code == OK else messages


def test_a_server_is_named_as_status_shows_it() -> None:
    servers = {"127.0.0.1:3001": {"weight": 3}, "b": {"weight": 4}}
    wanted = {"pools": {"app": {"servers": servers}}}
    assert sent("pools.app.servers.127.0.0.1:3001.weight=3", "pools.app.servers.b.weight=4") == wanted
    assert sent("servers.127.0.0.1:3001.weight=3", "servers.b.weight=4") == wanted
    assert sent("pools.app.servers.127.0.0.1:3001=") == {"pools": {"app": {"servers": {"127.0.0.1:3001": None}}}}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            "pools.app.servers.127.0.0.1:3009.url=http://x",
            """needs brackets and quotes: 'pools.app.servers["127.0.0.1:3009"].url=...'""",
        ),
        ("pools.app.servers.127.0.0.1:3009=http://x", """'pools.app.servers["127.0.0.1:3009"]=...'"""),
        ("routes.default.rate_limit[0]=a", "a list is set as a whole: 'routes.default.rate_limit=[a, b]'"),
    ],
)
def test_what_a_setting_can_not_be_is_told_with_what_would_do(setting: str, says: str) -> None:
    assert says in str(sent(setting))


def test_one_setting_inside_of_another_is_refused() -> None:
    assert "is inside of what another --set has said" in str(sent("a=1", "a.b=1"))


def test_short_forms_of_a_file_stand_for_what_they_stand_for_there() -> None:
    assert sent("strategy=hash") == {"pools": {"app": {"strategy": "hash"}}}
    assert sent("listen=:81") == {"listeners": {"main": {"address": ":81"}}}
    two = {"config": {"pools": {"app": {}, "api": {}}}}
    assert "there are app and api: say which, such as pools.app.strategy" in str(sent("strategy=hash", config=two))


@pytest.mark.parametrize(
    ("value", "is_sent"),
    [
        ("[a, b]", ["a", "b"]),
        ("[{policy: a, cost: 2}]", [{"policy": "a", "cost": 2}]),
        ("{a: true}", {"a": True}),
        ('"5"', "5"),
        ("'[a]'", "[a]"),
        ("5", 5),
        ("[::1]:80", "[::1]:80"),
        ('"', '"'),
        ("/a/{id}", "/a/{id}"),
    ],
)
def test_a_value_is_read_as_in_a_file(value: str, is_sent: object) -> None:
    assert sent(f"a.b={value}") == {"a": {"b": is_sent}}


def test_a_mistake_in_a_setting_has_its_path_and_no_line_of_a_text_that_nobody_typed() -> None:
    faults = (
        {"pointer": "/pools/app/servers/10.0.0.1:80/wieght", "message": "is no key", "line": 1, "column": 39},
        {"pointer": "?confirm", "message": "must be a duration"},
    )
    with stand_in({"GET /api/config": GET, "PATCH /api/config": problem(422, "not valid", *faults)}) as api:
        _, _, messages = balancer("config", "patch", "--set", "a=1", "--admin", api.url)
    assert messages.splitlines() == [
        "balancer: not valid",
        '  pools.app.servers["10.0.0.1:80"].wieght: is no key',
        "  --confirm: must be a duration",
    ]


def test_where_settings_come_from_is_told_in_words() -> None:
    written = {"source": "file", "value": "1", "file": "b.yaml", "line": 4, "column": 9, "path": None, "variables": []}
    default = {**written, "source": "default", "line": None}
    items = [
        {"path": "a", "value": "1", "source": "file", "by": None, "at": None, "written": written},
        {
            "path": "b",
            "value": "2",
            "source": "api",
            "by": "alice",
            "at": "2027-01-31T12:00:00Z",
            "written": {**written, "path": "defaults.b", "variables": ["B"]},
        },
        {"path": "c", "value": "3", "source": "api", "by": None, "at": None, "written": default},
        {
            "path": "d",
            "value": "***",
            "source": "environment",
            "by": None,
            "at": None,
            "written": {**default, "source": "environment", "variables": ["REDIS_URL"]},
        },
    ]
    path = "pools.app.servers%5B%2210.0.0.1%3A80%22%5D"
    with stand_in({f"GET /api/config/why?path={path}": Reply({"items": items, "more": 2})}) as api:
        code, out, _ = balancer("config", "why", 'pools.app.servers["10.0.0.1:80"]', "--admin", api.url)
    assert code == OK
    first, second, third, fourth, last = out.splitlines()
    assert first == "a: 1   b.yaml:4:9"
    assert second.startswith("b: 2   by alice over the API, 2027-01-31 ")
    assert second.endswith("; without that 1, b.yaml:4:9, as defaults.b, from B")
    assert third == "c: 3   over the API, by whom is not known any more; without that 1, the default"
    assert fourth == "d: ***   from the environment, REDIS_URL"
    assert last == "and 2 settings more"


def test_the_history_is_a_line_for_each_and_its_changes() -> None:
    one = {
        "revision": 3,
        "at": "2027-01-31T12:00:00Z",
        "author": "alice",
        "cause": "change",
        "changes": [CHANGE],
        "more": 1,
        "provisional": True,
        "note": None,
    }
    with stand_in({"GET /api/config/history": Reply({"items": [one], "next": None})}) as api:
        _, out, _ = balancer("config", "history", "--admin", api.url)
    head, change, more = out.splitlines()
    assert head.startswith("   3  2027-01-31 ")
    assert head.endswith("change by alice   on trial")
    assert (change.strip(), more.strip()) == ("pools.app.strategy: random -> hash", "and 1 change more")


def test_what_differs_is_told_of_both_sides() -> None:
    fault = {"path": "pools", "message": "is bad", "line": 3, "column": 1}
    with stand_in({"GET /api/config/diff": Reply({"running": [CHANGE], "file": None, "problems": [fault]})}) as api:
        _, out, _ = balancer("config", "diff", "--admin", api.url)
    assert out.splitlines() == [
        "the API over the file:",
        "  pools.app.strategy: random -> hash",
        "the file can not be taken as it is now:",
        "  3:1: pools: is bad",
    ]


def test_it_is_rolled_back_confirmed_and_saved() -> None:
    saved = {"dry_run": False, "file": "b.yaml", "changes": [CHANGE]}
    replies = {
        "GET /api/config": GET,
        "POST /api/config/rollback": Reply(REVISED),
        "POST /api/config/confirm": Reply(CONFIG),
        "POST /api/config/save": Reply(saved, fields=TAG),
    }
    with stand_in(replies) as api:
        assert balancer("config", "rollback", "2", "--admin", api.url).code == OK
        assert json.loads(api.asked[-1].body) == {"revision": 2}
        assert api.asked[-1].headers["If-Match"] == '"abc"'
        assert "revision 2 stays" in balancer("config", "confirm", "--admin", api.url).messages
        messages = balancer("config", "save", "--admin", api.url).messages
    assert messages.startswith("saved 1 change to b.yaml; the old one is b.yaml.bak\n")
    assert (api.asked[-1].body, api.asked[-1].headers["If-Match"]) == (b"", '"abc"')


def test_what_is_running_is_shown_as_a_file_would_say_it() -> None:
    with stand_in({"GET /api/config": GET}) as api:
        _, out, _ = balancer("config", "show", "--running", "--admin", api.url)
    assert out == "shutdown:\n  grace: 30s\nx: a$b $${C}\n"


DRAINED = {"path": "pools.app.servers.a.state", "before": "ready", "after": "drained", "stale": False}
ELSEWHERE = {"path": "pools.app-2.strategy", "before": None, "after": "hash", "stale": False}
OVER = Reply({"running": [CHANGE, DRAINED, ELSEWHERE], "file": [], "problems": []})


def test_what_the_api_has_changed_is_taken_back_and_told() -> None:
    replies = {"GET /api/config": GET, "GET /api/config/diff": OVER}
    with stand_in({**replies, "DELETE /api/config/overlay?pool=app": Reply(CONFIG)}) as api:
        code, _, messages = balancer("overlay", "clear", "app", "--admin", api.url)
    assert code == OK
    assert [asked.path for asked in api.asked[:2]] == ["/api/config", "/api/config/diff"], "what is told is no older"
    assert api.asked[-1].headers["If-Match"] == '"abc"'
    assert messages.splitlines() == [
        "taken back: 2 changes of the API in pool app; the file holds again",
        "  pools.app.strategy: hash -> random",
        "  pools.app.servers.a.state: drained -> ready",
    ]


def test_nothing_is_taken_back_on_a_dry_run_nor_where_nothing_is() -> None:
    nothing = Reply({"running": [], "file": [], "problems": []})
    with stand_in({"GET /api/config/diff": OVER}) as api:
        _, _, messages = balancer("overlay", "clear", "--dry-run", "--admin", api.url)
    assert [asked.method for asked in api.asked] == ["GET"]
    assert messages.startswith("this would take back 3 changes of the API:\n")
    replies = {"GET /api/config": GET, "GET /api/config/diff": nothing, "DELETE /api/config/overlay": Reply(CONFIG)}
    with stand_in(replies) as api:
        _, _, messages = balancer("overlay", "clear", "--admin", api.url)
    assert messages == "nothing to take back: the API has changed nothing over the file\n"
    replies = {"GET /api/config": GET, "GET /api/config/diff": OVER}
    with stand_in({**replies, "DELETE /api/config/overlay?pool=x": problem(404, "no x")}) as api:
        code, _, messages = balancer("overlay", "clear", "x", "--admin", api.url)
    assert (code, messages) == (USAGE, "balancer: no x\n")
