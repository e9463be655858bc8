"""The server behind the cache: it answers as each case plans, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Final

PATIENCE: Final = 10.0
RESET: Final = struct.pack("ii", 1, 0)
_PLACE: Final = re.compile(rb"/(p[0-9]+)-")
_DATE: Final = re.compile(r"\{([+-]?[0-9]+)(?::([a-z0-9]+))?\}")
_FORMS: Final = {
    None: "%a, %d %b %Y %H:%M:%S GMT",
    "rfc850": "%A, %d-%b-%y %H:%M:%S GMT",
    "asctime": "%a %b %e %H:%M:%S %Y",
}


def dated(line: str) -> str:
    """The line with {+60} as the date in a minute, {-60:rfc850} and {-60:asctime} in the older forms."""
    now = datetime.now(UTC)
    return _DATE.sub(lambda m: (now + timedelta(seconds=int(m[1]))).strftime(_FORMS[m[2]]), line)


class Gate:
    """What an answer waits for until the test opens it."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def passed(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._opened))


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for field_name, value in self.fields if field_name == name.lower()]


@dataclass(frozen=True)
class Answer:
    """What the server says to one request."""

    lines: tuple[str, ...] = ()
    status: int = 200
    body: bytes | Callable[[Asked], bytes] | None = None
    """None: one that no other answer has."""
    framing: str = "length"
    """length, chunked, or close: until the end of the connection."""
    date: str | None = "{0}"
    cut: int | None = None
    """The connection breaks after so many bytes of the body."""
    extra: bytes = b""
    """Bytes behind the end of the body."""
    trailers: tuple[str, ...] = ()
    interim: tuple[str, ...] = ()
    """Status and fields of interim answers."""
    line: str = "HTTP/1.1 {status} Said"
    silent: bool = False
    """The connection ends without an answer."""
    lag: tuple[float, float] = (0.0, 0.0)
    """Seconds from when the body is what it is to when it is sent, at random between these."""
    before: Gate | None = None
    between: Gate | None = None
    """In the middle of the body."""
    honest: bool = False
    """A 304 to a request that has its ETag, a 206 to one for a range (one from its first to its last)."""


def says(*lines: str, status: int = 200, **more: object) -> Answer:
    return Answer(lines, status, **more)  # type: ignore[arg-type]


UNPLANNED: Final = Answer(("Cache-Control: no-store",), body=b"nobody had planned this answer")


