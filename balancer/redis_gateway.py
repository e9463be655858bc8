"""The way to Redis for whatever serves requests: one connection, a deadline for every command, and a breaker."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from random import Random
from time import monotonic
from typing import Final, Literal

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from balancer.redis_connection import (
    ANSWERS,
    UNREADABLE,
    UNUSABLE,
    Part,
    Unreadable,
    connected,
    disconnect,
    ended,
    packed,
    reason,
    word,
)
from balancer.tally import Histogram
from config.schema import Redis

Phase = Literal["off", "up", "open", "half-open"]

FAILURES: Final = 5
"""In a row, after which nothing is asked any more until a probe has been answered."""
SHORTEST, LONGEST = 1.0, 20.0
"""Seconds between probes: doubled after each that fails, and up to half more, so that balancers do not probe as one."""
STEADY: Final = 30.0
"""Seconds that it has to work for the next pause to be the shortest again."""
CONNECT: Final = 1.0
"""Seconds for a connection with TLS and log-in; those who ask do not wait for longer than their own deadline."""
MOST: Final = 4096
"""Commands that wait or are under way."""
LAG: Final = 0.02
GRACE: Final = 0.01
"""A loop that comes to its timers late has not read what has been answered meanwhile: it gets that much more."""

NEVER: Final = float("inf")
NOT_CONFIGURED: Final = "not configured: redis.url is empty"


class Unavailable(Exception):
    """A command was not answered as it should have been; the message is one word, such as timeout or OOM."""

    @property
    def why(self) -> str:
        return str(self)


class GatewayState:
    """How it goes, for the status, the log and the metrics."""

    __slots__ = ("connects", "latency", "opened", "phase", "reason", "results")

    def __init__(self, phase: Phase, reason: str | None) -> None:
        self.phase: Phase = phase
        self.reason = reason  # of the last failure; None when the last command was answered
        self.results: defaultdict[str, int] = defaultdict(int)  # commands by "ok" or why they were not answered
        self.latency = Histogram()  # from asking to the answer
        self.opened = 0  # times the breaker has opened
        self.connects = 0  # connections made

    def go_on_from(self, other: GatewayState) -> None:
        """Count on where another has come to: counters that fall would be taken for a restart."""
        self.results, self.latency = other.results, other.latency
        self.opened, self.connects = other.opened, other.connects


class _Ask:
    """A command, and who waits for its answer."""

    __slots__ = ("asked", "data", "future", "limit", "missed", "over", "until")

    def __init__(self, future: asyncio.Future[object], data: bytes, asked: float, until: float, limit: float) -> None:
        self.future = future
        self.data = data
        self.asked = asked
        self.until = until  # who waits, waits until then
        self.limit = limit  # the connection is given up then if there is still no answer
        self.missed = False  # nobody waits any more
        self.over = False  # nothing comes of it any more


class _Link:
    """One connection with the commands that were sent on it, the oldest first."""

    __slots__ = ("connection", "pending", "reader")

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.pending: deque[_Ask] = deque()
        self.reader: asyncio.Task[None] | None = None


class Gateway:
    """Runs commands on a Redis server, all that are asked in one turn of the loop in one write.

    Who asks gets a future that is done by the deadline, come what may: with the answer, or with `Unavailable`. A
    connection on which there was no answer for `redis.timeout` is given up with all that is under way on it, so that no
    answer is ever taken for another's. After some failures in a row nobody waits any more: until the gateway's own
    probe is answered, everything fails at once.

    A deadline that is shorter ends the wait alone: what the others wait for may still come.
    """

    def __init__(
        self,
        settings: Redis,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        self.settings = settings
        self.state = GatewayState(*_beginning(settings))
        self.on_heal: list[Callable[[], None]] = []
        """Called when it is used again after it was not."""
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or Random()
        self._queue: deque[_Ask] = deque()
        self._due: list[tuple[float, int, _Ask]] = []  # a heap, by when they have to be looked at
        self._number = 0
        self._link: _Link | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._expected = 0.0  # when the timer should go off
        self._graced = False
        self._endings: set[asyncio.Task[None]] = set()  # connections that are being closed
        self._streak = 0  # failures in a row
        self._needed = NEVER  # an answer that takes longer than this proves nothing: so long did others wait in vain
        self._pause = SHORTEST
        self._healed = 0.0  # when the last probe was answered
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether it is worth asking."""
        return self.state.phase == "up" and not self._closed

    @property
    def waiting(self) -> int:
        """Commands without an answer."""
        return len(self._queue) + (len(self._link.pending) if self._link is not None else 0)

    def run(self, *command: Part, deadline: float | None = None) -> asyncio.Future[object]:
        """Have a command run; the future may be cancelled without harm to others.

        Answers are as redis-py reads them: bytes, int, list, None. It fails with `Unavailable` alone, at the latest
        after `deadline` seconds; None: `redis.timeout`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        if self._closed or self.state.phase != "up":
            self._fail(future, "closed" if self._closed else self.state.phase)
            return future
        if self.waiting >= MOST:
            self._fail(future, "queue-full")
            return future
        if self._keeper is None or self._keeper.done():
            self._keeper = loop.create_task(self._keep(), name="redis-gateway")
        self._ask(future, packed(command), deadline)
        self._wake.set()
        return future

    def _ask(self, future: asyncio.Future[object], data: bytes, deadline: float | None) -> None:
        now = self._clock()
        most = self.settings.timeout
        wait = most if deadline is None else deadline
        ask = _Ask(future, data, now, now + wait, now + max(wait, most))
        self._queue.append(ask)
        self._look_at(ask, ask.until)
        if self._timer is None or ask.until < self._expected - GRACE:
            self._arm(ask.until, now)

    def serves(self, settings: Redis) -> bool:
        """Whether it goes to the server of these settings: the others of them may change as it goes."""
        return settings.url == self.settings.url

    async def close(self) -> None:
        """Let everybody go and close the connection."""
        self._closed = True
        keeper, self._keeper = self._keeper, None
        self._drop("closed")
        self._fail_queue("closed")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if keeper is not None:
            await ended(keeper)
        self._drop("closed")  # one that was made meanwhile
        self._due.clear()
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
            ask.data = b""
        try:
            await link.connection.send_packed_command(data, check_health=False)
        except Exception as error:  # beside its own redis-py lets through what a transport says that has been closed
            self._lost(link, error)

    async def _connect(self) -> _Link | None:
        """Open a connection; None, and one failure more, if that can not be."""
        try:
            connection = await connected(self.settings, max(CONNECT, self.settings.timeout))
        except Unreadable:
            self._failed("url", UNREADABLE)
            return None
        except Exception as error:  # garbage can make redis-py raise anything: it has to be this connection's end alone
            self._failed(word(error, "connect"), self._reason(error))
            return None
        if self._closed:
            await disconnect(connection)
            return None
        self.state.connects += 1
        link = self._link = _Link(connection)
        link.reader = asyncio.get_running_loop().create_task(self._read(link), name="redis-gateway-reader")
        return link

    async def _heal(self) -> None:
        """Wait, then ask something that nobody waits for."""
        me = self._keeper
        await self._sleep(self._rng.uniform(self._pause, 1.5 * self._pause))
        if self._keeper is not me or self.state.phase == "off":
            return
        self.state.phase = "half-open"
        link = self._link or await self._connect()
        if link is not None:
            future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            self._ask(future, packed((b"PING",)), min(self._needed, self.settings.timeout))
            await self._write(link)
            await asyncio.wait([future])
            error = future.exception()
            if error is None or str(error) in ANSWERS:
                self._healed = self._clock()
                self._streak = 0
                self._needed = NEVER
                self.state.phase = "up"
                self.state.reason = None
                for heal in tuple(self.on_heal):
                    heal()
                return
        self._pause = min(2 * self._pause, LONGEST)
        if self.state.phase == "half-open":
            self.state.phase = "open"

    # The task that reads.

    async def _read(self, link: _Link) -> None:
        read = link.connection.read_response
        pending = link.pending
        state = self.state
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
            state.latency.observe(seconds)
            if failed is not None:
                self._refused(ask, failed, seconds)
                continue
            if ask.missed:
                continue  # counted as what it was to who waited
            state.results["ok"] += 1
            self._works(seconds)
            if state.reason is not None:
                state.reason = None
            if not ask.future.done():
                ask.future.set_result(reply)

    def _refused(self, ask: _Ask, error: ResponseError, seconds: float) -> None:
        """The server has answered with an error."""
        kind = word(error, "ERR")
        if not ask.missed:
            self._fail(ask.future, kind)
        if kind != "NOSCRIPT":  # it is how one asks whether a script is known
            self.state.reason = self._reason(error)
        if kind in UNUSABLE:
            self._strike(1)
        elif not ask.missed:
            self._works(seconds)

    def _works(self, seconds: float) -> None:
        """There was an answer after so long."""
        if seconds < self._needed:
            self._streak = 0

    # What goes wrong.

    def _lost(self, link: _Link, error: Exception) -> None:
        if link is self._link:
            kind = word(error, "closed")
            self._drop(kind)
            self._failed(kind, self._reason(error))

    def _drop(self, why: str) -> None:
        """Give the connection up, with all that is under way on it."""
        link, self._link = self._link, None
        if link is None:
            return
        for ask in link.pending:
            self._give_up(ask, why)
        link.pending.clear()
        ending = asyncio.get_running_loop().create_task(_end(link), name="redis-gateway-end")
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

    def _give_up(self, ask: _Ask, why: str) -> None:
        ask.over = True
        ask.data = b""
        if not ask.missed:
            self._fail(ask.future, why)

    def _fail(self, future: asyncio.Future[object], why: str) -> None:
        self.state.results[why] += 1
        if not future.done():
            future.set_exception(Unavailable(why))
            future.exception()  # it has been counted: nobody has to look at it

    def _strike(self, failures: int) -> None:
        self._streak += failures
        if self._streak < FAILURES or self.state.phase != "up":
            return
        if self._clock() - self._healed > STEADY:
            self._pause = SHORTEST
        self.state.phase = "open"
        self.state.opened += 1
        self._drop("open")
        self._fail_queue("open")
        self._wake.set()

    # The one timer.

    def _look_at(self, ask: _Ask, when: float) -> None:
        self._number += 1  # so that no two of the heap are equal
        heappush(self._due, (when, self._number, ask))

    def _arm(self, expected: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._expected = expected
        self._timer = asyncio.get_running_loop().call_later(max(expected - now, 0.0), self._expire)

    def _expire(self) -> None:
        """Let those go whose deadline has come; the timer is armed for the next."""
        self._timer = None
        now = self._clock()
        due = self._due
        while due and due[0][2].over:
            heappop(due)
        if due and due[0][0] <= now:
            if now - self._expected > LAG and not self._graced:
                self._graced = True
                self._arm(now + GRACE, now)
                return
            self._let_go(now)
        self._graced = False
        while due and due[0][2].over:
            heappop(due)
        if due:
            self._arm(due[0][0], now)

    def _let_go(self, now: float) -> None:
        missed = 0
        silent = False
        queued = False
        while self._due and self._due[0][0] <= now:
            ask = heappop(self._due)[2]
            if ask.over:
                continue
            if not ask.missed:
                missed += 1
                self._fail(ask.future, "timeout")
                ask.missed = True
                self._needed = min(self._needed, ask.until - ask.asked)
            if not ask.data:  # it has been sent
                if ask.limit <= now:
                    silent = True
                else:
                    self._look_at(ask, ask.limit)
            else:
                ask.over = queued = True
        if queued:
            self._queue = deque(ask for ask in self._queue if not ask.over)
        if silent:
            self._drop("timeout")
        if missed:
            self.state.reason = f"no answer within {self._needed:g} s"
            self._strike(missed)

    def _reason(self, error: Exception) -> str:
        return reason(error, self.settings.url)


def _beginning(settings: Redis) -> tuple[Phase, str | None]:
    return ("up", None) if settings.url else ("off", NOT_CONFIGURED)


async def _end(link: _Link) -> None:
    await disconnect(link.connection)
    if link.reader is not None:
        await ended(link.reader)
