"""Servers that end their answer at each of its bytes: every framing, every kind of request, both kinds of ending."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.faults.server import Hand
from tests.faults.sight import RESET, Seen, Sight
from tests.faults.stage import LOOPS, PATIENCE, Stage, on, stage

pytestmark = pytest.mark.slow

BODY = b"0123456789"


@dataclass(frozen=True, slots=True)
class Answer:
    name: str
    head: bytes
    body: bytes

    @property
    def whole(self) -> bytes:
        return self.head + self.body


ANSWERS = (
    Answer("counted", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", BODY),
    Answer(
        "chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\nX-Sum: 1\r\n\r\n",
    ),
    Answer("until-close", b"HTTP/1.1 200 OK\r\n\r\n", BODY),
    Answer(
        "interim", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", BODY
    ),
)

GET = "GET"
POST = "POST"  # its body is with the server before it answers
UPLOAD = "UPLOAD"  # half of its body is
TORN = "torn"  # an end of which TLS has said nothing


async def table(scene: Stage, answer: Answer, request: str, minor: int, ending: str) -> None:
    for count in range(len(answer.whole) + 1):
        token = scene.token()
        seen = await one(scene, answer.whole[:count], token, request, minor, ending)
        place = f"{answer.name}, {request}, HTTP/1.{minor}, {ending} after {count} bytes: {seen}"
        decision = scene.decision(token)
        judge(seen, answer, count, request, ending, place)
        assert scene.liar.seen[f"/lie/{token}"] == 1, place
        if seen.whole and seen.status == 200:
            assert decision.outcome == "ok", place
        elif request != UPLOAD:
            assert decision.outcome == "upstream-reset", place


async def one(scene: Stage, said: bytes, token: str, request: str, minor: int, ending: str) -> Seen:
    """One request on a connection of its own, and afterwards an honest one through the same pool."""

    async def lie(hand: Hand) -> None:
        if request == POST:
            await hand.body()
        elif request == UPLOAD:
            await hand.exactly(4)
        if said:
            await hand.send(said)
        if ending == RESET:
            hand.reset()
        if ending == TORN:
            hand.tear()
        hand.fin()

    scene.liar.lie = lie
    scene.fresh()  # `stale` below is about kept ones
    before = scene.server.tally.failures["reset"], scene.blamed
    client = await scene.connect()
    method = "GET" if request == GET else "POST"
    fields = "" if request == GET else "Content-Length: 8\r\n"
    await client.send(f"{method} /lie/{token} HTTP/1.{minor}\r\nHost: s\r\n{fields}\r\n".encode())
    if request != GET:
        await client.send(b"body")
    if request == POST:
        await client.send(b"body")
    seen = await Sight(method).read(client.reader, PATIENCE)
    await scene.quiet()
    failed = scene.server.tally.failures["reset"] - before[0]
    blamed = scene.blamed - before[1]
    good = seen.whole and seen.status == 200
    assert failed == (not good), f"failures {failed}, {seen}"
    # Who answers an upload before it has read it may close; the balancer cannot tell that from a crash.
    assert blamed == (not good and request != UPLOAD), f"blamed {blamed}, {seen}"
    if seen.ending == "open" and minor == 1 and request != UPLOAD:
        await scene.good(client, "/good")  # the same client's next answer is its own
    client.cut()
    return seen


def judge(seen: Seen, answer: Answer, count: int, request: str, ending: str, place: str) -> None:
    """Never a short answer that looks complete, never a byte that the server did not say."""
    assert not seen.nonsense, place
    assert not seen.rest, place
    head = len(answer.head)
    complete = count == len(answer.whole) if answer.name != "until-close" else count >= head and ending == "fin"
    if seen.whole and seen.status == 200:
        assert complete, place
        assert seen.body == (BODY if answer.name != "until-close" else answer.body[: count - head]), place
    elif seen.whole:
        assert seen.status == 502, place
        assert b"before its answer was complete" in seen.body, place
        # What was lost with the rest of an upload may have been a whole answer.
        assert count < head or (request == UPLOAD and ending == RESET), place
    else:
        assert count >= head, place
        assert BODY.startswith(seen.body), place
        assert seen.ending in ("fin", "reset"), place
        assert not complete or (request == UPLOAD and ending == RESET), place


@LOOPS
@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_an_answer_that_ends_at_any_byte_is_whole_or_visibly_cut(loop: str, answer: Answer, minor: int) -> None:
    async def work() -> None:
        async with stage() as scene:
            for request in (GET, POST, UPLOAD):
                for ending in ("fin", RESET):
                    await table(scene, answer, request, minor, ending)
            assert scene.turns > 10, "how many there are is a matter of speed; that there are is not"

    on(loop, work())


@LOOPS
def test_a_kept_connection_that_ends_at_any_byte_costs_a_get_one_repetition_and_a_post_none(loop: str) -> None:
    answer = ANSWERS[0]

    async def work() -> None:
        async with stage() as scene:
            for request in (GET, POST):
                for count in range(len(answer.whole) + 1):
                    warm = await scene.connect()
                    await scene.good(warm, "/good")
                    token = scene.token()
                    said = answer.whole[:count]
                    for ending in ("fin", RESET):
                        token = scene.token()
                        await scene.good(warm, "/good")
                        opened = scene.liar.connections
                        await stale(scene, said, token, request, ending)
                        sent = scene.liar.seen[f"/lie/{token}"]
                        assert sent == (2 if request == GET and count == 0 else 1), (request, count, ending)
                        assert scene.liar.connections - opened == sent - 1  # the first went over the kept one
                    warm.cut()

    async def stale(scene: Stage, said: bytes, token: str, request: str, ending: str) -> None:
        async def lie(hand: Hand) -> None:
            if request == POST:
                await hand.body()
            if said:
                await hand.send(said)
            if ending == RESET:
                hand.reset()
            hand.fin()

        scene.liar.lie = lie
        client = await scene.connect()
        if request == GET:
            await client.send(f"GET /lie/{token} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
        else:
            await client.send(f"POST /lie/{token} HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\n\r\nbody".encode())
        seen = await Sight(request).read(client.reader, PATIENCE)
        await scene.quiet()
        judge(seen, answer, len(said), request, ending, f"{request}, {ending} after {len(said)}: {seen}")
        client.cut()

    on(loop, work())


@LOOPS
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_an_answer_that_comes_byte_by_byte_arrives_whole(loop: str, answer: Answer) -> None:
    async def lie(hand: Hand) -> None:
        await hand.body()
        await hand.drip(answer.whole)
        hand.fin()

    async def work() -> None:
        async with stage() as scene:
            scene.liar.lie = lie
            for request in (b"", b"Content-Length: 4\r\n"):
                client = await scene.connect()
                method = "POST" if request else "GET"
                await client.send(
                    b"%b /lie/%d HTTP/1.1\r\nHost: s\r\n%b\r\n" % (method.encode(), len(request), request)
                )
                if request:
                    await client.send(b"body")
                seen = await Sight(method).read(client.reader, PATIENCE)
                assert (seen.status, seen.body, seen.whole) == (200, BODY, True)
                assert seen.interim == ([103] if answer.name == "interim" else [])
                client.cut()

    on(loop, work())
