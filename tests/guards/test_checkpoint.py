"""Requests that wait for an answer to a question before they may pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from balancer.decision import Decision
from balancer.guards.guard import Guard
from balancer.guards.verdict import Answered, Refusal, Verdict
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from config.schema import RouteLimit
from tests.guards.sites import ask, guarded
from tests.proxy.wire import Peer, Site, ok

ROUTE = "routes: {all: {pool: default}}"


class Asked:
    """A question that a test answers."""

    def __init__(self, at_once: bool = False) -> None:
        self.answered: Answered | None = None
        self.forgotten = False
        self.at_once = at_once

    def ask(self, answered: Answered) -> None:
        self.answered = answered
        if self.at_once:
            answered(None)

    def forget(self) -> None:
        self.forgotten = True

    def answer(self, refusal: Refusal | None = None) -> None:
        assert self.answered is not None
        self.answered(refusal)


class Steps:
    """Two steps that ask, with all that they asked."""

    def __init__(self, at_once: bool = False) -> None:
        self.first: list[Asked] = []
        self.second: list[Asked] = []
        self.at_once = at_once

    def guard(self) -> Guard:
        return Guard([self._step(self.first), self._step(self.second)])

    def _step(self, asked: list[Asked]):  # type: ignore[no-untyped-def]  # a step
        def step(head: RequestHead, client: Client, decision: Decision) -> Verdict:
            asked.append(Asked(self.at_once))
            return asked[-1]

        return step


async def reading(peer: Peer) -> None:
    """A server that answers with what it was sent."""
    while True:
        head = await peer.head()
        body = b""
        if b"transfer-encoding: chunked" in head.lower():
            while size := int((await peer.line()).strip(), 16):
                body += await peer.exactly(size)
                await peer.exactly(2)
            await peer.exactly(2)
        elif b"content-length" in head.lower():
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await peer.exactly(length)
        await peer.send(ok(body or b"nothing"))


@asynccontextmanager
async def waiting(at_once: bool = False) -> AsyncIterator[tuple[Site, Steps]]:
    steps = Steps(at_once)
    async with guarded(ROUTE, reading) as site:
        route = site.plane.reception.table._only
        assert route is not None
        route.guard = steps.guard()
        yield site, steps


async def test_a_request_passes_once_every_question_is_answered() -> None:
    async with waiting() as (site, steps):
        peer = await site.connect()
        answer = asyncio.create_task(ask(peer))
        await site.until(lambda: steps.first)
        steps.first[0].answer()
        assert len(steps.second) == 1
        assert not answer.done()
        steps.second[0].answer()
        assert (await answer)[0] == 200
        assert len(steps.first) == 1


async def test_questions_that_are_answered_at_once_are_no_different() -> None:
    async with waiting(at_once=True) as (site, steps):
        peer = await site.connect()
        assert [(await ask(peer))[2] for _ in range(3)] == [b"nothing"] * 3
        assert len(steps.second) == 3


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("size", [1, 1000, 400_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_comes_meanwhile_is_kept_and_passed_on_whole(at_once: bool, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with waiting(at_once) as (site, steps):
        peer = await site.connect()
        if chunked:
            half = size // 2
            framed = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:]) if p) + b"0\r\n\r\n"
            head = b"POST / HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: chunked\r\n\r\n"
        else:
            framed = body
            head = b"POST / HTTP/1.1\r\nHost: site\r\nContent-Length: %d\r\n\r\n" % size
        sending = asyncio.create_task(peer.send(head + framed))
        if not at_once:
            await site.until(lambda: steps.first)
            await asyncio.sleep(0.01)  # some of the body comes while it waits
            steps.first[0].answer()
            steps.second[0].answer()
        status, _, got = await peer.answer()
        await sending
        assert (status, got) == (200, body)
        assert (await ask(peer))[0] == 200 if at_once else True


async def test_a_client_is_not_read_without_end_while_it_waits() -> None:
    async with waiting() as (site, steps):
        peer = await site.connect()
        peer.writer.write(b"POST / HTTP/1.1\r\nHost: site\r\nContent-Length: 50000000\r\n\r\n" + bytes(2_000_000))
        await site.until(lambda: steps.first)
        (connection,) = site.plane.listeners["main"].connections
        await site.until(lambda: getattr(connection, "_paused", False))
        kept = sum(map(len, connection.exchange._body))  # type: ignore[union-attr]  # it is a checkpoint
        assert 0 < kept <= 512 * 1024


async def test_a_refusal_is_answered_and_the_other_question_never_asked() -> None:
    async with waiting() as (site, steps):
        peer = await site.connect()
        answer = asyncio.create_task(ask(peer))
        await site.until(lambda: steps.first)
        steps.first[0].answer(Refusal(403, "not you", "auth", b"X-Why: a\r\n"))
        status, fields, body = await answer
        assert (status, fields["x-why"], steps.second) == (403, "a", [])
        assert b"not you" in body
        assert site.decisions[-1].guarded == "auth"
        retry = asyncio.create_task(ask(peer))
        await site.until(lambda: len(steps.first) == 2)
        steps.first[1].answer(Refusal(418, "", "auth", body=b"short and stout"))
        assert (await retry)[::2] == (418, b"short and stout")


async def test_a_client_that_leaves_is_forgotten_and_counted_once() -> None:
    async with waiting() as (site, steps):
        peer = await site.connect()
        await peer.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n")
        await site.until(lambda: steps.first)
        peer.cut()
        await site.until(lambda: steps.first[0].forgotten)
        assert [(one.status, one.outcome) for one in site.decisions] == [(499, "client-abort")]
        steps.first[0].answer()  # too late, and of no effect
        assert len(site.decisions) == 1
        assert steps.second == []


async def test_a_broken_body_ends_the_waiting() -> None:
    async with waiting() as (site, steps):
        peer = await site.connect()
        await peer.send(b"POST / HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
        assert (await peer.answer())[0] == 400
        assert steps.first[0].forgotten
        assert len(site.decisions) == 1


async def test_requests_that_come_behind_one_that_waits_are_answered_after_it() -> None:
    async with waiting() as (site, steps):
        peer = await site.connect()
        one = b"POST / HTTP/1.1\r\nHost: site\r\nContent-Length: 1\r\n\r\n"
        await peer.send(b"".join(one + b"%d" % number for number in range(3)))
        for number in range(3):
            await site.until(lambda number=number: len(steps.first) == number + 1)  # type: ignore[misc]  # mypy can not infer a lambda with a default
            steps.first[number].answer()
            steps.second[number].answer()
            assert (await peer.answer())[2] == b"%d" % number


@pytest.mark.parametrize("later", [False, True])
async def test_a_question_that_raises_or_ends_in_a_fault_lets_nobody_in(later: bool) -> None:
    class Faulty(Asked):
        def ask(self, answered: Answered) -> None:
            if not later:
                raise RuntimeError("a fault of ours")
            asyncio.get_running_loop().call_soon(answered, RuntimeError("a fault of ours"))

    async with waiting() as (site, steps):
        route = site.plane.reception.table._only
        assert route is not None
        route.guard = Guard([lambda *given: Faulty(), *steps.guard()._steps])
        peer = await site.connect()
        assert [(await ask(peer))[0] for _ in range(2)] == [500, 500]
        assert steps.first == []
        assert site.events[-1][0] == "guard_failed"


@pytest.mark.parametrize("waits", [False, True])
async def test_a_guard_that_raises_lets_nobody_in_and_gives_places_back(waits: bool) -> None:
    text = """
    rate_limits: {few: {concurrency: 1}}
    routes: {all: {pool: default, rate_limit: few}}
    """
    async with guarded(text) as site:
        route = site.plane.reception.table._only
        assert route is not None
        policy = site.plane.watch.limiter.policies["few"]
        broken = True

        def asks(head: RequestHead, client: Client, decision: Decision) -> Verdict:
            return Asked(at_once=True) if waits else None

        def raises(head: RequestHead, client: Client, decision: Decision) -> Verdict:
            if broken:
                raise RuntimeError("a fault of ours")
            return None

        route.guard = Guard([policy.step(RouteLimit(policy="few"), "all"), asks, raises])
        peer = await site.connect()
        assert [(await ask(peer))[0] for _ in range(3)] == [500, 500, 500]
        assert policy.places == {}
        event, name, detail = site.events[-1]
        assert (event, name) == ("guard_failed", "all")
        assert "RuntimeError in " in detail
        assert "a fault of ours" not in detail  # it could have been a token
        broken = False
        assert (await ask(peer))[0] == 200
