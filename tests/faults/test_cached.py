"""Clients that leave or dawdle while an answer is read along, served from memory, or found to be too large to keep."""

from __future__ import annotations

import asyncio
import gc

import pytest

from balancer.cache.entry import Entry
from balancer.caching.fill import Fill
from tests.faults.server import Hand
from tests.faults.sight import Seen, Sight
from tests.faults.stage import LOOPS, PATIENCE, PATIENT, Stage, on, stage
from tests.faults.test_clients import WAYS
from tests.proxy.wire import Peer

pytestmark = pytest.mark.slow

CACHED = {"enabled": True}
BODY = b"0123456789"
HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n%b\r\n\r\n"
CHUNKED = HEAD % b"Transfer-Encoding: chunked"
ANSWERS = {
    "counted": HEAD % b"Content-Length: 10" + BODY,
    "chunked": CHUNKED + b"4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\n\r\n",
}
LEADER, FOLLOWER, BOTH = "leader", "follower", "both"


def question(token: str) -> bytes:
    return f"GET /lie/{token} HTTP/1.1\r\nHost: s\r\n\r\n".encode()


def fill_of(scene: Stage, token: str) -> Fill | None:
    """What is being fetched for it, as long as others may join."""
    for (key, _), fills in scene.plane.reception.cache.stock.fills.items():
        if key.endswith(token.encode()):
            return fills[0]
    return None


async def ask(scene: Stage, token: str) -> Peer:
    client = await scene.connect()
    await client.send(question(token))
    return client


async def two(scene: Stage, token: str) -> tuple[Peer, Peer]:
    """One whose request has gone to the server, and one that waits for the same answer."""
    leader = await ask(scene, token)
    await scene.until(lambda: scene.liar.seen[f"/lie/{token}"])
    follower = await ask(scene, token)
    await scene.until(lambda: (fill := fill_of(scene, token)) is not None and len(fill.followers) == 1)
    return leader, follower


async def read(client: Peer) -> Seen:
    return await Sight().read(client.reader, PATIENCE)


async def forgotten(scene: Stage) -> None:
    """What was stored is given back, to the last body."""
    memory = scene.plane.reception.cache.stock.memory
    memory.clear()
    await scene.until(lambda: not memory.reap(1000))
    gc.collect()
    left = [one for one in gc.get_objects() if type(one) is Entry and one.body]
    assert not left, [type(holder) for holder in gc.get_referrers(left[0])]


@LOOPS
def test_a_client_that_leaves_at_any_byte_of_a_hit_leaves_nothing(loop: str) -> None:
    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=CACHED) as scene:

            async def lie(hand: Hand) -> None:
                await hand.send(ANSWERS["counted"])

            scene.liar.lie = lie
            token = scene.token()
            first = await ask(scene, token)
            assert (await read(first)).body == BODY
            whole = await ask(scene, token)
            size = len((await read(whole)).raw)
            for way, go in WAYS.items():
                for count in range(len(question(token))):
                    client = await scene.connect()
                    await client.send(question(token)[:count])
                    go(client)
                for count in range(size + 1):
                    client = await ask(scene, token)
                    if count:
                        await client.exactly(count)
                    go(client)
                await scene.until(lambda: len(scene.plane.listeners["main"].connections) <= 3)
                kept = await ask(scene, token)
                assert (await read(kept)).body == BODY, way
                kept.cut()
            assert scene.liar.seen[f"/lie/{token}"] == 1
            first.cut()
            whole.cut()
            await forgotten(scene)

    on(loop, work())


