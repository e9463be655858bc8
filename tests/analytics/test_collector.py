"""Finished requests that become events: whose they are, which are left out, and what is kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from balancer.analytics.collector import Collector, network_of
from balancer.analytics.salts import DAILY, KEPT, Salts
from balancer.decision import Decision, Identity
from balancer.http1.head import parse_request, parse_response
from config.schema import Analytics

BROWSER = b"Mozilla/5.0 (X11; Linux x86_64) Firefox/131.0"
NOON = 1_800_000_000.0


class Wall:
    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


def collector(folder: Path, wall: Wall, **settings: Any) -> Collector:
    rules = {
        "post_created": {"match": [{"method": ["POST"], "path": "/posts"}], "status": "201"},
        "viewed": {"match": [{"path": "/posts/{post}"}]},
        **settings.pop("events", {}),
    }
    salts = Salts(folder, settings.pop("salt", "a salt"))
    salts.prepare(wall())
    return Collector(Analytics.model_validate({"events": rules, **settings}), salts, wall)


def finished(
    found: Collector,
    line: str = "POST /posts",
    status: int = 201,
    *fields: str,
    answer: str = "X-User-Id: 42",
    **other: Any,
) -> None:
    head = parse_request("\r\n".join((f"{line} HTTP/1.1", "Host: a.example", *fields)).encode(), 100, 8192)
    decision = Decision("main", other.pop("client", "192.0.2.1"), 1.0)
    decision.method, decision.target, decision.status, decision.host = (
        head.method.decode(),
        head.target,
        status,
        head.host,
    )
    decision.user_agent, decision.outcome, decision.finished = BROWSER, "ok", 1.02
    for name, value in other.items():
        setattr(decision, name, value)
    decision.event = found.rules.watch(head)
    if decision.event is not None:
        if answer:
            lines = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{answer}"
            decision.event.answer = parse_response(lines.encode(), 100)
        found.observe(decision)


def users(found: Collector) -> list[int | None]:
    return [row[2] for row in found.queue]


def test_a_user_is_the_same_wherever_their_id_is_from_and_nobody_can_tell_who(tmp_path, wall):
    found = collector(tmp_path, wall, user=["response-header:X-User-Id", "jwt:sub", "auth"])
    finished(found)
    finished(found, "GET /posts/1", 200, answer="", identity=Identity("jwt", "x", {"sub": "42"}))
    finished(found, "GET /posts/1", 200, answer="", identity=Identity("api-key", "42"))
    finished(found, "GET /posts/1", 200, answer="X-User-Id: 43")
    one, two, three, other = users(found)
    assert one == two == three == found.key_of_user("42")
    assert other not in (one, 42, 43)
    assert found.key_of_user("42") != collector(tmp_path, wall, salt="another").key_of_user("42")


def test_a_session_is_somebody_else_than_the_user_of_the_same_text(tmp_path, wall):
    found = collector(tmp_path, wall, user=["cookie:session"])
    finished(found, "GET /posts/1", 200, "Cookie: session=42")
    assert users(found) != [found.key_of_user("42")]
    assert users(found) != [None]


def test_a_visitor_is_one_for_a_day_and_a_network_and_another_one_the_next_day(tmp_path, wall):
    found = collector(tmp_path, wall)
    for client in ("192.0.2.1", "192.0.2.77", "198.51.100.1"):
        finished(found, "GET /posts/1", 200, answer="", client=client)
    wall.now += 86_400
    finished(found, "GET /posts/1", 200, answer="", client="192.0.2.1")
    visitors = [row[3] for row in found.queue]
    assert users(found) == [None] * 4
    assert visitors[0] == visitors[1]
    assert len(set(visitors)) == 3


def test_networks_are_of_24_and_48_bits():
    assert network_of("192.0.2.1") == network_of("192.0.2.200") != network_of("192.0.3.1")
    assert network_of("2001:db8:1:2::3") == network_of("2001:db8:1:9::1") != network_of("2001:db8:2::1")
    assert network_of("unix") == b"unix"


def test_bots_and_those_who_opted_out_count_for_nothing_and_are_counted(tmp_path, wall):
    found = collector(tmp_path, wall, honor_opt_out=True)
    finished(found, user_agent=b"Googlebot/2.1")
    finished(found, "POST /posts", 201, "DNT: 1")
    finished(found, "POST /posts", 201, "Sec-GPC: 1")
    finished(found)
    assert (len(found.queue), dict(found.excluded)) == (1, {"bot": 1, "opt-out": 2})
    assert [row[1] for row in found.take(10)] == ["post_created", "~bot", "~opt-out"]
    assert not found.has_some
    polite = collector(tmp_path, wall)
    finished(polite, "POST /posts", 201, "DNT: 1")
    assert len(polite.queue) == 1


def test_the_same_tried_again_is_one_and_two_things_that_were_made_are_two(tmp_path, wall):
    found = collector(tmp_path, wall)
    finished(found, finished=1.0)
    finished(found, finished=2.0)
    finished(found, finished=2.5, answer="X-User-Id: 42\r\nLocation: /posts/1")
    finished(found, finished=2.6, answer="X-User-Id: 42\r\nLocation: /posts/2")
    finished(
        found, "POST /posts", 201, "Idempotency-Key: k", finished=2.7, answer="X-User-Id: 42\r\nLocation: /posts/3"
    )
    finished(
        found, "POST /posts", 201, "Idempotency-Key: k", finished=2.8, answer="X-User-Id: 42\r\nLocation: /posts/3"
    )
    for _ in range(3):  # who reads twice has read twice
        finished(found, "GET /posts/1", 200)
    assert [row[1] for row in found.queue] == ["post_created"] * 4 + ["viewed"] * 3
    assert found.excluded["duplicate"] == 2


@pytest.mark.parametrize("outcome", ["client-abort", "upstream-reset", "refused", "unserved", "deadline"])
def test_what_no_client_had_whole_is_no_event(tmp_path, wall, outcome):
    found = collector(tmp_path, wall)
    finished(found, outcome=outcome)
    assert not found.queue
    finished(found, status=500)
    assert not found.queue


def test_a_full_queue_drops_what_comes_and_counts_it(tmp_path, wall):
    found = collector(tmp_path, wall, queue=1000, duplicates=0)
    for _ in range(1003):
        finished(found)
    assert (len(found.queue), found.dropped, found.counted) == (1000, 3, 1000)


def test_what_may_be_somebodys_is_hashed_and_what_names_a_thing_is_kept(tmp_path, wall):
    take = {"who": "query:who", "author": "query:author", "kind": "response-header:X-Kind"}
    found = collector(tmp_path, wall, events={"viewed": {"match": [{"path": "/posts/{post}"}], "take": take}})
    finished(found, "GET /posts/42?who=jo@example.com&author=7", 200, answer="X-User-Id: 42\r\nX-Kind: topic")
    finished(found, "GET /posts/jo%40example.com", 200)
    first, second = (row[7] for row in found.queue)
    assert (first["post"], first["kind"]) == ("42", "topic")
    assert first["who"] == f"~{found.key_of_user('jo@example.com') & (1 << 64) - 1:016x}" == second["post"]
    assert first["author"].startswith("~")


def test_salts_are_kept_by_the_balancers_user_alone_and_those_of_days_are_thrown_away(tmp_path):
    salts = Salts(tmp_path, "")
    salts.prepare(NOON)
    kept = salts.users
    today = salts.of_day(NOON)
    assert oct((tmp_path / KEPT).stat().st_mode & 0o777) == oct((tmp_path / DAILY).stat().st_mode & 0o777) == "0o600"
    again = Salts(tmp_path, "")
    again.prepare(NOON + 86_400)
    assert (again.users, again.of_day(NOON)) == (kept, today)  # a restart doubles no visitor
    again.prepare(NOON + 3 * 86_400)
    assert today.hex() not in (tmp_path / DAILY).read_text()
    assert again.of_day(NOON) != today


def test_where_nothing_can_be_kept_it_is_said_and_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    salts = Salts(tmp_path / "file", "")
    salts.prepare(NOON)
    assert salts.problem is not None
    assert len(salts.users) == len(salts.of_day(NOON)) == 32
