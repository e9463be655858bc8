"""What is refused before anything else is looked at, byte by byte."""

import pytest

from api.request_checks import bare, plain_address
from tests.api.desk import BALANCER, SERVERS, Desk
from tests.api.raw import ask

STATUS = f"{BALANCER}/status"
DRAIN = f"{SERVERS}/a/drain"


def key(desk: Desk, role: str = "admin") -> str:
    return f"X-API-Key: {desk.keys.text['admin' if role == 'admin' else 'viewer']}"


# Fields that decide something are there once.


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("Host: localhost", "Host: localhost", "Host"),
        ("Host: localhost", "host: evil.example", "Host"),
        ("HOST: evil.example", "Host: localhost", "Host"),
    ],
)
async def test_two_hosts_are_refused_even_when_they_agree(desk: Desk, first: str, second: str, name: str) -> None:
    answer = await ask(desk, STATUS, first, second, key(desk), host="")
    assert answer.status == 400
    assert "data" not in answer.fields
    assert desk.room.fleet.snapshot.drained == frozenset()


@pytest.mark.parametrize(
    "fields",
    [
        ["X-API-Key: {key}", "X-API-Key: {key}"],
        ["X-API-Key: {key}", "x-api-key: wrong"],
        ["x-api-key: wrong", "X-API-KEY: {key}"],
        ["Authorization: Bearer {key}", "authorization: Bearer {key}"],
        ["Authorization: Bearer {key}", "X-API-Key: {key}"],
        ["Authorization: Basic YTpi", "X-API-Key: {key}"],
        ["X-API-Key: {key}", "Origin: http://localhost", "origin: http://evil.example"],
        ["X-API-Key: {key}", "Sec-Fetch-Site: same-origin", "sec-fetch-site: cross-site"],
        ["X-API-Key: {key}", "Cookie: a=b", "cookie: a=c", "Origin: http://localhost"],
    ],
)
async def test_what_decides_is_refused_when_it_is_there_twice(desk: Desk, fields: list[str]) -> None:
    lines = [line.format(key=desk.keys.text["admin"]) for line in fields]
    for method, target in (("GET", STATUS), ("POST", DRAIN)):
        answer = await ask(desk, target, *lines, method=method)
        assert answer.status == 400, answer
    assert desk.room.fleet.snapshot.drained == frozenset()


async def test_a_host_folded_over_two_lines_is_refused(desk: Desk) -> None:
    assert (await ask(desk, STATUS, key(desk), host="Host: localhost\r\n .evil.example")).status == 400


# Hosts.


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("[::1]", 200),
        ("[0:0:0:0:0:0:0:1]:9900", 200),
        ("[::ffff:127.0.0.1]", 200),
        ("[::ffff:7f00:1]:9900", 200),
        ("[::ffff:10.0.0.1]", 421),
        ("[2001:db8::1]", 421),
        ("[::]", 421),
        ("0.0.0.0:9900", 421),
        ("::1", 421),
        ("[::1", 421),
        ("127.1", 421),
        ("2130706433", 421),
        ("0x7f000001", 421),
        ("0177.0.0.1", 421),
        ("127.0.0.1@evil.example", 421),
        ("evil.example#127.0.0.1", 421),
        ("localhost, evil.example", 421),
        ("127.0.0.1 evil.example", 421),
        ("xn--lcalhost-54a", 421),
    ],
)
async def test_an_address_in_host_is_taken_in_every_spelling_and_nothing_else_is(
    desk: Desk, host: str, status: int
) -> None:
    assert (await ask(desk, STATUS, key(desk), host=f"Host: {host}")).status == status


async def test_names_of_the_configuration_may_be_written_as_people_write_them(desk: Desk) -> None:
    desk.room.write(desk.keys.lines.replace("}]}", '}], hosts: ["Admin.Example", "2001:DB8:0::7", "[fd00::1]"]}'))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    for host in ("admin.example", "ADMIN.example:1", "[2001:db8::7]:9900", "[fd00:0:0::1]"):
        assert (await ask(desk, STATUS, key(desk), host=f"Host: {host}")).status == 200, host
    for host in ("[2001:db8::8]", "admin.example.evil", "fd00::1"):
        assert (await ask(desk, STATUS, key(desk), host=f"Host: {host}")).status == 421, host


async def test_a_request_without_host_is_refused(desk: Desk) -> None:
    assert (await ask(desk, STATUS, key(desk), host="")).status == 400


def test_an_address_has_one_spelling() -> None:
    assert plain_address("::FFFF:127.0.0.1") == plain_address("127.0.0.1") == "127.0.0.1"
    assert plain_address("2001:db8:0:0::1") == bare("[2001:DB8::1]:80") == "2001:db8::1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("localhost") is None


