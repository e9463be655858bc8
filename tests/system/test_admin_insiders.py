"""Attacks on the running admin API by who has something: a session, a lower key, or a key that was taken back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from api.auth import BURST
from tests.system.house import DRAIN, LB, OWNER, STATUS, Answer, House, Line, opened, request

pytestmark = pytest.mark.slow  # all of them together
ORIGIN = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
JSON = {"Content-Type": "application/json"}
SERVERS = f"{LB}/pools/web/servers"
SECRETS = {
    "in a header that is set": "planted-header-1f0c",
    "in a header of checks": "planted-check-77aa",
    "a token's secret": "planted-token-secret-of-32-bytes-long",
    "in the hash of a password": "cGxhbnRlZC1zYWx0LTE2",
    "in a URL": "planted-redis-0a0b",
}
SETTINGS: dict[str, Any] = {
    "auth": {
        "users": {"jwt": {"secret": SECRETS["a token's secret"], "algorithms": ["HS256"]}},
        "staff": {
            "basic": {
                "users": {"alice": f"scrypt:16384:8:1:{SECRETS['in the hash of a password']}:{'QUJD' * 10}QUI"},
                "realm": "staff",
            }
        },
    },
    "redis": {"url": f"redis://user:{SECRETS['in a URL']}@127.0.0.1:1/0"},
    "routes": {
        "all": {"pool": "web", "headers": {"request": {"set": {"Authorization": SECRETS["in a header that is set"]}}}},
    },
    "defaults": {"health": {"active": {"headers": {"Authorization": SECRETS["in a header of checks"]}}}},
}
PLACES = ("redis", "redis.url", "auth", "routes", "defaults", "pools", "admin", "auth.users.jwt.secret")
_addresses = count(1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(House(tmp_path_factory.mktemp("house"), SETTINGS)) as running:
        yield running


@pytest.fixture
def stranger() -> str:
    return f"127.5.0.{next(_addresses)}"


@pytest.fixture
def untouched(house: House) -> Iterator[None]:
    """Whatever the test does, it changes nothing."""
    before = house.state()
    yield
    assert house.state() == before


class Browser:
    """A page of the dashboard, logged in: its cookie, and the token that it alone can read."""

    def __init__(self, house: House, role: str, address: str, cookies: str = "") -> None:
        self.house = house
        self.address = address
        body = json.dumps({"key": house.keys[role]}).encode()
        sent = {**JSON, **ORIGIN, **({"Cookie": cookies} if cookies else {})}
        self.login = house.ask(request("POST", "/api/session", sent, body), address)
        self.set_cookie = self.login.field("Set-Cookie") or ""
        self.cookie = self.set_cookie.partition(";")[0]
        self.token: str = self.login.json["csrf_token"] if self.login.status == 201 else ""

    def fields(self, **more: str) -> dict[str, str]:
        changed = {"Cookie": self.cookie, "X-CSRF-Token": self.token, **ORIGIN}
        changed.update({name.replace("_", "-"): value for name, value in more.items()})
        return {name: value for name, value in changed.items() if value}

    def ask(self, method: str, path: str, **more: str) -> Answer:
        return self.house.ask(request(method, path, self.fields(**more)), self.address)


def refused(answer: Answer, *statuses: int) -> None:
    assert answer.status in statuses, (answer.head, answer.body)
    assert answer.field("Content-Type") == "application/problem+json"


# Sessions ----------------------------------------------------------------------------------------------------------


def test_a_sessions_cookie_is_for_this_site_and_for_no_script(house: House, stranger: str) -> None:
    browser = Browser(house, "viewer", stranger)
    assert browser.login.status == 201
    attributes = {part.strip() for part in browser.set_cookie.split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= attributes
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    assert browser.ask("GET", STATUS).status == 200
    assert browser.cookie.partition("=")[2].encode() not in browser.login.body


def test_a_cookie_that_somebody_else_chose_never_becomes_a_session(house: House, stranger: str) -> None:
    name = Browser(house, "viewer", stranger).cookie.partition("=")[0]
    chosen = f"{name}=balancer_session_{'A' * 43}"
    browser = Browser(house, "admin", stranger, chosen)
    assert browser.cookie not in ("", chosen)
    refused(browser.ask("GET", STATUS, Cookie=chosen), 401)


def test_a_login_ends_the_session_that_the_browser_had(house: House, stranger: str) -> None:
    first = Browser(house, "viewer", stranger)
    assert Browser(house, "viewer", stranger, first.cookie).login.status == 201
    refused(first.ask("GET", STATUS), 401)


def test_no_other_site_can_log_a_browser_in(house: House, stranger: str) -> None:
    body = json.dumps({"key": house.keys["viewer"]}).encode()
    for fields in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = house.ask(request("POST", "/api/session", {**JSON, **fields}, body), stranger)
        refused(answer, 403)
        assert answer.field("Set-Cookie") is None
    text = {"Content-Type": "text/plain", **ORIGIN}
    refused(house.ask(request("POST", "/api/session", text, body), stranger), 415)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("token", ["", "x", "balancer_csrf_" + "A" * 43, "another's", "the cookie's"])
def test_a_change_without_the_sessions_own_token_is_not_made(house: House, stranger: str, token: str) -> None:
    browser = Browser(house, "admin", stranger)
    if token == "another's":
        token = Browser(house, "admin", stranger).token
    elif token == "the cookie's":
        token = browser.cookie.partition("=")[2]
    refused(browser.ask("POST", DRAIN, X_CSRF_Token=token), 403)
    refused(browser.ask("DELETE", "/api/config/overlay", X_CSRF_Token=token), 403)


@pytest.mark.usefixtures("untouched")
def test_a_cookie_that_a_browser_sends_along_by_itself_does_nothing(house: House, stranger: str) -> None:
    browser = Browser(house, "admin", stranger)
    for more in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Origin": ""},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "", "Sec_Fetch_Site": ""},
        {"Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Mode": "websocket"},
    ):
        refused(browser.ask("POST", DRAIN, **more), 403)


@pytest.mark.usefixtures("untouched")
def test_a_session_may_what_its_key_may(house: House, stranger: str) -> None:
    refused(Browser(house, "viewer", stranger).ask("POST", DRAIN), 403)
    refused(Browser(house, "operator", stranger).ask("DELETE", "/api/config/overlay"), 403)


@pytest.mark.usefixtures("untouched")
def test_a_request_has_one_identity(house: House, stranger: str) -> None:
    browser = Browser(house, "viewer", stranger)
    refused(browser.ask("POST", DRAIN, X_API_Key=house.keys["admin"]), 400)
    refused(browser.ask("POST", DRAIN, Authorization=f"Bearer {house.keys['admin']}"), 400)
    other = Browser(house, "admin", stranger)
    refused(browser.ask("POST", DRAIN, Cookie=f"{other.cookie}; {browser.cookie}"), 400)


def test_neither_cookie_nor_token_is_a_key_and_no_key_is_a_cookie(house: House, stranger: str) -> None:
    browser = Browser(house, "admin", stranger)
    name, _, value = browser.cookie.partition("=")
    for text in (value, browser.token):
        refused(house.ask(request("GET", STATUS, {"X-API-Key": text}), stranger), 401)
    refused(browser.ask("GET", STATUS, Cookie=f"{name}={house.keys['admin']}"), 401)


def test_a_session_ends_with_its_key_wherever_its_cookie_was_copied_to(house: House, stranger: str) -> None:
    owner = house.key("admin")
    made = house.ask(request("POST", "/api/keys", {**owner, **JSON}, b'{"id": "guest", "role": "operator"}'), OWNER)
    house.keys["guest"] = made.json["key"]
    browser = Browser(house, "guest", stranger)
    assert browser.ask("GET", STATUS).status == 200
    assert house.ask(request("DELETE", "/api/keys/guest", owner), OWNER).status == 204
    refused(browser.ask("GET", STATUS), 401)
    again = house.ask(request("POST", "/api/keys", {**owner, **JSON}, b'{"id": "guest", "role": "operator"}'), OWNER)
    assert again.status == 201
    refused(browser.ask("GET", STATUS), 401)  # a new key of that name is another key
    house.ask(request("DELETE", "/api/keys/guest", owner), OWNER)


def test_a_copied_cookie_opens_nothing_after_the_logout(house: House, stranger: str) -> None:
    browser = Browser(house, "viewer", stranger)
    assert browser.ask("DELETE", "/api/session").status == 204
    refused(browser.ask("GET", STATUS), 401)


def test_a_login_is_as_slow_to_guess_as_a_key(house: House, stranger: str) -> None:
    statuses = []
    for number in range(BURST + 2):
        body = json.dumps({"key": f"balancer_{number:08x}_{'B' * 43}"}).encode()
        statuses.append(house.ask(request("POST", "/api/session", {**JSON, **ORIGIN}, body), stranger).status)
    assert statuses == [401] * BURST + [429] * 2


# Holding places ----------------------------------------------------------------------------------------------------


def test_an_operator_who_waits_as_often_as_there_are_connections_keeps_nobody_out(tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    pools = {
        "slow": {"servers": {"s": f"http://127.0.0.1:{silent.getsockname()[1]}"}, "health": {"active": None}},
    }
    routes = {"all": {"pool": "web"}, "slow": {"match": {"path": "/slow"}, "pool": "slow"}}
    with silent, opened(House(tmp_path, {"routes": routes}, pools=pools)) as house, Line(house.port) as client:
        client.say(request("GET", "/slow", host="s"))
        taken, _ = silent.accept()
        path = f"{LB}/pools/slow/servers/s/drain"
        lines = [house.line() for _ in range(300)]
        try:
            for line in lines:
                line.say(request("POST", f"{path}?wait=5m", house.key("operator")))
            for _ in range(5):
                assert house.ask(request("GET", STATUS, house.key("viewer")), OWNER).status == 200
            assert house.ask(request("POST", f"{path}?wait=5m", house.key("operator")), OWNER).status == 202
        finally:
            for line in lines:
                line.socket.close()
            taken.close()


# The configuration over the API ------------------------------------------------------------------------------------


def change(house: House, method: str, body: object, path: str = "/api/config", **fields: str) -> Answer:
    """A change by the admin's key with the right tag."""
    tag = house.ask(request("GET", "/api/config", house.key("admin")), OWNER).field("ETag") or ""
    sent = {**house.key("admin"), **JSON, "If-Match": tag, **fields}
    return house.ask(request(method, path, sent, json.dumps(body).encode()), OWNER)


