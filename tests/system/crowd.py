"""Crowds of clients against the real process: idle ones, slow ones, and the good ones whose time is taken."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from random import Random
from time import perf_counter
from types import TracebackType
from typing import cast

from tests.system.process import Balancer, until

QUESTION = b"GET %b HTTP/1.1\r\nHost: s\r\n\r\n"


class Guest(asyncio.Protocol):
    """One connection that keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def eof_received(self) -> bool:
        self.closed = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def say(self, data: bytes) -> None:
        if self.transport is not None and not self.closed:
            self.transport.write(data)

    def unread(self) -> bool:
        """Whether there is something for it that this busy loop has not come to read."""
        if self.transport is None or self.closed:
            return False
        some = select.poll()
        some.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return bool(some.poll(0))

    def leave(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Crowd:
    """Many guests at once, from addresses of the loopback network."""

    def __init__(self, port: int, size: int, *, addresses: int = 4) -> None:
        self.port = port
        self.size = size
        self.addresses = addresses
        self.guests: list[Guest] = []
        self._drip: asyncio.Task[None] | None = None

    async def enter(self, greeting: bytes = b"") -> None:
        """Open all connections, some at a time; each says this at once, since silence has its time as well."""
        loop = asyncio.get_running_loop()
        few = asyncio.Semaphore(100)

        async def one(number: int) -> Guest:
            async with few:
                source = f"127.0.1.{number % self.addresses + 1}", 0
                _, guest = await loop.create_connection(Guest, "127.0.0.1", self.port, local_addr=source)
                guest.say(greeting)
                return guest

        self.guests = await asyncio.gather(*(one(number) for number in range(self.size)))

    def say(self, data: bytes) -> None:
        for guest in self.guests:
            guest.say(data)

    def drip(self, data: bytes, every: float) -> None:
        """From now on each says a byte now and then, over and over, until it is sent away."""

        async def drops() -> None:
            at = 0
            while True:
                for guest in self.guests:
                    # A write after the balancer's last word may fail, and what was not read by then is lost.
                    if not guest.unread():
                        guest.say(data[at % len(data) : at % len(data) + 1])
                at += 1
                await asyncio.sleep(every)

        self._drip = asyncio.create_task(drops())

    async def all(self, fact: Callable[[Guest], object], *children: Balancer) -> None:
        await until(lambda: all(fact(guest) for guest in self.guests), *children)

    async def leave(self) -> None:
        if self._drip is not None:
            self._drip.cancel()
        for guest in self.guests:
            guest.leave()
        await asyncio.sleep(0)


class Good:
    """Clients that ask now and then over kept connections; each answer has to be 200, and its time is kept."""

    def __init__(self, port: int, *, clients: int = 4, path: bytes = b"/good", every: float = 0.005) -> None:
        self.port = port
        self.times: list[float] = []
        self._clients = clients
        self._question = QUESTION % path
        self._every = every
        self._rng = Random(1)

    async def __aenter__(self) -> Good:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complaints = [task.exception() for task in self._tasks if task.done() and not task.cancelled()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is None:
            for complaint in complaints:
                assert complaint is not None
                raise complaint

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while True:
                start = perf_counter()
                writer.write(self._question)
                async with asyncio.timeout(10):  # `wait_for` of Python 3.11 may swallow a cancellation
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                    await reader.readexactly(int(length[0].partition(b":")[2]))
                self.times.append(perf_counter() - start)
                await asyncio.sleep(self._every * (0.5 + self._rng.random()))
        finally:
            writer.transport.abort()

    def since_last(self) -> str:
        """Of the answers since this was called before: how many, and how long they took."""
        times, self.times = sorted(self.times), []
        assert times, "no good client was answered"
        at = [times[min(int(len(times) * share), len(times) - 1)] * 1000 for share in (0.5, 0.99)]
        return f"{len(times)} answers, p50 {at[0]:.1f} ms, p99 {at[1]:.1f} ms"
