"""The service over a provider that comes late, and what clients are told meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from balancer.cache.purges import Purge
from balancer.cache.receipts import PurgeReceipt
from balancer.cdn.errors import CdnError, ConfigError
from balancer.cdn.service import OFF, CdnService
from config.cdn import Cdn, CdnLocal


class Nothing:
    """A cache with nothing in it."""

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        return []


class Turns:
    """Pauses that last until a test has had enough of them."""

    def __init__(self) -> None:
        self._over = asyncio.Queue[None]()
        self.begun = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.begun.set()
        await self._over.get()

    async def end(self) -> None:
        """Let the present pause be over."""
        self.begun.clear()
        self._over.put_nowait(None)


@asynccontextmanager
async def service(folder: Path, turns: Turns) -> AsyncIterator[CdnService]:
    found = CdnService(folder / "state", Nothing(), pause=turns)
    try:
        yield found
    finally:
        await found.close()


def local(directory: Path) -> Cdn:
    return Cdn(local=CdnLocal(directory=str(directory), keep_free=0), images=None)


async def asked(found: CdnService, path: str) -> tuple[int, str | None]:
    """Status and Retry-After."""
    reader, writer = await asyncio.open_unix_connection(sock=found.connect())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    lines = (await reader.read()).decode().split("\r\n")
    writer.close()
    fields = dict(line.split(": ", 1) for line in lines[1 : lines.index("")])
    return int(lines[0].split()[1]), fields.get("Retry-After")


async def test_files_that_cannot_be_had_now_are_not_said_to_be_gone(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    async with service(tmp_path, Turns()) as found:
        await found.change(local(tmp_path / "taken"))
        assert await asked(found, "/cdn/a") == (503, "5")
        with pytest.raises(CdnError, match="taken"):
            await found.files()


async def test_a_folder_that_comes_later_is_taken_without_a_reload(tmp_path: Path) -> None:
    taken, turns = tmp_path / "taken", Turns()
    taken.write_text("a file where a folder should be")
    async with service(tmp_path, turns) as found:
        await found.change(local(taken))
        await turns.begun.wait()
        await turns.end()
        await turns.begun.wait()  # it was tried, and is not there yet
        assert (await asked(found, "/cdn/a"))[0] == 503
        taken.unlink()
        await turns.end()
        async with asyncio.timeout(10):
            while (await asked(found, "/cdn/a"))[0] == 503:  # noqa: ASYNC110  # it opens files in threads
                await asyncio.sleep(0.01)
        assert (await asked(found, "/cdn/a"))[0] == 404
        stored = await found.upload_file(b"hello", "a.txt", "document")
        assert (await asked(found, f"/cdn/{stored.path}"))[0] == 200


async def test_a_mistake_of_ours_keeps_nothing_from_starting(tmp_path: Path) -> None:
    def broken(settings: Cdn) -> None:
        raise LookupError("a mistake")

    found = CdnService(tmp_path, Nothing(), make=broken, pause=Turns())  # type: ignore[arg-type]
    await found.change(local(tmp_path))
    with pytest.raises(CdnError, match="LookupError"):
        await found.files()
    await found.close()


async def test_without_a_cdn_it_says_how_to_have_one(tmp_path: Path) -> None:
    async with service(tmp_path, Turns()) as found:
        await found.change(None)
        with pytest.raises(ConfigError, match=r"cdn: true") as raised:
            await found.files()
        assert str(raised.value) == OFF
        with pytest.raises(ConnectionRefusedError):
            found.connect()
