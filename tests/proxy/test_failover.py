"""Which requests are tried again, where, and which never are."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from config.schema import Config
from tests.proxy.wire import Peer, Script, ScriptedServer, config, ok, replies, serving, site

GET = b"GET /x HTTP/1.1\r\nHost: s\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\nhi"


def refusing_port() -> int:
    """A port that refuses connections: bound, noted, closed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PLENTY = {"ratio": 1.0, "minimum": 100}
NO_CHECKS = {"active": None, "passive": None}


async def slam(peer: Peer) -> None:
    """Read a head and close without a word."""
    await peer.head()
    peer.cut()


@pytest.mark.parametrize("request_bytes", [GET, POST])
async def test_a_refused_connection_sends_every_request_elsewhere(request_bytes: bytes) -> None:
    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            if b"Content-Length" in head:
                assert await peer.exactly(2) == b"hi"
            await peer.send(ok())

    async with serving(script) as (server,):
        async with site(config({"a": refusing_port(), "b": server})) as here:
            client = await here.connect()
            for _ in range(6):
                await client.send(request_bytes)
                assert (await client.answer())[0] == 200
            reasons = [d.reasons for d in here.decisions if d.reasons]
            assert reasons[0] == [("a", "connect")]


async def test_all_servers_refusing_is_a_bad_gateway_and_a_readable_one() -> None:
    async with site(config({"a": refusing_port(), "b": refusing_port()})) as here:
        client = await here.connect()
        await client.send(GET)
        status, fields, body = await client.answer()
        assert status == 502
        assert b"refused the connection" in body
        assert fields["x-request-id"].encode() in body
        await client.send(GET)  # the client's connection is as good as before
        assert (await client.answer())[0] == 502
        assert here.plane.pools["app"].tally.unserved[502] == 2


async def test_a_get_is_sent_again_when_its_server_closes_without_a_word() -> None:
    async with serving(slam, replies(ok(b"b"))) as (bad, good):
        async with site(config({"a": bad, "b": good}, retries={"budget": PLENTY})) as here:
            client = await here.connect()
            for _ in range(4):
                await client.send(GET)
                assert (await client.answer())[::2] == (200, b"b")
            assert here.plane.pools["app"].servers["a"].tally.retries["reset"] >= 1


async def test_a_post_is_not_sent_twice() -> None:
    async with serving(slam, slam) as (a, b), site(config({"a": a, "b": b})) as here:
        client = await here.connect()
        await client.send(POST)
        assert (await client.answer())[0] == 502
        assert a.connections + b.connections == 1


async def test_attempts_bound_what_is_sent_again() -> None:
    async with serving(slam, slam, slam, slam) as servers:
        names = dict(zip("abcd", servers, strict=True))
        async with site(config(names, retries={"attempts": 3})) as here:
            client = await here.connect()
            await client.send(GET)
            assert (await client.answer())[0] == 502
            assert sum(server.connections for server in servers) == 3
            assert here.decisions[0].attempts == 3


async def test_the_budget_bounds_what_is_sent_again() -> None:
    async with serving(slam, slam) as (a, b):
        settings = config({"a": a, "b": b}, retries={"budget": {"ratio": 0.0, "minimum": 0.0}})
        async with site(settings) as here:
            client = await here.connect()
            await client.send(GET)
            assert (await client.answer())[0] == 502
            assert a.connections + b.connections == 1
            assert here.plane.pools["app"].tally.budget_exhausted == 1


async def test_a_pooled_connection_that_went_stale_is_replaced_without_anyone_noticing() -> None:
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        await peer.head()
        await peer.send(ok())
        if connections == 1:
            await peer.head()  # the second request arrives, and the server closes just then
            peer.cut()
            return
        await peer.head()
        await peer.send(ok())

    async with serving(script) as (server,), site(config({"a": server}, retries={"attempts": 1})) as here:
        client = await here.connect()
        for _ in range(2):
            await client.send(GET)
            assert (await client.answer())[0] == 200
        assert here.decisions[1].attempts == 1
        assert not here.plane.pools["app"].servers["a"].tally.failures


async def test_an_idle_connection_closed_by_its_server_is_not_used_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok())  # and closes, although it promised to stay

    async with serving(script) as (server,), site(config({"a": server})) as here:
        client = await here.connect()
        for count in range(1, 4):
            await client.send(POST)
            assert (await client.answer())[0] == 200
            await here.until(lambda: not here.plane.pools["app"].servers["a"].idle)
            assert server.connections == count


