"""One server of Redis: one connection to it, a deadline for every command, and a breaker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from balancer.redis_breaker import Breaker
from balancer.redis_connection import (
    ANSWERS,
    UNREADABLE,
    UNUSABLE,
    Unreadable,
    disconnect,
    ended,
    packed,
    word,
)
from balancer.redis_deadlines import Ask, Deadlines
from balancer.redis_state import GatewayState, Unavailable
from config.redis_url import RedisPlace

CONNECT: Final = 1.0
"""Seconds for a connection with TLS and log-in; those who ask do not wait for longer than their own deadline."""
MOST: Final = 4096
"""Commands that wait or are under way."""
_PING: Final = packed((b"PING",))


def _nothing(*_: object) -> None:
    """Nobody has to be told."""


def _nobody(*_: object) -> bool:
    return False


@dataclass(slots=True)
class NodeSurroundings:
    """What nodes find around them."""

    clock: Callable[[], float] = monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: Random = field(default_factory=Random)
    reason: Callable[[Exception], str] = str
    """What went wrong, in a line without credentials."""
    turned: Callable[[Node], None] = _nothing
    """It is used no more, or again."""
    refused: Callable[[Node, Ask, str, ResponseError], bool] = _nobody
    """A server has answered with this kind of error: whether somebody else sees to the command."""
    keeps: bool = False
    """Commands are kept until they are answered, so that they can be sent elsewhere."""


class _Link:
    """One connection with the commands that were sent on it, the oldest first."""

    __slots__ = ("connection", "pending", "reader")

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.pending: deque[Ask] = deque()
        self.reader: asyncio.Task[None] | None = None


class Node:
    """Runs commands on a server, all that are asked in one turn of the loop in one write.

    Who asks gets a future that is done by the deadline, come what may: with the answer, or with `Unavailable`. A
    connection on which there was no answer for `timeout` is given up with all that is under way on it, so that no
    answer is ever taken for another's. After some failures in a row nobody waits any more: until the node's own
    probe is answered, everything fails at once.

    A deadline that is shorter ends the wait alone: what the others wait for may still come.
    """

    def __init__(
        self,
        place: RedisPlace,
        timeout: float,
        state: GatewayState,
        open_: Callable[[float], Awaitable[AbstractConnection]],
        around: NodeSurroundings,
    ) -> None:
        """`open_` opens a connection, each step within so many seconds."""
        self.place = place
        self.timeout = timeout
        self.state = state
        self._open = open_
        self._around = around
        self._clock = around.clock
        self._queue: deque[Ask] = deque()
        self._deadlines = Deadlines(around.clock, self._due)
        self._breaker = Breaker(state, around.clock, around.rng)
        self._link: _Link | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._endings: set[asyncio.Task[None]] = set()  # connections that are being closed
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether it is worth asking."""
        return self.state.phase == "up" and not self._closed

    @property
    def waiting(self) -> int:
        """Commands without an answer."""
        return len(self._queue) + (len(self._link.pending) if self._link is not None else 0)

    def run(self, data: bytes, deadline: float | None = None) -> asyncio.Future[object]:
        """Have a packed command run; the future may be cancelled without harm to others."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._closed or self.state.phase != "up" or self.waiting >= MOST:
            self._fail(future, self._refusal())
            return future
        now = self._clock()
        if deadline is None:
            until = limit = now + self.timeout
        else:
            until, limit = now + deadline, now + max(deadline, self.timeout)
        self._enqueue(Ask(future, data, now, until, limit), now)
        self._hasten()
        return future

    def take(self, *asks: Ask) -> None:
        """See to commands that another node was asked, one after the other with nothing in between."""
        if self._closed or self.state.phase != "up" or self.waiting >= MOST:
            why = self._refusal()
            for ask in asks:
                self._give_up(ask, why)
            return
        now = self._clock()
        for ask in asks:
            self._enqueue(ask, now)
        self._hasten()

    def _refusal(self) -> str:
        """Why nothing more is taken."""
        if self._closed:
            return "closed"
        return "queue-full" if self.state.phase == "up" else self.state.phase

    def _hasten(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="redis-node")
        self._wake.set()

    def renew(self, why: str) -> None:
        """Begin anew with another connection: the server is not what it was. A probe that waits is made now."""
        self._drop(why)
        self._hurry.set()

    async def close(self) -> None:
        """Let everybody go and close the connection."""
        self._closed = True
        keeper, self._keeper = self._keeper, None
        self._drop("closed")
        self._fail_queue("closed")
        if keeper is not None:
            await ended(keeper)
        self._drop("closed")  # one that was made meanwhile
        self._deadlines.clear()
        while self._endings:
            await asyncio.wait(self._endings)

    # The task that keeps the connection and writes.

    async def _keep(self) -> None:
        me = asyncio.current_task()
        # redis-py 8.1 now and then swallows a cancellation, so the end must not depend on it alone.
        while self._keeper is me:
            if self.state.phase != "up":
                await self._heal()
                continue
            await self._wake.wait()
            self._wake.clear()
            if self._queue and self.state.phase == "up":
                link = self._link or await self._connect()
                if link is not None and self._keeper is me:
                    await self._write(link)

    async def _write(self, link: _Link) -> None:
        """Send all that waits."""
        queue, self._queue = self._queue, deque()
        if not queue:
            return
        link.pending.extend(queue)
        data = b"".join(ask.data for ask in queue)
        for ask in queue:
            ask.sent = True
            if not self._around.keeps:
                ask.data = b""
        try:
            await link.connection.send_packed_command(data, check_health=False)
        except Exception as error:  # beside its own redis-py lets through what a transport says that has been closed
            self._lost(link, error)

    async def _connect(self) -> _Link | None:
        """Open a connection; None, and one failure more, if that can not be."""
        try:
            connection = await self._open(max(CONNECT, self.timeout))
        except Unreadable:
            self._failed("url", UNREADABLE)
            return None
        except Exception as error:  # garbage can make redis-py raise anything: it has to be this connection's end alone
            self._failed(word(error, "connect"), self._around.reason(error))
            return None
        if self._closed:
            await disconnect(connection)
            return None
        self.state.counts.connects += 1
        link = self._link = _Link(connection)
        link.reader = asyncio.get_running_loop().create_task(self._read(link), name="redis-node-reader")
        return link

    async def _heal(self) -> None:
        """Wait, then ask something that nobody waits for."""
        me = self._keeper
        await self._rest(self._breaker.pause)
        if self._keeper is not me or self.state.phase == "off":
            return
        self.state.phase = "half-open"
        answered = await self._probe()
        self._breaker.probed(answered)
        if answered:
            self._around.turned(self)

    async def _probe(self) -> bool:
        link = self._link or await self._connect()
        if link is None:
            return False
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        now = self._clock()
        self._enqueue(Ask(future, _PING, now, now + min(self._breaker.needed, self.timeout), now + self.timeout), now)
        await self._write(link)
        await asyncio.wait([future])
        error = future.exception()
        return error is None or str(error) in ANSWERS

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless there is a reason to hurry."""
        self._hurry.clear()
        ways = [asyncio.ensure_future(self._around.sleep(seconds)), asyncio.ensure_future(self._hurry.wait())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    # The task that reads.

    async def _read(self, link: _Link) -> None:
        read = link.connection.read_response
        pending = link.pending
        state = self.state
        counts = state.counts
        while True:
            failed = None
            try:
                reply = await read(disable_decoding=True, disconnect_on_error=False)
            except ResponseError as error:
                failed, reply = error, None
            except Exception as error:  # whatever redis-py makes of what came: it ends this connection and nothing else
                self._lost(link, error)
                return
            if not pending:  # nor is there anything on a link that was given up: what comes late is nobody's
                self._lost(link, ConnectionError("it has answered what it was not asked"))
                return
            ask = pending.popleft()
            ask.over = True
            seconds = self._clock() - ask.asked
            counts.latency.observe(seconds)
            if failed is not None:
                self._refused(ask, failed, seconds)
                continue
            if ask.missed:
                continue  # counted as what it was to who waited
            counts.results["ok"] += 1
            self._breaker.works(seconds)
            if state.reason is not None:
                state.reason = None
            if not ask.future.done():
                ask.future.set_result(reply)

    def _refused(self, ask: Ask, error: ResponseError, seconds: float) -> None:
        """The server has answered with an error."""
        kind = word(error, "ERR")
        if self._around.refused(self, ask, kind, error):
            self._breaker.works(seconds)
            return
        if not ask.missed:
            self._fail(ask.future, kind)
        if kind != "NOSCRIPT":  # it is how one asks whether a script is known
            self.state.reason = self._around.reason(error)
        if kind in UNUSABLE:
            self._strike(1)
        elif not ask.missed:
            self._breaker.works(seconds)

    # What goes wrong.

    def _lost(self, link: _Link, error: Exception) -> None:
        if link is self._link:
            kind = word(error, "closed")
            self._drop(kind)
            self._failed(kind, self._around.reason(error))

    def _drop(self, why: str) -> None:
        """Give the connection up, with all that is under way on it."""
        link, self._link = self._link, None
        if link is None:
            return
        for ask in link.pending:
            self._give_up(ask, why)
        link.pending.clear()
        ending = asyncio.get_running_loop().create_task(_end(link), name="redis-node-end")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _failed(self, word: str, reason: str) -> None:
        """A connection that could not be made, or has ended: those who wait for one have waited in vain."""
        self.state.reason = reason
        self._fail_queue(word)
        self._strike(1)

    def _fail_queue(self, why: str) -> None:
        queue, self._queue = self._queue, deque()
        for ask in queue:
            self._give_up(ask, why)

    def _give_up(self, ask: Ask, why: str) -> None:
        ask.over = True
        ask.data = b""
        if not ask.missed:
            self._fail(ask.future, why)

    def _fail(self, future: asyncio.Future[object], why: str) -> None:
        self.state.counts.results[why] += 1
        if not future.done():
            future.set_exception(Unavailable(why))
            future.exception()  # it has been counted: nobody has to look at it

    def _strike(self, failures: int) -> None:
        if self._breaker.strike(failures):
            self._drop("open")
            self._fail_queue("open")
            self._wake.set()
            self._around.turned(self)

    # Deadlines.

    def _enqueue(self, ask: Ask, now: float) -> None:
        self._queue.append(ask)
        self._deadlines.add(ask, ask.until, now)

    def _due(self, asks: list[Ask], now: float) -> None:
        """Let those go who have waited for long enough, and the connection if nothing comes on it."""
        missed = 0
        silent = queued = False
        for ask in asks:
            if not ask.missed:
                missed += 1
                self._fail(ask.future, "timeout")
                ask.missed = True
                self._breaker.missed(ask.until - ask.asked)
            if not ask.sent:
                ask.over = queued = True
            elif ask.limit <= now:
                silent = True
            else:
                self._deadlines.add(ask, ask.limit, now)
        if queued:
            self._queue = deque(ask for ask in self._queue if not ask.over)
        if silent:
            self._drop("timeout")
        if missed:
            self.state.reason = f"no answer within {self._breaker.needed:g} s"
            self._strike(missed)


async def _end(link: _Link) -> None:
    await disconnect(link.connection)
    if link.reader is not None:
        await ended(link.reader)