@dataclass
class Place:
    """One case's own part of the server: below /pN-name."""

    name: str
    answers: deque[Answer] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    given: int = 0
    left: int = 0
    """Answers that could not be sent to their end."""
    always: Answer | None = None
    """What is said when nothing more is planned."""
    changed: threading.Condition = field(default_factory=threading.Condition)
    bodies: dict[int, bytes] = field(default_factory=dict)

    def body_of(self, number: int) -> bytes:
        return self.bodies[number] if number in self.bodies else b"answer %d of %s" % (number, self.name.encode())

    def plan(self, *answers: Answer) -> None:
        with self.changed:
            self.answers.extend(answers)

    def take(self, asked: Asked) -> tuple[Answer, int]:
        with self.changed:
            self.asked.append(asked)
            answer = self.answers.popleft() if self.answers else self.always or UNPLANNED
            self.given += 1
            if isinstance(answer.body, bytes):
                self.bodies[self.given] = answer.body
            self.changed.notify_all()
            return answer, self.given

    def wait(self, requests: int, patience: float = PATIENCE) -> bool:
        """Wait until so many requests have arrived in all."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.asked) >= requests, patience)

    def wait_left(self, patience: float = PATIENCE) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.left, patience)


class Server:
    """Listens on a port of its own, with an event loop in a thread of its own; can be away for a while."""

    def __init__(self) -> None:
        self._numbers: Iterator[int] = count(1)
        self._places: dict[bytes, Place] = {}
        self._loop = asyncio.new_event_loop()
        self._rng = Random(1)
        self._writers: set[asyncio.StreamWriter] = set()
        self._listening: asyncio.Server | None = None
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    def place(self, name: str) -> Place:
        number = next(self._numbers)
        place = Place(f"p{number}-{name}")
        self._places[b"p%d" % number] = place
        return place

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE)

    def stop(self) -> None:
        """Connections end, and new ones are refused."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE)

    def close(self) -> None:
        self.stop()
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _start(self) -> None:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=256, limit=1 << 20)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for writer in self._writers:
            writer.transport.abort()

    async def _cancel(self) -> None:
        """End what waits at gates that nobody opened."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        pairs = [line.partition(":") for line in lines]
        fields = tuple((name.lower(), value.strip(" \t")) for name, _, value in pairs)
        asked = Asked(method, target, fields, await _body(reader, dict(fields)))
        found = _PLACE.search(target.encode("latin-1"))
        place = self._places[found[1]] if found else Place("nowhere")
        answer, number = place.take(asked)
        try:
            return await self._answer(writer, asked, answer, place.body_of(number))
        except OSError:
            with place.changed:
                place.left += 1
                place.changed.notify_all()
            raise

    async def _answer(self, writer: asyncio.StreamWriter, asked: Asked, answer: Answer, own: bytes) -> bool:
        if answer.before is not None:
            await answer.before.passed()
        if answer.silent:
            return False
        for interim in answer.interim:
            writer.write(f"HTTP/1.1 {interim}\r\n\r\n".encode("latin-1"))
        status, body, lines = answer.status, answer.body, [dated(line) for line in answer.lines]
        if callable(body):
            body = body(asked)
        body = own if body is None else body
        if answer.lag[1]:
            await asyncio.sleep(self._rng.uniform(*answer.lag))
        if answer.honest:
            status, body, lines = _honest(asked, status, body, lines)
        if answer.date is not None and not any(line.lower().startswith("date:") for line in lines):
            lines.insert(0, f"Date: {dated(answer.date)}")
        bodiless = asked.method == "HEAD" or status in (204, 304)
        if answer.framing == "chunked" and status not in (204, 304):
            lines.append("Transfer-Encoding: chunked")
        elif answer.framing == "length" and status not in (204, 304):
            lines.append(f"Content-Length: {len(body)}")
        elif answer.framing == "close":
            lines.append("Connection: close")
        head = "".join(f"{line}\r\n" for line in [answer.line.format(status=status), *lines])
        writer.write(head.encode("latin-1") + b"\r\n")
        if not bodiless:
            await self._send(writer, answer, body)
        await writer.drain()
        if answer.cut is not None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return answer.cut is None and answer.framing != "close"

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer, body: bytes) -> None:
        half = len(body) // 2
        whole = answer.cut is None
        pieces = [body[:half], body[half:]] if whole else [body[: answer.cut]]
        if answer.extra:  # in one piece with the end, so that it cannot come a moment later
            pieces = [body + answer.extra]
        for number, piece in enumerate(pieces):
            if number and answer.between is not None:
                await writer.drain()
                await answer.between.passed()
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.framing == "chunked" else piece)
        if answer.framing == "chunked" and whole:
            writer.write(b"0\r\n%b\r\n" % "".join(f"{line}\r\n" for line in answer.trailers).encode())


def _honest(asked: Asked, status: int, body: bytes, lines: list[str]) -> tuple[int, bytes, list[str]]:
    etags = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("etag:")]
    wanted = ", ".join(asked.values("if-none-match"))
    if wanted and any(etag in wanted for etag in etags):
        return 304, b"", lines
    ranged = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", ", ".join(asked.values("range")))
    if ranged and asked.method == "GET":
        first, last = int(ranged[1]), min(int(ranged[2]), len(body) - 1)
        return 206, body[first : last + 1], [*lines, f"Content-Range: bytes {first}-{last}/{len(body)}"]
    return status, body, lines


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if "chunked" in fields.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return body
    return await reader.readexactly(int(fields.get("content-length", "0")))
