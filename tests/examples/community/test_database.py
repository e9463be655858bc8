"""One file for several processes: who fills it, and what is in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from examples.community.database import Database, WrongVersion, connect, prepare, transaction
from examples.community.records import timestamp
from tests.examples.copies import Copy

REFERENCE = {
    "users": "id username created_at last_seen_at deleted_at suspended_until role trust_level is_bot",
    "communities": "id slug name creator_id visibility created_at deleted_at",
    "memberships": "community_id user_id role joined_at left_at",
    "posts": "id community_id author_id title created_at deleted_at removed_at",
    "comments": "id post_id author_id parent_id created_at deleted_at removed_at",
    "reactions": "id user_id target_type target_id kind created_at",
    "reports": "id reporter_id target_type target_id target_user_id community_id reason status created_at "
    "resolved_at resolved_by",
    "moderation_actions": "id moderator_id community_id action target_type target_id report_id reason "
    "created_at automated",
}
"""The columns that analytics reports ask for."""


def count(connection: sqlite3.Connection, table: str) -> int:
    found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "community.db"


@pytest.mark.slow
def test_three_copies_that_start_at_once_share_one_seed(path):
    copies = [Copy(path, f"app-{i}") for i in (1, 2, 3)]
    try:
        assert len({copy.ready().url for copy in copies}) == 3
        with closing(connect(path)) as connection:
            assert count(connection, "users") == 20
            assert count(connection, "communities") == 5
            assert count(connection, "posts") == 60
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert [copy.terminate() for copy in copies] == [0, 0, 0]
    finally:
        for copy in copies:
            copy.__exit__()


def test_only_the_first_preparation_fills_the_file(path):
    assert prepare(path)
    assert not prepare(path)


def test_the_seed_is_the_same_each_time(path, tmp_path):
    dumps = []
    for one in (path, tmp_path / "other.db"):
        prepare(one)
        with closing(connect(one)) as connection:
            dumps.append(list(connection.iterdump()))
    assert dumps[0] == dumps[1]


def test_the_tables_have_every_column_that_the_reports_ask_for(path):
    prepare(path)
    with closing(connect(path)) as connection:
        for table, columns in REFERENCE.items():
            found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            assert set(columns.split()) <= found, table


def test_the_seed_tells_a_story_in_order(path):
    prepare(path)
    with closing(connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for early, late, where in (
            ("u.created_at", "p.created_at", "posts p JOIN users u ON u.id = p.author_id"),
            ("k.created_at", "p.created_at", "posts p JOIN communities k ON k.id = p.community_id"),
            ("p.created_at", "c.created_at", "comments c JOIN posts p ON p.id = c.post_id"),
            ("u.created_at", "c.created_at", "comments c JOIN users u ON u.id = c.author_id"),
            ("a.id", "b.id", "comments b JOIN comments a ON a.id = b.parent_id"),
            ("r.created_at", "r.resolved_at", "reports r"),
        ):
            rows = connection.execute(f"SELECT count(*) FROM {where} WHERE {early} > {late}").fetchone()
            assert rows == (0,), (early, late)
        assert connection.execute("SELECT max(created_at) FROM comments").fetchone()[0] < timestamp()
        statuses = dict(connection.execute("SELECT status, count(*) FROM reports GROUP BY 1"))
        assert set(statuses) == {"open", "upheld", "rejected", "ignored"}
        assert count(connection, "moderation_actions") == statuses["upheld"]


def test_a_file_of_another_version_is_refused(path):
    prepare(path)
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(WrongVersion, match="expected version 1, found 99"):
        prepare(path)


def lose_and_fail(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute("DELETE FROM reactions")
        connection.execute("INSERT INTO posts (community_id, author_id, title) VALUES (99, 99, 'No')")


def test_a_change_that_fails_leaves_nothing_behind(path):
    prepare(path)
    with closing(connect(path)) as connection:
        with pytest.raises(sqlite3.IntegrityError):
            lose_and_fail(connection)
        assert count(connection, "reactions") > 0


async def test_what_one_process_writes_another_reads(path):
    prepare(path)
    first, second = Database(path), Database(path)
    try:
        await first.write(lambda connection: connection.execute("UPDATE users SET role = 'member'"))
        assert await second.read(lambda c: c.execute("SELECT DISTINCT role FROM users").fetchall()) == [("member",)]
    finally:
        first.close()
        second.close()
