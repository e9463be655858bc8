"""The service over a provider that comes late, and what clients are told meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from balancer.cache.purges import Purge
from balancer.cache.receipts import LevelReceipt, PurgeReceipt
from balancer.cdn import service as service_module
from balancer.cdn.errors import CdnError, ConfigError, SourceBlocked
from balancer.cdn.provider import CdnProvider
from balancer.cdn.registry import make_provider
from balancer.cdn.service import OFF, CdnService
from config.cdn import Cdn, CdnLocal
from tests.cdn.shelf import Shelf


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


class Halved:
    """A cache whose second level is away."""

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        levels = LevelReceipt("memory", True, 1, 0.0), LevelReceipt("redis", False, None, 0.0, "it is away")
        return [PurgeReceipt(one, levels) for one in purges]


async def test_what_a_level_of_the_cache_still_has_of_a_file_that_is_gone_is_told_by_a_ticket(tmp_path: Path) -> None:
    found = CdnService(tmp_path, Halved())
    await found.change(local(tmp_path / "files"))
    try:
        first = await found.upload_file(b"hello", "a.txt", "document")
        assert first.ticket is None
        tagged = await found.upload_file(b"hello", "a.txt", "document", tags=("new",))
        gone = await found.remove_file(first.path)
        for id_ in (tagged.ticket, gone.ticket):
            assert id_ is not None
            ticket = await found.ticket(id_)
            assert (ticket.state, ticket.verified, ticket.written) == ("partial", False, (f"/cdn/{first.path}",))
            assert "redis: it is away" in ticket.warnings
    finally:
        await found.close()


async def test_a_file_that_every_level_has_forgotten_needs_no_ticket(tmp_path: Path) -> None:
    async with service(tmp_path, Turns()) as found:
        await found.change(local(tmp_path / "files"))
        stored = await found.upload_file(b"hello", "a.txt", "document")
        assert (await found.remove_file(stored.path)).ticket is None
        assert await found.tickets() == []


async def test_a_mistake_of_ours_keeps_nothing_from_starting(tmp_path: Path) -> None:
    def broken(settings: Cdn) -> None:
        raise LookupError("a mistake")

    found = CdnService(tmp_path, Nothing(), make=broken, pause=Turns())  # type: ignore[arg-type]
    await found.change(local(tmp_path))
    with pytest.raises(CdnError, match="LookupError"):
        await found.files()
    await found.close()


class Slow(Shelf):
    """Starts when it is let, and may fail at its end."""

    def __init__(self, settings: Cdn) -> None:
        super().__init__(settings)
        self.ready = asyncio.Event()
        self.fails = False

    async def start(self) -> None:
        await self.ready.wait()

    async def close(self) -> None:
        if self.fails:
            raise LookupError("a library's surprise")


async def test_what_is_at_work_answers_until_the_next_is_ready(tmp_path: Path) -> None:
    made: list[Slow] = []

    def make(settings: Cdn) -> CdnProvider:
        if settings.provider == "local":
            return make_provider(settings)
        made.append(Slow(settings))
        return made[-1]

    found = CdnService(tmp_path / "state", Nothing(), make=make)
    await found.change(local(tmp_path / "files"))
    stored = await found.upload_file(b"hello", "a.txt", "document")
    changing = asyncio.create_task(found.change(Cdn(provider="bunny", images=None)))
    while not made:  # noqa: ASYNC110  # it is made in another task
        await asyncio.sleep(0)
    assert (await asked(found, f"/cdn/{stored.path}"))[0] == 200
    assert (await found.files()).files
    made[0].ready.set()
    await changing
    assert found.provider is made[0]
    await found.close()


async def test_a_start_that_hangs_keeps_neither_a_reload_nor_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "PATIENCE", 0.01)
    made: list[Slow] = []

    def make(settings: Cdn) -> CdnProvider:
        made.append(Slow(settings))
        if len(made) == 2:
            made[1].ready.set()
        return made[-1]

    found = CdnService(tmp_path, Nothing(), make=make)  # type: ignore[arg-type]
    await found.change(Cdn(provider="bunny", images=None))
    with pytest.raises(CdnError, match="being started"):
        await found.status()
    assert await asked(found, "/cdn/a") == (503, "5")
    monkeypatch.setattr(service_module, "PATIENCE", 5.0)
    await found.change(Cdn(provider="aws", images=None))
    assert found.provider is made[1]
    await found.close()


async def test_a_provider_that_fails_at_its_end_is_no_reason_to_be_without_the_next(tmp_path: Path) -> None:
    def make(settings: Cdn) -> CdnProvider:
        one = Slow(settings)
        one.ready.set()
        one.fails = True
        return one

    found = CdnService(tmp_path, Nothing(), make=make)
    await found.change(Cdn(provider="bunny", images=None))
    first = found.provider
    await found.change(Cdn(provider="aws", images=None))
    assert found.provider is not first
    await found.change(None)
    await found.change(Cdn(provider="bunny", images=None))
    assert (await found.status()).ok
    await found.close()


async def test_why_it_could_not_start_is_told_to_each_who_asks_without_the_others(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    async with service(tmp_path, Turns()) as found:
        await found.change(local(tmp_path / "taken"))
        for _ in range(5):
            with pytest.raises(CdnError) as raised:
                await found.files()
            assert len(list(raised.traceback)) < 6


async def test_without_a_cdn_it_says_how_to_have_one(tmp_path: Path) -> None:
    async with service(tmp_path, Turns()) as found:
        await found.change(None)
        with pytest.raises(ConfigError, match=r"cdn: true") as raised:
            await found.files()
        assert str(raised.value) == OFF
        with pytest.raises(ConnectionRefusedError):
            found.connect()


async def test_pictures_of_files_of_a_cdn_that_changes_none_are_made_here_without_more_words(tmp_path: Path) -> None:
    pytest.importorskip("aiobotocore")
    settings = Cdn(provider="aws", url="https://cdn.example.com", local=CdnLocal(directory=str(tmp_path / "files")))
    async with service(tmp_path, Turns()) as found:
        await found.change(settings)
        made = await found.optimize_image("image/x.jpg", 32)
        assert made.provider == "local"
        assert made.url.startswith("https://cdn.example.com/img/")
        with pytest.raises(SourceBlocked):
            await found.optimize_image("https://other.example/x.jpg", 32)


async def test_a_picture_of_a_file_may_be_named_by_whatever_address_the_balancer_was_reached_at(tmp_path: Path) -> None:
    settings = Cdn(local=CdnLocal(directory=str(tmp_path / "files"), keep_free=0))
    async with service(tmp_path, Turns()) as found:
        await found.change(settings)
        names = ("image/x.jpg", "/cdn/image/x.jpg", "http://127.0.0.1:8080/cdn/image/x.jpg")
        assert len({(await found.optimize_image(name, 32)).url for name in names}) == 1
