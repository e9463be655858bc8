"""The running balancer as its neighbours see it: bytes to its ports from chosen addresses, and all that it prints."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import yaml

from api.auth import ROLES, new_key
from bench.program import free_port
from tests.tree import ROOT

PATIENCE: Final = 15.0
OWNER: Final = "127.0.0.9"
"""The address from which tests look after what happened, so that no attack's own limits are in the way."""
LB: Final = "/api/infrastructure/load-balancer"
STATUS: Final = f"{LB}/status"
DRAIN: Final = f"{LB}/pools/web/servers/a/drain"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came over the wire."""

    status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def field(self, name: str) -> str | None:
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name.lower().encode():
                return value.strip().decode("latin-1")
        return None


class Line:
    """One connection. The address it comes from may be chosen, as the whole of 127.0.0.0/8 is this machine."""

    def __init__(
        self, port: int, source: str = "127.0.0.1", host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        local = (source, 0) if "." in host else None
        self.socket = socket.create_connection((host, port), PATIENCE, source_address=local)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._kept = b""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            pass  # the other end has had enough; what it said before is still to be read

    def answer(self) -> Answer | None:
        """The next answer, whole; None when there is none before the connection's end."""
        while b"\r\n\r\n" not in self._kept:
            if not self._more():
                return None
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            return Answer(status, head, b"")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if b"\r\nContent-Type: text/event-stream" in head:  # has no end: what it says within a second is taken for all
            while b"event: second\n" not in self._kept and self._more():
                pass
            length = len(self._kept)
        while len(self._kept) < length and self._more():
            pass
        body, self._kept = self._kept[:length], self._kept[length:]
        return Answer(status, head, body)

    def answers(self) -> list[Answer]:
        """Every answer up to the connection's end, which the other end has to make."""
        found = []
        while (answer := self.answer()) is not None:
            found.append(answer)
        return found

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        self._kept += data
        return bool(data)


def request(
    method: str,
    path: str,
    fields: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    host: str = "localhost",
    last: bool = True,
) -> bytes:
    """A request whose head says what it is told to, and otherwise what it should."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
    if body or method not in ("GET", "HEAD", "OPTIONS", "TRACE"):
        lines.append(f"Content-Length: {len(body)}")
    if last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass
class House:
    """A balancer with a pool of two servers, a key of each role, and an admin listener that strangers can reach."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    pools: dict[str, Any] = field(default_factory=dict)
    """Beside `web`."""
    host: str = "127.0.0.1"
    """Where the admin API is looked for; `settings` may have it listen elsewhere."""
    tls: ssl.SSLContext | None = None
    """What trusts the admin API's certificate, if `settings` give it one."""
    admin: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        made = {role: new_key(role) for role in ROLES}
        self.keys: dict[str, str] = {role: text for role, (text, _) in made.items()}
        self.records = [key.model_dump(mode="json") for _, key in made.values()]
        self.log = self.folder / "program.log"
        self.access = self.folder / "access.log"

    @property
    def file(self) -> Path:
        return self.folder / "balancer.yaml"

    def write(self, servers: Mapping[str, str]) -> None:
        admin = {
            "listen": f"127.0.0.1:{self.admin}",
            "state": str(self.folder / "overlay.yaml"),
            "keys": self.records,
            "rate_limit": None,  # what is tried is tried fast
            **self.settings.get("admin", {}),
        }
        whole = {
            "listen": f"127.0.0.1:{self.port}",
            "pools": {"web": {"servers": dict(servers)}, **self.pools},
            "routes": {"all": {"pool": "web"}},
            "logs": {"format": "json", "access": {"to": str(self.access)}},
            **{name: value for name, value in self.settings.items() if name != "admin"},
            "admin": admin,
        }
        self.file.write_text(yaml.safe_dump(whole))

    def key(self, role: str) -> dict[str, str]:
        return {"X-API-Key": self.keys[role]}

    def line(self, source: str = "127.0.0.1") -> Line:
        return Line(self.admin, source, self.host, self.tls)

    def ask(self, data: bytes, source: str = "127.0.0.1") -> Answer:
        """One request on a connection of its own."""
        with self.line(source) as line:
            line.say(data)
            answer = line.answer()
        assert answer is not None, f"no answer to {data[:200]!r}"
        return answer

    def look(self, path: str = "/api/config") -> Any:
        """What the owner sees."""
        return self.ask(request("GET", path, self.key("admin")), OWNER).json

    def state(self) -> tuple[object, ...]:
        """All that an attack on the admin API could have changed."""
        shown = self.look()
        return shown["generation"], shown["config"], shown["overlay"], self.file.read_text()

    def said(self) -> str:
        """Everything the process has printed or written into a log."""
        texts = [path.read_text(errors="replace") for path in sorted(self.folder.iterdir()) if path.suffix == ".log"]
        return "".join(texts)


@contextmanager
def opened(house: House, program: Sequence[str] = ("-m", "balancer"), **env: str) -> Iterator[House]:
    """The house with the balancer running in it, or what else understands `run`."""
    with _server() as first, _server() as second:
        house.write({"a": f"http://127.0.0.1:{first}", "b": f"http://127.0.0.1:{second}"})
        unwanted = ("ADMIN_API_KEY", "LOAD_BALANCER_SERVERS", "REDIS_URL")
        environment = {name: value for name, value in os.environ.items() if name not in unwanted}
        with house.log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *program, "run", "-c", str(house.file)],
                cwd=house.folder,
                env={**environment, "PYTHONPATH": str(ROOT), **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            _await_ready(house, process)
            yield house
            assert process.poll() is None, f"the balancer ended:\n{house.said()[-3000:]}"
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(house: House, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            if house.ask(request("GET", "/readyz"), OWNER).status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the balancer did not become ready; it said:\n{house.said()[-3000:]}")


class _Ok(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_HEAD = do_POST = do_GET  # noqa: N815  # the names that http.server asks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name for it
        pass


@contextmanager
def _server() -> Iterator[int]:
    """A server that says ok."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ok)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
