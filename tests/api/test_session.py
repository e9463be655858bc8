"""Sessions of browsers: begun with a key, dead with it, and of no use to any page but this site's."""

import json

import pytest
from aiohttp.test_utils import make_mocked_request

from api.auth import BURST, new_key
from api.problems import Problem
from api.sessions import IDLE, MOST, MOST_OF_KEY, WHOLE, Sessions, cookie_name, presented_cookie, set_cookie
from tests.api.desk import BALANCER, SERVERS, Clock, Desk
from tests.api.raw import Said, ask

STATUS = f"{BALANCER}/status"
DRAIN = f"{SERVERS}/a/drain"


def sent(headers: dict[str, str], **other: str | None) -> list[str]:
    """The fields of a session as lines, with others in their places."""
    names = {name.replace("_", "-"): value for name, value in other.items()}
    return [f"{name}: {value}" for name, value in {**headers, **names}.items() if value is not None]


async def says(
    desk: Desk, headers: dict[str, str], method: str = "GET", target: str = STATUS, **other: str | None
) -> Said:
    return await ask(
        desk, target, *sent(headers, **other), method=method, host=f"Host: {desk.client.host}:{desk.client.port}"
    )


async def test_a_session_has_the_rights_of_its_key(desk: Desk) -> None:
    mine = await desk.session("viewer")
    assert (await says(desk, mine)).status == 200
    refused = await says(desk, mine, "POST", DRAIN)
    assert (refused.status, refused.detail[:28]) == (403, "this needs the role operator")
    assert (await says(desk, await desk.session("operator"), "POST", DRAIN)).status == 200