@LOOPS
@pytest.mark.parametrize("framing", ANSWERS)
@pytest.mark.parametrize("who", [LEADER, FOLLOWER, BOTH])
def test_who_leaves_at_any_byte_of_a_shared_answer_takes_nothing_from_the_other(
    loop: str, framing: str, who: str
) -> None:
    """The server is asked once, unless nobody was left before it had said that its answer may be stored."""
    said = ANSWERS[framing]
    head = said.index(b"\r\n\r\n") + 4

    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=CACHED) as scene:
            for way, leave in WAYS.items():
                for count in range(len(said) + 1):
                    go, sent, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

                    async def lie(
                        hand: Hand,
                        count: int = count,
                        go: asyncio.Event = go,
                        sent: asyncio.Event = sent,
                        gone: asyncio.Event = gone,
                    ) -> None:
                        await go.wait()
                        await hand.send(said[:count])
                        sent.set()
                        await gone.wait()
                        await hand.send(said[count:])

                    scene.liar.lie = lie
                    token = scene.token()
                    leader, follower = await two(scene, token)
                    go.set()
                    await sent.wait()
                    before = len(scene.plane.listeners["main"].connections)
                    leaving = [leader] if who == LEADER else [follower] if who == FOLLOWER else [leader, follower]
                    for client in leaving:
                        leave(client)
                    await scene.connected(before - len(leaving))
                    gone.set()
                    place = f"{who} leaves by {way} after {count} of {len(said)} bytes"
                    for client in (leader, follower):
                        if client not in leaving:
                            seen = await read(client)
                            assert (seen.status, seen.body, seen.whole) == (200, BODY, True), f"{place}: {seen}"
                    await scene.quiet()
                    late = await ask(scene, token)
                    seen = await read(late)
                    assert (seen.status, seen.body, seen.whole) == (200, BODY, True), f"{place}: {seen}"
                    nobody = who == BOTH and count < head
                    assert scene.liar.seen[f"/lie/{token}"] <= (2 if nobody else 1), place
                    for client in (leader, follower, late):
                        client.cut()
            assert not scene.server.tally.failures
            assert not scene.blamed
            await forgotten(scene)

    on(loop, work())


PIECE = bytes(range(256)) * 256


async def chunks(hand: Hand, count: int) -> None:
    for _ in range(count):
        await hand.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))


async def body_of(client: Peer) -> bytes:
    """A body of megabytes, which h11 would take seconds for."""
    status, _, body = await client.answer()
    assert status == 200
    return body


@LOOPS
@pytest.mark.parametrize("slow", [LEADER, FOLLOWER])
def test_one_that_does_not_read_keeps_nobody_waiting_and_gets_it_all_in_the_end(loop: str, slow: str) -> None:
    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=CACHED) as scene:

            async def lie(hand: Hand) -> None:
                await hand.send(CHUNKED)
                await chunks(hand, 100)
                await hand.send(b"0\r\n\r\n")

            async def held(hand: Hand) -> None:
                await go.wait()
                await lie(hand)

            go = asyncio.Event()
            scene.liar.lie = held
            token = scene.token()
            leader, follower = await two(scene, token)
            dawdler, reader = (leader, follower) if slow == LEADER else (follower, leader)
            dawdler.reader._transport.pause_reading()  # type: ignore[attr-defined]
            go.set()
            assert await body_of(reader) == PIECE * 100
            # One that comes now has it from memory; the dawdler has not even begun.
            late = await ask(scene, token)
            assert await body_of(late) == PIECE * 100
            assert scene.liar.seen[f"/lie/{token}"] == 1
            dawdler.reader._transport.resume_reading()  # type: ignore[attr-defined]
            assert await body_of(dawdler) == PIECE * 100
            for client in (leader, follower, late):
                client.cut()
            await forgotten(scene)

    on(loop, work())


@LOOPS
def test_one_that_leaves_long_after_the_answer_is_complete_leaves_nothing(loop: str) -> None:
    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=CACHED) as scene:

            async def lie(hand: Hand) -> None:
                await go.wait()
                await hand.send(CHUNKED)
                await chunks(hand, 100)
                await hand.send(b"0\r\n\r\n")

            go = asyncio.Event()
            scene.liar.lie = lie
            token = scene.token()
            leader, follower = await two(scene, token)
            follower.reader._transport.pause_reading()  # type: ignore[attr-defined]
            go.set()
            assert await body_of(leader) == PIECE * 100
            follower.cut()
            leader.cut()
            await scene.connected(1)
            outcomes = sorted(one.outcome for one in scene.site.decisions if one.target.endswith(token.encode()))
            assert outcomes == ["client-abort", "ok"]
            await forgotten(scene)

    on(loop, work())


