"""The sample community under a known script of traffic: what reports say of it is what its own database says.

The site lived before the balancer came, so there is more in its database than the traffic told; what is compared is
what the script did. The differences that remain are those of docs/analytics.md: who posts becomes a member unasked,
and a founder, too, and that is in no request of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
import yaml

from examples.community.records import timestamp
from tests.examples.copies import Copy
from tests.system.process import Balancer, Child, running, until
from tests.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
REQUESTS = 2000
SEED = "11"


class Lived:
    """A community after the script is over: its own database beside what the balancer tells."""

    def __init__(self, rows: sqlite3.Connection, since: datetime, balancer: Balancer) -> None:
        self._rows = rows
        self._since = since
        self._balancer = balancer
        self.since = timestamp(since)

    def all(self, sql: str) -> list[tuple[Any, ...]]:
        """`:since` is when the script began."""
        return self._rows.execute(sql, {"since": self.since}).fetchall()

    def one(self, sql: str) -> Any:
        return self.all(sql)[0][0]

    async def report(self, name: str, **more: str) -> dict[str, Any]:
        """From the traffic; of the hours since the script began, of which there may be two."""
        until = datetime.now(UTC) + timedelta(hours=1)
        parameters = {
            "from": self._since.replace(microsecond=0).isoformat(),
            "to": until.replace(microsecond=0).isoformat(),
            "interval": "hour",
            "active": "contributed",
            "limit": "500",
            **more,
        }
        status, answer = await self._balancer.call("GET", f"/api/monitoring/analytics/{name}?{urlencode(parameters)}")
        assert status == 200, answer
        assert answer["source"] == "events"
        return answer  # type: ignore[no-any-return]

    async def stored(self) -> bool:
        """Whether the store has all that has been counted."""
        _, status = await self._balancer.call("GET", "/api/monitoring/analytics/status")
        return bool(status["queue"]["waiting"] == 0)


def value(answer: dict[str, Any], name: str) -> Any:
    return answer["summary"][name]["value"]


def total(answer: dict[str, Any], name: str) -> int:
    return sum(bucket[name] for bucket in answer["series"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lived(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lived]:
    folder: Path = tmp_path_factory.mktemp("lived")
    database = folder / "community.db"
    shown = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text())
    with Copy(database, "app-1") as first, Copy(database, "app-2") as second:
        settings = {"servers": [first.url, second.url], "cache": True, "analytics": shown["analytics"]}
        balancer = Balancer(folder, settings)
        async with running(balancer):
            since = datetime.now(UTC)
            script = Child(
                "-m",
                "examples.community.traffic",
                *("--url", balancer.url, "--requests", str(REQUESTS), "--seed", SEED, "--quiet"),
            )
            async with running(script):
                assert script.process is not None
                assert await asyncio.wait_for(script.process.wait(), 90) == 0, script.output
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as rows:
                found = Lived(rows, since, balancer)
                await until(found.stored, balancer)
                yield found


CONTRIBUTIONS = """SELECT author_id AS user, created_at AS at, 'post' AS what FROM posts WHERE created_at >= :since
    UNION ALL SELECT author_id, created_at, 'comment' FROM comments WHERE created_at >= :since
    UNION ALL SELECT user_id, created_at, 'reaction' FROM reactions WHERE created_at >= :since"""


async def test_the_script_makes_something_of_everything(lived):
    for table in ("users", "posts", "comments", "reactions", "reports", "moderation_actions"):
        assert lived.one(f"SELECT count(*) FROM {table} WHERE created_at >= :since") > 0, table


async def test_user_growth(lived):
    answer = await lived.report("user-growth")
    assert value(answer, "new_users") == lived.one("SELECT count(*) FROM users WHERE created_at >= :since")
    assert total(answer, "new_users") == value(answer, "new_users")


async def test_post_activity(lived):
    answer = await lived.report("post-activity")
    for table in ("posts", "comments", "reactions"):
        expected = lived.one(f"SELECT count(*) FROM {table} WHERE created_at >= :since")
        assert (value(answer, table), total(answer, table)) == (expected, expected)
    removed = lived.one("SELECT count(*) FROM posts WHERE created_at >= :since AND removed_at IS NOT NULL")
    assert total(answer, "posts_removed") == removed
    heat = Counter()
    for (at,) in lived.all("SELECT created_at FROM posts WHERE created_at >= :since"):
        moment = datetime.fromisoformat(at)
        heat[moment.isoweekday(), moment.hour] += 1
    assert {(cell["isodow"], cell["hour"]): cell["posts"] for cell in answer["tables"]["heatmap"]} == heat
    # Each post that still stands, and how long it waited for somebody else.
    waits = lived.all(
        """SELECT p.created_at, min(c.created_at) FROM posts p
           LEFT JOIN comments c ON c.post_id = p.id AND c.author_id <> p.author_id AND c.deleted_at IS NULL
           WHERE p.created_at >= :since AND p.deleted_at IS NULL AND p.removed_at IS NULL GROUP BY p.id"""
    )
    seconds = [
        (datetime.fromisoformat(answered) - datetime.fromisoformat(posted)).total_seconds()
        for posted, answered in waits
        if answered is not None
    ]
    assert value(answer, "unanswered_share") == pytest.approx(1 - len(seconds) / len(waits), abs=1e-4)
    assert value(answer, "first_response_median_s") == pytest.approx(statistics.median(seconds), abs=1)
    top = lived.all(
        """SELECT p.id, (SELECT count(*) FROM comments c WHERE c.post_id = p.id) AS comments,
                  (SELECT count(*) FROM reactions r WHERE r.target_type = 'post' AND r.target_id = p.id) AS reactions
           FROM posts p WHERE p.created_at >= :since AND p.deleted_at IS NULL AND p.removed_at IS NULL"""
    )
    told = {(str(row["id"]), row["comments"], row["reactions"]) for row in answer["tables"]["top"]}
    assert told == {(str(post), comments, reactions) for post, comments, reactions in top}


async def test_community_growth(lived):
    answer = await lived.report("community-growth")
    founded = lived.one("SELECT count(*) FROM communities WHERE created_at >= :since")
    assert value(answer, "new_communities") == founded
    # Who founds a community or posts in it becomes a member by that alone, without a request that says so.
    by_posting = """EXISTS (SELECT 1 FROM posts p WHERE p.community_id = m.community_id AND p.author_id = m.user_id
        AND julianday(p.created_at) - julianday(m.joined_at) BETWEEN 0 AND 0.002 / 86400)"""
    joined = lived.one(
        f"""SELECT count(*) FROM memberships m JOIN communities c ON c.id = m.community_id
            WHERE m.joined_at >= :since AND m.joined_at <> c.created_at AND NOT {by_posting}"""
    )
    assert total(answer, "joins") == joined
    assert total(answer, "leaves") == lived.one("SELECT count(*) FROM memberships WHERE left_at >= :since")


async def test_engagement(lived):
    answer = await lived.report("engagement", interval="day")
    users = lived.all(f"SELECT substr(at, 1, 10), count(DISTINCT user) FROM ({CONTRIBUTIONS}) GROUP BY 1")
    assert {day["start"][:10]: day["dau"] for day in answer["series"] if day["dau"]} == dict(users)
    everybody = lived.one(f"SELECT count(DISTINCT user) FROM ({CONTRIBUTIONS})")
    assert value(answer, "mau") == everybody
    writers = lived.one(f"SELECT count(DISTINCT user) FROM ({CONTRIBUTIONS}) WHERE what <> 'reaction'")
    assert value(answer, "contributors") == writers
    actions = lived.one(f"SELECT count(*) FROM ({CONTRIBUTIONS})")
    assert value(answer, "actions_per_active_user") == pytest.approx(actions / everybody, abs=0.005)
    # Nobody of them had been seen before.
    assert sum(bucket["new"] for bucket in answer["tables"]["lifecycle"]) == everybody


async def test_moderation(lived):
    answer = await lived.report("moderation")
    by_action = Counter(
        dict(lived.all("SELECT action, count(*) FROM moderation_actions WHERE created_at >= :since GROUP BY 1"))
    )
    told: Counter[str] = Counter()
    for bucket in answer["series"]:
        told.update(bucket["by_action"])
    assert told == by_action
    assert value(answer, "actions") == by_action.total()
    each = lived.all("SELECT count(*) FROM moderation_actions WHERE created_at >= :since GROUP BY moderator_id")
    assert sorted(row["actions"] for row in answer["tables"]["moderators"]) == sorted(count for (count,) in each)
    removals = sum(count for action, count in by_action.items() if action.startswith("remove"))
    assert value(answer, "reversal_rate") == (0 if removals else None)


async def test_reports(lived):
    answer = await lived.report("reports")
    opened = lived.one("SELECT count(*) FROM reports WHERE created_at >= :since")
    resolved = lived.one("SELECT count(*) FROM reports WHERE created_at >= :since AND resolved_at IS NOT NULL")
    assert (value(answer, "opened"), value(answer, "resolved")) == (opened, resolved)
    assert value(answer, "open_at_end") == opened - resolved
    reasons = lived.all(
        """SELECT reason, count(*), sum(status = 'upheld') FROM reports WHERE created_at >= :since GROUP BY 1"""
    )
    told = {(row["key"], row["opened"], row["upheld"]) for row in answer["tables"]["by_reason"]}
    assert told == set(reasons)
    times = lived.all("SELECT created_at, resolved_at FROM reports WHERE created_at >= :since AND resolved_at > ''")
    took = [(datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() for begin, end in times]
    assert value(answer, "median_resolution_s") == pytest.approx(statistics.median(took), abs=1)


async def test_communities(lived):
    answer = await lived.report("communities")
    told = {
        row["id"]: (row["posts"], row["comments"], row["active_users"], row["reports"])
        for row in answer["tables"]["communities"]
        if row["posts"] or row["comments"] or row["reports"]
    }
    rows = lived.all(
        """WITH wrote AS (
               SELECT community_id AS place, author_id AS user, 'post' AS what FROM posts WHERE created_at >= :since
               UNION ALL SELECT p.community_id, c.author_id, 'comment' FROM comments c
                         JOIN posts p ON p.id = c.post_id WHERE c.created_at >= :since),
           filed AS (SELECT community_id AS place, count(*) AS n FROM reports WHERE created_at >= :since GROUP BY 1)
           SELECT c.id, (SELECT count(*) FROM wrote w WHERE w.place = c.id AND what = 'post'),
                  (SELECT count(*) FROM wrote w WHERE w.place = c.id AND what = 'comment'),
                  (SELECT count(DISTINCT user) FROM wrote w WHERE w.place = c.id),
                  coalesce((SELECT n FROM filed f WHERE f.place = c.id), 0) FROM communities c"""
    )
    assert told == {str(place): (*counts,) for place, *counts in rows if counts[0] or counts[1] or counts[3]}


async def test_users(lived):
    answer = await lived.report("users")
    assert value(answer, "new") == lived.one("SELECT count(*) FROM users WHERE created_at >= :since")
    told = sorted(
        (row["posts"], row["comments"], row["reactions_given"], row["reactions_received"])
        for row in answer["tables"]["top"]
    )
    rows = lived.all(
        """WITH did AS (SELECT u.id,
               (SELECT count(*) FROM posts p WHERE p.author_id = u.id AND p.created_at >= :since) AS posts,
               (SELECT count(*) FROM comments c WHERE c.author_id = u.id AND c.created_at >= :since) AS comments,
               (SELECT count(*) FROM reactions r WHERE r.user_id = u.id AND r.created_at >= :since) AS given,
               (SELECT count(*) FROM reactions r JOIN posts p ON p.id = r.target_id AND p.created_at >= :since
                WHERE p.author_id = u.id AND r.created_at >= :since) AS received FROM users u)
           SELECT posts, comments, given, received FROM did WHERE posts + comments + given > 0"""
    )
    assert told == sorted(rows)
