"""Attacks on what stands before routes, in bytes, against the running process."""

from __future__ import annotations

import hmac
import json
import socket
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from typing import Any

import pytest

from tests.system.house import Answer, House, Line, opened, request

pytestmark = pytest.mark.slow  # all of them together
KEY = "a-partners-key-of-more-than-32-characters"
SECRET = "a-secret-for-tokens-of-more-than-32-bytes"
SETTINGS: dict[str, Any] = {
    "auth": {
        "partner": {"api_keys": {"keys": {"acme": f"sha256:{sha256(KEY.encode()).hexdigest()}"}}},
        "users": {"jwt": {"secret": SECRET, "require_exp": False, "claims_to": {"email": "X-Email"}}},
        "sso": {"forward": {"pool": "service", "path": "/verify", "copy_headers": ["Remote-User"]}},
    },
    "rate_limits": {
        "once": {"rate": "1/h", "burst": 1, "key": "client"},
        "writes": {"rate": "1/h", "burst": 1, "key": "client", "costs": {"GET": 0}},
        "two": {"concurrency": 2, "key": "client"},
        "subjects": {"rate": "1000/s", "burst": 1000, "key": ["jwt:sub", "client"]},
    },
    "cache": {"purge_from": ["127.0.0.0/8"]},
    "routes": {
        "all": {"pool": "web"},
        "kept": {"match": {"path": "/kept/**"}, "pool": "web", "auth": "partner"},
        "stored": {"match": {"path": "/stored"}, "pool": "web", "auth": "partner", "cache": True},
        "fixed": {"match": {"path": "/fixed"}, "respond": {"body": "within"}, "auth": "partner"},
        "moved": {"match": {"path": "/moved"}, "redirect": {"to": "/within"}, "auth": "partner"},
        "closed": {"match": {"path": "/closed"}, "pool": "web", "maintenance": True, "auth": "partner"},
        "traced": {"match": {"path": "/traced", "methods": ["TRACE"]}, "pool": "web", "auth": "partner"},
        "inside": {
            "match": {"path": "/inside"},
            "pool": "web",
            "access": {"allow": ["10.0.0.0/8", "::ffff:10.0.0.0/104"]},
        },
        "limited": {"match": {"path": "/limited/**"}, "pool": "web", "rate_limit": "once"},
        "written": {"match": {"path": "/written"}, "pool": "web", "rate_limit": "writes"},
        "crowded": {"match": {"path": "/crowded"}, "pool": "web", "rate_limit": "two"},
        "tokens": {"match": {"path": "/tokens"}, "pool": "web", "auth": "users", "rate_limit": "subjects"},
        "asked": {"match": {"path": "/asked"}, "pool": "app", "auth": "sso"},
    },
}
_addresses = count(1)


class Told:
    """A server that keeps the heads of what it is asked."""

    def __init__(self, fields: bytes = b"") -> None:
        self.heads: list[str] = []
        self._fields = fields
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            kept = b""
            while data := client.recv(65536):
                kept += data
                while b"\r\n\r\n" in kept:
                    head, _, kept = kept.partition(b"\r\n\r\n")
                    self.heads.append(head.decode("latin-1"))
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + self._fields + b"\r\nok")

    def fields(self) -> dict[str, list[str]]:
        """Those of the last head."""
        found: dict[str, list[str]] = {}
        for line in self.heads[-1].split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            found.setdefault(name.lower(), []).append(value)
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Told]:
    told = Told(b"Remote-User: bob\r\n")
    yield told
    told.close()


@pytest.fixture(scope="module")
def app() -> Iterator[Told]:
    told = Told()
    yield told
    told.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, service: Told, app: Told) -> Iterator[House]:
    unwatched = {"active": None}
    pools = {
        "service": {"servers": {"s": f"http://127.0.0.1:{service.port}"}, "health": unwatched},
        "app": {"servers": {"a": f"http://127.0.0.1:{app.port}"}, "health": unwatched},
    }
    with opened(House(tmp_path_factory.mktemp("house"), SETTINGS, pools=pools)) as running:
        yield running


@pytest.fixture
def stranger() -> str:
    return f"127.6.0.{next(_addresses)}"


def ask(house: House, data: bytes, source: str) -> Answer:
    with Line(house.port, source) as line:
        line.say(data)
        answer = line.answer()
    assert answer is not None, data
    return answer