SMALL = {"enabled": True, "max_object": "256KiB"}
COUNT = 40
"""Chunks of 64 KiB: ten times what may be stored."""


@LOOPS
@pytest.mark.parametrize("leaving", [None, LEADER, FOLLOWER])
def test_a_body_that_turns_out_to_be_too_large_is_whole_for_all_who_read_it(loop: str, leaving: str | None) -> None:
    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=SMALL) as scene:

            async def lie(hand: Hand) -> None:
                await hand.send(CHUNKED)
                await chunks(hand, 2)
                await go.wait()
                await chunks(hand, 4)
                await beyond.wait()
                await chunks(hand, COUNT - 6)
                await hand.send(b"0\r\n\r\n")

            go, beyond = asyncio.Event(), asyncio.Event()
            scene.liar.lie = lie
            token = scene.token()
            leader, follower = await two(scene, token)
            go.set()
            await scene.until(lambda: fill_of(scene, token) is None)  # nobody else may join it
            if leaving is not None:
                (leader if leaving == LEADER else follower).cut()
                await scene.connected(2)
            beyond.set()
            for name, client in ((LEADER, leader), (FOLLOWER, follower)):
                if name != leaving:
                    assert await body_of(client) == PIECE * COUNT, name
            assert scene.liar.seen[f"/lie/{token}"] == 1
            late = await ask(scene, token)
            assert await body_of(late) == PIECE * COUNT
            assert scene.liar.seen[f"/lie/{token}"] == 2
            for client in (leader, follower, late):
                client.cut()
            await forgotten(scene)

    on(loop, work())


@LOOPS
def test_a_body_too_large_that_nobody_reads_any_more_is_not_fetched_to_its_end(loop: str) -> None:
    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=SMALL) as scene:

            async def lie(hand: Hand) -> None:
                await go.wait()
                await hand.send(CHUNKED)
                await chunks(hand, 6)
                await hand.rest()
                ended.set()

            go, ended = asyncio.Event(), asyncio.Event()
            scene.liar.lie = lie
            token = scene.token()
            leader, follower = await two(scene, token)
            go.set()
            await scene.until(lambda: fill_of(scene, token) is None)
            leader.cut()
            follower.cut()
            async with asyncio.timeout(PATIENCE):
                await ended.wait()
            await forgotten(scene)

    on(loop, work())


@LOOPS
@pytest.mark.parametrize("slow", [LEADER, FOLLOWER])
def test_a_body_too_large_is_taken_no_faster_than_it_is_read(loop: str, slow: str) -> None:
    """Otherwise it would be in memory after all, for the one that is slow."""

    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=SMALL) as scene:
            sent = 0

            async def lie(hand: Hand) -> None:
                nonlocal sent
                await go.wait()
                await hand.send(CHUNKED)
                for _ in range(COUNT * 10):
                    await chunks(hand, 1)
                    sent += 1
                await hand.send(b"0\r\n\r\n")

            go = asyncio.Event()
            scene.liar.lie = lie
            token = scene.token()
            leader, follower = await two(scene, token)
            dawdler, reader = (leader, follower) if slow == LEADER else (follower, leader)
            dawdler.reader._transport.pause_reading()  # type: ignore[attr-defined]
            go.set()
            reading = asyncio.create_task(body_of(reader))
            await scene.until(lambda: sent > 4)
            last = -1
            while sent != last:  # until the server is held for good
                last = sent
                await asyncio.sleep(0.2)
            assert sent < COUNT * 5
            dawdler.reader._transport.resume_reading()  # type: ignore[attr-defined]
            assert len(await body_of(dawdler)) == len(await reading) == len(PIECE) * COUNT * 10
            leader.cut()
            follower.cut()
            await forgotten(scene)

    on(loop, work())