async def test_a_session_is_told_who_it_is_and_how_long(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/session", {"key": desk.keys.text["operator"]}, role=None)
    assert answer.status == 201
    assert (answer.json["kind"], answer.json["key"], answer.json["role"]) == ("session", "operator", "operator")
    cookie = answer.headers["Set-Cookie"]
    name, _, rest = cookie.partition("=")
    value, _, attributes = rest.partition("; ")
    assert (name, attributes) == ("balancer", "Path=/; HttpOnly; SameSite=Strict")
    assert len(value) > 50
    assert value not in answer.content.decode()
    mine = {"Cookie": f"balancer={value}"}
    shown = json.loads((await says(desk, mine, target="/api/session")).body)
    assert shown["csrf_token"] == answer.json["csrf_token"]
    assert shown["ends"] < shown["ends_at_last"]
    with_key = await desk.ask("GET", "/api/session", role="viewer")
    assert with_key.json == {
        "kind": "key", "key": "viewer", "role": "viewer", "csrf_token": None, "ends": None, "ends_at_last": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({}, 200),
        ({"X_CSRF_Token": None}, 403),
        ({"X_CSRF_Token": ""}, 403),
        ({"X_CSRF_Token": "balancer_csrf_wrong"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": None, "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Origin": None, "Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": None, "Sec_Fetch_Site": "none"}, 403),
        ({"Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Cookie": None}, 401),
    ],
)
async def test_a_change_needs_the_cookie_the_token_and_the_right_page(
    desk: Desk, other: dict[str, str | None], status: int
) -> None:
    mine = await desk.session()
    answer = await says(desk, mine, "POST", DRAIN, **other)
    assert answer.status == status, answer
    assert bool(desk.room.fleet.snapshot.drained) is (status == 200)


async def test_the_token_of_another_session_is_none(desk: Desk) -> None:
    mine, other = await desk.session(), await desk.session()
    assert (await says(desk, mine, "POST", DRAIN, X_CSRF_Token=other["X-CSRF-Token"])).status == 403


async def test_every_change_needs_the_token_even_one_that_is_open_to_all_methods(desk: Desk) -> None:
    mine = await desk.session()
    for method, target in (("DELETE", "/api/session"), ("DELETE", "/api/keys/x"), ("POST", "/api/config/check")):
        answer = await says(desk, mine, method, target, X_CSRF_Token=None)
        assert (answer.status, "X-CSRF-Token" in answer.detail) == (403, True)


async def test_a_key_and_a_session_in_one_request_are_refused(desk: Desk) -> None:
    mine = await desk.session("viewer")
    answer = await says(desk, mine, "POST", DRAIN, X_API_Key=desk.keys.text["admin"])
    assert (answer.status, answer.detail) == (
        400,
        "the request has a key and the cookie of a session: send one of them",
    )


async def test_cookies_of_others_do_not_matter(desk: Desk) -> None:
    mine = await desk.session()
    cookie = f"a=b; balancers=1; {mine['Cookie']}; xbalancer=2; __Host-balancer=3"
    assert (await says(desk, mine, Cookie=cookie)).status == 200
    origin = {"Origin": mine["Origin"], "Cookie": "a=b", "X-API-Key": desk.keys.text["admin"]}
    assert (await says(desk, origin, "POST", DRAIN)).status == 200


async def test_a_session_cookie_that_is_there_twice_is_refused(desk: Desk) -> None:
    mine = await desk.session()
    for cookie in (f"balancer=planted; {mine['Cookie']}", f"{mine['Cookie']}; balancer=planted"):
        answer = await says(desk, mine, Cookie=cookie)
        assert answer.status == 400
        assert "clear the cookies" in answer.detail


async def test_logging_in_ends_the_session_before_and_never_takes_over_a_planted_one(desk: Desk) -> None:
    before = await desk.session()
    body = json.dumps({"key": desk.keys.text["admin"]}).encode()
    answer = await desk.ask(
        "POST", "/api/session", raw=body, role=None, headers={"Cookie": before["Cookie"], "Origin": before["Origin"]}
    )
    assert answer.status == 201
    assert (await says(desk, before)).status == 401
    planted = {"Cookie": "balancer=balancer_session_" + "a" * 43, "Origin": before["Origin"]}
    answer = await desk.ask("POST", "/api/session", raw=body, role=None, headers=planted)
    assert planted["Cookie"] not in answer.headers["Set-Cookie"]
    assert (await says(desk, planted)).status == 401


async def test_logging_out_ends_it_wherever_its_cookie_is(desk: Desk) -> None:
    mine = await desk.session()
    answer = await says(desk, mine, "DELETE", "/api/session")
    assert answer.status == 204
    assert answer.fields["set-cookie"] == ["balancer=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"]
    assert (await says(desk, mine)).status == 401
    assert (await desk.ask("DELETE", "/api/session")).status == 409  # with a key there is nothing to end


async def test_a_session_that_is_over_is_forgotten_by_the_browser_and_open_paths_stay_open(desk: Desk) -> None:
    mine = await desk.session()
    desk.clock.now += IDLE
    answer = await says(desk, mine)
    assert (answer.status, answer.detail) == (401, "the session is over: log in again")
    assert "Max-Age=0" in answer.fields["set-cookie"][0]
    for target in ("/livez", "/api/monitoring/health"):
        assert (await says(desk, mine, target=target)).status == 200


# A session dies with its key.


async def test_a_session_ends_with_its_key(desk: Desk) -> None:
    made = await desk.ask("POST", "/api/keys", {"id": "k"})
    desk.keys.text["viewer"] = str(made.json["key"])
    mine = await desk.session("viewer")
    assert (await says(desk, mine)).status == 200
    assert (await desk.ask("DELETE", "/api/keys/k")).status == 204
    assert (await says(desk, mine)).status == 401
    await desk.ask("POST", "/api/keys", {"id": "k"})
    assert (await says(desk, mine)).status == 401  # another key of that id is another key


async def test_a_session_has_no_more_rights_than_its_key_has_by_now(desk: Desk) -> None:
    mine = await desk.session("operator")
    desk.room.write(desk.keys.lines.replace("role: operator", "role: viewer"))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    assert (await says(desk, mine, "POST", DRAIN)).status == 403
    desk.room.write(desk.keys.lines.replace("id: operator", "networks: [10.0.0.0/8], id: operator"))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    assert (await says(desk, mine)).status == 403
    desk.room.write(desk.keys.lines.replace("id: operator", 'expires: "2020-01-01", id: operator'))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    assert (await says(desk, mine)).status == 401


# Logging in.


async def test_wrong_keys_are_limited_at_the_login_as_everywhere(desk: Desk) -> None:
    statuses = [
        (await desk.ask("POST", "/api/session", {"key": f"guess{n}"}, role=None)).status for n in range(BURST + 2)
    ]
    assert statuses == [401] * BURST + [429] * 2
    assert (await desk.ask("GET", STATUS, role=None, headers={"X-API-Key": "guess"})).status == 429
    assert (await desk.ask("POST", "/api/session", {"key": desk.keys.text["admin"]}, role=None)).status == 201


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"key=abc", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"key": "abc"}', {"Content-Type": "text/plain"}, 415),
        (b'{"key": "abc"}', {"Origin": "http://evil.example"}, 403),
        (b'{"key": "abc"}', {"Sec-Fetch-Site": "cross-site"}, 403),
        (b'{"key": ""}', {}, 422),
        (b'{"key": "a", "key": "b"}', {}, 400),
        (b"{}", {}, 422),
    ],
)
async def test_no_other_page_and_no_form_logs_anybody_in(
    desk: Desk, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await desk.ask("POST", "/api/session", raw=body, role=None, headers=headers)
    assert answer.status == status
    assert "Set-Cookie" not in answer.headers
    assert len(desk.services.sessions) == 0


async def test_a_wrong_key_at_the_login_is_not_repeated(desk: Desk) -> None:
    text, _ = new_key()
    answer = await desk.ask("POST", "/api/session", {"key": [text], text: 1}, role=None)
    assert answer.status == 422
    assert text not in answer.content.decode()


async def test_logins_and_logouts_are_in_the_trail(desk: Desk) -> None:
    mine = await desk.session("viewer")
    await says(desk, mine, "POST", DRAIN)
    await says(desk, mine, "DELETE", "/api/session")
    lines = (await desk.ask("GET", "/api/audit")).json["items"]
    assert [(line["operation"], line["status"], line["actor"]["kind"], line["actor"]["id"]) for line in lines] == [  # type: ignore[index, union-attr, call-overload]
        ("end_session", 204, "session", "viewer"),
        ("drain_server", 403, "session", "viewer"),
        ("begin_session", 201, "session", "viewer"),
    ]
    assert mine["Cookie"].partition("=")[2] not in str(lines)


# The sessions themselves.


def test_a_session_is_over_after_a_while_without_a_request_and_after_a_day_s_work_in_any_case() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    _, key = new_key()
    idle, _ = sessions.begin(key)
    busy, _ = sessions.begin(key)
    began = clock.now
    while clock.now < began + WHOLE - IDLE / 2:
        clock.now += IDLE / 2
        assert sessions.find(busy) is not None or clock.now >= began + WHOLE
    assert sessions.find(idle) is None
    clock.now = began + WHOLE
    assert sessions.find(busy) is None
    assert len(sessions) == 0


def test_there_are_never_more_sessions_than_fit_and_no_key_pushes_out_those_of_others() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    _, quiet = new_key("viewer", "quiet")
    kept, _ = sessions.begin(quiet)
    _, greedy = new_key("viewer", "greedy")
    cookies = [sessions.begin(greedy)[0] for _ in range(MOST_OF_KEY * 3)]
    assert len(sessions) == MOST_OF_KEY + 1
    assert sessions.find(kept) is not None
    assert [sessions.find(cookie) is not None for cookie in cookies] == [False] * MOST_OF_KEY * 2 + [True] * MOST_OF_KEY
    for number in range(MOST):
        sessions.begin(new_key("viewer", f"key{number}")[1])
    assert len(sessions) == MOST
    assert sessions.find(cookies[-1]) is None


def test_what_a_session_is_kept_by_lets_nobody_in() -> None:
    sessions = Sessions(Clock())
    cookie, session = sessions.begin(new_key()[1])
    inside = f"{sessions.__dict__}{session}"
    assert cookie not in inside
    assert all(sessions.find(word) is None for word in sessions._sessions)


def test_with_tls_the_cookie_has_a_name_that_nobody_else_can_set() -> None:
    request = make_mocked_request("POST", "/api/session", {"Cookie": "balancer=a; __Host-balancer=b"}, sslcontext=None)
    assert cookie_name(request) == "balancer"
    assert presented_cookie(request) == "a"
    secure = request.clone(scheme="https")
    assert presented_cookie(secure) == "b"
    assert set_cookie(secure, "c") == "__Host-balancer=c; Path=/; HttpOnly; SameSite=Strict; Secure"
    twice = make_mocked_request("GET", "/", {"Cookie": "balancer=a;balancer=a"})
    with pytest.raises(Problem, match="twice"):
        presented_cookie(twice)
