"""Limits of several balancers over a real Redis, which is there, or is not."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest

from balancer.guarding.presence import LIFE, Presence
from balancer.guarding.shared_bucket import BUCKET
from balancer.guarding.shared_limits import DEADLINE, LOCAL, LONGEST, MISSES, PAUSE, SHARED, SLOW
from balancer.guarding.shared_policy import Asking
from balancer.guards.rulings import Ruling
from balancer.guards.verdict import Refusal, Verdict
from balancer.http1.head import parse_request
from balancer.redis_gateway import Gateway
from balancer.redis_slots import slot_of
from config.schema import Redis
from tests.fault_proxy import fault_proxy
from tests.guarding.shared import PATIENT, Balancer, Clock, balancer
from tests.redis_server import RedisCluster, RedisServer, redis_cluster, redis_server
from tests.tree import ROOT

__all__ = ["redis_cluster", "redis_server"]  # fixtures


async def several(stack: AsyncExitStack, url: str, count: int, **policy: Any) -> list[Balancer]:
    """Balancers that all know of each other."""
    found = [await stack.enter_async_context(balancer(url, **policy)) for _ in range(count)]
    async with asyncio.timeout(10):
        while any(one.limits.sharing is None or one.limits.sharing.instances != count for one in found):
            for one in found:
                await one.naps.wake()
            await asyncio.sleep(0.005)
    return found


@pytest.mark.parametrize("count", [1, 3])
async def test_balancers_together_let_exactly_the_burst_through(redis_server: RedisServer, count: int) -> None:
    async with AsyncExitStack() as stack:
        found = await several(stack, redis_server.url, count, rate="10/h", burst=10, shared="exact")
        answers = [found[n % count].ask() for n in range(40)]
        statuses = [await answer.status() for answer in answers]
    assert statuses.count(200) == 10
    assert statuses.count(429) == 30
    counted = [one.counted() for one in found]
    assert sum(one.get("allowed", 0) for one in counted) == 10
    assert sum(one.get("limited", 0) for one in counted) == 30


async def test_leased_tokens_are_within_the_bound_and_mostly_cost_no_question(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        found = await several(stack, redis_server.url, 2, rate="600/h", burst=600, shared="leased")
        passed = waited = 0
        for n in range(1000):
            answer = found[n % 2].ask()
            passed += await answer.status() == 200
            waited += answer.waited
            if n % 10 == 0:
                await asyncio.sleep(0.001)  # as long as Redis takes to bring the next lot
        held = sum(one.limits.policies["p"].leases.held for one in found)
    assert 600 - held <= passed <= 600 + held
    assert waited < 30
    assert sum(one.commands for one in found) < 200


async def test_keys_are_counted_apart_and_costs_are_taken(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="6/h", burst=6, shared="exact", costs={"POST": 0}) as one:
        assert await one.passes("192.0.2.1", cost=5)
        assert not await one.passes("192.0.2.1", cost=2)
        assert await one.passes("192.0.2.1", cost=1)
        assert await one.passes("192.0.2.2", cost=6)


async def test_a_limited_client_costs_no_question(redis_server: RedisServer) -> None:
    for mode in ("exact", "leased"):
        async with balancer(redis_server.url, rate="2/h", burst=2, shared=mode, key=["client", "route"]) as one:
            while await one.passes(mode):
                pass
            before = one.commands
            for _ in range(100):
                answer = one.ask(mode)
                assert not answer.waited
                refusal = await answer.refusal()
                assert refusal is not None
                assert b"Retry-After: 1800\r\n" in refusal.extra or b"Retry-After: 3600\r\n" in refusal.extra
            assert one.commands == before


async def test_what_one_turn_asks_of_a_key_is_one_question(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="100/h", burst=100, shared="exact") as one:
        before = one.commands
        answers = [one.ask() for _ in range(150)]
        assert [await answer.status() for answer in answers] == [200] * 100 + [429] * 50
        # The first may have to be asked with the script's text, as this Redis does not know it.
        assert one.commands - before <= 3


async def test_scripts_that_redis_forgets_are_sent_again(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="10/h", burst=10, shared="exact") as one:
        for _ in range(3):
            assert await one.passes()
            redis_server.do("SCRIPT", "FLUSH")
        assert one.counted() == {"allowed": 3}
        assert redis_server.do("SCRIPT", "EXISTS", BUCKET.digest) == "1"


async def test_nothing_of_a_client_is_told_to_redis(redis_server: RedisServer) -> None:
    async with balancer(
        redis_server.url, rate="10/h", burst=10, shared="exact", key=["header:X-Api-Key", "client"]
    ) as one:
        head = parse_request(b"GET / HTTP/1.1\r\nHost: h\r\nX-Api-Key: of-a-client", 100, 8192)
        assert await one.passes("203.0.113.7", head=head)
        answer = await one.gateway.run("KEYS", "*")
    assert isinstance(answer, list)
    keys = sorted(key.decode() for key in answer)
    assert len(keys) == 2
    assert keys[0] == "balancer:rl:instances"
    assert keys[1].startswith("balancer:rl:{p:")
    assert "203.0.113" not in str(keys)
    assert "of-a-client" not in str(keys)


async def test_a_dry_run_counts_and_refuses_nothing(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="1/h", burst=1, shared="exact", dry_run=True) as one:
        assert [await one.passes() for _ in range(3)] == [True] * 3
        assert one.counted() == {"allowed": 1, "dry-run": 2}


async def test_who_leaves_while_redis_is_asked_has_made_the_request(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="2/h", burst=2, shared="exact") as one:
        verdict = one.verdict()
        assert isinstance(verdict, Asking)
        told: list[Refusal | None] = []
        verdict.ask(told.append)
        verdict.forget()
        assert await one.passes()
        assert not await one.passes()
        assert told == []
        assert one.counted() == {"allowed": 2, "limited": 1}


async def test_a_user_of_redis_that_may_do_what_the_docs_say_is_enough(redis_server: RedisServer) -> None:
    text = (ROOT / "docs/rate-limits.md").read_text()
    found = re.search(r"`(~balancer:\*)` and `([+a-z| ]+)`", text)
    assert found is not None
    redis_server.do("ACL", "SETUSER", "limits", "on", ">secret", found[1], *found[2].split())
    url = redis_server.url.replace("redis://", "redis://limits:secret@")
    async with balancer(url, rate="2/h", burst=2, shared="exact") as one:
        assert [await one.passes() for _ in range(3)] == [True, True, False]
        one.limiter.policies["p"].obey(Ruling("p", "restore", 0.0, ("192.0.2.1",)), b"", 0.0)
        assert await one.passes()
        assert one.events == []
        assert one.counted() == {"allowed": 3, "limited": 1}


# Redis is away.


async def test_without_redis_each_balancer_holds_its_share(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        found = await several(stack, redis_server.url, 3, rate="30/h", burst=30, shared="exact")
        redis_server.kill()
        for one in found:
            statuses = [await one.ask().status() for _ in range(40)]
            assert statuses.count(200) == 10, "a third of thirty"
            assert one.counted() == {"fallback": 10, "fallback-limited": 30}
            sharing = one.limits.sharing
            assert sharing is not None
            assert (sharing.state, sharing.instances) == ("local", 3)
            assert sharing.reason
            assert [event for event, _ in one.events] == [LOCAL]
            assert "p 1/3 of it" in one.events[0][1]


async def test_who_has_used_up_the_limit_gets_no_new_burst_by_the_end_of_redis(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="10/h", burst=10, shared="exact") as one:
        for _ in range(8):
            assert await one.passes("192.0.2.1")
        redis_server.kill()
        assert [await one.passes("192.0.2.1") for _ in range(4)] == [True, True, False, False]
        assert [await one.passes("192.0.2.2") for _ in range(12)] == [True] * 10 + [False] * 2


@pytest.mark.parametrize(("down", "status", "word"), [("allow", 200, "fallback"), ("deny", 503, "fallback-denied")])
async def test_what_happens_without_redis_can_be_chosen(
    redis_server: RedisServer, down: str, status: int, word: str
) -> None:
    async with balancer(redis_server.url, rate="1/h", burst=1, shared="exact", on_redis_down=down) as one:
        redis_server.kill()
        assert [await one.ask().status() for _ in range(3)] == [status] * 3
        assert one.counted() == {word: 3}


async def test_a_redis_that_does_not_answer_is_soon_not_waited_for(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="10/h", burst=10, shared="exact") as one:
        assert await one.passes()
        redis_server.pause()
        one.limits.deadline = DEADLINE
        together = [one.ask(f"192.0.2.{n}") for n in range(MISSES)]
        assert [await answer.status() for answer in together] == [200] * MISSES
        assert all(answer.waited for answer in together)
        assert [event for event, _ in one.events] == [LOCAL]
        assert not one.ask().waited
        assert one.counted() == {"allowed": 1, "fallback": MISSES + 1}
        redis_server.resume()


async def test_a_redis_that_is_always_late_is_not_asked_until_it_is_not(redis_server: RedisServer) -> None:
    async with (
        fault_proxy(redis_server.port) as proxy,
        balancer(proxy.url, rate="9/h", burst=9, shared="exact") as one,
    ):
        proxy.delay = 1.5 * DEADLINE
        one.limits.deadline = DEADLINE
        together = [one.ask(f"192.0.2.{n}") for n in range(MISSES)]
        assert [await answer.status() for answer in together] == [200] * MISSES
        for _ in range(5):
            await one.beat()
        assert [event for event, _ in one.events] == [LOCAL], "a beat was answered, but too late for requests"
        assert one.limits.sharing is not None
        assert one.limits.sharing.reason == SLOW
        proxy.delay = 0.0
        one.limits.deadline = PATIENT
        await one.until("shared")


async def test_one_late_answer_makes_nobody_do_without_redis(redis_server: RedisServer) -> None:
    async with (
        fault_proxy(redis_server.port) as proxy,
        balancer(proxy.url, rate="9/h", burst=9, shared="exact") as one,
    ):
        for _ in range(3):
            assert await one.passes()
            proxy.hold()
            one.limits.deadline = DEADLINE
            assert await one.passes()
            one.limits.deadline = PATIENT
            proxy.release()
        assert one.counted() == {"allowed": 3, "fallback": 3}
        assert one.events == []


async def test_late_beats_with_good_ones_between_make_nobody_do_without_redis(redis_server: RedisServer) -> None:
    clock = Clock()
    async with balancer(redis_server.url, clock=clock, rate="9/h", burst=9, shared="exact") as one:
        for _ in range(2 * MISSES):
            clock.step = 2 * PATIENT  # between the beat and its answer
            await one.beat()
            clock.step = 0.0
            await one.beat()
        assert one.events == []
        clock.step = 2 * PATIENT
        for _ in range(MISSES):
            await one.beat()
        assert [event for event, _ in one.events] == [LOCAL], "these came one after the other"


async def test_limits_are_shared_again_when_redis_is_back_and_it_is_said(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, patience=0.1, rate="10/h", burst=10, shared="exact") as one:
        redis_server.kill()
        assert await one.passes()
        redis_server.start()
        await one.until("shared")
        assert [event for event, _ in one.events] == [LOCAL, SHARED]
        sharing = one.limits.sharing
        assert sharing is not None
        assert sharing.reason is None
        assert await one.passes()
        assert one.counted() == {"fallback": 1, "allowed": 1}


async def test_a_redis_that_fails_again_and_again_is_tried_less_often(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="1000/h", burst=1000, shared="exact") as one:
        for _ in range(6):
            one.limits.fall("a test")
            await asyncio.sleep(0)
            await one.until("shared")
    pauses = [seconds for seconds in one.naps.asked if seconds >= PAUSE]
    assert max(pauses) <= 1.5 * LONGEST
    assert len(one.events) == 12


async def test_tokens_that_are_held_are_spent_without_redis(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="1000/h", burst=1000, shared="leased") as one:
        for _ in range(40):
            assert await one.passes()
        lot = one.limits.policies["p"].leases.lots["192.0.2.1"]
        while lot.asked:  # noqa: ASYNC110  # nothing in the product waits for it
            await asyncio.sleep(0.001)
        left = lot.left
        assert left > 10
        redis_server.kill()
        for _ in range(left):
            assert await one.passes()
        assert one.counted() == {"allowed": 40 + left}
        assert await one.passes()
        assert one.counted()["fallback"] == 1


async def test_a_full_redis_is_as_good_as_none_and_noticed_when_it_has_room(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="10/h", burst=10, shared="exact") as one:
        assert await one.passes()
        redis_server.do("CONFIG", "SET", "maxmemory", 1)
        assert await one.passes()
        assert one.limits.sharing is not None
        assert "OutOfMemory" in str(one.limits.sharing.reason)
        redis_server.do("CONFIG", "SET", "maxmemory", 0)
        await one.until("shared")
        assert await one.passes()
        assert one.counted() == {"allowed": 2, "fallback": 1}


@pytest.mark.parametrize(
    "nonsense", [b"+OK\r\n", b":7\r\n", b"$3\r\nabc\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"+1 -1\r\n"]
)
async def test_nonsense_is_no_answer(redis_server: RedisServer, nonsense: bytes) -> None:
    async with (
        fault_proxy(redis_server.port) as proxy,
        balancer(proxy.url, patience=0.1, rate="10/h", burst=10, shared="exact") as one,
    ):
        assert await one.passes()
        proxy.garble = nonsense
        assert await one.passes()
        assert one.counted() == {"allowed": 1, "fallback": 1}
        proxy.garble = None
        await one.until("shared")
        assert await one.passes()


async def test_a_balancer_that_starts_without_redis_takes_itself_for_the_only_one() -> None:
    async with balancer("redis://127.0.0.1:1", patience=0.1, rate="10/h", burst=10, shared="leased") as one:
        assert [await one.passes() for _ in range(11)] == [True] * 10 + [False]
        assert [event for event, _ in one.events] == [LOCAL]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["exact", "leased"])
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_befalls_redis_each_question_is_answered_once(
    redis_server: RedisServer, mode: str, seed: int
) -> None:
    rng = Random(seed)
    asked: list[Verdict] = []
    answers: list[list[Refusal | None]] = []
    async with (
        fault_proxy(redis_server.port) as proxy,
        balancer(proxy.url, deadline=DEADLINE, patience=0.1, rate="200/s", burst=40, shared=mode) as one,
    ):
        for turn in range(300):
            if turn % 20 == 0:
                proxy.delay = rng.choice([0.0, 0.0, 0.01, 2 * DEADLINE])
                proxy.garble = rng.choice([None, None, None, b"+9 9\r\n", b"$1\r\nx\r\n", b"-OOM full\r\n"])
                proxy.silent = rng.random() < 0.1
                proxy.refuse = rng.random() < 0.1
                if rng.random() < 0.2:
                    proxy.cut()
                if rng.random() < 0.2:
                    redis_server.do("SCRIPT", "FLUSH")
            for _ in range(rng.randrange(6)):
                verdict = one.verdict(f"192.0.2.{rng.randrange(4)}", cost=rng.randint(1, 5))
                asked.append(verdict)
                if isinstance(verdict, Asking):
                    told: list[Refusal | None] = []
                    answers.append(told)
                    verdict.ask(told.append)
                    if rng.random() < 0.1:
                        verdict.forget()
                        answers.pop()
            if turn % 3 == 0:
                await one.naps.wake()
            await asyncio.sleep(rng.random() * 0.01)
        async with asyncio.timeout(10):
            while not all(answers):  # noqa: ASYNC110  # each has its own callback
                await asyncio.sleep(DEADLINE)
        assert len(asked) > 300
        assert answers
        assert {len(told) for told in answers} == {1}
        assert sum(one.counted().values()) == len(asked)


# A cluster.


@pytest.mark.slow
async def test_a_cluster_holds_limits_and_those_of_a_part_that_is_away_are_held_here(
    redis_cluster: RedisCluster,
) -> None:
    clients = [f"192.0.2.{n}" for n in range(60)]
    async with AsyncExitStack() as stack:
        found = await several(stack, redis_cluster.url, 2, rate="2/h", burst=2, shared="exact")
        answers = [one.ask(client) for client in clients for one in (*found, *found)]
        assert [await answer.status() for answer in answers].count(200) == 2 * len(clients)
        assert all("fallback" not in one.counted() for one in found)
        slot = slot_of(["GET", "balancer:rl:instances"])
        (number,) = (number for number in range(3) if slot in redis_cluster.slots(number))
        gone = redis_cluster.nodes[number - 1]
        gone.kill()
        async with asyncio.timeout(10):
            while found[0].gateway.state.phase != "partial":
                for n in range(60):
                    await found[0].ask(f"198.51.100.{n}").status()
                await found[0].naps.wake()
                await asyncio.sleep(0.01)
        await found[0].until("shared")
        events = len(found[0].events)
        answers = [found[0].ask(f"203.0.113.{n}") for n in range(60)]
        assert [await answer.status() for answer in answers].count(200) == 60
        assert found[0].counted()["fallback"] > 0
        assert len(found[0].events) == events, "the rest of the cluster is asked as ever"


# Reloads.


async def test_another_limit_is_in_force_at_once(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="100/h", burst=100, shared="leased") as one:
        for _ in range(50):
            assert await one.passes()
        one.configure({"p": {"rate": "3/h", "burst": 3, "shared": "exact"}})
        await one.limits.use(one.gateway)
        assert not await one.passes(), "fifty are more than three"
        assert await one.passes("192.0.2.9")


async def test_a_limit_that_is_not_shared_any_more_is_counted_here(redis_server: RedisServer) -> None:
    async with balancer(redis_server.url, rate="3/h", burst=3, shared="exact") as one:
        assert await one.passes()
        one.configure({"p": {"rate": "3/h", "burst": 3}})
        await one.limits.use(None)
        assert one.limits.sharing is None
        before = one.commands
        assert [await one.passes() for _ in range(4)] == [True] * 3 + [False]
        assert one.commands == before
        one.configure({"p": {"rate": "3/h", "burst": 3, "shared": "exact"}})
        await one.limits.use(one.gateway)
        assert [await one.passes() for _ in range(3)] == [True, True, False]


# How many there are.


async def test_balancers_know_how_many_they_are_until_one_leaves(redis_server: RedisServer) -> None:
    gateway = Gateway(Redis(url=redis_server.url, timeout=PATIENT))
    try:
        first, second = Presence(), Presence()
        await first.tell(gateway, "x:", 0.0)
        await second.tell(gateway, "x:", 0.0)
        await first.tell(gateway, "x:", 0.0)
        assert (first.instances, second.instances) == (2, 2)
        await second.leave(gateway)
        await first.tell(gateway, "x:", 1.0)
        assert first.instances == 2
        await first.tell(gateway, "x:", LIFE + 1.0)
        assert first.instances == 1
        assert 0 < int(redis_server.do("PTTL", "x:rl:instances")) <= LIFE * 1000
    finally:
        await gateway.close()


async def test_a_balancer_with_another_prefix_is_not_counted_under_the_old_one(redis_server: RedisServer) -> None:
    gateway = Gateway(Redis(url=redis_server.url, timeout=PATIENT))
    try:
        presence = Presence()
        await presence.tell(gateway, "x:", 0.0)
        await presence.tell(gateway, "y:", 1.0)
        assert redis_server.do("ZCARD", "x:rl:instances") == "0"
        assert redis_server.do("ZCARD", "y:rl:instances") == "1"
    finally:
        await gateway.close()


def test_the_number_falls_only_after_it_was_lower_for_a_while() -> None:
    presence = Presence()
    assert presence.instances == 1
    for now, count, known in [
        (0, 3, 3),
        (2, 1, 3),
        (4, 2, 3),
        (6, 2, 3),
        (10, 2, 2),
        (12, 1, 2),
        (16, 1, 2),
        (20, 1, 1),
        (21, 5, 5),
    ]:
        presence.heard(count, float(now))
        assert presence.instances == known, now