def pool(**settings: object) -> object:
    return {"pools": {"web": settings}}


BEYOND_A_KEY: dict[str, object] = {
    "a socket": pool(servers={"x": {"url": "unix:/var/run/docker.sock"}}),
    "a socket in capitals": pool(servers={"x": {"url": "UNIX:/var/run/docker.sock"}}),
    "a socket in short": pool(servers=["unix:/var/run/docker.sock"]),
    "a program": pool(strategy="os:system"),
    "a program in defaults": {"defaults": {"strategy": "os:system"}},
    "files of certificates": pool(tls={"certificate": {"cert": "/etc/passwd", "key": "/etc/passwd"}}),
    "a file of authorities": pool(tls={"ca": "/etc/shadow"}),
    "keys": {"admin": {"keys": [{"id": "me", "hash": "sha256:" + "0" * 64, "role": "admin"}]}},
    "no keys": {"admin": {"keys": None}},
    "the API's address": {"admin": {"listen": "0.0.0.0:9900"}},
    "the API in the clear": {"admin": {"insecure": True}},
    "names of the API": {"admin": {"hosts": ["evil.example"]}},
    "the file of changes": {"admin": {"state": "/etc/cron.d/x"}},
    "a log": {"logs": {"access": {"to": "/etc/cron.d/x"}}},
    "a page": {"errors": {"page": "/etc/shadow"}},
    "another Redis": {"redis": {"url": "redis://127.0.0.1:1/0"}},
    "whose tokens are believed": {"auth": {"users": {"jwt": {"secret": "mine-of-thirty-two-bytes-and-more"}}}},
    "a set of keys": {"auth": {"users": {"jwt": {"secret": None, "jwks": "http://127.0.0.1:1/"}}}},
    "figures for everybody": {"metrics": {"open": True, "listen": "0.0.0.0:1"}},
    "a socket to listen on": {"listeners": {"x": {"address": "unix:/tmp/x.sock"}}},
    "a variable": pool(servers={"x": {"url": "http://${HOME}"}}),
    "a file's text": {"routes": {"r": {"match": {"path": "/r"}, "respond": {"body": "${file:/etc/passwd}"}}}},
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("what", BEYOND_A_KEY)
@pytest.mark.parametrize("content_type", ["application/merge-patch+json", "application/yaml"])
def test_a_key_is_not_the_machine(house: House, what: str, content_type: str) -> None:
    answer = change(house, "PATCH", BEYOND_A_KEY[what], **{"Content-Type": content_type})
    refused(answer, 400, 422)
    assert b"root:" not in answer.body
    whole = house.look()["config"]
    body = {**whole, **{name: value for name, value in dict(BEYOND_A_KEY[what]).items() if name != "pools"}}  # type: ignore[call-overload]  # a table
    if body != whole:
        refused(change(house, "PUT", body), 400, 422)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("url", ["unix:/var/run/docker.sock", "unix:/run/systemd/private"])
def test_no_socket_is_made_a_server(house: House, url: str) -> None:
    fields = {**house.key("admin"), **JSON}
    for path, body in ((SERVERS, {"url": url}), (f"{LB}/initialize", {"servers": [url, {"url": url, "name": "b"}]})):
        answer = house.ask(request("POST", path, fields, json.dumps(body).encode()), OWNER)
        refused(answer, 422)
        assert b"must be no socket" in answer.body


@pytest.mark.usefixtures("untouched")
def test_a_change_that_does_not_know_what_it_changes_is_not_made(house: House) -> None:
    fields = {**house.key("admin"), **JSON}
    body = b'{"logs": {"level": "debug"}}'
    refused(house.ask(request("PATCH", "/api/config", fields, body), OWNER), 428)
    refused(house.ask(request("PATCH", "/api/config", {**fields, "If-Match": '"made-up"'}, body), OWNER), 412)
    refused(house.ask(request("PUT", "/api/config", fields, body), OWNER), 428)
    refused(house.ask(request("POST", "/api/config/rollback", fields, b'{"revision": 1}'), OWNER), 428)
    refused(house.ask(request("DELETE", "/api/config/overlay", house.key("admin")), OWNER), 428)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_the_configuration_is_changed_by_admins_alone(house: House, role: str) -> None:
    fields = {**house.key(role), **JSON, "If-Match": "*"}
    for method, path in (
        ("PATCH", "/api/config"),
        ("PUT", "/api/config"),
        ("POST", "/api/config/rollback"),
        ("POST", "/api/config/confirm"),
        ("DELETE", "/api/config/overlay"),
        ("POST", "/api/keys"),
    ):
        refused(house.ask(request(method, path, fields, b"{}"), OWNER), 403)


def test_no_answer_to_a_viewer_or_an_operator_has_a_secret(house: House) -> None:
    document = house.look("/openapi.json")
    reading = [path for path, operations in document["paths"].items() if "get" in operations]
    for role in ("viewer", "operator", "admin"):
        for path in reading:
            filled = path.replace("{pool}", "web").replace("{server}", "a").replace("{id}", "nobody")
            for query in ("", "?source=file", *(f"?path={place}" for place in PLACES)):
                answer = house.ask(request("GET", filled + query, house.key(role)), OWNER)
                text = (answer.head + answer.body).decode()
                assert [what for what, secret in SECRETS.items() if secret in text] == [], (role, path)
                assert not any(key.split("_", 2)[2] in text for key in house.keys.values())
    assert any("config" in path for path in reading)
    assert [what for what, secret in SECRETS.items() if secret in house.said()] == []


@pytest.mark.usefixtures("untouched")
def test_what_is_masked_is_not_moved_to_where_it_is_shown(house: House) -> None:
    for body in (
        {"routes": {"r": {"match": {"path": "/r"}, "respond": {"body": "***"}}}},
        {"routes": {"r": {"match": {"path": "/r"}, "redirect": {"to": "/***"}}}},
        pool(servers={"x": {"url": "http://***"}}),
    ):
        answer = change(house, "PATCH", body, "/api/config?dry_run=true")
        assert not any(secret.encode() in answer.body for secret in SECRETS.values())


def test_a_key_that_the_file_took_back_does_not_come_back_with_an_older_revision(house: House) -> None:
    owner = {**house.key("admin"), **JSON}
    text = house.file.read_text()
    latest = house.look("/api/config/history")["items"][0]["revision"]
    lost = house.records.pop(0)
    assert lost["role"] == "viewer"
    try:
        house.file.write_text(text.replace(lost["hash"], "sha256:" + "1" * 64))
        assert house.ask(request("POST", "/api/config/reload", owner), OWNER).status == 200
        refused(house.ask(request("GET", STATUS, house.key("viewer")), OWNER), 401)
        body = json.dumps({"revision": latest}).encode()
        rolled = house.ask(request("POST", "/api/config/rollback", {**owner, "If-Match": "*"}, body), OWNER)
        assert rolled.status in (200, 409, 422), rolled.body
        refused(house.ask(request("GET", STATUS, house.key("viewer")), OWNER), 401)
    finally:
        house.records.insert(0, lost)
        house.file.write_text(text)
        house.ask(request("POST", "/api/config/reload", owner), OWNER)
    assert house.ask(request("GET", STATUS, house.key("viewer")), OWNER).status == 200


TEXTS = [
    "$${PLANTED}",
    "a # b",
    "a: b\nadmin: {insecure: true}",
    "'\"\n- x",
    "*x",
    "&x",
    "!!python/object/apply:os.system ['id']",
    "---",
    "...",
    "%YAML 1.2",
    "\u2028x\u0085",
    "\x7f\t ",
    "null",
    "- {a: b}",
    "$$",
    "$",
]


def test_no_text_that_is_saved_becomes_anything_else_in_the_file(tmp_path: Path) -> None:
    """Neither a setting beside it nor what the process's own environment holds."""
    with opened(House(tmp_path), PLANTED="planted-environment-5e5e") as house:
        routes = {
            f"r{number}": {"match": {"path": f"/r{number}"}, "respond": {"body": text}}
            for number, text in enumerate(TEXTS)
        }
        patched = change(house, "PATCH", {"routes": routes}, **{"Content-Type": "application/merge-patch+json"})
        assert patched.status == 200, patched.body
        before = house.look()["config"]
        save = "/api/config/save"
        refused(house.ask(request("POST", save, {**house.key("operator"), "If-Match": "*"}), OWNER), 403)
        assert house.ask(request("POST", save, {**house.key("admin"), "If-Match": "*"}), OWNER).status == 200
        assert house.ask(request("POST", "/api/config/reload", house.key("admin")), OWNER).status == 200
        after = house.look()
        assert after["overlay"] == []
        assert after["config"] == before
        for number, text in enumerate(TEXTS):
            with Line(house.port, OWNER) as line:
                line.say(request("GET", f"/r{number}", host="s"))
                answer = line.answer()
            assert answer is not None
            assert answer.body.decode() == text
        assert "planted" not in house.file.read_text()
