"""The real process under test: `python -m balancer run`, real app servers, and a load that counts every failure."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench.program import free_port
from tests.tree import ROOT

KEY = "a-key-for-the-tests-and-long-enough"
PATIENCE = 15.0


class Child:
    """A process of ours, ended in the end."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        self.arguments = arguments
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.cwd = cwd
        self.process: asyncio.subprocess.Process | None = None
        self.output = bytearray()
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self.arguments,
            env=self.env,
            cwd=self.cwd or ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            self.output += data

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def wait(self) -> int:
        assert self.process is not None
        status = await asyncio.wait_for(self.process.wait(), PATIENCE * 2)
        if self._reading is not None:
            await asyncio.wait_for(self._reading, PATIENCE)
        return status

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
        if self.process is not None:
            await self.wait()


class AppServer(Child):
    """`tests/system/app_server.py` on a port that it keeps over restarts."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self.port = free_port()
        super().__init__("-m", "tests.system.app_server", str(self.port), name, *options)

    async def start(self) -> None:
        await super().start()
        await until(lambda: b"serving" in self.output, self)


async def until(fact: Any, *children: Child) -> None:
    """Wait until it is so; what the children printed is in the error."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while loop.time() < end:
        result = fact()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        await asyncio.sleep(0.05)
    said = "\n".join(child.output.decode(errors="replace") for child in children)
    raise AssertionError(f"it did not become so in {PATIENCE} s; said:\n{said}")


class Balancer(Child):
    """The balancer, its configuration file and its admin API."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], **env: str) -> None:
        self.folder = folder
        self.file = folder / "balancer.yaml"
        self.port = free_port()
        self.admin = free_port()
        self.settings: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": f"127.0.0.1:{self.admin}", "state": str(folder / "overlay.yaml")},
            "logs": {"access": {"to": str(folder / "access.log")}, "format": "json"},
            **settings,
        }
        self.write(self.settings)
        super().__init__("-m", "balancer", "run", "-c", str(self.file), env={"ADMIN_API_KEY": KEY, **env})
        self.session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, settings: Mapping[str, Any]) -> None:
        self.file.write_text(yaml.safe_dump(dict(settings)))

    async def start(self) -> None:
        await super().start()
        self.session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"})
        await until(self.ready, self)

    async def ready(self) -> bool:
        assert self.process is not None
        if self.process.returncode is not None:
            raise AssertionError(f"the balancer ended: {self.output.decode()}")
        try:
            status, _ = await self.call("GET", "/readyz")
        except aiohttp.ClientError:
            return False
        return status == 200

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        assert self.session is not None
        url = f"http://127.0.0.1:{self.admin}{path}"
        async with self.session.request(method, url, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if "json" in response.content_type else text

    async def server(self, name: str, pool: str = "default") -> dict[str, Any]:
        _, status = await self.call("GET", "/api/infrastructure/load-balancer/status")
        found: dict[str, Any] = status["pools"][pool]["servers"][name]
        return found

    async def end(self) -> None:
        if self.session is not None:
            await self.session.close()
        await super().end()


@asynccontextmanager
async def running(*children: Child) -> AsyncIterator[None]:
    try:
        for child in children:
            await child.start()
        yield
    finally:
        for child in reversed(children):
            await child.end()


@dataclass
class Load:
    """Clients that ask one after the other, until told to stop; every failure is kept."""

    url: str
    clients: int = 8
    path: str = "/"
    served: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    refused: int = 0  # connections that could not be opened: nothing was asked

    async def __aenter__(self) -> Load:
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _client(self) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not self._stop.is_set():
                try:
                    async with session.get(self.url + self.path) as response:
                        await response.read()
                        self.statuses[response.status] += 1
                        if response.status != 200:
                            self.failures.append(f"{response.status} {await response.text()}")
                        self.served[response.headers.get("X-Served-By", "-")] += 1
                except aiohttp.ClientConnectorError:
                    self.refused += 1
                    await asyncio.sleep(0.02)
                except aiohttp.ClientError as error:
                    self.failures.append(repr(error))


TERM = signal.SIGTERM
HUP = signal.SIGHUP
