"""Every lie of the table: what the client sees, whom it is held against, and that nobody else notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

import pytest

from tests.faults.lies import CHUNKED_UPLOAD, CUT, LIES, OWN, POISON, TRUTH, UPLOAD, WHOLE, Lie
from tests.faults.server import FaultServer, Hand
from tests.faults.sight import SILENT, Seen, Sight
from tests.faults.stage import BOTH_LOOPS, PATIENCE, Stage, on, stage
from tests.proxy.wire import Peer

pytestmark = pytest.mark.slow

KINDS = {
    "GET": [lie for lie in LIES if lie.request not in (UPLOAD, CHUNKED_UPLOAD)],
    "POST": [lie for lie in LIES if lie.request in (UPLOAD, CHUNKED_UPLOAD)],
}


class Told(Protocol):
    """Where a lie can be told: `Stage`, or a real process."""

    liar: FaultServer

    def fresh(self) -> None:
        """The next request to the liar gets a new connection."""


async def upload(client: Peer, framing: bytes) -> None:
    """Two million bytes, in whatever framing."""
    piece = b"x" * 50_000
    try:
        for _ in range(40):
            await client.send(b"c350\r\n%b\r\n" % piece if framing == CHUNKED_UPLOAD else piece)
            await asyncio.sleep(0)
        if framing == CHUNKED_UPLOAD:
            await client.send(b"0\r\n\r\n")
    except ConnectionError:
        pass  # the answer came first, and the connection closed


async def swallow(client: Peer) -> Seen:
    """Read on for a while without looking: h11 takes its time over a million chunks."""
    seen = Seen()
    async with asyncio.timeout(PATIENCE):
        seen.raw = await client.reader.read(2**20)
    try:
        async with asyncio.timeout(0.3):
            while await client.reader.read(2**20):
                pass
    except TimeoutError:
        seen.ending = SILENT
    assert seen.raw.startswith(b"HTTP/1.1 200 OK\r\n")
    return seen


async def told(scene: Told, lie: Lie, token: str, client: Peer) -> Seen:
    """Have this client told this lie."""
    if lie.at_once:
        scene.fresh()
        scene.liar.at_once = lie.script
        target = f"/good/{token}".encode()  # as the connection is open then, it answers as it should
    else:
        scene.liar.lie = lie.script
        target = f"/lie/{token}".encode()
    method = lie.method or (b"POST" if lie.request else b"GET")
    await client.send(b"%b %b HTTP/1.1\r\nHost: s\r\n%b\r\n" % (method, target, lie.request))
    sending = asyncio.create_task(upload(client, lie.request)) if lie.request else None
    try:
        return await (swallow(client) if lie.leaves else Sight(method.decode()).read(client.reader, PATIENCE))
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def how(seen: Seen, lie: Lie) -> str:
    """Which of the endings this is."""
    if seen.whole:
        return WHOLE if seen.status == lie.first else OWN
    return CUT


def judge(seen: Seen, lie: Lie) -> None:
    assert not seen.nonsense
    assert not seen.rest
    assert b"POISON" not in seen.body or lie.at_once
    end = how(seen, lie)
    assert end in lie.ends
    if end == OWN:
        assert seen.status in lie.statuses
    elif end == WHOLE:
        assert seen.status == lie.first
        assert lie.length is None or seen.body == TRUTH[: lie.length]
    elif not lie.leaves:
        assert TRUTH.startswith(seen.body)
        assert seen.ending in ("fin", "reset")
    else:
        assert seen.ending == SILENT  # it went on and on


async def through(scene: Stage, lie: Lie) -> None:
    """Tell it, judge it, and go on asking: on the client's connection if it lives, and on another one."""
    token = scene.token()
    failures = Counter(scene.server.tally.failures)
    client, other = await scene.connect(), await scene.connect()
    try:
        await scene.good(other, "/good")
        before = set(scene.plane.dialer.connections)
        if lie.later:
            scene.fresh()
        seen = await told(scene, lie, token, client)
        judge(seen, lie)
        sent = scene.liar.seen[f"/lie/{token}"] + scene.liar.seen[f"/good/{token}"]
        assert sent <= (1 if lie.request else 2)
        failures = Counter(scene.server.tally.failures) - failures
        if lie.failure is not None:
            assert set(failures) == {lie.failure}
        if WHOLE in lie.ends and how(seen, lie) == WHOLE and not lie.request:
            assert not failures
        if lie.later:
            await scene.until(lambda: not scene.plane.dialer.connections - before)
        if seen.whole and seen.ending == "open" and not lie.request and b"connection" not in seen.fields:
            await scene.good(client, "/good")
        for _ in range(3):
            await scene.good(other, "/good")
    finally:
        client.cut()
        other.cut()
    await scene.quiet()


@BOTH_LOOPS
@pytest.mark.parametrize("kind", KINDS)
def test_no_lie_is_passed_on_as_the_truth(loop: str, kind: str) -> None:
    """All in one: it is the same bystanders and the same base for all of them."""
    wrong = []

    async def work() -> None:
        async with stage() as scene:
            for lie in KINDS[kind]:
                try:
                    await through(scene, lie)
                except AssertionError as error:
                    wrong.append(f"{lie}: {error}")

    on(loop, work())
    assert not wrong, "\n".join(wrong)


@BOTH_LOOPS
def test_an_answer_that_comes_before_its_request_belongs_to_nobody(loop: str) -> None:
    """It is in the socket when the request is sent, and the loop has yet to look: response-queue poisoning."""

    async def work() -> None:
        async with stage() as scene:
            hands: list[Hand] = []

            async def lie(hand: Hand) -> None:
                hands.append(hand)
                await hand.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")

            scene.liar.lie = lie
            client = await scene.connect()
            for turn in range(50):
                scene.fresh()
                await client.send(b"GET /lie/%d HTTP/1.1\r\nHost: s\r\n\r\n" % turn)
                seen = await Sight().read(client.reader, PATIENCE)
                assert seen.body == b"first"
                # One after the other, and no turn of the loop between the two.
                hands[-1].writer.write(POISON)
                client.writer.write(b"GET /good/mine HTTP/1.1\r\nHost: s\r\n\r\n")
                seen = await Sight().read(client.reader, PATIENCE)
                assert seen.body == b"mine"
                assert not seen.rest

    on(loop, work())
