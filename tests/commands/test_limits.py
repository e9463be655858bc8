"""`balancer limits`."""

from __future__ import annotations

import json

from balancer.commands.outcome import OK, USAGE
from tests.commands.stand_in import Reply, balancer, problem, stand_in

SHOW = "GET /api/infrastructure/rate-limits"
RULE = "POST /api/infrastructure/rate-limits"


def policy(**changes: object) -> dict[str, object]:
    return {
        "rate": "10/s",
        "burst": 20,
        "concurrency": None,
        "key": ["client"],
        "dry_run": False,
        "routes": ["api"],
        "shared": None,
        "mode": "local",
        "reason": None,
        "decisions": {"allowed": 120, "limited": 3},
        "keys": 2,
        "max_keys": 100,
        "in_flight": 0,
        "since": None,
        "instances": 1,
        "questions": 0,
        "held": 0,
        "top": [],
        **changes,
    }


def test_every_policy_is_shown_with_what_it_decided_and_whom_it_refused() -> None:
    key = {"name": "0" * 16, "key": "192.0.2.*", "refused": 3, "order": "block", "until": "2026-11-30T12:00:00Z"}
    found = {"per-client": policy(top=[key]), "few": policy(rate=None, burst=None, concurrency=2, dry_run=True)}
    with stand_in({SHOW: Reply({"policies": found})}) as api:
        said = balancer("limits", "--admin", api.url)
    assert said.code == OK
    assert "per-client   10/s with bursts of 20 by client" in said.out
    assert "allowed 120   limited 3   2 keys remembered   on api" in said.out
    assert "few   2 at a time by client   dry run" in said.out
    assert "192.0.2.*" in said.out
    assert "12:00:00 UTC" in said.out


def test_a_policy_that_has_lost_redis_says_so() -> None:
    for down, said in (("local", "1/3 of it here"), ("allow", "lets all pass"), ("deny", "refuses all")):
        away = policy(mode="fallback", reason="no answer within 50 ms", instances=3, on_redis_down=down)
        with stand_in({SHOW: Reply({"policies": {"shared": away}})}) as api:
            assert f"fallback (no answer within 50 ms)   {said}" in balancer("limits", "--admin", api.url).out


def test_without_limits_it_says_how_to_have_some() -> None:
    with stand_in({SHOW: Reply({"policies": {}})}) as api:
        assert "rate_limits" in balancer("limits", "--admin", api.url).out


def test_an_order_is_sent_in_the_words_of_the_api() -> None:
    with stand_in({RULE: Reply({"policies": {}})}) as api:
        said = balancer("limits", "block", "per-client", "192.0.2.7", "--for", "10m", "--admin", api.url)
        assert said.code == OK
        assert "192.0.2.7 is blocked by per-client for 10m" in said.messages
        (asked,) = api.asked
    assert json.loads(asked.body) == {"policy": "per-client", "order": "block", "key": ["192.0.2.7"], "seconds": 600.0}


def test_an_order_without_a_key_or_with_two_is_not_sent() -> None:
    with stand_in({}) as api:
        for words in (
            ["block"],
            ["block", "a"],
            ["block", "a", "b", "--name", "c"],
            ["lift", "a", "b", "--for", "soon"],
        ):
            assert balancer("limits", *words, "--admin", api.url).code == USAGE
        assert api.asked == []


def test_what_the_api_refuses_is_told() -> None:
    with stand_in({RULE: problem(404, "there is no policy 'a', but 'b'")}) as api:
        assert "there is no policy 'a', but 'b'" in balancer("limits", "lift", "a", "x", "--admin", api.url).messages


def test_one_policy_can_be_shown_and_a_word_that_is_neither_is_told() -> None:
    with stand_in({SHOW: Reply({"policies": {"per-client": policy(), "few": policy()}})}) as api:
        said = balancer("limits", "few", "--admin", api.url)
        assert said.code == OK
        assert "per-client" not in said.out
        said = balancer("limits", "per-clent", "--admin", api.url)
        assert said.code == USAGE
        assert "did you mean per-client?" in said.messages


def test_nothing_is_lifted_for_ever() -> None:
    with stand_in({}) as api:
        said = balancer("limits", "lift", "a", "192.0.2.7", "--for", "400d", "--admin", api.url)
        assert said.code == USAGE
        assert "at most 30d" in said.messages