async def test_statuses_that_are_configured_are_tried_elsewhere() -> None:
    busy = replies(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
    async with serving(busy, replies(ok(b"fine"))) as (a, b):
        retries = {"statuses": [503], "budget": PLENTY}
        settings = config({"a": a, "b": b}, retries=retries, health={"active": None, "passive": None})
        async with site(settings) as here:
            client = await here.connect()
            for _ in range(4):
                await client.send(GET)
                assert (await client.answer())[::2] == (200, b"fine")
            statuses = set()
            for _ in range(2):
                await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n")
                statuses.add((await client.answer())[0])
            assert statuses == {200, 503}


async def test_a_body_that_may_be_replayed_is_replayed_whole() -> None:
    async def read_and_slam(peer: Peer) -> None:
        await peer.head()
        await peer.exactly(2)
        peer.cut()

    async def script(peer: Peer) -> None:
        await peer.head()
        assert await peer.exactly(2) == b"hi"
        await peer.send(ok(b"put"))

    async with serving(read_and_slam, script) as (bad, good):
        async with site(config({"a": bad, "b": good})) as here:
            for _ in range(2):
                client = await here.connect()
                await client.send(b"PUT /x HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\nhi")
                assert (await client.answer())[::2] == (200, b"put")


async def test_a_body_too_large_to_keep_is_not_sent_again() -> None:
    async def read_and_slam(peer: Peer) -> None:
        await peer.head()
        await peer.exactly(1000)
        peer.cut()

    async with serving(read_and_slam, read_and_slam) as (a, b):
        async with site(config({"a": a, "b": b}, retries={"replay_body": 100})) as here:
            client = await here.connect()
            await client.send(b"PUT /x HTTP/1.1\r\nHost: s\r\nContent-Length: 1000\r\n\r\n")
            await here.until(lambda: a.connections + b.connections)
            await client.send(b"x" * 1000)
            assert (await client.answer())[0] == 502
            assert a.connections + b.connections == 1


async def test_a_server_that_never_answers_is_a_gateway_timeout() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.rest()

    async with serving(script) as (server,):
        async with site(config({"a": server}, timeouts={"first_byte": 0.2})) as here:
            client = await here.connect()
            await client.send(GET)
            status, _, body = await client.answer()
            assert status == 504
            assert b"did not answer in time" in body
            assert here.plane.pools["app"].servers["a"].tally.failures["timeout"] == 1


async def test_the_whole_request_has_a_deadline() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            await peer.send(b"x")
            await asyncio.sleep(0.05)

    async with serving(script) as (server,):
        async with site(config({"a": server}, timeouts={"total": 0.3})) as here:
            reply = await here.ask(GET)
            assert 0 < len(reply.partition(b"\r\n\r\n")[2]) < 100
            assert here.decisions[0].outcome == "upstream-timeout"


async def test_requests_wait_for_a_server_at_its_cap_and_are_served_in_turn() -> None:
    most = 0
    now = 0

    async def script(peer: Peer) -> None:
        nonlocal most, now
        while True:
            await peer.head()
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.02)
            now -= 1
            await peer.send(ok())

    async with serving(script) as (server,):
        async with site(config({"a": server}, connections={"per_server": 2})) as here:
            clients = [await here.connect() for _ in range(8)]
            for client in clients:
                await client.send(GET)
            assert [(await client.answer())[0] for client in clients] == [200] * 8
            assert most == 2
            assert here.plane.pools["app"].tally.queued == 6


async def test_a_full_queue_and_a_long_wait_answer_503_with_retry_after() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await release.wait()
        await peer.send(ok())

    async with serving(script) as (server,):
        settings = config({"a": server}, connections={"per_server": 1, "queue": 1, "queue_wait": 0.2})
        async with site(settings) as here:
            first, second, third = [await here.connect() for _ in range(3)]
            await first.send(GET)
            await here.until(lambda: server.connections)
            await second.send(GET)
            await here.until(lambda: here.plane.pools["app"].waiting)
            await third.send(GET)
            status, fields, _ = await third.answer()
            assert (status, fields["retry-after"]) == (503, "1")
            assert (await second.answer())[0] == 503
            assert here.plane.pools["app"].tally.queue_timeouts == 1
            release.set()
            assert (await first.answer())[0] == 200