SQUEEZED = {
    "lies": {"pool": "lies", "compress": {}},
    "honest": {"match": {"path": "/honest/**"}, "pool": "honest", "rewrite": {"strip_prefix": "/honest"}},
}


@LOOPS
def test_a_check_in_the_background_that_breaks_off_keeps_no_coder(loop: str) -> None:
    """The stage compares the memory of coders before and after."""
    page = PIECE[:20_000]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20000\r\n"
    head += b"Cache-Control: max-age=0, stale-while-revalidate=60\r\n\r\n"

    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=CACHED, routes=SQUEEZED) as scene:

            async def lie(hand: Hand) -> None:
                await hand.send(head + page[: 100 if scene.liar.seen[f"/lie/{token}"] > 1 else None])
                if scene.liar.seen[f"/lie/{token}"] > 1:
                    hand.reset()

            scene.liar.lie = lie
            token = scene.token()
            for turn in range(1, 4):
                client = await scene.connect()
                await client.send(question(token)[:-2] + b"Accept-Encoding: gzip\r\n\r\n")
                assert (await client.answer())[0] == 200
                client.cut()
                await scene.until(lambda turn=turn: scene.liar.seen[f"/lie/{token}"] == turn)
                await scene.quiet()

    on(loop, work())


TOLD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20000\r\nCache-Control: max-age=60\r\n\r\n"


async def two_readers(scene: Stage, token: str) -> tuple[Peer, Peer]:
    """The same as `two`, of clients that take gzip: the one that follows waits for the whole."""
    clients = []
    for followers in range(2):
        client = await scene.connect()
        await client.send(question(token)[:-2] + b"Accept-Encoding: gzip\r\n\r\n")
        await scene.until(lambda: scene.liar.seen[f"/lie/{token}"])
        await scene.until(lambda n=followers: (fill := fill_of(scene, token)) is not None and len(fill.followers) == n)
        clients.append(client)
    return clients[0], clients[1]


@LOOPS
def test_one_that_waits_for_the_whole_gets_it_when_there_is_no_room_to_keep_it(loop: str) -> None:
    async def work() -> None:
        async with stage(timeouts=PATIENT, cache={"enabled": True, "memory": "1MiB"}, routes=SQUEEZED) as scene:
            go, half, end = asyncio.Event(), asyncio.Event(), asyncio.Event()
            large, token = scene.token(), scene.token()

            async def lie(hand: Hand) -> None:
                if large.encode() in hand.asked:
                    await hand.send(CHUNKED)
                    await chunks(hand, 15)
                    await hand.send(b"%x\r\n%b\r\n" % (50_000, PIECE[:50_000]))
                    await end.wait()
                    await hand.send(b"0\r\n\r\n")
                else:
                    await go.wait()
                    await hand.send(TOLD + PIECE[:18_000])
                    await half.wait()
                    await hand.send(PIECE[18_000:20_000])

            scene.liar.lie = lie
            filling = await ask(scene, large)
            stock = scene.plane.reception.cache.stock
            await scene.until(lambda: stock._growing > 1_030_000)
            leader, follower = await two_readers(scene, token)
            go.set()
            await scene.until(lambda: fill_of(scene, token) is None)
            half.set()
            assert (await read(follower)).body == PIECE[:20_000]
            assert (await leader.answer())[0] == 200
            end.set()
            assert len(await body_of(filling)) > 1_030_000
            for client in (leader, follower, filling):
                client.cut()

    on(loop, work())


@LOOPS
def test_one_that_waits_for_the_whole_is_told_when_it_breaks_off(loop: str) -> None:
    async def work() -> None:
        async with stage(timeouts=PATIENT, cache=CACHED, routes=SQUEEZED) as scene:

            async def lie(hand: Hand) -> None:
                await go.wait()
                await hand.send(TOLD + PIECE[:100])
                hand.reset()

            go = asyncio.Event()
            scene.liar.lie = lie
            leader, follower = await two_readers(scene, scene.token())
            go.set()
            seen = await read(follower)
            assert (seen.status, seen.whole) == (502, True)
            leader.cut()
            follower.cut()

    on(loop, work())
