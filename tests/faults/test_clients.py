"""Clients that go away: at each byte of what they ask, at each byte of what they are told, in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.faults.server import Hand, Over, reset
from tests.faults.sight import Sight
from tests.faults.stage import BOTH_LOOPS, PATIENCE, Stage, on, stage
from tests.proxy.wire import Peer

pytestmark = pytest.mark.slow

BODY = b"0123456789"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY


def fin(client: Peer) -> None:
    client.writer.close()


def half(client: Peer) -> None:
    client.writer.write_eof()


WAYS: dict[str, Callable[[Peer], None]] = {"fin": fin, "half-close": half, "reset": lambda peer: reset(peer.writer)}


def request(framing: str, token: str) -> bytes:
    line = f"POST /lie/{token} HTTP/1.1\r\nHost: s\r\n"
    if framing == "counted":
        return f"{line}Content-Length: 10\r\n\r\n".encode() + BODY
    trailer = b"4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\nX-Sum: 1\r\n\r\n"
    return f"{line}Transfer-Encoding: chunked\r\n\r\n".encode() + trailer


async def truth(hand: Hand) -> None:
    """Answer when the whole request is there; never take half of one for a whole one."""
    body = await hand.body()
    assert body == BODY, body
    await hand.send(ANSWER)


async def left(scene: Stage, way: str, client: Peer) -> None:
    """The client goes, and the balancer has noticed when this returns."""
    WAYS[way](client)
    await scene.until(lambda: len(scene.plane.listeners["main"].connections) == 1)  # the bystander
    await scene.quiet()
    client.cut()


@BOTH_LOOPS
@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_a_client_that_leaves_at_any_byte_of_its_request_hurts_nobody(loop: str, framing: str) -> None:
    async def work() -> None:
        async with stage() as scene:
            scene.liar.lie = truth
            for way in WAYS:
                for count in range(len(request(framing, "t000")) + 1):
                    token = f"t{count:03}{way[0]}"
                    client = await scene.connect()
                    await client.send(request(framing, token)[:count])
                    await left(scene, way, client)
                    assert scene.liar.seen[f"/lie/{token}"] <= 1
                    decisions = [one for one in scene.site.decisions if one.target.endswith(token.encode())]
                    assert [one.outcome for one in decisions] in ([], ["client-abort"], ["ok"]), decisions[0].outcome
            assert not scene.server.tally.failures
            assert not scene.blamed

    on(loop, work())


@BOTH_LOOPS
def test_a_request_that_comes_byte_by_byte_is_one_request(loop: str) -> None:
    async def work() -> None:
        async with stage() as scene:
            scene.liar.lie = truth
            for framing in ("counted", "chunked"):
                token = scene.token()
                client = await scene.connect()
                for byte in request(framing, token):
                    await client.send(bytes((byte,)))
                    await asyncio.sleep(0)
                seen = await Sight("POST").read(client.reader, PATIENCE)
                assert (seen.status, seen.body, seen.whole) == (200, BODY, True)
                assert scene.liar.seen[f"/lie/{token}"] == 1
                client.cut()

    on(loop, work())


@BOTH_LOOPS
@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_a_client_that_leaves_at_any_byte_of_its_answer_hurts_nobody(loop: str, framing: str) -> None:
    """The server is asked once, stops when its client has gone, and is not to blame."""
    head = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n"
    if framing == "counted":
        said = head % b"Content-Length: 10" + BODY
    else:
        said = head % b"Transfer-Encoding: chunked" + b"4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\nX-Sum: 1\r\n\r\n"

    async def work() -> None:
        async with stage() as scene:
            for way in WAYS:
                for count in range(len(said) + 1):
                    token = scene.token()
                    gone = asyncio.Event()

                    async def lie(hand: Hand, count: int = count, gone: asyncio.Event = gone) -> None:
                        await hand.send(said[:count])
                        await gone.wait()
                        if count < len(said):
                            await hand.send(said[count:])
                            await hand.rest()
                            raise Over

                    scene.liar.lie = lie
                    client = await scene.connect()
                    await client.send(f"GET /lie/{token} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
                    await scene.until(lambda token=token: scene.liar.seen[f"/lie/{token}"])  # type: ignore[misc]
                    await left(scene, way, client)
                    gone.set()
                    assert scene.liar.seen[f"/lie/{token}"] == 1
                    assert scene.decision(token).outcome == ("ok" if count == len(said) else "client-abort")
            assert not scene.server.tally.failures
            assert not scene.blamed

    on(loop, work())


@BOTH_LOOPS
@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_leaves_while_a_connection_is_opened_leaves_nothing(loop: str, way: str) -> None:
    """At each turn of the loop between its request and its answer."""

    async def work() -> None:
        async with stage() as scene:
            scene.liar.lie = truth
            for turns in [*range(12)] * 5:
                scene.plane.dialer.close_idle(scene.server)
                clients = [await scene.connect() for _ in range(4)]
                for client in clients:
                    await client.send(request("counted", scene.token()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                for client in clients:
                    await left(scene, way, client) if client is clients[-1] else WAYS[way](client)
                for client in clients:
                    client.cut()
            assert not scene.server.tally.failures
            assert not scene.blamed

    on(loop, work())
