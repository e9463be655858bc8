import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from api.app import make_app, make_metrics_app
from api.auth import BURST, PACE
from api.operation import parse
from api.problems import Problem
from api.request_checks import bare
from api.requests import CheckRequest
from tests.api.desk import BALANCER, SERVERS, Desk

STATUS = f"{BALANCER}/status"


# Every answer.


@pytest.mark.parametrize("path", ["/livez", STATUS, "/nix", f"{SERVERS}/nix"])
async def test_every_answer_has_a_request_id_and_is_not_to_be_stored(desk: Desk, path: str) -> None:
    answer = await desk.ask("GET", path)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "balancer"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(("sent", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False)])
async def test_a_request_id_is_taken_over_when_it_is_a_sane_one(desk: Desk, sent: str, kept: bool) -> None:
    answer = await desk.ask("GET", "/livez", headers={"X-Request-Id": sent})
    assert (answer.headers["X-Request-Id"] == sent) is kept


async def test_head_is_answered_as_get_without_the_body(desk: Desk) -> None:
    answer = await desk.ask("HEAD", STATUS)
    assert (answer.status, answer.content) == (200, b"")


# What is no operation.


@pytest.mark.parametrize("path", ["/nix", "/api", "/api/monitoring/health/", "/livez/x", "/%2Flivez"])
async def test_an_unknown_path_is_a_problem_that_leads_to_the_document(desk: Desk, path: str) -> None:
    answer = await desk.ask("GET", path)
    assert answer.status == 404
    assert answer.json["detail"] == "there is nothing at this path; /openapi.json lists every one"
    assert answer.json["title"] == "Not Found"
    assert answer.json["type"] == "about:blank"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_a_method_that_a_path_does_not_take_is_a_problem_that_names_those_it_does(
    desk: Desk, method: str
) -> None:
    answer = await desk.ask(method, STATUS)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.json["detail"] == f"this path takes GET, HEAD, not {method}"


async def test_a_get_never_changes_anything(desk: Desk) -> None:
    before = desk.room.fleet.snapshots[-1]
    for operation in ("initialize", "health-check"):
        assert (await desk.ask("GET", f"{BALANCER}/{operation}")).status == 405
    for action in ("drain", "ready", "maintenance"):
        assert (await desk.ask("GET", f"{SERVERS}/a/{action}")).status == 405
    assert (await desk.ask("GET", "/api/config/reload")).status == 405
    assert desk.room.fleet.snapshots[-1] is before


# Bodies.


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"servers": ["http://a"],}', "Illegal trailing comma|Expecting property name"),
        (b'{"url": "http://a:1", "url": "http://b:1"}', "the name 'url' is there twice"),
        (b'{"url": "http://a:1", "weight": NaN}', "NaN is no JSON number"),
        (b'{"url": "http://a:1", "weight": Infinity}', "Infinity is no JSON number"),
        (b"\xff\xfe", "utf-8"),
        ("\ufeff{}".encode(), "BOM"),
        ('{"url": "http://a"}'.encode("utf-16"), "utf-8"),
        (b"[" * 60_000, "nested too deeply|Expecting value"),
        (b'{"a":' * 12_000, "nested too deeply|Expecting value"),
        (b"9" * 5000, "digits|number"),
    ],
)
async def test_a_body_that_is_no_strict_json_is_a_400_that_says_why(desk: Desk, raw: bytes, says: str) -> None:
    answer = await desk.ask("POST", SERVERS, raw=raw)
    assert answer.status == 400, answer.content
    assert re.search(says, str(answer.json["detail"]), re.IGNORECASE)


@pytest.mark.parametrize("raw", [b"null", b"[]", b'"http://a:1"', b"7"])
async def test_a_body_that_is_no_object_is_a_422(desk: Desk, raw: bytes) -> None:
    answer = await desk.ask("POST", SERVERS, raw=raw)
    assert answer.status == 422
    assert list(answer.faults) == [""]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_another_content_type_is_a_415_that_names_the_right_one(desk: Desk, content_type: str) -> None:
    answer = await desk.ask("POST", SERVERS, raw=b"{}", headers={"Content-Type": content_type})
    assert answer.status == 415
    assert "application/json" in str(answer.json["detail"])


