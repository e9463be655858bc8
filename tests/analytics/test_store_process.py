"""The process with the event store, and what becomes of events when it, its file or its disk fails."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from time import time as wall_time

import pytest

from balancer.analytics.desk import IN_FLIGHT, Desk
from balancer.analytics.engine import StoreError

pytestmark = pytest.mark.slow
KEEP = 30 * 86_400.0
PATIENCE = 15.0


def events(count: int, begin: int = 0) -> list[tuple[object, ...]]:
    now = round(wall_time() * 1000)
    return [
        (now + begin + number, "post_created", number % 7, None, 201, 5, 5, {"post": str(begin + number)})
        for number in range(count)
    ]


def desk(path: Path) -> Desk:
    found = Desk(str(path), "UTC", KEEP, 760 * 86_400.0)
    found.start()
    return found


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not fact():  # noqa: ASYNC110  # it is another process's doing
            await asyncio.sleep(0.01)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Desk]:
    found = desk(tmp_path / "events.db")
    await asyncio.wait_for(found.opened.wait(), PATIENCE)
    yield found
    await found.close()


def counted(path: Path) -> tuple[int, int, int]:
    """Single events, the sum over the quarters, and posts; the file must be whole."""
    with closing(sqlite3.connect(path)) as found:
        assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return (
            found.execute("SELECT count(*) FROM event").fetchone()[0],
            found.execute("SELECT coalesce(sum(n), 0) FROM total").fetchone()[0],
            found.execute("SELECT count(*) FROM post").fetchone()[0],
        )


async def test_what_is_sent_is_stored_and_asked_for_page_by_page(opened: Desk) -> None:
    for begin in range(0, 500, 100):
        opened.send(events(100, begin))
    await until(lambda: opened.figures.stored == 500)
    first = await opened.page(0, 0, 2**62, 300)
    rest = await opened.page(first.after, 0, 2**62, 300)
    assert (len(first.events), first.more, len(rest.events), rest.more) == (300, True, 200, False)
    assert [event.dims["post"] for event in (*first.events, *rest.events)] == [str(number) for number in range(500)]
    figures = await opened.store_figures()
    assert (figures.events, figures.unclean) == (500, None)


async def test_a_killed_process_is_started_again_and_nothing_is_lost_or_there_twice(
    opened: Desk, tmp_path: Path
) -> None:
    sent = 0
    for turn in range(2):
        for _ in range(IN_FLIGHT):
            if opened.has_room:
                opened.send(events(200, sent))
                sent += 200
        process = opened._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: opened.figures.ok is False)
        await until(lambda turn=turn: opened.figures.restarts == turn + 1 and bool(opened.figures.ok))
        await until(lambda: opened.waiting == 0)
    await opened.close()
    assert counted(tmp_path / "events.db") == (sent, sent, sent)


async def test_after_an_end_that_was_none_it_is_said_from_when_events_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    first = desk(path)
    await asyncio.wait_for(first.opened.wait(), PATIENCE)
    first.send(events(50))
    await until(lambda: first.figures.stored == 50)
    assert first._process is not None
    assert first._task is not None
    first._task.cancel()  # as if the balancer were killed as well: nobody starts it again
    os.kill(first._process.pid, signal.SIGKILL)
    second = desk(path)
    await asyncio.wait_for(second.opened.wait(), PATIENCE)
    try:
        with closing(sqlite3.connect(path)) as found:
            (last,) = found.execute("SELECT max(at) FROM event").fetchone()
        assert second.figures.unclean == last
    finally:
        await second.close()
    third = desk(path)
    await asyncio.wait_for(third.opened.wait(), PATIENCE)
    assert third.figures.unclean is None  # the second one was closed as it should be
    await third.close()
    assert counted(path) == (50, 50, 50)


async def test_while_another_process_has_the_file_events_wait_and_then_are_stored(opened: Desk, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        opened.send(events(10))
        await until(lambda: opened.figures.ok is False)
        assert opened.figures.reason == "events.db: database is locked"
        assert opened.waiting == 10
        other.execute("ROLLBACK")
    await until(lambda: opened.figures.stored == 10)
    assert opened.figures.ok


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system limits no other process")
async def test_with_no_room_on_the_disk_events_wait_and_then_are_stored(opened: Desk, tmp_path: Path) -> None:
    opened.send(events(500))
    await until(lambda: opened.figures.stored == 500)
    process = opened._process
    assert process is not None
    full = await asyncio.to_thread(lambda: sum(path.stat().st_size for path in tmp_path.iterdir()))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    opened.send(events(20_000 // IN_FLIGHT, 500))
    await until(lambda: opened.figures.ok is False)
    assert opened.figures.reason in ("events.db: disk I/O error", "events.db: database or disk is full")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await until(lambda: opened.waiting == 0)
    stored = 500 + 20_000 // IN_FLIGHT
    assert opened.figures.ok
    await opened.close()
    assert counted(tmp_path / "events.db") == (stored, stored, stored)


async def test_a_file_that_is_no_store_is_told_and_taken_as_soon_as_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"this is no database" * 100)
    found = desk(path)
    found.send(events(10))
    await until(lambda: found.figures.ok is False)
    assert found.figures.reason == "events.db: file is not a database"
    with pytest.raises(StoreError, match="not a database"):
        await found.store_figures()
    path.unlink()
    await until(lambda: found.figures.stored == 10)
    await found.close()
    assert counted(path)[0] == 10


async def test_a_store_that_is_broken_is_set_aside_and_another_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    first = desk(path)
    await asyncio.wait_for(first.opened.wait(), PATIENCE)
    first.send(events(200))
    await until(lambda: first.figures.stored == 200)
    await first.close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4000)  # the first page after its head: where the tables are told
    found = desk(path)
    found.send(events(10))
    await until(lambda: found.figures.ok is False)
    assert found.figures.reason is not None
    assert found.figures.reason.endswith("; it is moved to events.db.bad, and a new one begun")
    await until(lambda: found.figures.stored == 10)
    assert found.figures.ok
    await found.close()
    assert counted(path) == (10, 10, 10)
    assert (tmp_path / "events.db.bad").stat().st_size > 4000


async def test_a_store_that_breaks_while_it_is_written_is_set_aside_as_well(opened: Desk, tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    opened.send(events(200))
    await until(lambda: opened.figures.stored == 200)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    opened._process.kill()  # type: ignore[union-attr]  # it has the pages in its memory
    await until(lambda: opened.figures.restarts == 1)
    opened.send(events(10))
    await until(lambda: opened.figures.stored == 210)
    await opened.close()
    assert counted(path) == (10, 10, 10)
    assert (tmp_path / "events.db.bad").exists()


async def test_a_file_that_is_removed_is_made_anew(opened: Desk, tmp_path: Path) -> None:
    opened.send(events(10))
    await until(lambda: opened.figures.stored == 10)
    for side in ("", "-wal", "-shm"):
        (tmp_path / f"events.db{side}").unlink()
    opened.send(events(20, 10))
    await until(lambda: opened.figures.stored == 30)
    assert (await opened.store_figures()).events == 20
    await opened.close()
    assert counted(tmp_path / "events.db") == (20, 20, 20)


async def test_a_batch_that_can_not_be_stored_is_lost_alone_and_counted(opened: Desk, tmp_path: Path) -> None:
    opened.send(events(10))
    opened.send([(0, "post_created", 1, None, 200, 1, 1, {"post": "no text: \ud800"})])
    opened.send(events(10, 10))
    await until(lambda: opened.waiting == 0)
    assert (opened.figures.stored, opened.figures.lost, opened.figures.ok) == (20, 1, True)
    await opened.close()
    assert counted(tmp_path / "events.db") == (20, 20, 20)


async def test_who_goes_without_a_word_may_have_had_more_to_say(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    first = desk(path)
    await asyncio.wait_for(first.opened.wait(), PATIENCE)
    first.send(events(50))
    await until(lambda: first.figures.stored == 50)
    process = first._process
    assert first._writer is not None
    assert process is not None
    first._closing = True
    first._writer.close()  # as when the balancer is killed, and its store's process is not
    await asyncio.to_thread(process.wait, PATIENCE)
    await first.close()
    second = desk(path)
    await asyncio.wait_for(second.opened.wait(), PATIENCE)
    assert second.figures.unclean is not None
    await second.close()
    assert counted(path) == (50, 50, 50)


async def test_two_processes_at_one_store_lose_none_of_each_others_sums(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    pair = [desk(path), desk(path)]
    for one in pair:
        await asyncio.wait_for(one.opened.wait(), PATIENCE)
    for begin in range(0, 4000, 100):
        for index, one in enumerate(pair):
            if one.has_room:
                one.send(events(100, begin + index * 10_000))
    sent = sum(one.waiting + one.figures.stored for one in pair)
    await until(lambda: all(one.waiting == 0 for one in pair))
    for one in pair:
        await one.close()
    assert counted(path) == (sent, sent, sent)
    with closing(sqlite3.connect(path)) as found:
        assert found.execute("SELECT sum(posts) FROM did_day").fetchone() == (sent,)
        dau = found.execute("SELECT sum(n) FROM uniques WHERE what = 0 AND grain = 1").fetchone()
        assert dau == found.execute("SELECT count(*) FROM did_day").fetchone()


async def test_a_store_that_is_full_says_so_and_takes_no_more(tmp_path: Path) -> None:
    found = Desk(str(tmp_path / "events.db"), "UTC", KEEP, KEEP, 2**20)
    found.start()
    await asyncio.wait_for(found.opened.wait(), PATIENCE)
    for begin in range(0, 30_000, 200):
        found.send(events(200, begin))
    await until(lambda: found.figures.ok is False)
    assert found.figures.reason == "events.db has reached analytics.max_size: raise it, or keep less"
    assert found.waiting > 0
    await found.close()
    assert found.figures.lost > 0


async def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
        newer.commit()
    found = desk(path)
    await until(lambda: found.figures.ok is False)
    assert found.figures.reason == "events.db: it was written by a newer version of the balancer"
    await found.close()


async def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = desk(tmp_path / "file" / "events.db")
    await until(lambda: found.figures.ok is False)
    assert found.figures.reason is not None
    assert "events.db" in found.figures.reason
    await found.close()


async def test_who_is_forgotten_is_in_no_row_any_more(opened: Desk, tmp_path: Path) -> None:
    opened.send(events(70))
    await until(lambda: opened.figures.stored == 70)
    assert await opened.forget(3) >= 10
    await opened.close()
    with closing(sqlite3.connect(tmp_path / "events.db")) as found:
        for table, column in (("event", "user"), ("did_day", "user"), ("user", "key"), ("post", "author")):
            assert found.execute(f"SELECT count(*) FROM {table} WHERE {column} = 3").fetchone() == (0,)
        assert found.execute("SELECT sum(n) FROM total").fetchone() == (70,)  # sums name nobody