def token(claims: bytes) -> str:
    def text(data: bytes) -> bytes:
        return urlsafe_b64encode(data).rstrip(b"=")

    signed = text(b'{"alg":"HS256"}') + b"." + text(claims)
    return (signed + b"." + text(hmac.new(SECRET.encode(), signed, sha256).digest())).decode()


# Around auth -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/kept/x", "/stored", "/fixed", "/moved", "/closed"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PURGE", "get", "X"])
def test_whatever_a_route_does_is_done_for_who_is_let_in(house: House, stranger: str, path: str, method: str) -> None:
    answer = ask(house, request(method, path, host="s"), stranger)
    assert answer.status == 401
    assert b"within" not in answer.head + answer.body


@pytest.mark.parametrize(
    "fields",
    [
        {"Max-Forwards": "0"},
        {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
        {"X_API_Key": KEY},
        {"X-API-Key": f" {KEY}x"},
        {"X-API-Key": ""},
        {"Cookie": f"X-API-Key={KEY}"},
        {"Authorization": f"Bearer {KEY}"},
        {"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"},
        {"Cache-Control": "only-if-cached"},
        {"Expect": "100-continue"},
    ],
    ids=str,
)
def test_no_field_gets_around_the_key(house: House, stranger: str, fields: dict[str, str]) -> None:
    for method, path in (("OPTIONS", "/kept/x"), ("GET", "/kept/x"), ("GET", "/stored"), ("TRACE", "/traced")):
        data = request(method, path, fields, host="s", last="Connection" not in fields)
        assert ask(house, data, stranger).status in (401, 504)
    assert ask(house, request("GET", f"/kept/x?api_key={KEY}", host="s"), stranger).status == 401


SPELLINGS = [
    "//kept/x",
    "/kept//x",
    "/kept/../kept/x",
    "/x/../kept/x",
    "/%6bept/x",
    "/kept%2fx",
    "/kept;/x",
    "/kept/x;y",
    "/kept\\x",
    "/kept/%2e%2e/x",
    "/kept/..;/x",
    "/./kept/x",
    "/kept/.",
    "/KEPT/x",
    "/Kept/x",
    "http://s/kept/x",
]


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_of_a_path_gets_around_the_key(house: House, stranger: str, path: str) -> None:
    assert ask(house, request("GET", path, host="s"), stranger).status in (400, 401)


def test_what_a_service_says_of_who_it_is_can_not_be_said_by_a_client(
    house: House, stranger: str, service: Told, app: Told
) -> None:
    fields = {
        "Remote-User": "root",
        "Remote_User": "root",
        "REMOTE-USER": "root",
        "Remote.User": "root",
        "X-Forwarded-Uri": "/public",
        "X_Forwarded_Uri": "/public",
        "X-Forwarded-Method": "GET",
        "X_Forwarded_Method": "GET",
        "X-Original-URI": "/public",
        "X-Original-URL": "/public",
        "X-Forwarded-For": "10.0.0.1",
        "Connection": "Remote-User, X-Forwarded-Uri, X-Forwarded-Method, close",
    }
    data = request("POST", "/asked?a=b", fields, b"body", host="s", last=False)
    assert ask(house, data, stranger).status == 200
    asked, got = service.fields(), app.fields()
    assert service.heads[-1].startswith("GET /verify HTTP/1.1")
    assert asked["x-forwarded-uri"] == ["/asked?a=b"]
    assert asked["x-forwarded-method"] == ["POST"]
    assert asked["x-forwarded-for"] == [stranger]
    assert got["remote-user"] == ["bob"]
    assert "root" not in service.heads[-1] + app.heads[-1]
    assert "/public" not in service.heads[-1] + app.heads[-1]


ODD = [
    rb'"\ud800"',
    rb'"a\r\nX-Email: root"',
    rb'"\u202e\u009b2J\u2028"',
    rb'"\u0000"',
    b'"' + b"x" * 2500 + b'"',
    b"1" * 2500,
    b"1e999",
    b"NaN",
    b"[]",
    b'{"a": "b"}',
    b"null",
    b"true",
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value[:30]))
def test_whatever_an_issuer_lets_people_call_themselves_breaks_nothing(
    house: House, stranger: str, value: bytes
) -> None:
    claims = b'{"sub": %b, "email": %b}' % (value, value)
    with Line(house.port, stranger) as line:
        for last in (False, True):
            line.say(request("GET", "/tokens", {"Authorization": f"Bearer {token(claims)}"}, host="s", last=last))
            answer = line.answer()
            assert answer is not None
            assert answer.status in (200, 401)
            if answer.status == 401:
                return
    lines = house.access.read_text().split("\n")[:-1]
    assert all(line.isprintable() for line in lines)
    assert "Fatal error" not in house.log.read_text()


