"""The rules of trying again, as arithmetic."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from balancer.pool import Pool
from balancer.proxy.attempts import MOST_DIALS, Attempts
from balancer.routing import Route
from balancer.tally import RouteTally
from config.schema import Pool as PoolSettings
from config.schema import Route as RouteSettings

KINDS = st.sampled_from(["connect", "connect-timeout", "reset", "timeout", "malformed", "status"])


def route(**retries: Any) -> Route:
    pool = Pool("app", Random(1), b"a secret of thirty-two bytes....", lambda *_: None)
    pool.configure(PoolSettings.model_validate({"servers": {}, "retries": retries}), (), 0.0)
    return Route("all", RouteSettings(pool="app"), pool, RouteTally())


@given(st.lists(st.tuples(KINDS, st.booleans()), max_size=30), st.integers(1, 5))
def test_what_may_have_been_acted_on_is_sent_at_most_as_often_as_configured(
    failures: list[tuple[str, bool]], most: int
) -> None:
    attempts = Attempts()
    sent = renewed = 0
    for kind, stale in failures:
        verdict = attempts.verdict(kind, route(attempts=most), repeatable=True, stale=stale)
        if verdict == "give-up":
            break
        if verdict == "same-server":
            renewed += 1
        elif verdict == "elsewhere-on-budget":
            sent += 1
    assert sent <= most - 1
    assert renewed <= 1


@given(KINDS, st.booleans())
def test_what_may_not_be_repeated_goes_elsewhere_only_when_no_byte_was_sent(kind: str, stale: bool) -> None:
    verdict = Attempts().verdict(kind, route(), repeatable=False, stale=stale)
    assert (verdict == "elsewhere") == kind.startswith("connect")
    assert verdict in ("elsewhere", "give-up")


@given(st.booleans())
def test_time_outs_and_malformed_answers_are_never_tried_again(repeatable: bool) -> None:
    for kind in ("timeout", "malformed"):
        assert Attempts().verdict(kind, route(), repeatable=repeatable, stale=True) == "give-up"


def test_refused_connections_are_bounded_but_cost_no_attempt() -> None:
    attempts = Attempts()
    for _ in range(MOST_DIALS - 1):
        assert attempts.verdict("connect", route(attempts=2), repeatable=False, stale=False) == "elsewhere"
    assert attempts.verdict("connect", route(attempts=2), repeatable=False, stale=False) == "give-up"
    assert attempts.verdict("reset", route(attempts=2), repeatable=True, stale=False) == "elsewhere-on-budget"


def test_what_is_not_listed_is_not_tried_again() -> None:
    nothing = route(when=[])
    for kind in ("connect", "reset"):
        assert Attempts().verdict(kind, nothing, repeatable=True, stale=True) == "give-up"
