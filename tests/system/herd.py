"""A herd: many clients that want the same at once, and a server that takes its time and counts what it is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from tests.system.crowd import QUESTION, Guest

HEAD: Final = b"HTTP/1.1 200 OK\r\nCache-Control: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
STORABLE: Final = b"public, max-age=60"


class Asker(Guest):
    """One client with one question; `body` is what it has of the answer's, unframed."""

    @property
    def status(self) -> int:
        return int(self.heard[9:12]) if len(self.heard) > 12 else 0

    @property
    def body(self) -> bytes:
        return self._read()[0]

    @property
    def whole(self) -> bool:
        """The answer is complete by its own framing."""
        return self._read()[1]

    def _read(self) -> tuple[bytes, bool]:
        head, end, rest = self.heard.partition(b"\r\n\r\n")
        if not end:
            return b"", False
        head = head.lower()
        if b"\r\ntransfer-encoding: chunked" not in head:
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            return rest[:length], len(rest) >= length
        body = b""
        while rest:
            size, end, rest = rest.partition(b"\r\n")
            count = int(size, 16) if end else 0
            if not count:
                return body, bool(end)
            body, rest = body + rest[:count], rest[count + 2 :]
        return body, False


async def askers(port: int, count: int, path: bytes = b"/", *, more: bytes = b"") -> list[Asker]:
    """So many clients, each on a connection of its own, which have asked for it when this returns."""
    loop = asyncio.get_running_loop()
    few = asyncio.Semaphore(100)
    question = (QUESTION % path).replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n", 1)

    async def one(number: int) -> Asker:
        async with few:
            source = f"127.0.1.{number % 4 + 1}", 0
            _, asker = await loop.create_connection(Asker, "127.0.0.1", port, local_addr=source)
            asker.say(question)
            return asker

    return await asyncio.gather(*(one(number) for number in range(count)))


def leave(askers: list[Asker]) -> None:
    for asker in askers:
        asker.leave()


Answering = Callable[["Origin", asyncio.StreamWriter, int], Awaitable[None]]
"""What the server does with a request, the how manieth of its path that may be. It closes by closing the writer."""


class Origin:
    """The server behind the balancers. `asked` counts requests by path; `most` is how many it had at a time."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.asked: Counter[str] = Counter()
        self.under_way = 0
        self.most = 0
        self.release = asyncio.Event()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Origin:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                self.asked[path] += 1
                self.under_way += 1
                self.most = max(self.most, self.under_way)
                try:
                    await self.answering(self, writer, self.asked[path])
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the balancer has closed it
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's stream server takes a cancelled handler for an error
        finally:
            self._tasks.discard(task)
            writer.close()


def dripping(first: bytes, rest: bytes, control: bytes = STORABLE) -> Answering:
    """The first chunk at once, then nothing until it is released, then the rest byte by byte."""

    async def answer(origin: Origin, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(HEAD % control + b"%x\r\n%b\r\n" % (len(first), first))
        await origin.release.wait()
        for at in range(len(rest)):
            writer.write(b"1\r\n%b\r\n" % rest[at : at + 1])
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return answer


def slow_then(said: bytes, pause: float) -> Answering:
    """The first answer when it is released, each other one after a pause."""

    async def answer(origin: Origin, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            await origin.release.wait()
        else:
            await asyncio.sleep(pause)
        if said:
            writer.write(said)
        else:
            writer.close()

    return answer