@pytest.mark.parametrize(
    ("path", "size", "limit"), [(SERVERS, 64 * 1024, "64 KiB"), (f"{BALANCER}/initialize", 1024 * 1024, "1 MiB")]
)
async def test_a_body_of_more_than_the_limit_is_a_413_whether_or_not_it_says_so(
    desk: Desk, path: str, size: int, limit: str
) -> None:
    big = json.dumps({"url": "http://a:1", "name": "x" * size}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    headers = {"Authorization": f"Bearer {desk.keys.text['admin']}", "Content-Type": "application/json"}
    for more in ({"Content-Length": str(len(big))}, {}):
        async with desk.client.post(path, data=pieces(), headers=headers | more) as response:
            assert response.status == 413
            assert response.content_type == "application/problem+json"
            assert (await response.json(content_type=None))["detail"].startswith(f"the body must be at most {limit}")


async def test_a_body_where_none_belongs_is_refused(desk: Desk) -> None:
    answer = await desk.ask("POST", f"{SERVERS}/a/drain", {"wait": "30s"})
    assert (answer.status, answer.json["detail"]) == (400, "this operation takes no body")
    assert desk.room.fleet.snapshot.drained == frozenset()


async def test_a_query_where_none_belongs_is_refused(desk: Desk) -> None:
    answer = await desk.ask("GET", f"{STATUS}?pool=web")
    assert (answer.status, answer.json["detail"]) == (422, "this operation takes no query, not 'pool'")


async def test_a_name_that_is_there_twice_is_found_in_no_time_among_very_many(desk: Desk) -> None:
    names = ", ".join(f'"{n}": 1' for n in range(100_000))
    began = monotonic()
    with pytest.raises(Problem, match="the name '7' is there twice"):
        parse(f'{{{names}, "7": 1}}'.encode(), CheckRequest)
    assert monotonic() - began < 2.0  # by counting each name, it would be minutes


async def test_very_many_faults_are_counted_and_the_first_hundred_are_told(desk: Desk) -> None:
    many = json.dumps({f"unknown{n}": 1 for n in range(3000)}).encode()
    answer = await desk.ask("POST", f"{BALANCER}/health-check", raw=many)
    assert answer.status == 422
    assert str(answer.json["detail"]).startswith("3000 fields are not as expected (the first 100 are told)")
    assert len(answer.faults) == 100
    assert len(answer.content) < len(many)


async def test_a_long_name_is_not_repeated_whole(desk: Desk) -> None:
    answer = await desk.ask("POST", f"{BALANCER}/health-check", {"x" * 60_000: 1})
    assert len(answer.content) < 1000


# Hosts and browsers.


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("localhost:9900", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("[::1]:9900", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:9900", 421),
        ("evil.example:127.0.0.1", 421),
        ("[::1].evil.example", 421),
        ("10.0.0.1", 421),
        ("", 400),
    ],
)
async def test_only_names_of_this_listener_are_answered(desk: Desk, host: str, status: int) -> None:
    answer = await desk.ask("GET", "/livez", headers={"Host": host})
    assert answer.status == status


async def test_names_of_the_configuration_are_answered_as_soon_as_it_has_them(desk: Desk) -> None:
    there = {"Host": "admin.example:9900"}
    assert (await desk.ask("GET", "/livez", headers=there)).status == 421
    desk.room.write(desk.keys.lines.replace("}]}", "}], hosts: [admin.example]}"))
    await desk.ask("POST", "/api/config/reload")
    assert (await desk.ask("GET", "/livez", headers=there)).status == 200


def test_the_name_in_a_host_field_is_told_from_its_port() -> None:
    hosts = {
        "a.example:80": "a.example",
        "A": "a",
        "[::1]:80": "::1",
        "[::1]": "::1",
        "a.:1": "a",
        ":80": None,
        "": None,
        "a:b": None,
        "a:80:80": None,
        "[::1].a": None,
        "[::1]a:80": None,
        "::1": None,
        "a b": None,
    }
    assert {host: bare(host) for host in hosts} == hosts


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://{host}"}, 403),
        ({"Origin": "http://{host}.evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://{host}"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "anything"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 403),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", STATUS), ("POST", f"{SERVERS}/a/drain")])
async def test_what_another_sites_page_sends_is_refused_even_with_the_right_key(
    desk: Desk, headers: dict[str, str], status: int, method: str, path: str
) -> None:
    own = f"{desk.client.host}:{desk.client.port}"
    sent = {name: value.format(host=own) for name, value in headers.items()}
    answer = await desk.ask(method, path, headers=sent)
    assert answer.status == status
    assert bool(desk.room.fleet.snapshot.drained) is (status == 200 and method == "POST")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", STATUS, 200), ("POST", f"{SERVERS}/a/drain", 403)])
async def test_what_somebody_typed_into_a_browser_may_read_and_change_nothing(
    desk: Desk, method: str, path: str, status: int
) -> None:
    assert (await desk.ask(method, path, headers={"Sec-Fetch-Site": "none"})).status == status


async def test_browser_checks_come_before_the_key_and_the_host_before_them(desk: Desk) -> None:
    evil = {"Origin": "http://evil.example"}
    assert (await desk.ask("GET", STATUS, role=None, headers=evil)).status == 403
    assert (await desk.ask("GET", STATUS, role=None, headers={**evil, "Host": "evil.example"})).status == 421


# Keys.


async def test_a_request_without_a_key_is_told_how_to_send_one(desk: Desk) -> None:
    answer = await desk.ask("GET", STATUS, role=None)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="balancer"'
    assert "X-API-Key" in str(answer.json["detail"])


async def test_a_key_may_come_as_x_api_key(desk: Desk) -> None:
    answer = await desk.ask("GET", STATUS, role=None, headers={"X-API-Key": desk.keys.text["viewer"]})
    assert answer.status == 200


async def test_a_role_that_is_too_low_is_told_which_is_needed(desk: Desk) -> None:
    answer = await desk.ask("POST", f"{SERVERS}/a/drain", role="viewer")
    assert answer.status == 403
    assert answer.json["detail"] == (
        "this needs the role operator; the key viewer has the role viewer, which may only read. "
        "Whoever has a key of role admin can make one that may: balancer key create --role operator"
    )
    assert desk.room.fleet.snapshot.drained == frozenset()


async def test_keys_come_before_validation(desk: Desk) -> None:
    assert (await desk.ask("POST", SERVERS, raw=b"{", role=None)).status == 401
    assert (await desk.ask("POST", SERVERS, raw=b"{", role="operator")).status == 403
    assert (await desk.ask("GET", f"{SERVERS}/nix", role=None)).status == 401


async def test_guessing_keys_is_slowed_down_and_open_paths_stay_open(desk: Desk) -> None:
    statuses = [
        (await desk.ask("GET", STATUS, role=None, headers={"X-API-Key": f"guess{n}"})).status for n in range(BURST + 2)
    ]
    assert statuses == [401] * BURST + [429] * 2
    slowed = await desk.ask("GET", STATUS, role=None, headers={"X-API-Key": "guess0"})
    assert slowed.status == 429
    assert 0 < int(slowed.headers["Retry-After"]) <= PACE
    assert (await desk.ask("GET", "/livez", role=None, headers={"X-API-Key": "guess"})).status == 200
    assert (await desk.ask("GET", STATUS)).status == 200  # whoever has a key does not wait for who has none
    desk.clock.now += PACE
    again = await desk.ask("GET", STATUS, role=None, headers={"X-API-Key": "guess0"})
    assert again.status == 401


async def test_keys_change_with_a_reload(desk: Desk) -> None:
    text = desk.keys.text["viewer"]
    desk.room.write(desk.keys.lines.replace("id: viewer", 'expires: "2020-01-01", id: viewer'))
    await desk.ask("POST", "/api/config/reload")
    answer = await desk.ask("GET", STATUS, role=None, headers={"X-API-Key": text})
    assert (answer.status, answer.json["detail"]) == (401, "the key viewer expired on 2020-01-01")


async def test_the_api_answers_on_a_unix_socket_too(desk: Desk, tmp_path: Path) -> None:
    runner = web.AppRunner(make_app(desk.services))
    await runner.setup()
    path = str(tmp_path / "admin.sock")
    await web.UnixSite(runner, path).start()
    async with ClientSession(connector=UnixConnector(path)) as session:
        key = {"X-API-Key": desk.keys.text["viewer"]}
        async with session.get(f"http://localhost{STATUS}", headers=key) as response:
            assert response.status == 200
        async with session.get(f"http://evil.example{STATUS}", headers=key) as response:
            assert response.status == 421
    await runner.cleanup()


# Faults of our own.


async def test_a_fault_of_our_own_is_a_500_without_a_trace_of_the_code(desk: Desk) -> None:
    def refuses(snapshot: object) -> tuple[str, ...]:
        raise RuntimeError("secret detail")

    desk.room.fleet.refuses = refuses
    with capture_logs() as logged:
        answer = await desk.ask("POST", f"{SERVERS}/a/drain")
    assert answer.status == 500
    assert [entry["request_id"] for entry in logged] == [answer.headers["X-Request-Id"]]
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "secret" not in answer.content.decode()
    assert "Traceback" not in answer.content.decode()


async def test_requests_are_counted_by_status(desk: Desk) -> None:
    await desk.ask("GET", "/livez")
    await desk.ask("GET", STATUS, role=None)
    await desk.ask("GET", "/nix")
    assert dict(desk.services.requests) == {200: 1, 401: 1, 404: 1}


async def test_a_garbled_request_is_answered_and_the_listener_goes_on(desk: Desk) -> None:
    reader, writer = await asyncio.open_connection(desk.client.host, desk.client.port)
    writer.write(b"GET\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.")
    writer.close()
    assert (await desk.ask("GET", "/livez")).status == 200


# The listener for Prometheus alone.


async def test_the_metrics_listener_has_the_metrics_and_nothing_else(desk: Desk) -> None:
    async with TestServer(make_metrics_app(desk.services)) as server, desk.client.session as session:
        base = f"http://{server.host}:{server.port}"
        async with session.get(f"{base}/metrics", headers={"Host": "anything"}) as response:
            assert response.status == 200
            assert "balancer_config_reloads_total" in await response.text()
        for path in ("/livez", STATUS, "/openapi.json", "/"):
            async with session.get(base + path) as response:
                assert (response.status, response.content_type) == (404, "application/problem+json")
        async with session.post(f"{base}/metrics") as response:
            assert response.status == 405


def test_the_application_is_made_anew_for_each_listener(desk: Desk) -> None:
    assert make_app(desk.services) is not make_app(desk.services)
