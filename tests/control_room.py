"""Control with a real monitor over real servers, a fleet in memory, and a configuration file to rewrite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from balancer.control import Control
from balancer.history import History
from balancer.memory import Memory
from config.load import load
from config.schema import Config
from tests.recorded_fleet import RecordedFleet


class Ward:
    """A real HTTP server whose health a test decides."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        self._site = TestServer(web.Application())
        self._site.app.router.add_get("/{tail:.*}", self._answer)

    async def start(self) -> None:
        await self._site.start_server()

    async def close(self) -> None:
        await self._site.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._site.port}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status)


class Room:
    """Everything around one Control that a test looks at or moves."""

    def __init__(self, folder: Path, wards: dict[str, Ward], environ: Mapping[str, str]) -> None:
        self.file = folder / "balancer.yaml"
        self.state = folder / "var" / "overlay.yaml"
        self.wards = wards
        self.fleet: RecordedFleet
        self.memory = Memory(self.state)
        self.applied: list[Config] = []
        self.environ = dict(environ)
        self.control: Control

    def write(self, more: str = "", servers: str | None = None) -> None:
        """A configuration whose pool `web` has every ward, unless `servers` says otherwise."""
        listed = ", ".join(f"{name}: {ward.url}" for name, ward in self.wards.items())
        self.file.write_text(
            f"listen: 127.0.0.1:0\npools: {{web: {{servers: {{{listed if servers is None else servers}}}}}}}\n{more}\n"
        )

    def make(
        self, sleep: Callable[[float], Awaitable[None]] | None = None, clock: Callable[[], float] | None = None
    ) -> Control:
        """A control over planes of its own, as a start of the process would make it; the caller starts it."""
        self.fleet = RecordedFleet()

        async def applied(config: Config) -> None:
            self.applied.append(config)

        loaded = load(self.file, self.environ)
        times = {} if sleep is None or clock is None else {"sleep": sleep, "clock": clock}
        self.control = Control(
            loaded,
            self.fleet,
            environ=self.environ,
            memory=self.memory,
            history=History(self.state.with_suffix(".history.json")),
            applied=applied,
            **times,  # type: ignore[arg-type]  # mypy takes the values of a mapping for every argument
        )
        return self.control

    async def begin(self) -> Control:
        """Start it, and see the first round of checks through."""
        control = self.make()
        await control.start()
        await control.check_now()
        return control


@asynccontextmanager
async def room(
    folder: Path, more: str = "", names: str = "ab", environ: Mapping[str, str] | None = None
) -> AsyncIterator[Room]:
    async with AsyncExitStack() as stack:
        wards = {name: Ward() for name in names}
        for ward in wards.values():
            await ward.start()
            stack.push_async_callback(ward.close)
        found = Room(folder, wards, environ or {})
        found.write(more)
        yield found
        if hasattr(found, "control"):
            await found.control.close()
