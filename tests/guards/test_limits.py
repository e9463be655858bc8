"""Limits of routes in a running plane: who is answered what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from balancer.decision import Decision
from balancer.guards import limiter
from balancer.guards.keys import short
from balancer.guards.limiter import Policy
from balancer.guards.rulings import Ruling
from config.schema import RateLimit, RouteLimit
from tests.guards.sites import ask, from_trusted, guarded, written
from tests.proxy.wire import Peer, ok, replies

SLOW = 1.0  # a second is far longer than a test takes between two requests

ONE = """
rate_limits: {slow: {rate: 2/h}}
routes: {all: {pool: default, rate_limit: slow}}
"""


async def test_what_is_over_the_rate_is_answered_429_with_the_time_to_wait() -> None:
    async with guarded(ONE) as site:
        peer = await site.connect()
        assert [(await ask(peer))[0] for _ in range(2)] == [200, 200]
        status, fields, body = await ask(peer)
        assert status == 429
        assert 1790 <= int(fields["retry-after"]) <= 1800
        assert fields["ratelimit-policy"] == '"slow";q=2;w=3600'
        assert fields["ratelimit"] == f'"slow";r=0;t={fields["retry-after"]}'
        assert fields["cache-control"] == "no-store"
        assert b"too many requests" in body
        assert site.decisions[-1].guarded == "rate-limit"
        assert site.decisions[-1].outcome == "refused"


async def test_a_refusal_has_the_form_that_the_client_would_rather_have() -> None:
    async with guarded(ONE) as site:
        peer = await site.connect()
        for _ in range(2):
            await ask(peer)
        status, fields, body = await ask(peer, b"Accept: application/json")
        assert (status, json.loads(body)["status"]) == (429, 429)
        status, fields, body = await ask(peer, b"Accept: text/html")
        assert fields["content-type"].startswith("text/html")


async def test_a_refused_request_keeps_its_connection_and_reaches_no_server() -> None:
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            asked.append(await peer.head())
            await peer.send(ok())

    async with guarded(ONE, script) as site:
        peer = await site.connect()
        assert [(await ask(peer))[0] for _ in range(5)] == [200, 200, 429, 429, 429]
        assert len(asked) == 2


BY_CLIENT = """
trusted_proxies: [127.0.0.1]
rate_limits: {slow: {rate: 1/h}}
routes: {all: {pool: default, rate_limit: slow}}
"""


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (b"192.0.2.1", b"192.0.2.1", True),
        (b"192.0.2.1", b"192.0.2.2", False),
        (b"2001:db8::1", b"2001:db8::2", True),
        (b"2001:db8::1", b"2001:db8:0:1::1", False),
        (b"192.0.2.1", b"::ffff:192.0.2.1", True),
        (b"2001:db8::1", b"2001:DB8:0:0:ffff::1", True),
    ],
)
async def test_a_client_is_an_ipv4_address_or_an_ipv6_network(first: bytes, second: bytes, alike: bool) -> None:
    async with guarded(BY_CLIENT) as site:
        peer = await site.connect()
        assert (await from_trusted(peer, first))[0] == 200
        assert (await from_trusted(peer, second))[0] == (429 if alike else 200)


async def test_a_client_that_is_not_trusted_can_not_say_who_it_is() -> None:
    async with guarded(BY_CLIENT.replace("127.0.0.1", "192.0.2.9")) as site:
        peer = await site.connect()
        assert (await from_trusted(peer, b"192.0.2.1"))[0] == 200
        assert (await from_trusted(peer, b"192.0.2.2"))[0] == 429


@pytest.mark.parametrize(
    ("key", "first", "alike", "other"),
    [
        ("header:X-Tenant", b"X-Tenant: a", b"x-tenant: a", b"X-Tenant: b"),
        ("cookie:session", b"Cookie: x=1; session=a", b"Cookie: session=a; y=2", b"Cookie: session=b"),
        ("[client, header:X-Tenant]", b"X-Tenant: a", b"X-Tenant: a", b"X-Tenant: b"),
    ],
)
async def test_a_key_is_what_the_policy_names(key: str, first: bytes, alike: bytes, other: bytes) -> None:
    text = f"""
    rate_limits: {{slow: {{rate: 1/h, key: {json.dumps(key) if key[0] != "[" else "[client, 'header:X-Tenant']"}}}}}
    routes: {{all: {{pool: default, rate_limit: slow}}}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await ask(peer, first))[0] == 200
        assert (await ask(peer, alike))[0] == 429
        assert (await ask(peer, other))[0] == 200


