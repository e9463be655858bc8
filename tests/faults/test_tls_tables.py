"""The tables of lies and of endings again, with TLS on one side of the balancer or on both."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.lies import LIES
from tests.faults.records import clothed
from tests.faults.server import Hand, Over, reset, tear
from tests.faults.sight import Sight
from tests.faults.stage import LOOPS, PATIENCE, on, stage
from tests.faults.test_clients import request, truth
from tests.faults.test_each_byte import ANSWERS, GET, POST, RESET, TORN, UPLOAD, Answer, table
from tests.faults.test_lies import through
from tests.proxy.wire import Peer

pytestmark = pytest.mark.slow

BY_NAME = {answer.name: answer for answer in ANSWERS}

NO_HALVES = "half"
"""Python's streams cannot say that they have sent all in TLS, and read on."""
TOLD_IN_TLS = [
    lie
    for lie in LIES
    if NO_HALVES not in lie.name
    and (
        lie.name in ("accepts and closes", "accepts and resets", "reads and closes", "reads and resets")
        or lie.name in ("never answers", "random bytes", "a TLS alert", "a NUL in a value", "two different lengths")
        or lie.name.startswith(("a length too", "no last chunk", "begins a body until close, and resets"))
        or lie.name.startswith(("an endless", "endless", "answers twice", "garbage behind", "an answer behind"))
        or lie.name in ("speaks first", "speaks first and goes", "takes no body", "resets in mid-upload")
        or lie.name.startswith("413 early")
    )
    and not lie.leaves
]


@LOOPS
@pytest.mark.parametrize(
    ("answer", "requests"),
    [("counted", (GET, UPLOAD)), ("chunked", (POST,)), ("until-close", (GET, POST))],
    ids=["counted", "chunked", "until-close"],
)
def test_an_answer_over_tls_that_ends_at_any_byte_is_whole_or_visibly_cut(
    loop: str, answer: str, requests: tuple[str, ...], tmp_path: Path
) -> None:
    """Each byte is in a record of its own place, so that the end is always between two of them."""

    async def work() -> None:
        async with stage(clothed(tmp_path, servers=True)) as scene:
            for asked in requests:
                for ending in ("fin", TORN, RESET) if answer != "chunked" else (TORN,):
                    await table(scene, BY_NAME[answer], asked, 1, ending)

    on(loop, work())


@LOOPS
def test_to_a_client_of_http_1_0_in_tls_a_cut_answer_has_no_good_end(loop: str, tmp_path: Path) -> None:
    """To it the end of the connection is the end of the answer, and TLS could say that this was a good one."""
    answer = Answer("until-close", b"HTTP/1.1 200 OK\r\n\r\n", b"0123456789")

    async def work() -> None:
        async with stage(clothed(tmp_path, servers=True, clients=True)) as scene:
            for ending in ("fin", TORN, RESET):
                await table(scene, answer, GET, 0, ending)

    on(loop, work())


@LOOPS
def test_no_lie_is_passed_on_as_the_truth_through_tls(loop: str, tmp_path: Path) -> None:
    wrong = []

    async def work() -> None:
        async with stage(clothed(tmp_path, servers=True, clients=True)) as scene:
            for lie in TOLD_IN_TLS:
                try:
                    await through(scene, lie)
                except AssertionError as error:
                    wrong.append(f"{lie}: {error}")

    assert len(TOLD_IN_TLS) > 30
    on(loop, work())
    assert not wrong, "\n".join(wrong)


WAYS: dict[str, Callable[[Peer], None]] = {
    "fin": lambda client: client.writer.close(),
    "torn": lambda client: tear(client.writer),
    "reset": lambda client: reset(client.writer),
}


@LOOPS
def test_a_client_in_tls_that_leaves_at_any_byte_of_its_request_hurts_nobody(loop: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with stage(clothed(tmp_path, clients=True)) as scene:
            scene.liar.lie = truth
            for way, leave in WAYS.items():
                for count in range(len(request("chunked", "t000")) + 1):
                    token = f"t{count:03}{way[0]}"
                    client = await scene.connect()
                    await client.send(request("chunked", token)[:count])
                    leave(client)
                    await scene.until(lambda: len(scene.plane.listeners["main"].connections) == 1)  # the bystander
                    await scene.quiet()
                    client.cut()
                    assert scene.liar.seen[f"/lie/{token}"] <= 1
                    decisions = [one for one in scene.site.decisions if one.target.endswith(token.encode())]
                    assert [one.outcome for one in decisions] in ([], ["client-abort"], ["ok"]), (way, count)
            assert not scene.server.tally.failures
            assert not scene.blamed

    on(loop, work())


# Sizes and speeds.


@LOOPS
def test_a_large_body_goes_both_ways_through_tls_at_the_pace_of_who_takes_it(loop: str, tmp_path: Path) -> None:
    size = 8 * 2**20
    piece = bytes(range(251)) * 1044  # no whole number of records, and none of them like another
    body = (piece * (size // len(piece) + 1))[:size]
    want = hashlib.sha256(body).digest()
    sent = 0

    async def lie(hand: Hand) -> None:
        nonlocal sent
        assert hashlib.sha256(await hand.body()).digest() == want
        await hand.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for at in range(0, size, len(piece)):
            await hand.send(body[at : at + len(piece)])
            sent += len(piece)

    async def work() -> None:
        async with stage(clothed(tmp_path, servers=True, clients=True)) as scene:
            scene.liar.lie = lie
            client = await scene.connect()
            await client.send(b"POST /lie/x HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % size)
            for at in range(0, size, len(piece)):
                await client.send(body[at : at + len(piece)])
            await scene.until(lambda: sent)
            assert b" 200 " in await client.head()
            taken = hashlib.sha256()
            got = 0
            while got < size:
                data = await client.reader.read(50_000)
                assert data
                taken.update(data)
                got += len(data)
                await asyncio.sleep(0)
            assert taken.digest() == want
            await scene.good(client, "/good")
            client.cut()

    on(loop, work())


@LOOPS
def test_a_client_in_tls_that_takes_nothing_is_cut_off_and_its_server_let_go(loop: str, tmp_path: Path) -> None:
    async def flood(hand: Hand) -> None:
        await hand.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await hand.send(b"x" * 65536)

    async def work() -> None:
        async with stage(clothed(tmp_path, servers=True, clients=True)) as scene:
            scene.liar.lie = flood
            client = await scene.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own
            await client.send(b"GET /lie/x HTTP/1.1\r\nHost: s\r\n\r\n")
            await scene.until(lambda: scene.server.inflight)
            await scene.until(lambda: any(one.target == b"/lie/x" for one in scene.site.decisions))
            await scene.quiet()
            client.cut()

    on(loop, work())


@LOOPS
def test_a_request_in_tls_byte_by_byte_to_a_server_that_answers_so_is_one_request(loop: str, tmp_path: Path) -> None:
    async def lie(hand: Hand) -> None:
        await hand.body()
        await hand.drip(BY_NAME["chunked"].whole)
        hand.writer.close()
        raise Over

    async def work() -> None:
        async with stage(clothed(tmp_path, servers=True, clients=True)) as scene:
            scene.liar.lie = lie
            for framing in ("counted", "chunked"):
                token = scene.token()
                client = await scene.connect()
                for byte in request(framing, token):
                    await client.send(bytes((byte,)))
                    await asyncio.sleep(0)
                seen = await Sight("POST").read(client.reader, PATIENCE)
                assert (seen.status, seen.body, seen.whole) == (200, b"0123456789", True)
                assert scene.liar.seen[f"/lie/{token}"] == 1
                client.cut()

    on(loop, work())
