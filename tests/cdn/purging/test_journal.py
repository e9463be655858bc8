"""Tickets on disk: they are there again, once each, until they are too old or too many."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from balancer.cdn.errors import Conflict
from balancer.cdn.purging.journal import TIDY, Journal, JournalFailed
from balancer.cdn.purging.patterns import target
from balancer.cdn.purging.sending import Sending
from balancer.cdn.purging.ticket import CdnPart, LevelCount, Refused, Ticket
from balancer.cdn.types import PurgeBatch, PurgeState

T = TypeVar("T")
NOW = 1_800_000_000.0


class Wall:
    now = NOW

    def __call__(self) -> float:
        return self.now


def ticket(number: int, state: PurgeState = PurgeState.QUEUED) -> Ticket:
    return Ticket(
        f"pg_{number:05}",
        state,
        datetime.fromtimestamp(NOW + number, UTC),
        (target("/posts/*"), target("https://h/a?x"), target("tag:t")),
        own=(LevelCount("memory", True, 3), LevelCount("redis", False, None, "gone")),
        cdn=CdnPart(
            "bunny",
            2,
            ("/posts/*",),
            (Refused("/a/*/b", "no form", "/a/*"),),
            ("tag:t",),
            provider_ids=("id",),
            attempts=3,
            error="late",
        ),
        warnings=("beware",),
        author="somebody",
    )


def sending(number: int) -> Sending:
    batch = PurgeBatch("prefixes", ("h/posts/",), (target("/posts/*"),), 1, True, "other")
    return Sending(f"pb_{number}", "bunny", batch, {"pg_00001": ("/posts/*",)}, attempts=2, next_try=NOW + 3)


def run(
    path: Path, use: Callable[[Journal], Awaitable[T]], wall: Callable[[], float] | None = None, most: int = 1000
) -> T:
    """One life of a process."""

    async def main() -> T:
        kept = Journal(path, wall or Wall(), most)
        await kept.open()
        try:
            return await use(kept)
        finally:
            await kept.close()

    return asyncio.run(main())


def test_what_was_kept_is_there_in_the_next_life_and_equal(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal"

    async def before(kept: Journal) -> None:
        for number in (2, 1, 3):
            assert await kept.add(ticket(number)) == ticket(number)
        await kept.save([replace(ticket(3), state=PurgeState.COMPLETED)], [sending(1), sending(2)])
        await kept.save([], [replace(sending(1), attempts=5)], ["pb_2"])

    run(path, before)
    left = run(path, lambda kept: kept.unfinished())
    assert left.tickets == [ticket(1), ticket(2)]
    assert left.sendings == [replace(sending(1), attempts=5)]
    assert run(path, lambda kept: kept.find("pg_00003")) == replace(ticket(3), state=PurgeState.COMPLETED)
    assert run(path, lambda kept: kept.find("pg_9")) is None
    assert path.stat().st_mode & 0o77 == 0


def test_the_newest_tickets_come_first_and_page_by_page(tmp_path: Path) -> None:
    async def use(kept: Journal) -> tuple[list[str], list[str]]:
        for number in range(5):
            await kept.add(ticket(number))
        first = await kept.latest(2)
        return [one.id for one in first], [one.id for one in await kept.latest(9, first[-1].id)]

    assert run(tmp_path / "journal", use) == (["pg_00004", "pg_00003"], ["pg_00002", "pg_00001", "pg_00000"])


def test_a_key_that_came_before_gives_the_same_ticket_for_a_day_and_never_for_another_order(tmp_path: Path) -> None:
    wall = Wall()

    async def use(kept: Journal) -> None:
        assert (await kept.add(ticket(1), "key", b"order")).id == "pg_00001"
        assert (await kept.add(ticket(2), "key", b"order")).id == "pg_00001"
        assert (await kept.add(ticket(2), "other", b"order")).id == "pg_00002"
        with pytest.raises(Conflict, match="pg_00001"):
            await kept.add(ticket(3), "key", b"another")
        assert await kept.find("pg_00003") is None
        wall.now += 86400
        assert (await kept.add(ticket(3), "key", b"another")).id == "pg_00003"

    run(tmp_path / "journal", use, wall)


def test_what_is_done_is_kept_for_seven_days_and_what_is_not_for_ever(tmp_path: Path) -> None:
    wall = Wall()

    async def use(kept: Journal) -> list[str]:
        await kept.add(ticket(1, PurgeState.COMPLETED))
        await kept.add(ticket(2))
        wall.now += 7 * 86400 + 2
        for number in range(3, 3 + TIDY):
            await kept.add(ticket(number))
        return [one.id for one in await kept.latest(999)][-2:]

    assert run(tmp_path / "journal", use, wall) == ["pg_00003", "pg_00002"]


def test_the_number_of_tickets_is_bounded(tmp_path: Path) -> None:
    async def use(kept: Journal) -> tuple[int, str]:
        await kept.add(ticket(0))
        for number in range(1, 2 * TIDY + 1):
            await kept.add(ticket(number, PurgeState.FAILED), f"key {number}")
        found = await kept.latest(999)
        return len(found), found[-1].id

    assert run(tmp_path / "journal", use, most=20) == (21, "pg_00000")
    with sqlite3.connect(tmp_path / "journal") as connection:
        assert connection.execute("SELECT COUNT(*) FROM idempotency").fetchone()[0] <= 20


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("this is no database, and never was one; " * 100)

    async def use(kept: Journal) -> str:
        assert kept.failure is None
        return (await kept.add(ticket(1))).id

    assert run(path, use) == "pg_00001"
    assert (tmp_path / "journal.bad").read_text().startswith("this is no database")


def test_a_row_that_can_not_be_read_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def before(kept: Journal) -> None:
        await kept.add(ticket(1))
        await kept.add(ticket(2))
        await kept.save([], [sending(1), sending(2)])

    run(path, before)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ticket SET body = '{}' WHERE id = 'pg_00001'")
        connection.execute("UPDATE sending SET body = 'x' WHERE id = 'pb_1'")
    left = run(path, lambda kept: kept.unfinished())
    assert left.tickets == [ticket(2)]
    assert left.sendings == [sending(2)]


def test_a_folder_that_can_not_be_written_to_fails_each_ticket_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")

    async def use(kept: Journal) -> None:
        assert kept.failure is not None
        with pytest.raises(JournalFailed):
            await kept.add(ticket(1))
        (tmp_path / "state").unlink()
        await kept.add(ticket(2))
        assert kept.failure is None
        assert [one.id for one in await kept.latest(9)] == ["pg_00002"]

    run(tmp_path / "state" / "journal", use)


def test_a_full_disk_fails_a_ticket_and_the_next_one_that_fits_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def use(kept: Journal) -> None:
        await kept.add(ticket(1))
        await kept._database.run(lambda connection: connection.execute("PRAGMA max_page_count = 20"))
        large = replace(ticket(2), warnings=("x" * 200_000,))
        with pytest.raises(JournalFailed, match="full"):
            await kept.add(large)
        assert kept.failure is not None
        await kept.add(ticket(3))
        assert kept.failure is None
        assert [one.id for one in await kept.latest(9)] == ["pg_00003", "pg_00001"]

    run(path, use)