async def test_a_request_without_its_key_counts_by_its_client_and_not_as_another_value() -> None:
    text = """
    trusted_proxies: [127.0.0.1]
    rate_limits: {slow: {rate: 1/h, key: "header:X-Tenant"}}
    routes: {all: {pool: default, rate_limit: slow}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await from_trusted(peer, b"192.0.2.1"))[0] == 200
        assert (await from_trusted(peer, b"192.0.2.1"))[0] == 429
        assert (await from_trusted(peer, b"192.0.2.2"))[0] == 200
        assert (await from_trusted(peer, b"192.0.2.1", b"X-Tenant: 192.0.2.1"))[0] == 200


@pytest.mark.parametrize(
    ("key", "spellings"),
    [
        ("header:X-Tenant", [[b"X-Tenant: a", b"X-Tenant: %d"], [b"X_Tenant: %d"], [b"X-Tenant: a", b"X_Tenant: %d"]]),
        (
            "cookie:s",
            [[b"Cookie: s=%d; s=a"], [b"Cookie: s=%d", b"Cookie: s=a"], [b"Cookie: s=%d; s =a"], [b"Cookie: s =%d"]],
        ),
    ],
)
async def test_a_value_that_comes_twice_makes_no_key_of_its_own(key: str, spellings: list[list[bytes]]) -> None:
    text = f"""
    rate_limits: {{slow: {{rate: 1/h, key: "{key}"}}}}
    routes: {{all: {{pool: default, rate_limit: slow}}}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await ask(peer))[0] == 200
        for number, lines in enumerate(spellings):
            said = [line % number if b"%" in line else line for line in lines]
            assert (await ask(peer, *said))[0] == 429