async def test_requests_wait_until_the_first_check_has_passed() -> None:
    async with serving(replies(ok())) as (server,):
        settings = config({"a": server})
        async with site(settings) as here:
            await here.apply(settings, checking=frozenset({("app", "a")}))
            client = await here.connect()
            await client.send(GET)
            await here.until(lambda: here.plane.pools["app"].waiting)
            assert server.connections == 0
            await here.apply(settings)
            assert (await client.answer())[0] == 200


async def test_live_failures_eject_a_server_and_time_brings_it_back() -> None:
    async with serving(replies(ok())) as (good,):
        bad = ScriptedServer(replies(ok(b"back")))
        bad.port = refusing_port()
        passive = {"failures": 3, "window": "10s", "eject": "1s"}
        settings = config({"a": bad, "b": good}, health={"active": None, "passive": passive})
        async with site(settings) as here:
            client = await here.connect()
            for _ in range(20):
                await client.send(GET)
                assert (await client.answer())[0] == 200
            server = here.plane.pools["app"].servers["a"]
            assert server.ejected
            assert server.tally.failures["connect"] == 3
            assert ("server_ejected", "app/a") in {event[:2] for event in here.events}
            await bad.start()
            await here.until(lambda: not server.ejected)
            counts: Counter[bytes] = Counter()
            for _ in range(10):
                await client.send(GET)
                counts[(await client.answer())[2]] += 1
            assert counts[b"back"] == 5
            await bad.stop()


async def test_checks_that_pass_again_end_an_ejection() -> None:
    async with serving(replies(ok()), replies(ok(b"b"))) as (a, b):
        passive = {"failures": 2, "eject": "60s"}
        settings = config({"a": a, "b": b}, health={"active": None, "passive": passive})
        async with site(settings) as here:
            await a.stop()
            client = await here.connect()
            for _ in range(6):
                await client.send(GET)
                assert (await client.answer())[0] == 200
            server = here.plane.pools["app"].servers["a"]
            assert server.ejected
            await a.start()
            await here.apply(settings, down=frozenset({("app", "a")}))
            assert server.ejected
            await here.apply(settings)
            assert not server.ejected
            answers = set()
            for _ in range(4):
                await client.send(GET)
                answers.add((await client.answer())[2])
            assert answers == {b"ok", b"b"}


async def test_one_of_two_servers_is_never_ejected_when_the_other_is_down() -> None:
    async with serving(slam) as (server,):
        passive = {"failures": 2, "window": "10s", "eject": "1s"}
        settings = config({"a": server, "b": 1}, health={"active": None, "passive": passive})
        async with site(settings) as here:
            await here.apply(settings, down=frozenset({("app", "b")}))
            client = await here.connect()
            for _ in range(6):
                await client.send(GET)
                assert (await client.answer())[0] == 502
            assert not here.plane.pools["app"].servers["a"].ejected


async def test_when_all_checks_fail_traffic_goes_on_and_the_alarm_is_up() -> None:
    async with serving(replies(ok(b"a")), replies(ok(b"b"))) as (a, b):
        settings = config({"a": a, "b": b})
        async with site(settings) as here:
            await here.apply(settings, down=frozenset({("app", "a"), ("app", "b")}))
            client = await here.connect()
            answers = set()
            for _ in range(4):
                await client.send(GET)
                answers.add((await client.answer())[2])
            assert answers == {b"a", b"b"}
            assert here.plane.report().pools["app"].panic
            await here.apply(settings)
            assert not here.plane.report().pools["app"].panic


async def test_a_backup_serves_only_when_no_other_server_may() -> None:
    async with serving(replies(ok(b"a")), replies(ok(b"spare"))) as (a, spare):
        settings = config({"a": a, "spare": spare})
        pool = settings.pools["app"]
        members = {**pool.servers, "spare": pool.servers["spare"].model_copy(update={"backup": True})}
        settings = settings.model_copy(update={"pools": {"app": pool.model_copy(update={"servers": members})}})
        async with site(settings) as here:
            client = await here.connect()
            for _ in range(3):
                await client.send(GET)
                assert (await client.answer())[2] == b"a"
            await here.apply(settings, down=frozenset({("app", "a")}))
            await client.send(GET)
            assert (await client.answer())[2] == b"spare"
            assert not here.plane.report().pools["app"].panic


