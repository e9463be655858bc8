"""The server behind the proxy: it answers as the script says, and keeps what it was sent."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import sleep
from typing import Final

from tests.wire.script import Step, Turn

AFTER: Final = b"/after"
"""The target of the question that follows a script, which always gets an answer of its own."""
OK: Final = Turn("request", (Step("send", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),))
AFTERWARDS: Final = Turn("request", (Step("send", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter"),))
PAUSE: Final = 0.06
RESET: Final = struct.pack("ii", 1, 0)


class Gone(Exception):
    """The other side has closed."""


@dataclass(slots=True)
class Message:
    """A request as it arrived, or a response as it was seen."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    whole: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for field_name, value in self.fields if field_name == name]


def parse_head(head: bytes) -> Message:
    """Leniently, since whether it is well-formed is for the checks to say."""
    first, *lines = head.split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    return Message(first, [(name.lower(), value.strip(b" \t")) for name, _, value in pairs])


@dataclass(eq=False, slots=True)
class Link:
    """One connection from the proxy."""

    sock: socket.socket
    raw: bytes = b""
    """What has arrived since the script began."""
    switched: bool = False
    closed: bool = False
    heads: int = 0
    """Requests that were read out of `raw`."""
    buffer: bytes = b""

    def receive(self) -> None:
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Gone
        self.raw += data
        self.buffer += data

    def until(self, end: bytes) -> bytes:
        while (at := self.buffer.find(end)) < 0:
            self.receive()
        taken, self.buffer = self.buffer[:at], self.buffer[at + len(end) :]
        return taken


@dataclass(slots=True)
class Record:
    """What the server saw of one script."""

    turns: list[Turn]
    arrived: list[Message] = field(default_factory=list)
    stray: bytes = b""
    """Bytes that are no request."""
    links: list[Link] = field(default_factory=list)


class ScriptedServer:
    """Listens on a port of its own; each connection is served in a thread."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listening.getsockname()[1])
        self._links: set[Link] = set()
        self._lock = threading.Condition()
        self._record = Record([])
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, turns: Sequence[Turn]) -> Record:
        """A script begins: what arrives from now on is its."""
        with self._lock:
            for link in self._links:
                link.raw = link.buffer
                link.heads = 0
            self._record = Record(list(turns))
            return self._record

    def wait(self, fact: object, patience: float) -> bool:
        """Wait until the callable `fact` holds of what has arrived."""
        assert callable(fact)
        with self._lock:
            return bool(self._lock.wait_for(fact, patience))

    def close(self) -> None:
        self._listening.close()
        for link in list(self._links):
            _shut(link)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(sock)
            with self._lock:
                self._links.add(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: Link) -> None:
        try:
            while self._request(link):
                pass
        except (Gone, OSError):
            pass
        finally:
            with self._lock:
                if link.buffer and not link.switched:
                    self._record.stray += link.buffer
                link.closed = True
                self._links.discard(link)
                self._lock.notify_all()
            _shut(link)

    def _request(self, link: Link) -> bool:
        """Serve one request; whether there may be another on this connection."""
        head = link.until(b"\r\n\r\n")
        message = parse_head(head)
        with self._lock:
            record = self._record
            link.heads += 1
            if AFTER in message.line.split(b" ")[1:2]:
                turn = AFTERWARDS
            else:
                turn = record.turns[min(len(record.arrived), len(record.turns) - 1)] if record.turns else OK
                record.arrived.append(message)
                if link not in record.links:
                    record.links.append(link)
            self._lock.notify_all()
        if turn.at == "request":
            self._body(link, message)
        for step in turn.steps:
            if not self._step(link, message, step):
                return False
        if not message.whole:
            self._body(link, message)
        return True

    def _step(self, link: Link, message: Message, step: Step) -> bool:
        if step.act == "send":
            link.sock.sendall(step.data)
        elif step.act == "pause":
            sleep(float(step.data or PAUSE))
        elif step.act == "body":
            self._body(link, message)
        elif step.act == "read":  # bytes of another protocol
            link.switched = True
            message.whole = True
            wanted = len(message.body) + int(step.data)
            while len(message.body) < wanted:
                if not link.buffer:
                    link.receive()
                with self._lock:
                    message.body += link.buffer
                    link.buffer = b""
        elif step.act == "half-close":
            link.sock.shutdown(socket.SHUT_WR)
        elif step.act == "reset":
            link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return False
        elif step.act == "close":
            return False
        else:
            raise ValueError(f"no such step of a server: {step.act}")
        return True

    def _body(self, link: Link, message: Message) -> None:
        if message.whole:
            return
        if any(b"chunked" in value.lower() for value in message.values(b"transfer-encoding")):
            while size := int(link.until(b"\r\n").partition(b";")[0], 16):
                self._take(link, message, size)
                link.until(b"\r\n")
            while line := link.until(b"\r\n"):  # trailers, kept as fields marked as such
                name, _, value = line.partition(b":")
                message.fields.append((b"trailer/" + name.lower(), value.strip(b" \t")))
        else:
            length = message.values(b"content-length")
            self._take(link, message, int(length[0]) if length and length[0].isdigit() else 0)
        with self._lock:
            message.whole = True
            self._lock.notify_all()

    def _take(self, link: Link, message: Message, size: int) -> None:
        while size:
            if not link.buffer:
                link.receive()
            piece, link.buffer = link.buffer[:size], link.buffer[size:]
            message.body += piece
            size -= len(piece)


def _shut(link: Link) -> None:
    try:
        link.sock.close()
    except OSError:
        pass
