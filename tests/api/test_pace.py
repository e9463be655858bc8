"""How often the API may be asked."""

import pytest

from api.pace import MOST, Pace
from api.problems import Problem
from config.rates import Rate
from config.schema import AdminRateLimit
from tests.api.desk import BALANCER, SERVERS, Clock, Desk

STATUS = f"{BALANCER}/status"
SLOW = "rate_limit: {rate: 2/s, burst: 3}"


async def slowed(desk: Desk) -> None:
    desk.room.write(desk.keys.lines.replace("rate_limit: null", SLOW))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200


async def test_a_key_that_asks_too_often_has_to_wait_and_is_told_how_long(desk: Desk) -> None:
    await slowed(desk)
    answers = [await desk.ask("GET", STATUS, role="viewer") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"admin";q=3;w=2'
    assert [answer.headers["RateLimit"] for answer in answers] == [
        '"admin";r=2;t=1',
        '"admin";r=1;t=1',
        '"admin";r=0;t=2',
        '"admin";r=0;t=1',
        '"admin";r=0;t=1',
    ]
    assert answers[3].headers["Retry-After"] == "1"
    assert "the key viewer asks more often than admin.rate_limit allows" in str(answers[3].json["detail"])
    desk.clock.now += 0.5
    assert [(await desk.ask("GET", STATUS, role="viewer")).status for _ in range(2)] == [200, 429]


async def test_keys_and_strangers_do_not_hold_each_other_up(desk: Desk) -> None:
    await slowed(desk)
    assert [(await desk.ask("GET", STATUS, role=None)).status for _ in range(5)] == [401, 401, 401, 429, 429]
    wrong = {"X-API-Key": "w" * 40}
    assert (await desk.ask("GET", STATUS, role=None, headers=wrong)).status == 429
    assert [(await desk.ask("GET", STATUS, role="viewer")).status for _ in range(4)] == [200, 200, 200, 429]
    assert (await desk.ask("GET", STATUS, role="operator")).status == 200


async def test_a_session_counts_with_its_key(desk: Desk) -> None:
    mine = await desk.session("viewer")
    await slowed(desk)
    asked = [await desk.ask("GET", STATUS, role=None, headers=mine) for _ in range(2)]
    asked += [await desk.ask("GET", STATUS, role="viewer") for _ in range(2)]
    assert [answer.status for answer in asked] == [200, 200, 200, 429]


async def test_a_change_that_comes_too_often_is_not_made(desk: Desk) -> None:
    await slowed(desk)
    for _ in range(3):
        await desk.ask("GET", STATUS, role="operator")
    assert (await desk.ask("POST", f"{SERVERS}/a/drain", role="operator")).status == 429
    assert desk.room.fleet.snapshot.drained == frozenset()


async def test_whether_it_lives_may_be_asked_as_often_as_one_likes(desk: Desk) -> None:
    await slowed(desk)
    for path in ("/livez", "/readyz"):
        assert {(await desk.ask("GET", path, role=None)).status for _ in range(10)} == {200}
    assert [(await desk.ask("GET", "/openapi.json", role=None)).status for _ in range(4)] == [200, 200, 200, 429]


async def test_the_login_is_limited_too(desk: Desk) -> None:
    await slowed(desk)
    body = {"key": desk.keys.text["viewer"]}
    assert [(await desk.ask("POST", "/api/session", body, role=None)).status for _ in range(4)] == [201, 201, 201, 429]


def test_an_address_has_no_more_by_looking_different_and_none_is_remembered_for_ever() -> None:
    settings = AdminRateLimit(rate=Rate.of("1/h"), burst=1)
    pace = Pace(lambda: settings, Clock())
    for same in ("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::ffff:1"):
        pace.take(None, same[0])
        with pytest.raises(Problem, match="this address asks more often"):
            pace.take(None, same[1])
    for number in range(MOST + 10):
        pace.take(None, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(pace._addresses) == MOST
    assert pace.take("a-key", "192.0.2.1")


def test_without_a_limit_nothing_is_counted() -> None:
    pace = Pace(lambda: None, Clock())
    assert pace.take(None, "192.0.2.1") == {}
