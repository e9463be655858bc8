"""A client that sends bytes, and takes nothing for an answer that h11 would not."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any, Final

import h11
import http_sf

PATIENCE: Final = 10.0
HOST: Final = "site.test"


@dataclass
class Seen:
    """An answer as the client got it."""

    status: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False
    interim: list[int] = field(default_factory=list)
    fault: str = ""
    version: str = ""

    def values(self, name: str) -> list[str]:
        return [value for field_name, value in self.fields if field_name == name.lower()]

    @property
    def age(self) -> int | None:
        """None when there is none; -1 when it is not one number, as it never may be in an answer from the cache."""
        values = self.values("age")
        if not values:
            return None
        return int(values[0]) if len(values) == 1 and values[0].isdigit() else -1

    @property
    def caches(self) -> list[tuple[str, dict[str, Any]]]:
        """Cache-Status as RFC 9211 has it, a list; it raises what http_sf does if it is none."""
        values = self.values("cache-status")
        if not values:
            return []
        parsed = http_sf.parse(", ".join(values).encode("latin-1"), tltype="list")
        return [(str(name), dict(parameters)) for name, parameters in parsed]

    @property
    def cache(self) -> dict[str, Any] | None:
        """What the cache nearest to the client, ours, says of itself."""
        caches = self.caches
        return caches[-1][1] if caches else None


class Client:
    """A connection of a client, opened anew when it was closed."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._port = port
        self._address = address
        self._sock: socket.socket | None = None
        self._rest = b""

    def ask(
        self, target: str, *lines: str, method: str = "GET", host: str = HOST, body: bytes = b"", version: str = "1.1"
    ) -> Seen:
        self.send(target, *lines, method=method, host=host, body=body, version=version)
        return self.answer(method)

    def send(
        self, target: str, *lines: str, method: str = "GET", host: str = HOST, body: bytes = b"", version: str = "1.1"
    ) -> None:
        head = [f"{method} {target} HTTP/{version}", f"Host: {host}", *lines]
        if body or method in ("POST", "PUT", "PATCH"):
            head.append(f"Content-Length: {len(body)}")
        self.send_bytes(("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body)

    def send_bytes(self, data: bytes) -> None:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE, (self._address, 0))
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._rest = b""
        self._sock.sendall(data)

    def answer(self, method: str = "GET", *, stop_after: int | None = None) -> Seen:
        """The next answer; with `stop_after`, as soon as so many bytes of its body are there."""
        assert self._sock is not None, "nothing was asked"
        judge = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        judge.send(h11.Request(method=method, target="/", headers=[("Host", HOST)]))
        judge.send(h11.EndOfMessage())
        seen = Seen()
        if self._rest:
            judge.receive_data(self._rest)
            self._rest = b""
        try:
            while True:
                event = judge.next_event()
                if event is h11.NEED_DATA:
                    data = self._receive()
                    judge.receive_data(data)
                elif isinstance(event, h11.InformationalResponse):
                    seen.interim.append(event.status_code)
                elif isinstance(event, h11.Response):
                    seen.status = event.status_code
                    seen.version = event.http_version.decode()
                    seen.fields = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in event.headers]
                elif isinstance(event, h11.Data):
                    seen.body += event.data
                    if stop_after is not None and len(seen.body) >= stop_after:
                        return seen
                elif isinstance(event, h11.EndOfMessage):
                    seen.whole = True
                    self._rest, _ = judge.trailing_data
                    if judge.our_state is h11.MUST_CLOSE or judge.their_state is not h11.DONE:
                        self.close()
                    return seen
                else:
                    raise ConnectionError(f"the connection ended: {event}")
        except (h11.RemoteProtocolError, ConnectionError) as error:
            seen.fault = f"{type(error).__name__}: {error}"
            self.close()
            return seen

    def _receive(self) -> bytes:
        assert self._sock is not None
        return self._sock.recv(1 << 18)

    def quiet(self, patience: float = 0.15) -> bool:
        """Whether nothing comes for a while."""
        assert self._sock is not None
        self._sock.settimeout(patience)
        try:
            data = self._sock.recv(1 << 18)
        except TimeoutError:
            return True
        finally:
            self._sock.settimeout(PATIENCE)
        self._rest += data
        return False

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