async def test_a_backup_takes_over_at_once_when_the_others_refuse() -> None:
    async with serving(replies(ok(b"spare"))) as (spare,):
        settings = config({"a": refusing_port(), "spare": spare})
        pool = settings.pools["app"]
        members = {**pool.servers, "spare": pool.servers["spare"].model_copy(update={"backup": True})}
        settings = settings.model_copy(update={"pools": {"app": pool.model_copy(update={"servers": members})}})
        async with site(settings) as here:
            client = await here.connect()
            for _ in range(8):
                await client.send(GET)
                assert (await client.answer())[::2] == (200, b"spare")
            # And the dead one is out, although no other primary is left.
            server = here.plane.pools["app"].servers["a"]
            assert server.ejected
            assert server.tally.failures["connect"] == 5


async def test_a_drained_server_finishes_and_gets_nothing_new() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await go.wait()
            await peer.send(ok(b"a"))

    async with serving(script, replies(ok(b"b"))) as (a, b):
        settings = config({"a": a, "b": b})
        async with site(settings) as here:
            first = await here.connect()
            while here.plane.pools["app"].servers["a"].inflight == 0:
                await first.send(GET)
                await asyncio.sleep(0.05)
            await here.apply(settings, drained=frozenset({("app", "a")}))
            other = await here.connect()
            for _ in range(4):
                await other.send(GET)
                assert (await other.answer())[2] == b"b"
            go.set()
            await here.until(lambda: here.plane.pools["app"].servers["a"].inflight == 0)
            assert here.decisions[-1].outcome == "ok"


async def test_a_slow_body_and_a_slow_head_time_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.rest()

    async with serving(script) as (server,):
        whole = {"timeouts": {"request_head": 0.2, "request_body_idle": 0.2, "keep_alive": 0.2}}
        async with site(config({"a": server}, whole=whole)) as here:
            assert (await here.ask(b"GET / HTTP/1.1\r\nHo")).startswith(b"HTTP/1.1 408 ")
            half = b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nab"
            assert (await here.ask(half)).startswith(b"HTTP/1.1 408 ")
            silent = await here.connect()
            assert await silent.rest() == b""


async def test_a_reload_of_passive_checks_frees_who_was_ejected() -> None:
    async with serving(replies(ok())) as (server,):

        def settings(eject: str) -> Config:
            passive = {"failures": 1, "eject": eject}
            return config({"a": refusing_port(), "b": server}, health={"active": None, "passive": passive})

        before = settings("1h")
        async with site(before) as here:
            client = await here.connect()
            for _ in range(4):
                await client.send(GET)
                assert (await client.answer())[0] == 200
            assert here.plane.pools["app"].servers["a"].ejected
            pool = before.pools["app"]
            passive = pool.health.passive.model_copy(update={"eject": 5.0}) if pool.health.passive else None
            health = pool.health.model_copy(update={"passive": passive})
            after = before.model_copy(update={"pools": {"app": pool.model_copy(update={"health": health})}})
            await here.apply(after)
            assert not here.plane.pools["app"].servers["a"].ejected


async def test_whoever_waits_is_served_by_the_server_it_may_have_and_keeps_its_place_otherwise() -> None:
    go = {"a": asyncio.Event(), "b": asyncio.Event()}

    def script(name: str) -> Script:
        async def serve(peer: Peer) -> None:
            while True:
                head = await peer.head()
                if b"/break" in head:
                    peer.cut()
                    return
                await go[name].wait()
                await peer.send(ok(name.encode()))

        return serve

    async with serving(script("a"), script("b")) as (a, b):
        settings = config({"a": a, "b": b}, connections={"per_server": 1}, retries={"budget": PLENTY})
        async with site(settings) as here:
            servers = here.plane.pools["app"].servers
            busy = [await here.connect() for _ in range(2)]
            for client in busy:
                await client.send(GET)
            await here.until(lambda: servers["a"].inflight == servers["b"].inflight == 1)
            broken, patient = await here.connect(), await here.connect()
            await broken.send(b"GET /break HTTP/1.1\r\nHost: s\r\n\r\n")
            await here.until(lambda: len(here.plane.pools["app"].waiting) == 1)
            await patient.send(GET)
            await here.until(lambda: len(here.plane.pools["app"].waiting) == 2)
            go["a"].set()  # a comes free, breaks off the first that waits, and serves the second
            bodies = {(await patient.answer())[2]}
            assert bodies == {b"a"}
            assert servers["b"].inflight == 1
            go["b"].set()
            assert here.plane.pools["app"].tally.queued == 2