@pytest.mark.parametrize(
    ("header", "signed"),
    [
        (b'{"alg":"none"}', False),
        (b'{"alg":"None"}', False),
        (b'{"alg":"HS512"}', True),
        (b'{"alg":"HS256","crit":["exp"]}', True),
        (b'{"alg":"HS256","crit":["b64"],"b64":false}', True),
        (b'{"alg":["HS256"]}', True),
        (b'{"alg":"HS256"', True),
        (b"[]", True),
        (b'{"alg":"HS256","jku":"http://127.0.0.1:1/","jwk":{"kty":"oct","k":"AAAA"}}', False),
    ],
)
def test_a_token_decides_nothing_about_how_it_is_judged(
    house: House, stranger: str, header: bytes, signed: bool
) -> None:
    made = urlsafe_b64encode(header).rstrip(b"=") + b"." + urlsafe_b64encode(b'{"sub":"root"}').rstrip(b"=")
    sign = urlsafe_b64encode(hmac.new(SECRET.encode(), made, sha256).digest()).rstrip(b"=") if signed else b""
    fields = {"Authorization": f"Bearer {(made + b'.' + sign).decode()}"}
    assert ask(house, request("GET", "/tokens", fields, host="s"), stranger).status == 401


# Around addresses and limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP"])
def test_no_field_says_that_a_client_is_elsewhere(house: House, stranger: str, name: str) -> None:
    value = "for=10.0.0.1" if name == "Forwarded" else "10.0.0.1"
    assert ask(house, request("GET", "/inside", {name: value}, host="s"), stranger).status == 403
    statuses = [
        ask(house, request("GET", "/limited/x", {name: value.replace("0.1", f"0.{n}")}, host="s"), stranger).status
        for n in range(3)
    ]
    assert statuses == [200, 429, 429]


def test_a_limit_holds_for_every_spelling_connection_and_method(house: House, stranger: str) -> None:
    assert ask(house, request("GET", "/limited/x", host="s"), stranger).status == 200
    for path in ("/limited//x", "/%6cimited/x", "/limited/x?y", "/limited/x;z", "/limited/./x", "//limited/x"):
        assert ask(house, request("GET", path, host="s"), stranger).status in (400, 429), path
    for method in ("GET", "POST", "get", "X", "OPTIONS"):
        assert ask(house, request(method, "/limited/x", host="s"), stranger).status == 429, method
    with Line(house.port, stranger) as line:
        line.say(request("GET", "/limited/x", host="s", last=False) * 20 + request("GET", "/limited/x", host="s"))
        assert {answer.status for answer in line.answers()} == {429}


def test_what_a_method_costs_is_of_that_method_alone(house: House, stranger: str) -> None:
    assert {ask(house, request("GET", "/written", host="s"), stranger).status for _ in range(5)} == {200}
    statuses = [ask(house, request(method, "/written", host="s"), stranger).status for method in ("get", "X", "POST")]
    assert statuses[0] != 429  # it is another method, and reaches the server, which does not know it
    assert statuses[1:] == [429, 429]


def test_places_come_back_from_clients_that_leave_or_never_end(house: House, stranger: str) -> None:
    head = b"POST /crowded HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\r\nbeginning"
    for _ in range(5):
        lines = [Line(house.port, stranger) for _ in range(2)]
        for line in lines:
            line.say(head)
        for line in lines:
            line.socket.close()
    statuses = []
    for _ in range(200):
        statuses.append(ask(house, request("GET", "/crowded", host="s"), stranger).status)
        if statuses[-1] == 200:
            break
    assert statuses[-1] == 200
    assert house.look("/api/infrastructure/rate-limits")["policies"]["two"]["in_flight"] == 0


def test_nothing_that_stood_before_a_route_was_logged_with_a_secret_or_as_a_fault(house: House) -> None:
    said = house.said()
    assert KEY not in said
    assert SECRET not in said
    assert not any(
        json.loads(line)["level"] == "error" for line in house.log.read_text().splitlines() if line[0] == "{"
    )
