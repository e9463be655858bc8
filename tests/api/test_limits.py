"""Limits over the API: figures with masked keys, and keys that are lifted and blocked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pytest_aiohttp import AiohttpClient

from api.app import make_app
from balancer.decision import Decision
from config.schema import RouteLimit
from tests.api.desk import Clock, Desk, Keys, services
from tests.control_room import room

LIMITS = "/api/infrastructure/rate-limits"
POLICIES = """
rate_limits:
  per-client: {rate: 2/h}
  per-tenant: {rate: 2/h, key: ["header:X-Tenant", route], dry_run: true}
"""


@pytest.fixture
async def limited(tmp_path: Path, aiohttp_client: AiohttpClient) -> AsyncIterator[Desk]:
    keys = Keys()
    async with room(tmp_path, keys.lines + POLICIES) as found:
        await found.begin()
        clock = Clock()
        parts = services(found, clock)
        client = await aiohttp_client(make_app(parts))
        yield Desk(client, found, keys, parts, clock)


def requests(desk: Desk, address: str, count: int) -> list[bool]:
    """Whether requests of a client pass."""
    policy = desk.room.fleet.limiter.policies["per-client"]
    step = policy.step(RouteLimit(policy="per-client"), "all")
    passed = []
    for _ in range(count):
        decision = Decision("main", address, desk.room.fleet._clock())
        passed.append(step(None, None, decision) is None)  # type: ignore[arg-type]  # it looks at the address alone
    return passed


async def test_counters_and_the_keys_that_were_refused_most_are_told_without_their_ends(limited: Desk) -> None:
    requests(limited, "192.0.2.7", 4)
    requests(limited, "2001:db8:1:2:3::4", 3)
    answer = await limited.ask("GET", LIMITS, role="viewer")
    assert answer.status == 200
    policy = answer.at("policies", "per-client")
    assert isinstance(policy, dict)
    assert (policy["rate"], policy["burst"], policy["key"], policy["mode"]) == ("2/h", 2, ["client"], "local")
    assert policy["decisions"] == {"allowed": 4, "limited": 3}
    assert policy["keys"] == 2
    assert [(one["key"], one["refused"]) for one in policy["top"]] == [("192.0.2.*", 2), ("2001:db8:1:2::/64", 1)]  # type: ignore[index, call-overload, union-attr]  # JSON
    assert b"192.0.2.7" not in answer.content


async def test_a_key_can_be_lifted_by_its_value_and_blocked_by_its_name(limited: Desk) -> None:
    assert requests(limited, "192.0.2.7", 3) == [True, True, False]
    said = {"policy": "per-client", "order": "lift", "key": ["192.0.2.7"], "seconds": 60}
    answer = await limited.ask("POST", LIMITS, said)
    assert answer.at("policies", "per-client", "top", 0, "order") == "lift"
    assert requests(limited, "192.0.2.7", 3) == [True] * 3
    name = answer.at("policies", "per-client", "top", 0, "name")
    said = {"policy": "per-client", "order": "block", "name": name, "seconds": 60}
    assert (await limited.ask("POST", LIMITS, said)).status == 200
    assert requests(limited, "192.0.2.7", 1) == [False]
    assert requests(limited, "192.0.2.8", 1) == [True]
    said = {"policy": "per-client", "order": "restore", "name": name}
    assert (await limited.ask("POST", LIMITS, said)).status == 200
    assert requests(limited, "192.0.2.7", 3) == [True, True, False]  # with a full bucket


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ({"policy": "none", "order": "lift", "key": ["192.0.2.7"]}, 404, "there is no policy 'none', but 'per-client'"),
        ({"policy": "per-client", "order": "lift", "name": "0123456789abcdef"}, 404, "no key that is called"),
        ({"policy": "per-client", "order": "lift", "key": ["a.example"]}, 422, "must be an address"),
        (
            {"policy": "per-tenant", "order": "lift", "key": ["a"]},
            422,
            "must have 2 values, for header:X-Tenant, route",
        ),
        ({"policy": "per-client", "order": "block", "key": ["10.0.0.0/8"]}, 422, "must be one client, which is"),
        ({"policy": "per-client", "order": "lift"}, 422, "1 field is not as expected"),
        ({"policy": "per-client", "order": "lift", "key": ["192.0.2.7"], "seconds": 0}, 422, "1 field"),
    ],
)
async def test_what_can_not_be_ruled_is_refused_with_the_reason(
    limited: Desk, said: dict[str, object], status: int, text: str
) -> None:
    answer = await limited.ask("POST", LIMITS, said)
    assert answer.status == status
    assert text in str(answer.json["detail"])


async def test_only_an_admin_rules(limited: Desk) -> None:
    said = {"policy": "per-client", "order": "lift", "key": ["192.0.2.7"]}
    assert (await limited.ask("POST", LIMITS, said, role="operator")).status == 403
