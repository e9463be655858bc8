"""Attacks on the admin API of the running process, in bytes, by whoever can reach its port.

Whoever sends the right key here sends it as a browser would that was led to it, or as a program whose words somebody
else has put in: the request has to be refused in spite of the key.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import trustme

from api.auth import BURST
from tests.system.house import DRAIN, LB, STATUS, Answer, House, Line, opened, request

pytestmark = pytest.mark.slow  # all of them together
CHECK = "/api/config/check"
_addresses = count(1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(House(tmp_path_factory.mktemp("house"))) as running:
        yield running


@pytest.fixture
def stranger() -> str:
    """An address that nobody has had before: what is held against one test's must not be held against another's."""
    number = next(_addresses)
    return f"127.3.{number // 250}.{number % 250 + 1}"


@pytest.fixture
def untouched(house: House) -> Iterator[None]:
    """Whatever the test does, it changes nothing."""
    before = house.state()
    yield
    assert house.state() == before


def refused(answer: Answer, *statuses: int) -> None:
    """The answer is one of these, tells a page of another site nothing, and is a problem as others are."""
    assert answer.status in statuses, (answer.head, answer.body)
    assert answer.field("Content-Type") == "application/problem+json"
    assert b"access-control" not in answer.head.lower()
    assert answer.json["status"] == answer.status


# Names: a page's own name is made to lead here (DNS rebinding) -----------------------------------------------------


FOREIGN = [
    "evil.example",
    "evil.example:9900",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:127.0.0.1",
    "evil@localhost",
    "localhost@evil.example",
    "localhost/.evil.example",
    "localhost#.evil.example",
    "localhost evil.example",
    "localhost,evil.example",
    "[::1].evil.example",
    "[::1]evil.example",
    "[::ffff:10.0.0.1]",
    "[::1%25lo]",
    "10.0.0.1",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",
    "127.1",
    "xn--localhost",
    "*",
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("host", FOREIGN)
def test_a_request_under_another_sites_name_is_refused_whatever_key_it_has(
    house: House, stranger: str, host: str
) -> None:
    for method, path in (("GET", STATUS), ("POST", DRAIN), ("GET", "/livez"), ("GET", "/openapi.json")):
        refused(house.ask(request(method, path, house.key("admin"), host=host), stranger), 421)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9900", "localhost.", "127.0.0.1:1", "[::1]:80", "[::ffff:7f00:1]"]
)
def test_the_names_of_the_machine_itself_are_answered(house: House, stranger: str, host: str) -> None:
    assert house.ask(request("GET", STATUS, house.key("viewer"), host=host), stranger).status == 200


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "target",
    [f"http://evil.example{DRAIN}", f"https://evil.example:1{DRAIN}", f"HTTP://evil.example{DRAIN}", f"http://{DRAIN}"],
)
def test_a_whole_url_in_the_place_of_the_path_does_not_get_around_the_name(
    house: House, stranger: str, target: str
) -> None:
    refused(house.ask(request("POST", target, house.key("admin")), stranger), 400, 421)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("target", ["evil.example:443", "localhost:80", "gopher://localhost/"])
@pytest.mark.parametrize("method", ["CONNECT", "POST"])
def test_the_listener_leads_nowhere_else(house: House, stranger: str, method: str, target: str) -> None:
    refused(house.ask(request(method, target, house.key("admin")), stranger), 400, 421)


# Pages of other sites (CSRF) ---------------------------------------------------------------------------------------


FROM_ELSEWHERE: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "https://localhost"},
    {"Origin": "http://localhost:1"},
    {"Origin": "http://evil.example, http://localhost"},
    {"Origin": "file://"},
    {"Origin": "chrome-extension://abcdefgh"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "Cross-Site"},
    {"Sec-Fetch-Site": "what comes next"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("fields", FROM_ELSEWHERE, ids=lambda fields: ", ".join(f"{n}: {v}" for n, v in fields.items()))
def test_what_a_page_of_another_site_makes_a_browser_send_is_refused_with_the_right_key(
    house: House, stranger: str, fields: dict[str, str]
) -> None:
    for method, path in (("GET", STATUS), ("POST", DRAIN)):
        refused(house.ask(request(method, path, {**house.key("admin"), **fields}), stranger), 403)


def test_a_page_of_our_own_is_answered(house: House, stranger: str) -> None:
    fields = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert house.ask(request("GET", STATUS, {**house.key("viewer"), **fields}), stranger).status == 200


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_is_no_json_even_of_an_old_browser_that_tells_no_origin(
    house: House, stranger: str, content_type: str
) -> None:
    body = b'{"servers": ["http://127.0.0.1:1"]}'
    fields = {"Content-Type": content_type}
    refused(house.ask(request("POST", f"{LB}/initialize", fields, body), stranger), 401)
    refused(house.ask(request("POST", f"{LB}/initialize", {**fields, **house.key("admin")}, body), stranger), 415)
    fields["Cookie"] = "session=1; __Host-session=1"
    refused(house.ask(request("POST", f"{LB}/initialize", {**fields, **house.key("admin")}, body), stranger), 403)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", ["session", "__Host-session", "X-API-Key", "Authorization", "key", "token"])
def test_no_cookie_is_a_key(house: House, stranger: str, name: str) -> None:
    fields = {"Cookie": f"{name}={house.keys['admin']}"}
    refused(house.ask(request("POST", DRAIN, fields), stranger), 401, 403)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "X-API-Key", "token"])
def test_no_query_parameter_is_a_key(house: House, stranger: str, name: str) -> None:
    refused(house.ask(request("POST", f"{DRAIN}?{name}={house.keys['admin']}"), stranger), 401)


def test_a_browser_that_asks_beforehand_is_allowed_nothing(house: House, stranger: str) -> None:
    fields = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    refused(house.ask(request("OPTIONS", DRAIN, fields), stranger), 405)
    refused(house.ask(request("OPTIONS", DRAIN, {**fields, "Origin": "http://evil.example"}), stranger), 403)


@pytest.mark.usefixtures("untouched")
def test_a_websocket_which_browsers_open_from_any_page_is_refused(house: House, stranger: str) -> None:
    fields = {
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    data = request("GET", STATUS, {**house.key("viewer"), **fields, "Connection": "Upgrade"}, last=False)
    refused(house.ask(data, stranger), 403)


# Paths and methods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "//api/config",
        "/livez/../api/config",
        "/livez/%2e%2e/api/config",
        "/livez/..%2fapi/config",
        "/livez;/api/config",
        "/livez/api/config",
        "/./api/config",
        "/api/./config",
        "/api//config",
        "/api%2fconfig",
        "/api/config/",
        "/api/config%00",
        "/api/config%20",
        "/api/config;a=b",
        "/api/config.json",
        "/API/CONFIG",
        "/api/config%2f..%2f..%2flivez",
        "/metrics/../api/config",
        "/openapi.json/../api/config",
        "/livez\\..\\api\\config",
    ],
)
def test_no_way_of_writing_a_path_opens_it_without_a_key(house: House, stranger: str, path: str) -> None:
    refused(house.ask(request("GET", path), stranger), 401, 404)


@pytest.mark.parametrize("path", ["/%61pi/config", "/api/%63onfig", "/api/config%3F"])
def test_a_path_in_disguise_is_no_path_with_a_key_either(house: House, stranger: str, path: str) -> None:
    refused(house.ask(request("GET", path, house.key("viewer")), stranger), 404)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "path",
    [
        f"{LB}/pools/web/servers/a%2fdrain",
        f"{LB}/pools/web/servers/a/../b/drain",
        f"{LB}/pools/web%2fservers%2fa/servers/b/drain",
        f"{LB}/pools/..%2f..%2fconfig/servers/a/drain",
        f"{LB}/pools/%00/servers/a/drain",
        f"{LB}/pools//servers/a/drain",
    ],
)
def test_a_name_in_a_path_is_a_name_and_leads_to_no_other_place(house: House, stranger: str, path: str) -> None:
    refused(house.ask(request("POST", path, house.key("operator")), stranger), 404, 405)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("field", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_is_the_one_of_the_request_line(house: House, stranger: str, field: str) -> None:
    fields = {**house.key("admin"), field: "POST"}
    for path in (DRAIN, "/api/config/reload", f"{LB}/initialize"):
        refused(house.ask(request("GET", path, fields), stranger), 405)
    refused(house.ask(request("GET", f"{DRAIN}?_method=POST", house.key("admin")), stranger), 405)


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "DEBUG", "PROPFIND", "PURGE", "get"])
def test_other_methods_are_refused_and_nothing_is_said_back(house: House, stranger: str, method: str) -> None:
    answer = house.ask(request(method, STATUS, {**house.key("viewer"), "X-Echo": "marked"}), stranger)
    refused(answer, 400, 405)
    assert b"marked" not in answer.body
    assert house.keys["viewer"].encode() not in answer.head + answer.body


@pytest.mark.usefixtures("untouched")
def test_the_api_is_not_behind_the_port_of_the_traffic(house: House, stranger: str) -> None:
    with socket.create_connection(("127.0.0.1", house.port)) as line:
        line.sendall(request("GET", "/api/config", house.key("admin")))
        got = b"".join(iter(lambda: line.recv(65536), b""))
    assert got.endswith(b"\r\n\r\nok")  # the server's answer: to the proxy it is a path as any


# Bodies ------------------------------------------------------------------------------------------------------------


MEBIBYTE = 1024 * 1024


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("key", [True, False])
def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes_and_before_the_key(
    house: House, stranger: str, key: bool
) -> None:
    head = request("POST", CHECK, {"Content-Type": "application/yaml", **(house.key("admin") if key else {})})
    with house.line(stranger) as line:
        line.say(head.replace(b"Content-Length: 0", b"Content-Length: %d" % (MEBIBYTE + 1)))
        answer = line.answer()
    assert answer is not None
    refused(answer, 413)


@pytest.mark.usefixtures("untouched")
def test_a_client_that_waits_to_be_asked_for_its_body_is_not_asked_before_its_key_was_right(
    house: House, stranger: str
) -> None:
    fields = {"Expect": "100-continue", "Content-Type": "application/yaml"}
    refused(house.ask(request("POST", CHECK, fields, b"listen: 1"), stranger), 401)
    with house.line(stranger) as line:
        line.say(request("POST", CHECK, {**fields, **house.key("admin")}, b"listen: 1"))
        assert [answer.status for answer in line.answers()] == [100, 200]


@pytest.mark.usefixtures("untouched")
def test_a_chunked_body_is_counted_as_it_comes(house: House, stranger: str) -> None:
    fields = {**house.key("admin"), "Content-Type": "application/yaml", "Transfer-Encoding": "chunked"}
    head = request("POST", CHECK, fields).replace(b"Content-Length: 0\r\n", b"")
    chunk = b"10000\r\n" + b"# " + b"a" * 65533 + b"\n\r\n"
    assert len(chunk) == 7 + 65536 + 2
    with house.line(stranger) as line:
        line.say(head)
        for _ in range(20):
            line.say(chunk)
        answer = line.answer()
    assert answer is not None
    refused(answer, 413)


@pytest.mark.usefixtures("untouched")
def test_a_small_body_that_unpacks_to_a_large_one_is_refused(house: House, stranger: str) -> None:
    fields = {**house.key("admin"), "Content-Type": "application/yaml", "Content-Encoding": "gzip"}
    refused(house.ask(request("POST", CHECK, fields, gzip.compress(b"#" * 32 * MEBIBYTE)), stranger), 400, 413)


@pytest.mark.usefixtures("untouched")
def test_what_is_longer_than_a_body_said_is_a_request_of_its_own_without_the_key_of_the_first(
    house: House, stranger: str
) -> None:
    hidden = request("POST", DRAIN)
    first = request("POST", CHECK, {**house.key("admin"), "Content-Type": "application/yaml"}, b"a", last=False)
    with house.line(stranger) as line:
        line.say(first + hidden)
        assert [answer.status for answer in line.answers()] == [200, 401]


@pytest.mark.usefixtures("untouched")
def test_what_is_in_a_refused_body_is_never_taken_for_a_request(house: House, stranger: str) -> None:
    hidden = request("POST", DRAIN, house.key("admin"))
    for fields in ({}, house.key("viewer")):
        with house.line(stranger) as line:
            line.say(request("POST", CHECK, {"Content-Type": "application/yaml", **fields}, hidden, last=False))
            line.say(request("GET", "/livez"))
            assert [answer.status for answer in line.answers()] in ([401, 200], [403, 200])


@pytest.mark.usefixtures("untouched")
def test_a_body_that_breaks_off_does_nothing(house: House, stranger: str) -> None:
    body = b'{"servers": ["http://127.0.0.1:1"]}'
    whole = request("POST", f"{LB}/initialize", {**house.key("admin"), "Content-Type": "application/json"}, body)
    with house.line(stranger) as line:
        line.say(whole[:-1])
    assert house.ask(request("GET", "/livez"), stranger).status == 200


# What is there twice, and heads that are read in two ways (smuggling) ----------------------------------------------


TWICE = ["Host", "Authorization", "X-API-Key", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Cookie", "Content-Type"]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", TWICE)
@pytest.mark.parametrize("right_one", [0, 1])
def test_a_field_that_decides_is_there_once_or_the_request_is_refused(
    house: House, stranger: str, name: str, right_one: int
) -> None:
    values = {
        "Host": ("localhost", "evil.example"),
        "Authorization": (f"Bearer {house.keys['operator']}", "Bearer x"),
        "X-API-Key": (house.keys["operator"], "x"),
        "Origin": ("http://localhost", "http://evil.example"),
        "Sec-Fetch-Site": ("same-origin", "cross-site"),
        "Sec-Fetch-Mode": ("cors", "no-cors"),
        "Cookie": ("a=b", "c=d"),
        "Content-Type": ("application/json", "text/plain"),
    }[name]
    lines = [f"{name}: {values[right_one]}", f"{name.swapcase()}: {values[1 - right_one]}"]
    if name != "Host":
        lines.insert(0, "Host: localhost")
    if name not in ("Authorization", "X-API-Key"):
        lines.append(f"X-API-Key: {house.keys['operator']}")
    head = "\r\n".join([f"POST {DRAIN} HTTP/1.1", *lines, "Content-Length: 0", "", ""])
    refused(house.ask(head.encode(), stranger), 400)


@pytest.mark.usefixtures("untouched")
def test_a_key_in_two_places_is_refused_even_when_it_is_the_same(house: House, stranger: str) -> None:
    both = {**house.key("operator"), "Authorization": f"Bearer {house.keys['operator']}"}
    refused(house.ask(request("POST", DRAIN, both), stranger), 400)


SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Content-Length: 0\r\nContent-Length: 3",
        b"Content-Length: 3\r\nContent-Length: 3",
        b"Content-Length: 3, 3",
        b"Content-Length: +3",
        b"Content-Length: -1",
        b"Content-Length: 0x3",
        b"Content-Length: 3 3",
        b"Content-Length:",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"X: y\r\n Transfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: a\0b",
        b"X\0: a",
        b": a",
        b"no colon",
        b"X: " + b"a" * 70_000,
    ],
    ids=lambda lines: repr(lines[:60]),
)
def test_a_head_that_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(
    house: House, stranger: str, lines: bytes
) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %b\r\n%b\r\n\r\n"
    with house.line(stranger) as line:
        line.say(head % (DRAIN.encode(), house.keys["operator"].encode(), lines) + b"0\r\n\r\n" + SMUGGLED)
        answers = line.answers()
    assert len(answers) == 1
    refused(answers[0], 400)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/0.9\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.0\r\n\r\n",
        b"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\nHost: localhost\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\xf5\x01\x00\x00\xf1\x03\x03" + b"a" * 200 + b"\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_other_protocols_and_garbled_lines_are_a_problem_and_the_end(house: House, stranger: str, data: bytes) -> None:
    with house.line(stranger) as line:
        line.say(data)
        answers = line.answers()
    assert len(answers) == 1
    refused(answers[0], 400)


def test_nothing_is_switched_to_http_2(house: House, stranger: str) -> None:
    fields = {"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA", "Connection": "Upgrade, HTTP2-Settings"}
    with house.line(stranger) as line:
        line.say(request("GET", "/livez", fields, last=False))
        answer = line.answer()
    assert answer is not None
    assert answer.status in (200, 400)


# Keys --------------------------------------------------------------------------------------------------------------


def guess(number: int) -> str:
    return f"balancer_{number:08x}_" + "A" * 43


def test_guessing_is_slow_for_who_guesses_and_for_nobody_else(house: House, stranger: str) -> None:
    tried = [house.ask(request("GET", STATUS, {"X-API-Key": guess(n)}), stranger).status for n in range(BURST + 5)]
    assert tried == [401] * BURST + [429] * 5
    slowed = house.ask(request("GET", STATUS, {"X-API-Key": guess(0)}), stranger)
    refused(slowed, 429)
    assert int(slowed.field("Retry-After") or 0) > 0
    neighbour = stranger.replace("127.3.", "127.4.")
    assert house.ask(request("GET", STATUS, {"X-API-Key": guess(99)}), neighbour).status == 401
    # The right key from the very address that somebody else guesses from: a neighbour locks nobody out.
    assert house.ask(request("GET", STATUS, house.key("viewer")), stranger).status == 200
    assert house.ask(request("GET", "/livez"), stranger).status == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP"])
def test_who_guesses_can_not_say_that_somebody_else_does(house: House, stranger: str, name: str) -> None:
    statuses = []
    for number in range(BURST + 1):
        value = f"for=10.0.0.{number}" if name == "Forwarded" else f"10.0.0.{number}"
        fields = {"X-API-Key": guess(number), name: value}
        statuses.append(house.ask(request("GET", STATUS, fields), stranger).status)
    assert statuses == [401] * BURST + [429]


def test_a_guesser_with_many_connections_is_no_faster(house: House, stranger: str) -> None:
    lines = [house.line(stranger) for _ in range(40)]
    for number, line in enumerate(lines):
        line.say(request("GET", STATUS, {"X-API-Key": guess(number)}))
    statuses = [answer.status for line in lines if (answer := line.answer()) is not None]
    for line in lines:
        line.socket.close()
    assert sorted(statuses) == [401] * BURST + [429] * (40 - BURST)


@pytest.mark.parametrize(
    "value",
    ["", " ", "Bearer", "Bearer ", "Basic {key}", "bearer", "Bearer {key} x", "Bearer\t", "Digest {key}", "{key}"],
)
def test_a_key_in_another_form_is_no_key(house: House, stranger: str, value: str) -> None:
    fields = {"Authorization": value.format(key=house.keys["admin"])}
    refused(house.ask(request("GET", STATUS, fields), stranger), 401)


@pytest.mark.parametrize("spoil", [str.upper, str.lower, lambda text: text[:-1], lambda text: text + "A"])
def test_a_key_that_differs_at_all_is_no_key(house: House, stranger: str, spoil: object) -> None:
    assert callable(spoil)
    refused(house.ask(request("GET", STATUS, {"X-API-Key": spoil(house.keys["admin"])}), stranger), 401)


@pytest.mark.usefixtures("untouched")
def test_a_key_does_what_its_role_may_and_nothing_more(house: House, stranger: str) -> None:
    refused(house.ask(request("POST", DRAIN, house.key("viewer")), stranger), 403)
    body = b'{"servers": ["http://127.0.0.1:1"]}'
    fields = {"Content-Type": "application/json", **house.key("operator")}
    refused(house.ask(request("POST", f"{LB}/initialize", fields, body), stranger), 403)
    refused(house.ask(request("DELETE", "/api/config/overlay", house.key("operator")), stranger), 403)


# Crowds and slow ones ----------------------------------------------------------------------------------------------


BODY_DUE = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/%b\r\nContent-Length: 99\r\n\r\n{"
HELD = {
    "silence": b"",
    "half a head": b"GET /livez HTTP/1.1\r\nHost: local",
    "half a login": BODY_DUE % (b"/api/session", b"json"),
    "half a body without a key": BODY_DUE % (CHECK.encode(), b"yaml"),
}


@pytest.mark.parametrize("said", HELD.values(), ids=HELD)
def test_a_crowd_that_holds_every_connection_does_not_keep_the_operator_out(
    house: House, stranger: str, said: bytes
) -> None:
    crowd = [house.line(stranger) for _ in range(400)]
    try:
        for line in crowd:
            line.say(said)
        for _ in range(10):
            assert house.ask(request("GET", STATUS, house.key("viewer")), "127.0.0.8").status == 200
    finally:
        for line in crowd:
            line.socket.close()


def test_one_that_takes_no_answers_holds_nobody_up(house: House, stranger: str) -> None:
    with house.line(stranger) as line:
        line.socket.settimeout(0.5)
        try:
            line.socket.sendall(request("GET", "/openapi.json", last=False) * 2000)
        except TimeoutError:
            pass  # it is no longer read from: what it is sent waits in its own memory
        assert house.ask(request("GET", STATUS, house.key("viewer")), "127.0.0.8").status == 200


# Logs --------------------------------------------------------------------------------------------------------------


FORGED = '{"ts":"forged","event":"forged"}'


def test_nothing_that_is_sent_makes_a_line_of_a_log_or_steers_a_terminal(house: House, stranger: str) -> None:
    for words in (
        f"\n{FORGED}\n",
        f"\r\n{FORGED}",
        "\x1b[2J\x1b]0;title\x07",
        "\u2028" + FORGED,
        "\x9b2J",
        "'\"`$(id)",
    ):
        raw = words.encode().decode("latin-1").replace("\r", "").replace("\n", "%0a").replace(" ", "%20")
        for name in ("X-Request-Id", "User-Agent", "Referer", "X-Forwarded-For", "Cookie"):
            house.ask(request("POST", DRAIN, {name: raw}), stranger)
        path = "".join(f"%{byte:02x}" for byte in words.encode())
        house.ask(request("POST", f"{LB}/pools/web/servers/{path}/drain", house.key("operator")), stranger)
        house.ask(request("POST", f"{LB}/pools/{path}/servers", house.key("admin"), b"{}"), stranger)
        house.ask(request("GET", STATUS, {"X-API-Key": raw}), stranger)
        house.ask(request("GET", STATUS, house.key("viewer"), host=raw), stranger)
    for file in (house.log, house.folder / "audit-denied.jsonl"):
        lines = file.read_text().split("\n")[:-1]
        assert len(lines) > 3
        assert all(line.isprintable() for line in lines)
        assert all(json.loads(line).get("ts") != "forged" for line in lines)


@pytest.mark.parametrize(
    "spoilt",
    [
        "X-API-Key: {key}\x01",
        "X API-Key: {key}",
        "X-API-Key: {key}\r\nBad Line",
        "X-API-Key {key}",
        "X-API-Key: {key}" + "A" * 9000,
        "Authorization: Bearer {key}\0",
        " Authorization: Bearer {key}",
    ],
)
def test_a_key_in_a_garbled_head_is_neither_repeated_nor_logged(house: House, stranger: str, spoilt: str) -> None:
    line = spoilt.format(key=house.keys["admin"])
    answer = house.ask(f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n".encode("latin-1"), stranger)
    refused(answer, 400)
    secret = house.keys["admin"].split("_", 2)[2]
    assert secret not in (answer.head + answer.body).decode("latin-1")
    assert secret not in house.said()


def test_who_has_no_key_can_not_fill_the_log(house: House, stranger: str) -> None:
    before = len(house.log.read_bytes())
    for _ in range(50):
        house.ask(b"\x16\x03\x01nonsense\r\n\r\n", stranger)
        house.ask(request("GET", STATUS, {"X-API-Key": guess(0)}), stranger)
        house.ask(request("GET", STATUS), stranger)
        house.ask(request("GET", STATUS, host="evil.example"), stranger)
    assert len(house.log.read_bytes()) - before < 20_000
    assert "Traceback" not in house.log.read_text()


# An address of the other family ------------------------------------------------------------------------------------


def test_a_listener_on_every_ipv6_address_takes_no_ipv4_in_disguise(tmp_path: Path) -> None:
    """So that no peer is ::ffff:127.0.0.1, which is 127.0.0.1 to some rules and another address to others."""
    at = House(tmp_path, host="::1")
    at.settings = {"admin": {"listen": f"[::]:{at.admin}", "insecure": True}}
    with opened(at):
        assert at.ask(request("GET", STATUS, at.key("viewer"), host="[::1]")).status == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", at.admin), 1.0)
        refused(at.ask(request("GET", STATUS, at.key("viewer"), host="[::2]")), 421)
        refused(at.ask(request("GET", STATUS, at.key("viewer"), host="[::ffff:10.0.0.1]")), 421)


# TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def behind_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "a.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    files = {"cert": str(folder / "a.pem"), "key": str(folder / "a.pem")}
    with opened(House(folder, {"admin": {"tls": files}}, tls=trusting)) as running:
        yield running


def test_who_speaks_no_tls_is_told_so_and_asked_for_nothing(behind_tls: House, stranger: str) -> None:
    with Line(behind_tls.admin, stranger) as line:
        line.say(request("GET", STATUS, behind_tls.key("admin")))
        answers = line.answers()
    assert [answer.status for answer in answers] == [400]
    assert behind_tls.keys["admin"].encode() not in answers[0].body
    with Line(behind_tls.admin, stranger) as line:
        line.say(b"\x00\x01\x02 nonsense" * 100)
        assert line.answers() == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # old ones are what it is about
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_not_spoken(behind_tls: House, version: ssl.TLSVersion) -> None:
    old = ssl.create_default_context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        Line(behind_tls.admin, tls=old)


def test_a_page_without_tls_is_another_site(behind_tls: House, stranger: str) -> None:
    for origin, status in (("http://localhost", 403), ("https://localhost", 200)):
        fields = {**behind_tls.key("viewer"), "Origin": origin, "Sec-Fetch-Site": "same-origin"}
        assert behind_tls.ask(request("GET", STATUS, fields), stranger).status == status


def test_with_tls_a_sessions_cookie_is_one_that_no_other_host_can_have_set(behind_tls: House, stranger: str) -> None:
    fields = {"Content-Type": "application/json", "Origin": "https://localhost", "Sec-Fetch-Site": "same-origin"}
    body = json.dumps({"key": behind_tls.keys["viewer"]}).encode()
    answer = behind_tls.ask(request("POST", "/api/session", fields, body), stranger)
    cookie = answer.field("Set-Cookie") or ""
    assert cookie.startswith("__Host-")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
    value = cookie.partition(";")[0].partition("=")[2]
    assert behind_tls.ask(request("GET", STATUS, {"Cookie": f"__Host-balancer={value}"}), stranger).status == 200
    refused(behind_tls.ask(request("GET", STATUS, {"Cookie": f"balancer={value}"}), stranger), 401)


def test_a_crowd_that_stops_in_its_handshake_does_not_keep_the_operator_out(behind_tls: House, stranger: str) -> None:
    crowd = [Line(behind_tls.admin, stranger) for _ in range(400)]
    try:
        for line in crowd:
            line.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        for _ in range(10):
            assert behind_tls.ask(request("GET", STATUS, behind_tls.key("viewer")), "127.0.0.8").status == 200
    finally:
        for line in crowd:
            line.socket.close()
