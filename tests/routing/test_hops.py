"""What is answered on the way and not by a server."""

from __future__ import annotations

from random import Random
from typing import Any

from balancer.http1.head import RequestHead, parse_request
from balancer.pool import Pool
from balancer.routing.hops import MOST_ROUNDS, circles, hop_answer
from balancer.routing.table import Route
from balancer.tally import RouteTally
from config.schema import Pool as PoolSettings
from config.schema import Route as RouteSettings


def route(**settings: Any) -> Route:
    pool = Pool("app", Random(1), b"a secret of thirty-two bytes....", lambda *_: None)
    pool.configure(PoolSettings(servers={}), [], 0.0)
    return Route("all", RouteSettings.model_validate({"pool": "app", **settings}), pool, RouteTally())


def head(text: bytes) -> RequestHead:
    return parse_request(text, 100, 8000)


TRACE = b"TRACE /x HTTP/1.1\r\nHost: s\r\nCookie: a=b\r\nAuthorization: c\r\nX-Seen: 1"
TRACED = route(match={"methods": ["TRACE"]})


def test_trace_is_refused_unless_a_route_names_it() -> None:
    refused = hop_answer(head(TRACE), route())
    assert refused is not None
    assert refused.status == 405
    assert refused.extra.startswith(b"Allow: ")
    assert hop_answer(head(TRACE), TRACED) is None


def test_a_trace_with_content_is_refused() -> None:
    answer = hop_answer(head(TRACE + b"\r\nContent-Length: 1"), TRACED)
    assert answer is not None
    assert answer.status == 400


def test_the_last_hop_shows_the_request_without_its_secrets() -> None:
    answer = hop_answer(head(TRACE + b"\r\nMax-Forwards: 0"), TRACED)
    assert answer is not None
    assert (answer.status, answer.content_type) == (200, b"message/http")
    assert answer.body == b"TRACE /x HTTP/1.1\r\nHost: s\r\nX-Seen: 1\r\nMax-Forwards: 0\r\n\r\n"


def test_options_are_answered_when_they_have_no_hops_left() -> None:
    asked = b"OPTIONS /x HTTP/1.1\r\nHost: s\r\nMax-Forwards: %b"
    answer = hop_answer(head(asked % b"0"), route())
    assert answer is not None
    assert answer.status == 200
    assert hop_answer(head(asked % b"1"), route()) is None
    assert hop_answer(head(asked % b"0000000001"), route()) is None
    assert hop_answer(head(asked % b"000"), route()) is not None
    assert hop_answer(head(asked % b""), route()) is None
    assert hop_answer(head(asked % b"x"), route()) is None
    assert hop_answer(head(b"OPTIONS /x HTTP/1.1\r\nHost: s"), route()) is None


def test_a_request_that_came_through_here_too_often_goes_in_circles() -> None:
    through = b"GET / HTTP/1.1\r\nHost: s\r\nVia: " + b", ".join([b"1.1 Balancer"] * MOST_ROUNDS)
    answer = circles(head(through), route())
    assert answer is not None
    assert answer.status == 508
    fewer = b"GET / HTTP/1.1\r\nHost: s\r\nVia: " + b", ".join(
        [b"1.1 balancer"] * (MOST_ROUNDS - 1) + [b"1.1 edge"] * 9
    )
    assert circles(head(fewer), route()) is None
    assert circles(head(through), route(headers={"via": None})) is None
