"""Running planes on one Redis: what their clients are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from balancer.guarding.shared_limits import LOCAL
from balancer.guards.rulings import Ruling
from tests.guards.sites import ask, guarded, written
from tests.proxy.wire import PATIENCE, Peer, Script, Site, ok
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture


@asynccontextmanager
async def sharing(text: str, script: Script | None = None) -> AsyncIterator[Site]:
    """A site that waits for Redis for as long as a busy test machine takes."""
    async with guarded(text, script) as site:
        site.plane.watch.shared.deadline = PATIENCE
        yield site


def shared(url: str, policy: str) -> str:
    return f"""
    redis: {{url: "{url}", timeout: 5s}}
    rate_limits: {{p: {{{policy}}}}}
    routes: {{all: {{pool: default, rate_limit: p}}}}
    """


@pytest.mark.parametrize("mode", ["exact", "leased"])
async def test_two_balancers_hold_one_limit_together(redis_server: RedisServer, mode: str) -> None:
    text = shared(redis_server.url, f"rate: 6/h, shared: {mode}")
    async with sharing(text) as one, sharing(text) as other:
        peers = [await one.connect(), await other.connect()]
        answers = [await ask(peers[n % 2]) for n in range(12)]
        assert [status for status, _, _ in answers] == [200] * 6 + [429] * 6
        for _, fields, _ in answers[6:]:
            assert 1 <= int(fields["retry-after"]) <= 600
            assert fields["ratelimit-policy"] == '"p";q=6;w=3600'
        assert one.decisions[-1].guarded == "rate-limit"
        assert one.events == []


async def test_a_body_waits_with_its_request_and_arrives_whole(redis_server: RedisServer) -> None:
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            asked.append(await peer.exactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])))
            await peer.send(ok())

    async with sharing(shared(redis_server.url, "rate: 2/h, shared: exact"), script) as site:
        peer = await site.connect()
        body = b"0123456789" * 30_000
        request = b"POST / HTTP/1.1\r\nHost: site\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        for _ in range(2):
            await peer.send(request)
            assert (await peer.answer())[0] == 200
        assert asked == [body, body]
        await peer.send(b"POST / HTTP/1.1\r\nHost: site\r\nContent-Length: 3\r\n\r\nabc")
        assert (await peer.answer())[0] == 429
        assert len(asked) == 2


async def test_requests_that_were_sent_ahead_are_answered_in_turn(redis_server: RedisServer) -> None:
    async with sharing(shared(redis_server.url, "rate: 5/h, shared: exact")) as site:
        peer = await site.connect()
        await peer.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n" * 8)
        assert [(await peer.answer())[0] for _ in range(8)] == [200] * 5 + [429] * 3


async def test_without_redis_requests_are_answered_and_it_is_said_once(redis_server: RedisServer) -> None:
    async with sharing(shared(redis_server.url, "rate: 4/h, shared: exact")) as site:
        peer = await site.connect()
        assert (await ask(peer))[0] == 200
        redis_server.kill()
        assert [(await ask(peer))[0] for _ in range(6)] == [200] * 3 + [429] * 3
        assert [event for event, _, _ in site.events] == [LOCAL]
        assert site.plane.watch.limiter.policies["p"].tally.decisions["fallback"] == 3


async def test_a_client_that_leaves_while_redis_is_asked_harms_nobody(redis_server: RedisServer) -> None:
    async with sharing(shared(redis_server.url, "rate: 100/h, shared: exact")) as site:
        for _ in range(20):
            peer = await site.connect()
            await peer.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n")
            peer.writer.transport.abort()
        await site.until(lambda: len(site.decisions) == 20)
        assert {decision.outcome for decision in site.decisions} <= {"client-abort", "ok", "upstream-reset"}
        assert (await ask(await site.connect()))[0] == 200
        assert site.events == []


async def test_what_a_reload_makes_shared_is_shared(redis_server: RedisServer) -> None:
    alone = shared("", "rate: 3/h")
    together = shared(redis_server.url, "rate: 3/h, shared: true")
    async with sharing(together) as one, sharing(alone) as other:
        snapshot = other.plane.snapshot
        assert snapshot is not None
        (server,) = snapshot.config.pools["default"].servers.values()
        number = int(server.url.rpartition(":")[2])
        peers = [await one.connect(), await other.connect()]
        assert [(await ask(peers[0]))[0] for _ in range(4)] == [200, 200, 200, 429]
        assert (await ask(peers[1]))[0] == 200
        await other.apply(written(together, number))
        assert (await ask(peers[1]))[0] == 429
        await other.apply(written(alone, number))
        assert (await ask(peers[1]))[0] == 200
        assert redis_server.do("ZCARD", "balancer:rl:instances") == "1", "it has taken leave"


async def test_a_reload_to_another_redis_takes_leave_of_the_first_and_is_no_failure(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = RedisServer(tmp_path / "other")
    other.start()
    try:
        async with sharing(shared(redis_server.url, "rate: 2/h, shared: exact")) as site:
            snapshot = site.plane.snapshot
            assert snapshot is not None
            (server,) = snapshot.config.pools["default"].servers.values()
            peer = await site.connect()
            assert [(await ask(peer))[0] for _ in range(3)] == [200, 200, 429]
            text = shared(other.url, "rate: 2/h, shared: exact").replace("timeout: 5s", "timeout: 5s, prefix: 'new:'")
            await site.apply(written(text, int(server.url.rpartition(":")[2])))
            assert site.events == []
            assert redis_server.do("ZCARD", "balancer:rl:instances") == "0", "it is still counted there"
            await site.until(lambda: site.plane.report().limits["p"].mode == "exact")
            assert other.do("ZCARD", "new:rl:instances") == "1"
            assert site.events == []
    finally:
        other.kill()


async def test_a_report_tells_whether_a_limit_is_shared_and_why_not(redis_server: RedisServer) -> None:
    async with sharing(shared(redis_server.url, "rate: 4/h, shared: leased")) as site:
        peer = await site.connect()
        assert (await ask(peer))[0] == 200
        limit = site.plane.report().limits["p"]
        assert (limit.mode, limit.reason, limit.instances, limit.keys, limit.questions) == ("leased", None, 1, 1, 1)
        redis_server.kill()
        await ask(peer)
        limit = site.plane.report().limits["p"]
        assert limit.mode == "fallback"
        assert limit.reason
        assert limit.decisions == {"allowed": 1, "fallback": 1}


async def test_a_key_that_is_restored_has_a_full_bucket_in_redis_too(redis_server: RedisServer) -> None:
    async with sharing(shared(redis_server.url, "rate: 2/h, shared: exact")) as site:
        peer = await site.connect()
        assert [(await ask(peer))[0] for _ in range(3)] == [200, 200, 429]
        site.plane.rule(Ruling("p", "restore", 0.0, key=("127.0.0.1",)))
        assert [(await ask(peer))[0] for _ in range(3)] == [200, 200, 429]