async def test_two_parts_of_a_key_can_not_be_written_so_that_they_look_like_two_others() -> None:
    text = """
    rate_limits: {slow: {rate: 1/h, key: ["header:A", "header:B"]}}
    routes: {all: {pool: default, rate_limit: slow}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await ask(peer, b"A: a", b"B: b c"))[0] == 200
        assert (await ask(peer, b"A: a b", b"B: c"))[0] == 200


async def test_a_long_value_is_remembered_as_something_short() -> None:
    text = """
    rate_limits: {slow: {rate: 1/h, key: "header:X-Tenant"}}
    routes: {all: {pool: default, rate_limit: slow}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        long = b"a" * 8000
        assert (await ask(peer, b"X-Tenant: " + long))[0] == 200
        assert (await ask(peer, b"X-Tenant: " + long))[0] == 429
        assert (await ask(peer, b"X-Tenant: " + long + b"b"))[0] == 200
        policy = site.plane.watch.limiter.policies["slow"]
        assert all(len(key) < 100 for key in policy.known())


async def test_methods_and_routes_have_their_costs() -> None:
    text = """
    rate_limits: {slow: {rate: 10/h, costs: {POST: 5, OPTIONS: 0}}}
    routes:
      all: {pool: default, rate_limit: slow}
      dear: {match: /dear, pool: default, rate_limit: {policy: slow, cost: 2}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await ask(peer, method=b"POST"))[0] == 200  # 5 are left
        assert (await ask(peer, path=b"/dear"))[0] == 200  # 3
        assert (await ask(peer, method=b"POST"))[0] == 429
        assert [(await ask(peer))[0] for _ in range(3)] == [200, 200, 200]
        assert (await ask(peer))[0] == 429
        assert (await ask(peer, method=b"OPTIONS"))[0] == 200


async def test_several_policies_must_all_let_a_request_pass() -> None:
    text = """
    rate_limits: {many: {rate: 5/h}, few: {rate: 1/h}}
    routes: {all: {pool: default, rate_limit: [many, few]}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await ask(peer))[0] == 200
        status, fields, _ = await ask(peer)
        assert (status, fields["ratelimit"][:5]) == (429, '"few"')


async def test_routes_of_one_policy_share_its_buckets_unless_the_route_is_part_of_the_key() -> None:
    text = """
    rate_limits: {together: {rate: 1/h}, apart: {rate: 1/h, key: [client, route]}}
    routes:
      a: {match: /a, pool: default, rate_limit: together}
      b: {match: /b, pool: default, rate_limit: together}
      c: {match: /c, pool: default, rate_limit: apart}
      d: {match: /d, pool: default, rate_limit: apart}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert [(await ask(peer, path=path))[0] for path in (b"/a", b"/b")] == [200, 429]
        assert [(await ask(peer, path=path))[0] for path in (b"/c", b"/d", b"/d")] == [200, 200, 429]


async def test_exempt_clients_are_not_counted() -> None:
    text = BY_CLIENT.replace("{rate: 1/h}", "{rate: 1/h, exempt: [192.0.2.0/30]}")
    async with guarded(text) as site:
        peer = await site.connect()
        assert [(await from_trusted(peer, b"192.0.2.1"))[0] for _ in range(3)] == [200] * 3
        assert [(await from_trusted(peer, b"192.0.2.9"))[0] for _ in range(3)] == [200, 429, 429]


async def test_a_dry_run_counts_and_refuses_nothing() -> None:
    async with guarded(ONE.replace("2/h", "2/h, concurrency: 1, dry_run: true")) as site:
        peer = await site.connect()
        assert [(await ask(peer))[0] for _ in range(5)] == [200] * 5
        decisions = site.plane.watch.limiter.policies["slow"].tally.decisions
        assert (decisions["allowed"], decisions["dry-run"]) == (2, 3)
        assert [one.guarded for one in site.decisions] == ["", "", "dry-run", "dry-run", "dry-run"]  # for the log


async def test_no_more_requests_of_a_key_are_under_way_than_may_be() -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await gate.wait()
            await peer.send(ok())

    text = """
    rate_limits: {few: {concurrency: 2}}
    routes: {all: {pool: default, rate_limit: few}}
    """
    async with guarded(text, script) as site:
        policy = site.plane.watch.limiter.policies["few"]
        waiting = [await site.connect() for _ in range(2)]
        for peer in waiting:
            await peer.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n")
        await site.until(lambda: sum(policy.places.values()) == 2)
        third = await site.connect()
        status, fields, _ = await ask(third)
        assert (status, fields["retry-after"]) == (429, "1")
        assert site.decisions[-1].guarded == "concurrency"
        waiting[0].cut()  # a client that leaves gives its place back
        await site.until(lambda: sum(policy.places.values()) == 1)
        gate.set()
        assert (await ask(third))[0] == 200
        assert (await waiting[1].answer())[0] == 200
        await site.until(lambda: policy.places == {})


async def test_a_reload_keeps_what_is_known_of_clients_and_takes_the_new_rate() -> None:
    async with guarded(ONE) as site:
        peer = await site.connect()
        assert [(await ask(peer))[0] for _ in range(3)] == [200, 200, 429]
        port = int(next(iter(site.plane.pools["default"].servers.values())).port)
        await site.apply(written(ONE.replace("2/h", "4/h"), port))
        assert (await ask(peer))[0] == 429  # what was spent is an hour's worth, whatever the rate
        await site.apply(written(ONE.replace("2/h", "4/h, key: network"), port))
        assert (await ask(peer))[0] == 200  # counted by something else, so anew


async def test_addresses_that_may_not_come_are_refused_before_anything_is_counted() -> None:
    text = """
    trusted_proxies: [127.0.0.1]
    access: {deny: [192.0.2.7]}
    rate_limits: {slow: {rate: 1/h, key: route}}
    routes:
      all: {pool: default, rate_limit: slow}
      inside: {match: /in, pool: default, access: {allow: [10.0.0.0/8], deny: [10.0.0.1]}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await from_trusted(peer, b"192.0.2.7"))[0] == 403
        assert site.decisions[-1].guarded == "address"
        assert (await from_trusted(peer, b"192.0.2.8"))[0] == 200
        assert [
            (await from_trusted(peer, b"%b" % a, path=b"/in"))[0] for a in (b"10.1.1.1", b"10.0.0.1", b"192.0.2.7")
        ] == [
            200,
            403,
            403,
        ]


async def test_answers_tell_how_much_is_left_where_they_are_to() -> None:
    text = """
    cache: {enabled: true}
    rate_limits: {slow: {rate: 3/h, fields: always}}
    routes:
      all: {pool: default, rate_limit: slow}
      fixed: {match: /fixed, respond: {body: hello}, rate_limit: slow}
    """
    cached = ok(fields=b"Cache-Control: max-age=60\r\n")
    async with guarded(text, replies(cached)) as site:
        peer = await site.connect()
        told = []
        for path in (b"/a", b"/a", b"/fixed"):  # from a server, from the cache, from the balancer itself
            status, fields, _ = await ask(peer, path=path)
            assert status == 200
            assert fields["ratelimit-policy"] == '"slow";q=3;w=3600'
            told.append(fields["ratelimit"].partition(";t=")[0])
        assert told == ['"slow";r=2', '"slow";r=1', '"slow";r=0']
        status, fields, _ = await ask(peer, path=b"/a")
        assert (status, fields["ratelimit"].partition(";t=")[0]) == (429, '"slow";r=0')


def test_what_stands_for_another_value_can_not_be_said() -> None:
    assert short(b"tenant") == "tenant"
    for said in (b"\x00192.0.2.1", b"#0123", b"a" * 65, b"two\nlines"):
        assert str(short(said)).startswith("#")
        assert short(said) != said.decode()


@pytest.mark.parametrize("network", ["::ffff:127.0.0.0/104", "::ffff:127.0.0.1", "::ffff:7f00:1"])
async def test_a_network_of_ipv4_may_be_written_as_ipv6_writes_it(network: str) -> None:
    async with guarded(f"access: {{deny: ['{network}']}}\nroutes: {{all: {{pool: default}}}}") as site:
        assert (await ask(await site.connect()))[0] == 403


async def test_a_request_that_goes_round_in_circles_is_not_counted_again_and_again() -> None:
    async with guarded(ONE) as site:
        peer = await site.connect()
        vias = b"Via: " + b", ".join([b"1.1 balancer"] * 6)
        assert [(await ask(peer, vias))[0] for _ in range(3)] == [508] * 3
        assert [(await ask(peer))[0] for _ in range(3)] == [200, 200, 429]


def step_of(settings: dict[str, object], address: str = "192.0.2.1") -> tuple[Policy, Callable[[float], Decision]]:
    """A policy, and a way to have it asked about a request of this client at a time."""
    policy = Policy("one", RateLimit.model_validate(settings))
    step = policy.step(RouteLimit(policy="one"), "all")

    def ask_at(now: float) -> Decision:
        decision = Decision("main", address, now)
        step(None, None, decision)  # type: ignore[arg-type]  # it looks at the address alone
        return decision

    return policy, ask_at


def test_a_dry_run_counts_each_request_once() -> None:
    policy, ask_at = step_of({"rate": "1/h", "concurrency": 1, "dry_run": True})
    told = [ask_at(1.0).guarded for _ in range(4)]
    assert told == ["", "dry-run", "dry-run", "dry-run"]
    assert dict(policy.tally.decisions) == {"allowed": 1, "dry-run": 3}


def test_orders_end_by_themselves_and_a_standing_one_makes_room_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, _ = step_of({"rate": "1/h"})
    monkeypatch.setattr(limiter, "MOST_ORDERS", 2)
    for address, seconds in (("192.0.2.1", 10.0), ("192.0.2.2", 100.0)):
        policy.obey(Ruling("one", "block", seconds, (address,)), b"secret", 0.0)
    with pytest.raises(ValueError, match="one too many"):
        policy.obey(Ruling("one", "block", 5.0, ("192.0.2.3",)), b"secret", 5.0)
    policy.obey(Ruling("one", "block", 5.0, ("192.0.2.3",)), b"secret", 11.0)
    policy.expire(50.0)
    assert list(policy.rulings) == ["192.0.2.2"]


async def test_a_trusted_proxy_is_one_in_the_clothes_of_ipv6_too() -> None:
    async with guarded(BY_CLIENT.replace("[127.0.0.1]", "[127.0.0.1, 10.0.0.0/8]")) as site:
        peer = await site.connect()
        assert (await from_trusted(peer, b"192.0.2.1, 10.1.1.1"))[0] == 200
        assert (await from_trusted(peer, b"192.0.2.1, ::ffff:10.1.1.1"))[0] == 429
        assert {decision.client for decision in site.decisions} == {"192.0.2.1"}