async def test_a_cap_holds_while_requests_are_tried_again() -> None:
    most = now = 0
    turn = 0

    async def script(peer: Peer) -> None:
        nonlocal most, now, turn
        while True:
            await peer.head()
            now += 1
            most = max(most, now)
            turn += 1
            await asyncio.sleep(0.01)
            now -= 1
            if turn % 3 == 0:
                peer.cut()
                return
            await peer.send(ok())

    async with serving(script) as (server,):
        settings = config({"a": server}, connections={"per_server": 1}, retries={"budget": PLENTY}, health=NO_CHECKS)
        async with site(settings) as here:
            clients = [await here.connect() for _ in range(6)]
            for client in clients:
                await client.send(GET * 3)
            for client in clients:
                for _ in range(3):
                    assert (await client.answer())[0] in (200, 502)
            assert most == 1
            assert here.plane.pools["app"].servers["a"].inflight == 0


async def test_the_wait_for_a_server_is_not_begun_anew_by_what_happens_to_the_pool() -> None:
    async with serving(replies(ok())) as (server,):
        settings = config({"a": server, "b": server}, connections={"queue_wait": 0.5})
        both = frozenset({("app", "a"), ("app", "b")})
        async with site(settings) as here:
            await here.apply(settings, checking=both)
            client = await here.connect()
            await client.send(GET)
            await here.until(lambda: here.plane.pools["app"].waiting)
            pool = here.plane.pools["app"]
            answer = asyncio.ensure_future(client.answer())
            while not answer.done():  # changes of rotation again and again, none of them to its good
                pool.refresh(0.0, rebuild=True)
                await asyncio.sleep(0.05)
            assert (await answer)[0] == 503
            assert pool.tally.queued == 1


async def test_a_request_of_which_something_came_back_is_not_taken_for_stale() -> None:
    turn = 0

    async def script(peer: Peer) -> None:
        nonlocal turn
        while True:
            await peer.head()
            turn += 1
            if turn == 2:
                await peer.send(b"HTTP/1.1 200 O")
                peer.writer.close()
                return
            await peer.send(ok())

    async with serving(script) as (server,), site(config({"a": server}, retries={"attempts": 1})) as here:
        client = await here.connect()
        await client.send(GET)
        assert (await client.answer())[0] == 200
        await client.send(b"DELETE /x HTTP/1.1\r\nHost: s\r\n\r\n")
        assert (await client.answer())[0] == 502
        assert turn == 2


async def test_a_server_that_hangs_until_the_whole_deadline_is_blamed() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.rest()

    async with serving(script) as (server,):
        async with site(config({"a": server}, timeouts={"total": 0.2})) as here:
            client = await here.connect()
            await client.send(GET)
            assert (await client.answer())[0] == 504
            assert here.plane.pools["app"].servers["a"].tally.failures["timeout"] == 1


async def test_an_answer_that_asks_to_come_back_later_is_passed_on_when_no_other_server_is_left() -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 120\r\nContent-Length: 4\r\n\r\nbusy"
    async with serving(replies(busy), replies(busy)) as servers:
        pair = {"a": servers[0], "b": servers[1]}
        async with site(config(pair, retries={"statuses": [503], "attempts": 5, "budget": PLENTY})) as here:
            client = await here.connect()
            await client.send(GET)
            status, fields, body = await client.answer()
            assert (status, fields["retry-after"], body) == (503, "120", b"busy")
            assert here.decisions[0].attempts == 2  # each was asked once, and none again before its time


async def test_after_an_interim_answer_has_gone_out_no_other_server_is_asked() -> None:
    async def hints(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        peer.cut()

    async with serving(hints, hints) as (one, other), site(config({"a": one, "b": other})) as here:
        client = await here.connect()
        await client.send(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 103 ")
        assert (await client.answer())[0] == 502
        assert one.connections + other.connections == 1
