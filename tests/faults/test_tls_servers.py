"""Servers that lie in TLS, or below it: at each record of the handshake and of the answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count, product
from pathlib import Path

import pytest

from tests.faults.lies import TRUTH
from tests.faults.records import (
    ALERT,
    DATA,
    HANDSHAKE,
    PLACES,
    Forge,
    Records,
    Stopped,
    clothed,
    part,
    serving,
    told_serving,
)
from tests.faults.server import BareServer, Hand, Over
from tests.faults.sight import Seen, Sight
from tests.faults.stage import LOOPS, PATIENCE, Stage, on, stage

pytestmark = pytest.mark.slow

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS: dict[str, tuple[bytes, ...]] = {
    "counted": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", TRUTH[:4], TRUTH[4:]),
    "chunked": (CHUNKED, b"4\r\n0123", b"\r\n6\r\n456789\r\n", b"0\r\n\r\n"),
    "until-close": (b"HTTP/1.1 200 OK\r\n\r\n", TRUTH[:4], TRUTH[4:]),
}


@asynccontextmanager
async def secure(folder: Path) -> AsyncIterator[Stage]:
    """A stage whose liar has TLS in its own hands."""
    async with stage(clothed(folder, servers=True), BareServer()) as scene:
        yield scene


async def asked(scene: Stage) -> tuple[Seen, str, list[str]]:
    """One request to the liar, and how it ended; afterwards the same client is served as ever."""
    scene.fresh()
    before = dict(scene.server.tally.failures)
    token = scene.token()
    client = await scene.connect()
    await client.send(f"GET /lie/{token} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
    seen = await Sight().read(client.reader, PATIENCE)
    await scene.quiet()
    failures = [kind for kind, count in scene.server.tally.failures.items() if count > before.get(kind, 0)]
    if seen.whole and seen.ending == "open":
        await scene.good(client, "/honest/good")
    client.cut()
    return seen, scene.decision(token).outcome, failures


async def ended(hand: Hand, way: str) -> None:
    if way == "reset":
        hand.reset()
    elif way == "garbage":
        await hand.send(bytes(range(256)) * 64)
        await hand.rest()
        raise Over
    elif way == "stop":
        await hand.rest()
        raise Over
    else:
        hand.fin()


# In the handshake.


async def to_the_end(hand: Hand, record: int, place: str, way: str, reached: list[bool]) -> None:
    """Go on until that point of what a server says before it answers, and end there."""
    tls = Records(hand, serving(), server_side=True, stop=record, place=place)
    try:
        await tls.shake_hands()
        await tls.until(b"\r\n\r\n")
        await tls.pour(tls.farewell())
    except Stopped:
        reached.append(True)
        await ended(hand, way)
    hand.fin()


@LOOPS
def test_a_server_that_leaves_at_any_point_of_the_handshake_is_answered_for(loop: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with secure(tmp_path) as scene:
            kinds = set()
            for record in count():
                reached: list[bool] = []
                for place, way in product(PLACES[:-1], ("fin", "reset", "garbage")):
                    scene.liar.lie = lambda hand, at=(record, place, way, reached): to_the_end(hand, *at)
                    seen, outcome, failures = await asked(scene)
                    where = f"{way} in record {record}, {place}: {outcome}, {failures}, {seen}"
                    assert (seen.status, seen.whole, len(failures)) == (502, True, 1), where
                    assert outcome == f"upstream-{failures[0]}", where
                    kinds |= set(failures)
                if not reached:
                    break
            assert record > 5  # its hello, its change of cipher, what of it is encrypted, and tickets
            assert kinds == {"connect", "reset"}

    on(loop, work())


@LOOPS
def test_a_server_that_stops_at_any_point_of_the_handshake_is_waited_for_once(loop: str, tmp_path: Path) -> None:
    """All at the same time, as each of them takes as long as the balancer has patience."""
    points = [(record, place) for record in range(6) for place in ("before", "middle", "short")]

    async def work() -> None:
        async with secure(tmp_path) as scene:
            left = list(points)
            reached: list[bool] = []
            scene.liar.lie = lambda hand: to_the_end(hand, *left.pop(), "stop", reached)

            async def one() -> Seen:
                client = await scene.connect()
                await client.send(b"GET /lie/one HTTP/1.1\r\nHost: s\r\n\r\n")
                return await Sight().read(client.reader, PATIENCE)

            for seen in await asyncio.gather(*(one() for _ in points)):
                assert (seen.status, seen.whole) == (504, True), seen
            assert len(reached) == len(points)
            await scene.quiet()

    on(loop, work())


def instead(*pieces: bytes, greeted: bool = True, flood: bool = False) -> Callable[[Hand], Awaitable[None]]:
    """Say this in place of a handshake, the last piece again and again if it is to be a flood."""

    async def script(hand: Hand) -> None:
        if greeted:
            await hand.reader.read(65536)
        for piece in pieces:
            await hand.send(piece)
        while flood:
            for _ in range(256):
                await hand.send(pieces[-1])
            await asyncio.sleep(0)
        await hand.rest()
        raise Over

    return script


def _hello() -> bytes:
    """A ServerHello of TLS 1.2 that nobody has asked for, as the start of something."""
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\xc0\x2b" + b"\0" + b"\0\0"
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


INSTEAD = {
    "plain HTTP": instead(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"),
    "plain HTTP, unasked": instead(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON", greeted=False),
    "an ssh banner": instead(b"SSH-2.0-OpenSSH_9.6\r\n", greeted=False),
    "a fatal alert": instead(b"\x15\x03\x03\x00\x02\x02\x28"),
    "warnings without end": instead(b"\x15\x03\x03\x00\x02\x01\x5a", flood=True),
    "a close_notify": instead(b"\x15\x03\x03\x00\x02\x01\x00"),
    "data": instead(b"\x17\x03\x03\x00\x06POISON"),
    "a record that is too long": instead(b"\x16\x03\x03\xff\xff" + bytes(4096), flood=True),
    "a message that is too long": instead(b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(16380), flood=True),
    "a certificate without end": instead(
        _hello(),
        b"\x16\x03\x03\x40\x00\x0b\xff\xff\xff" + bytes(16380),
        b"\x16\x03\x03\x40\x00" + bytes(16384),
        flood=True,
    ),
    "empty records": instead(b"\x16\x03\x03\x00\x00", flood=True),
    "changes of cipher without end": instead(b"\x14\x03\x03\x00\x01\x01", flood=True),
    "hellos without end": instead(_hello(), flood=True),
    "random bytes without end": instead(bytes(range(128, 256)) * 64, flood=True),
}


@LOOPS
def test_what_is_no_handshake_is_refused_before_its_time_is_over(loop: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with secure(tmp_path) as scene:
            for name, script in INSTEAD.items():
                scene.liar.lie = script
                seen, outcome, failures = await asked(scene)
                where = f"{name}: {outcome}, {failures}, {seen}"
                # A time-out would have been a 504.
                assert (seen.status, seen.whole) == (502, True), where
                assert (outcome, failures) == ("upstream-connect", ["connect"]), where
                assert b"POISON" not in seen.raw, where

    on(loop, work())


# In the answer.


@LOOPS
@pytest.mark.parametrize(
    ("framing", "version"), [("counted", "1.3"), ("chunked", "1.3"), ("until-close", "1.2"), ("until-close", "1.3")]
)
def test_an_answer_that_ends_in_any_record_is_whole_or_visibly_cut(
    loop: str, framing: str, version: str, tmp_path: Path
) -> None:
    """Only a close_notify ends what has no other end, and only where a record does."""
    context = serving(VERSIONS[version])
    pieces = ANSWERS[framing]

    async def answer(hand: Hand, record: int, place: str, ending: str) -> None:
        tls = Records(hand, context, server_side=True)
        await tls.shake_hands()
        await tls.until(b"\r\n\r\n")
        for piece in pieces[:record]:
            await hand.send(tls.sealed(piece))
        if place != "before":
            await hand.send(part(tls.sealed(pieces[record]), place))
        if ending == "notify":
            await hand.send(tls.farewell())
        if ending == "reset":
            hand.reset()
        hand.fin()

    async def work() -> None:
        async with secure(tmp_path) as scene:
            for record in range(len(pieces) + 1):
                for place in (*PLACES[:-1], "lost") if record < len(pieces) else ("before",):
                    for ending in ("notify", "fin", "reset"):
                        scene.liar.lie = lambda hand, at=(record, place, ending): answer(hand, *at)
                        seen, outcome, failures = await asked(scene)
                        where = f"{ending} in record {record}, {place}: {outcome}, {failures}, {seen}"
                        assert not seen.nonsense, where
                        whole = record == len(pieces)
                        if framing == "until-close":
                            whole = record > 0 and place == "before" and ending == "notify"
                        if whole:
                            assert (seen.status, seen.whole, outcome, failures) == (200, True, "ok", []), where
                            assert seen.body == TRUTH[: {1: 0, 2: 4}.get(record, len(TRUTH))], where
                            continue
                        assert (outcome, failures) == ("upstream-reset", ["reset"]), where
                        if record == 0:
                            assert (seen.status, seen.whole) == (502, True), where
                        else:
                            assert (seen.status, seen.whole) == (200, False), where
                            assert TRUTH.startswith(seen.body), where

    on(loop, work())


# Chatter.


def forged(script: Callable[[Hand, Forge], Awaitable[None]]) -> Callable[[Hand], Awaitable[None]]:
    """After the handshake and the request, the script makes the records."""

    async def lie(hand: Hand) -> None:
        tls = Records(hand, told_serving(), server_side=True)
        await tls.shake_hands()
        hand.asked = await tls.until(b"\r\n\r\n")
        await script(hand, tls.forge())

    return lie


async def chatters(hand: Hand, say: Callable[[], bytes], reads: bool = True) -> None:
    """Say that until the balancer has had enough."""
    reading = asyncio.ensure_future(hand.rest()) if reads else None
    try:
        for _ in range(100_000):
            for _ in range(20):
                hand.writer.write(say())
            await hand.writer.drain()
            await asyncio.sleep(0)
            if reading is not None and reading.done():
                raise Over
        raise AssertionError("it was allowed to chatter without end")
    finally:
        if reading is not None:
            reading.cancel()


CHATTER: dict[str, Callable[[Forge], bytes]] = {
    "new keys": lambda forge: forge.key_update(asking=False),
    "new keys for both": lambda forge: forge.key_update(),
    "tickets": lambda forge: forge.record(HANDSHAKE, b"\4\0\0\x14" + bytes(8) + b"\1\0\0\6ticket\0\0"),
    "records with nothing in them": lambda forge: forge.record(DATA, b""),
    "warnings": lambda forge: forge.record(ALERT, b"\1\x5a"),
    "requests to begin anew": lambda forge: forge.record(HANDSHAKE, bytes(4)),
    "messages of no known kind": lambda forge: forge.record(HANDSHAKE, b"\x63\0\0\0"),
    "records of no known kind": lambda forge: forge.record(99, b"x"),
}


@LOOPS
def test_a_server_that_only_chatters_in_tls_has_not_answered(loop: str, tmp_path: Path) -> None:
    """Whether or not it takes what TLS answers to that. All at once, as some take as long as there is patience."""

    async def lie(hand: Hand, forge: Forge) -> None:
        _, name, reads = hand.asked.split(b" ")[1].decode().strip("/").replace("_", " ").split("/")
        await chatters(hand, lambda: CHATTER[name](forge), reads == "reading")

    async def one(scene: Stage, name: str, reads: str) -> None:
        client = await scene.connect()
        await client.send(f"GET /lie/{name.replace(' ', '_')}/{reads} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
        seen = await Sight().read(client.reader, PATIENCE)
        # What is in order may be too much of it, or go on until the time for an answer is over.
        statuses = (502, 504) if "keys" in name or name == "tickets" else (502,)
        assert seen.whole, (name, reads, seen)
        assert seen.status in statuses, (name, reads, seen)
        await scene.good(client, "/honest/good")
        client.cut()

    async def work() -> None:
        async with secure(tmp_path) as scene:
            scene.liar.lie = forged(lie)
            cases = [(name, reads) for name in CHATTER for reads in ("reading", "deaf")]
            await asyncio.gather(*(one(scene, *case) for case in cases))
            await scene.quiet()
            failures = scene.server.tally.failures
            assert failures["timeout"] + failures["reset"] == sum(failures.values()) == len(cases)

    on(loop, work())


@LOOPS
def test_chatter_between_the_records_of_an_answer_changes_nothing_of_it(loop: str, tmp_path: Path) -> None:
    async def answer(hand: Hand, forge: Forge, framing: str) -> None:
        for piece in ANSWERS[framing]:
            for at in range(len(piece)):
                await hand.send(forge.key_update(asking=at % 2 == 0) + forge.record(DATA, piece[at : at + 1]))
            await hand.send(forge.record(DATA, b""))
        await hand.send(forge.key_update() + forge.record(ALERT, b"\1\0"))
        hand.fin()

    async def work() -> None:
        async with secure(tmp_path) as scene:
            for framing in ANSWERS:
                scene.liar.lie = forged(lambda hand, forge, framing=framing: answer(hand, forge, framing))
                seen, outcome, _ = await asked(scene)
                assert (seen.status, seen.body, seen.whole, outcome) == (200, TRUTH, True, "ok"), (framing, seen)

    on(loop, work())


@LOOPS
def test_a_kept_connection_bears_tickets_and_new_keys(loop: str, tmp_path: Path) -> None:
    context = serving()
    context.num_tickets = 100
    connections = 0

    async def lie(hand: Hand) -> None:
        nonlocal connections
        connections += 1
        tls = Records(hand, context, server_side=True)
        await tls.shake_hands()
        while True:
            await tls.until(b"\r\n\r\n")
            await hand.send(b"".join(map(tls.sealed, ANSWERS["counted"])))

    async def chatty(hand: Hand, forge: Forge) -> None:
        nonlocal connections
        connections += 1
        while True:
            await hand.send(b"".join(forge.record(DATA, piece) for piece in ANSWERS["counted"]))
            await hand.send(b"".join(forge.key_update(asking=False) for _ in range(50)))
            await hand.reader.read(65536)  # the next request, which it takes for granted

    async def work() -> None:
        nonlocal connections
        async with secure(tmp_path) as scene:
            for script in (lie, forged(chatty)):
                scene.fresh()
                await scene.until(lambda: not scene.server.idle)
                connections = 0
                scene.liar.lie = script
                client = await scene.connect()
                for _ in range(5):
                    await client.send(b"GET /lie/x HTTP/1.1\r\nHost: s\r\n\r\n")
                    seen = await Sight().read(client.reader, PATIENCE)
                    assert (seen.status, seen.body, seen.whole) == (200, TRUTH, True), seen
                client.cut()
                assert connections == 1

    on(loop, work())
