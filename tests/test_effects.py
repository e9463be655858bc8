"""What a change is said to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.effects import MOST, effects
from balancer.tally import ListenerTally, PoolTally, ServerTally
from balancer.telemetry.report import PoolReport, Report, ServerReport
from config.load import parse
from config.schema import Config

FILE = """
listeners: {main: ":80", old: ":81"}
pools:
  app: {servers: {a: http://a, b: http://b}}
  api: [http://c]
routes:
  all: {pool: app}
  api: {match: /api/**, pool: api, cache: fresh}
cache: {rules: {fresh: {ttl: 5s}}}
"""


def config(text: str) -> Config:
    return parse(text, "f", {}).config


def server(name: str, inflight: int) -> ServerReport:
    return ServerReport(name, "http://x", "up", True, 1, 1, False, 0, inflight, 0, 0, None, None, ServerTally())


def report() -> Report:
    listener = ListenerTally()
    listener.open = 12
    app = PoolReport("app", "hash", False, 1, PoolTally(), (server("a", 0), server("b", 3)))
    return Report(1, 0.0, 0.0, {"main": listener, "old": listener}, {}, {"app": app})


def told(old: str, new: str) -> list[str]:
    text = FILE.replace(old, new)
    assert text != FILE
    return list(effects(config(FILE), config(text), report()))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (', old: ":81"', "", "listener old: closed; its 12 connections finish what is under way"),
        (', old: ":81"', ', old: ":81", more: ":82"', "listener more: opened at :82"),
        ('":80"', '":88"', "listener main: moves from :80 to :88; its 12 connections finish their work"),
        (", b: http://b", "", "pool app: server b leaves, its 3 requests under way finish"),
        ("a: http://a, ", "", "pool app: server a leaves, with nothing under way"),
        (
            ", b: http://b",
            ", b: http://b, d: http://d",
            "pool app: server d comes, and gets traffic once its first check has passed",
        ),
        ("http://b}", "{url: http://b, weight: 3}}", "pool app: server b has weight 3 instead of 1"),
        (
            "http://b}",
            "http://z}",
            "pool app: server b is another one, http://z, which gets traffic once its first check has passed; "
            "the old one's 3 requests under way finish",
        ),
        (
            "api: [http://c]",
            "api: {servers: [http://c], strategy: random}",
            "pool api: picks by random instead of round-robin",
        ),
        (
            "api: [http://c]",
            "api: [http://c]\n  new: [http://n]",
            "pool new: is new, with 1 server; each gets traffic once its first check has passed",
        ),
        (
            "all: {pool: app}",
            "all: {respond: 204}",
            "route all: answers 204 itself instead of what it did, from the next request on",
        ),
        ("cache: fresh}", "cache: false}", "route api: cached answers dropped"),
        ("cache: {rules", "cache: {memory: 1MiB, rules", "cache: the new memory holds at once"),
        ("routes:", "shutdown: {grace: 5s}\nroutes:", "shutdown: the new grace holds at once"),
        (
            "routes:",
            "defaults: {limits: {connections: 5}}\nroutes:",
            "defaults: other limits (connections) for new connections",
        ),
        (
            "routes:",
            "metrics: {max_series: 100}\nroutes:",
            "restart needed: metrics.max_series takes effect at the next start",
        ),
    ],
)
def test_each_change_is_told_in_a_sentence(old: str, new: str, says: str) -> None:
    assert says in told(old, new)


def test_a_route_whose_answers_stay_where_they_are_is_not_said_to_lose_them() -> None:
    assert not any("dropped" in sentence for sentence in told("ttl: 5s", "ttl: 9s"))


def test_what_is_in_force_already_does_nothing() -> None:
    assert effects(config(FILE), config(FILE), report()) == ()


@given(count=st.integers(0, 3 * MOST))
def test_no_change_is_told_at_any_length(count: int) -> None:
    before = config(FILE)
    route = before.routes["all"]
    after = before.model_copy(update={"routes": {**before.routes, **{f"r{n}": route for n in range(count)}}})
    assert len(effects(before, after, report())) == min(count, MOST) + (count > MOST)
