"""A small HTTP server that answers as the admin API would, over TCP or a Unix socket, and a console to read."""

from __future__ import annotations

import io
import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from balancer.cli import main
from balancer.commands.console import Console

PROBLEM = "application/problem+json"


class Reply(NamedTuple):
    body: object
    status: int = 200
    kind: str = "application/json"
    fields: tuple[tuple[str, str], ...] = ()


class Asked(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class StandIn:
    """Answers by method and path. A function in place of a reply is called for each request."""

    def __init__(self, replies: Mapping[str, Reply | Callable[[], Reply]]) -> None:
        self.replies = dict(replies)
        self.asked: list[Asked] = []
        self.url = ""
        self.refusal: Reply | None = None
        """In the place of the word to go on with a body."""

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        found = self.replies.get(f"{asked.method} {asked.path}")
        if found is None:
            return Reply({"detail": f"there is nothing at {asked.path}"}, 404, PROBLEM)
        return found if isinstance(found, Reply) else found()


def problem(status: int, detail: str, *errors: Mapping[str, object]) -> Reply:
    body = {"type": "about:blank", "title": "T", "status": status, "detail": detail, "errors": errors}
    return Reply(body, status, PROBLEM)


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def stand_in(replies: Mapping[str, Reply | Callable[[], Reply]], socket: Path | None = None) -> Iterator[StandIn]:
    found = StandIn(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # so that it asks for what comes with `Expect`

        def handle_expect_100(self) -> bool:
            if found.refusal is None:
                return super().handle_expect_100()
            found.asked.append(Asked(self.command, self.path, dict(self.headers)))
            self.tell(found.refusal)
            return False

        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.tell(found.reply(Asked(self.command, self.path, dict(self.headers), sent)))

        def tell(self, reply: Reply) -> None:
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            for name, value in reply.fields:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = answer  # noqa: N815  # the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in http.server
            pass

    server: socketserver.BaseServer
    if socket is not None:
        server = _UnixServer(str(socket), Handler)
        found.url = f"unix:{socket}"
    else:
        server = over_tcp = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        found.url = f"http://127.0.0.1:{over_tcp.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Ended(NamedTuple):
    code: int
    out: str
    messages: str


def balancer(*words: str, environ: Mapping[str, str] | None = None, terminal: bool = False) -> Ended:
    """What the command line `balancer WORDS` does in this process, with this environment and no other."""
    output, messages = (Terminal() if terminal else io.StringIO()), io.StringIO()
    surroundings = {"BALANCER_CONFIG": "/nonexistent/balancer.yaml", "TERM": "xterm"}
    code = main(words, Console({**surroundings, **(environ or {})}, output, messages))
    return Ended(code, output.getvalue(), messages.getvalue())
