"""Clients that leave, stop or talk nonsense in TLS, or below it: at each record of the handshake and after it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.faults.lies import TRUTH
from tests.faults.records import (
    ALERT,
    DATA,
    HANDSHAKE,
    PLACES,
    Records,
    Stopped,
    asking,
    clothed,
    part,
    told_asking,
)
from tests.faults.server import Hand, reset
from tests.faults.stage import LOOPS, PATIENCE, Stage, on, stage
from tests.proxy.wire import Peer

pytestmark = pytest.mark.slow

HELLO = 1  # records in which a client greets
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + TRUTH


@asynccontextmanager
async def secure(folder: Path) -> AsyncIterator[Stage]:
    """A stage whose listener has TLS, as the bystanders do."""
    async with stage(clothed(folder, clients=True)) as scene:
        yield scene


async def bare(scene: Stage) -> Peer:
    """A client that has its TLS in its own hands."""
    peer = Peer(*await asyncio.open_connection("127.0.0.1", scene.site.port, limit=2**20))
    scene.site.peers.append(peer)
    return peer


def leave(client: Peer, way: str) -> None:
    if way == "reset":
        reset(client.writer)
    elif way == "half-close":
        client.writer.write_eof()
    elif way == "garbage":
        client.writer.write(bytes(range(256)) * 64)
    else:
        client.writer.close()


async def gone(scene: Stage) -> None:
    """The balancer has noticed; a bystander is the only one left."""
    await scene.until(lambda: len(scene.plane.listeners["main"].connections) == 1)
    await scene.quiet()


@LOOPS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_client_that_leaves_at_any_point_of_the_handshake_leaves_nothing(
    loop: str, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    async def work() -> None:
        async with secure(tmp_path) as scene:
            tally = scene.plane.listeners["main"].tally
            for record in count():
                reached = False
                for place in PLACES:
                    for way in ("fin", "half-close", "reset", "garbage"):
                        client = await bare(scene)
                        tls = Records(client, asking(version), server_side=False, stop=record, place=place)
                        try:
                            await tls.shake_hands()
                        except Stopped:
                            reached = True
                            # The rest of the record may be garbage that is still to be waited for.
                            leave(client, way)
                        else:
                            client.cut()
                        await gone(scene)
                        client.cut()
                if not reached:
                    break
            assert record > HELLO
            assert set(tally.handshake_errors) <= {"closed", "malformed", "refused-by-client"}, tally.handshake_errors
            assert scene.liar.connections == 0

    on(loop, work())


@LOOPS
def test_a_client_that_stops_at_any_point_of_the_handshake_has_its_time_and_no_more(loop: str, tmp_path: Path) -> None:
    async def stop(scene: Stage, record: int, place: str) -> None:
        client = await bare(scene)
        with pytest.raises(Stopped):
            await Records(client, asking(), server_side=False, stop=record, place=place).shake_hands()
        await client.rest()  # in the end it is closed

    async def work() -> None:
        async with secure(tmp_path) as scene:
            points = [(record, place) for record in range(HELLO + 1) for place in PLACES[:-1]]
            await asyncio.gather(*(stop(scene, *point) for point in points))
            await gone(scene)
            # Who has said nothing at all has failed at nothing.
            assert dict(scene.plane.listeners["main"].tally.handshake_errors) == {"timeout": len(points) - 1}

    on(loop, work())


NONSENSE = {
    "plain HTTP": (b"GET / HTTP/1.1\r\nHost: s\r\n\r\n",),
    "plain HTTP without end": (b"GET / HTTP/1.1\r\nX: ", b"x" * 4096),
    "bytes without end": (b"", bytes(range(128, 256)) * 64),
    "an old hello": (b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", bytes(64)),
    "an alert first": (b"\x15\x03\x01\x00\x02\x02\x28",),
    "data first": (b"\x17\x03\x03\x00\x06POISON",),
    "a record that is too long": (b"\x16\x03\x01\xff\xff\x01\x00", bytes(4096)),
    "a record of nothing, again and again": (b"", b"\x16\x03\x01\x00\x00"),
    "a hello that is too long": (b"\x16\x03\x01\x40\x00\x01\xff\xff\xff", bytes(4096)),
    "a hello in pieces of one byte, that is too long": (
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x01\x00" * 512,
    ),
    "a hello of zeros": (b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb" + bytes(251),),
    "a message that is none": (b"\x16\x03\x01\x00\x04\x63\x00\x00\x00",),
    "changes of cipher": (b"\x16\x03\x01\x00\x01\x01", b"\x14\x03\x03\x00\x01\x01" * 512),
}


@LOOPS
def test_what_is_no_handshake_is_sent_away(loop: str, tmp_path: Path) -> None:
    """The last piece is said again and again, until the balancer has had enough, long before its patience ends."""

    async def work() -> None:
        async with secure(tmp_path) as scene:
            for name, (first, *flood) in NONSENSE.items():
                client = await bare(scene)
                reading = asyncio.ensure_future(client.rest())
                sent = 0
                try:
                    await client.send(first)
                    while flood and not reading.done() and sent < 8 * 2**20:
                        await client.send(flood[0])
                        sent += len(flood[0])
                        await asyncio.sleep(0)
                except ConnectionError:
                    pass
                assert sent < 8 * 2**20, name
                answer = await reading
                assert not answer or answer[0] == ALERT or answer.startswith(b"HTTP/1.1 400 "), (name, answer)
                client.cut()
                await gone(scene)
            assert "timeout" not in scene.plane.listeners["main"].tally.handshake_errors
            assert scene.liar.connections == 0

    on(loop, work())


# After the handshake.


@LOOPS
def test_a_client_that_leaves_in_any_record_of_its_request_has_asked_for_nothing(loop: str, tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def truth(hand: Hand) -> None:
        bodies.append(await hand.body())
        await hand.send(ANSWER)

    async def work() -> None:
        async with secure(tmp_path) as scene:
            scene.liar.lie = truth
            for framing in (b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"):
                pieces = [TRUTH[:4], TRUTH[4:]]
                if b"chunked" in framing:
                    pieces = [b"4\r\n0123", b"\r\n6\r\n456789\r\n", b"0\r\n\r\n"]
                for record in range(len(pieces) + 1):
                    for place in PLACES[:-1]:
                        for way in ("fin", "half-close", "reset", "notify"):
                            token = scene.token()
                            head = f"POST /lie/{token} HTTP/1.1\r\nHost: s\r\n".encode() + framing + b"\r\n"
                            client = await bare(scene)
                            tls = Records(client, asking(), server_side=False)
                            await tls.shake_hands()
                            said = [tls.sealed(piece) for piece in (head, *pieces)[: record + (place != "before")]]
                            for whole in said[:record]:
                                await client.send(whole)
                            await leave_in(client, tls, said, record, place, way)
                            await gone(scene)
                            client.cut()
                            found = [one for one in scene.site.decisions if one.target.endswith(b"/" + token.encode())]
                            assert [one.outcome for one in found] in ([], ["client-abort"]), (record, place, way)
            assert not bodies
            assert not scene.server.tally.failures
            assert not scene.blamed

    async def leave_in(client: Peer, tls: Records, said: list[bytes], record: int, place: str, way: str) -> None:
        if place != "before":
            await client.send(part(said[record], place))
        if way == "notify":
            await client.send(tls.farewell())  # in the middle of a record it is one more part of that
            way = "half-close"
        leave(client, way)

    on(loop, work())


@LOOPS
def test_a_client_that_leaves_in_any_record_of_its_answer_is_the_one_to_blame(loop: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with secure(tmp_path) as scene:
            for pieces in range(3):
                for way in ("fin", "half-close", "reset", "notify", "garbage"):
                    token = scene.token()
                    left = asyncio.Event()

                    async def lie(hand: Hand, pieces: int = pieces, left: asyncio.Event = left) -> None:
                        said = (ANSWER[:-10], TRUTH[:4])[:pieces]
                        for piece in said:
                            await hand.send(piece)
                        await left.wait()
                        await hand.rest()

                    scene.liar.lie = lie
                    client = await bare(scene)
                    tls = Records(client, asking(), server_side=False)
                    await tls.shake_hands()
                    await client.send(tls.sealed(f"GET /lie/{token} HTTP/1.1\r\nHost: s\r\n\r\n".encode()))
                    await scene.until(lambda token=token: scene.liar.seen[f"/lie/{token}"])
                    if pieces:
                        await tls.until((b"\r\n\r\n", TRUTH[:4])[pieces - 1])
                    if way == "notify":
                        await client.send(tls.farewell())
                    else:
                        leave(client, way)
                    await gone(scene)
                    left.set()
                    client.cut()
                    assert scene.decision(token).outcome == "client-abort", (pieces, way)
            assert not scene.server.tally.failures
            assert not scene.blamed

    on(loop, work())


CHATTER = {
    "new keys": lambda forge: forge.key_update(asking=False),
    "new keys for both": lambda forge: forge.key_update(),
    "records with nothing in them": lambda forge: forge.record(DATA, b""),
    "warnings": lambda forge: forge.record(ALERT, b"\1\x5a"),
    "requests to begin anew": lambda forge: forge.record(HANDSHAKE, bytes(4)),
    "another hello": lambda forge: forge.record(HANDSHAKE, b"\1\0\0\x26" + bytes(38)),
    "records of no known kind": lambda forge: forge.record(99, b"x"),
}


@LOOPS
@pytest.mark.parametrize("begun", ["nothing asked", "half asked", "all asked"])
def test_a_client_that_only_chatters_in_tls_is_not_kept(loop: str, begun: str, tmp_path: Path) -> None:
    """Nothing of it counts as a sign of life, whether or not it takes what TLS answers to it."""

    async def silent(hand: Hand) -> None:
        await hand.rest()

    async def one(scene: Stage, name: str, reads: bool) -> None:
        client = await bare(scene)
        tls = Records(client, told_asking(), server_side=False)
        await tls.shake_hands()
        forge = tls.forge()
        token = scene.token().encode()
        if begun != "nothing asked":
            line = b"GET /lie/%b HTTP/1.1\r\nHost: s\r\n" % token
            await client.send(forge.record(DATA, line + b"\r\n" * (begun == "all asked")))
        reading = asyncio.ensure_future(client.rest()) if reads else None
        try:
            while not (client.writer.is_closing() or (reading is not None and reading.done())):
                client.writer.write(b"".join(CHATTER[name](forge) for _ in range(20)))
                await client.writer.drain()
                await asyncio.sleep(0.01)
                if any(one.target.endswith(b"/" + token) for one in scene.site.decisions):
                    break  # it has been answered for the server, which has its time as ever
        except ConnectionError:
            pass
        finally:
            if reading is not None:
                reading.cancel()
            client.cut()

    async def work() -> None:
        async with secure(tmp_path) as scene:
            scene.liar.lie = silent
            async with asyncio.timeout(2 * PATIENCE):
                both = [True] if begun == "half asked" else [True, False]  # who does not take its 408 is lingered for
                await asyncio.gather(*(one(scene, name, reads) for name in CHATTER for reads in both))
            await gone(scene)

    on(loop, work())