# Browsers.


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Origin: null"], 403),
        (["Origin: null", "Sec-Fetch-Site: same-origin"], 403),
        (["Origin: "], 403),
        (["Origin: http://localhost.evil.example"], 403),
        (["Origin: http://localhost:3000"], 403),
        (["Origin: HTTP://LOCALHOST"], 200),
        (["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"], 200),
        (["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors"], 403),
        (["Sec-Fetch-Mode: no-cors"], 403),
        (["Sec-Fetch-Mode: websocket"], 403),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], 403),
        (["Cookie: other=1"], 403),
        (["Cookie: other=1", "Sec-Fetch-Site: same-origin"], 200),
        (["Cookie: other=1", "Origin: http://localhost"], 200),
        (["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: YQ==", "Sec-WebSocket-Version: 13"], 403),
        (["Upgrade: WebSocket"], 403),
    ],
)
async def test_who_looks_like_a_browser_must_be_a_page_of_this_site(desk: Desk, fields: list[str], status: int) -> None:
    answer = await ask(desk, DRAIN, key(desk), *fields, method="POST")
    assert answer.status == status, answer
    assert bool(desk.room.fleet.snapshot.drained) is (status == 200)
    assert [name for name in answer.fields if name.startswith("access-control")] == []


async def test_a_cookie_alone_may_read(desk: Desk) -> None:
    assert (await ask(desk, STATUS, key(desk), "Cookie: other=1")).status == 200


async def test_a_preflight_gets_no_permission(desk: Desk) -> None:
    lines = ["Origin: http://evil.example", "Access-Control-Request-Method: POST"]
    answer = await ask(desk, DRAIN, *lines, method="OPTIONS")
    assert answer.status == 403
    assert [name for name in answer.fields if name.startswith("access-control")] == []


# Paths.


@pytest.mark.parametrize(
    "target",
    [
        f"/{STATUS}",
        f"/api/{STATUS}",
        f"/.{STATUS}",
        f"/livez/..{STATUS}",
        f"/livez/%2e%2e{STATUS}",
        f"/livez/..%2f{STATUS[1:]}",
        f"{STATUS}/",
        f"{STATUS};x=1",
        f"{STATUS}%00",
        f"{STATUS}%20",
        "/%61pi/config",
        "/api%2fconfig",
        "/API/config",
        "/api//config",
        "/api/./config",
        "/api/%2e/config",
        "/api\\config",
        f"{SERVERS}/a%2fdrain",
        f"{SERVERS}/..%2fa",
        f"{SERVERS}/..",
        f"{SERVERS}/%2e%2e",
        f"{SERVERS}/.",
        f"{SERVERS}/a;x",
        f"{SERVERS}/a%3bx",
        f"{SERVERS}/a%5c",
        f"{SERVERS}/a%0d%0aX:y",
        SERVERS.replace("/pools/", "/p%6fols/") + "/a",
    ],
)
async def test_a_path_is_taken_only_as_the_document_writes_it(desk: Desk, target: str) -> None:
    answer = await ask(desk, target, key(desk))
    assert answer.status in (400, 404), answer


async def test_a_name_in_a_path_may_be_encoded(desk: Desk) -> None:
    assert (await ask(desk, SERVERS.replace("/web/", "/w%65b/") + "/%61", key(desk))).status == 200


@pytest.mark.parametrize("target", [f"http://localhost{STATUS}", "http://evil.example/livez", "*", "livez"])
async def test_a_target_that_is_no_path_is_refused(desk: Desk, target: str) -> None:
    assert (await ask(desk, target, key(desk))).status == 400


async def test_head_is_as_guarded_as_get(desk: Desk) -> None:
    assert (await ask(desk, STATUS, method="HEAD")).status == 401
    assert (await ask(desk, STATUS, key(desk), "Origin: null", method="HEAD")).status == 403
    answer = await ask(desk, STATUS, key(desk, "viewer"), method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_no_field_makes_another_method_of_a_request(desk: Desk, name: str) -> None:
    assert (await ask(desk, f"{SERVERS}/a", key(desk), f"{name}: DELETE")).status == 200
    assert (await ask(desk, f"{SERVERS}/a", key(desk))).status == 200
    assert (await ask(desk, DRAIN, key(desk), f"{name}: POST")).status == 405


# The order.


async def test_each_check_comes_before_the_next_one(desk: Desk) -> None:
    """Body, Host, browser, key, role, precondition: a request with every fault is told of the first that is left."""
    faults = [
        ("Content-Length: 9999999", 413),
        ("Host: evil.example", 421),
        ("Origin: http://evil.example", 403),
        ("X-API-Key: wrong", 401),
    ]
    for first in range(len(faults)):
        left = [line for line, _ in faults[first:]]
        host = "" if any(line.startswith("Host") for line in left) else "Host: localhost"
        answer = await ask(desk, "/api/config/overlay", *left, method="DELETE", host=host)
        assert answer.status == faults[first][1], (left, answer)
    answer = await ask(desk, "/api/config/overlay?nix=1", key(desk, "viewer"), method="DELETE")
    assert answer.status == 403  # the role, before the query is looked at
    assert (await ask(desk, "/api/config/overlay?nix=1", key(desk), method="DELETE")).status == 428
    sure = (key(desk), "If-Match: *")
    assert (await ask(desk, "/api/config/overlay?nix=1", *sure, method="DELETE")).status == 422
