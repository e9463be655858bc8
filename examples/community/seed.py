"""Fills an empty file with a small community that has already lived for four months, the same each time."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from random import Random

from examples.community.passwords import sealed
from examples.community.records import timestamp
from examples.community.seed_text import BODIES, COMMENTS, COMMUNITIES, NAMES

PASSWORD = "community"
"""Every seeded member's. The site is for demonstrations on one machine; nothing in it is worth a secret."""
MODERATORS = NAMES[1:4]
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 120
Planted = tuple[int, int, datetime]
"""Community, author and time of a seeded post."""
REASONS = ("spam", "abuse", "off_topic", "nsfw", "other")


def sow(connection: sqlite3.Connection) -> None:
    """Insert everything; must run inside a transaction on empty tables."""
    rng = Random(42)
    joined = _users(connection, rng)
    founded = _communities(connection)
    posts = _posts(connection, rng, joined, founded)
    _comments(connection, rng, joined, posts)
    _reactions(connection, rng, posts)
    _memberships(connection)
    _reports(connection, rng, posts)
    connection.execute(
        """UPDATE users SET last_seen_at = (SELECT max(at) FROM (
               SELECT author_id AS user_id, created_at AS at FROM posts
               UNION ALL SELECT author_id, created_at FROM comments
               UNION ALL SELECT user_id, created_at FROM reactions) WHERE user_id = users.id)"""
    )
    connection.execute(
        """UPDATE users SET trust_level = min(4,
               (SELECT count(*) FROM comments WHERE author_id = users.id) / 4)"""
    )


def _users(connection: sqlite3.Connection, rng: Random) -> list[datetime]:
    password = sealed(PASSWORD, salt=b"seed")  # one for all: sealing each would take a third of a second
    joined = sorted(START + timedelta(days=rng.uniform(0, DAYS * 0.6)) for _ in NAMES)
    joined[:5] = [START - timedelta(days=30 - i) for i in range(5)]
    connection.executemany(
        "INSERT INTO users (id, username, password, created_at, role, is_bot) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (i, name, password, timestamp(at), _role(name), name.endswith("-bot"))
            for i, (name, at) in enumerate(zip(NAMES, joined, strict=True), 1)
        ],
    )
    return joined


def _role(name: str) -> str:
    if name == NAMES[0]:
        return "admin"
    return "moderator" if name in MODERATORS else "member"


def _communities(connection: sqlite3.Connection) -> list[datetime]:
    founded = [START - timedelta(days=25) + timedelta(days=9 * i) for i in range(len(COMMUNITIES))]
    connection.executemany(
        "INSERT INTO communities (id, slug, name, about, creator_id, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (i + 1, slug, name, about, i + 1, timestamp(founded[i]))
            for i, (slug, name, about, _) in enumerate(COMMUNITIES)
        ],
    )
    return founded


def _posts(
    connection: sqlite3.Connection, rng: Random, joined: list[datetime], founded: list[datetime]
) -> list[Planted]:
    """(community, author, time) of each post, in the order of their ids."""
    planned = []
    for community, (_, _, _, titles) in enumerate(COMMUNITIES, 1):
        for title in titles:
            # More towards the end: the community grows. After the founding, and in waking hours.
            day = int(DAYS * rng.random() ** 0.7)
            at = max(START + timedelta(days=day), founded[community - 1] + timedelta(days=1))
            planned.append((at + timedelta(hours=rng.triangular(7, 23.9, 18)), community, title))
    planned.sort()
    posts = [(community, _someone(rng, joined, at), at) for at, community, _ in planned]
    connection.executemany(
        "INSERT INTO posts (id, community_id, author_id, title, body, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (i, community, author, planned[i - 1][2], " ".join(rng.sample(BODIES, 3)), timestamp(at))
            for i, (community, author, at) in enumerate(posts, 1)
        ],
    )
    return posts


def _someone(rng: Random, joined: list[datetime], at: datetime) -> int:
    """A user who had joined by then; the early ones write the most."""
    there = sum(1 for moment in joined if moment < at)
    return 1 + int(there * rng.random() ** 1.7)


def _comments(connection: sqlite3.Connection, rng: Random, joined: list[datetime], posts: list[Planted]) -> None:
    planned = sorted(
        (posted + timedelta(minutes=rng.expovariate(1 / 240)), post)
        for post, (_, _, posted) in enumerate(posts, 1)
        for _ in range(int(rng.expovariate(1 / 3.2)))
    )
    last: dict[int, int] = {}
    for i, (at, post) in enumerate(planned, 1):
        parent = last.get(post) if rng.random() < 0.3 else None
        last[post] = i
        connection.execute(
            """INSERT INTO comments (id, post_id, author_id, parent_id, body, created_at)
               VALUES (?, ?, ?, ?, ?, ?)""",
            (i, post, _someone(rng, joined, at), parent, rng.choice(COMMENTS), timestamp(at)),
        )


def _reactions(connection: sqlite3.Connection, rng: Random, posts: list[Planted]) -> None:
    for post, (_, author, posted) in enumerate(posts, 1):
        for user in rng.sample(range(1, len(NAMES) + 1), rng.randint(0, 6)):
            if user != author:
                at = posted + timedelta(minutes=rng.expovariate(1 / 400))
                connection.execute(
                    """INSERT INTO reactions (user_id, target_type, target_id, created_at)
                       VALUES (?, 'post', ?, ?)""",
                    (user, post, timestamp(at)),
                )


def _memberships(connection: sqlite3.Connection) -> None:
    """Founders, and everybody from their first post or comment in a community."""
    connection.execute(
        """INSERT INTO memberships (community_id, user_id, role, joined_at)
           SELECT community_id, user_id, max(role), min(at) FROM (
               SELECT id AS community_id, creator_id AS user_id, 'moderator' AS role, created_at AS at
                      FROM communities
               UNION ALL SELECT community_id, author_id, 'member', created_at FROM posts
               UNION ALL SELECT p.community_id, c.author_id, 'member', c.created_at
                         FROM comments c JOIN posts p ON p.id = c.post_id) GROUP BY 1, 2"""
    )


def _reports(connection: sqlite3.Connection, rng: Random, posts: list[Planted]) -> None:
    """A dozen complaints about posts; one in three is upheld, the last three wait for a moderator."""
    for report, post in enumerate(sorted(rng.sample(range(1, len(posts) + 1), 12)), 1):
        community, author, posted = posts[post - 1]
        filed = posted + timedelta(hours=rng.uniform(0.5, 20))
        reporter = 1 + author % len(NAMES)
        status = "open" if report > 9 else ("upheld", "rejected", "ignored")[report % 3]
        resolved = None if status == "open" else timestamp(filed + timedelta(hours=rng.expovariate(1 / 9)))
        moderator = None if status == "open" else 2 + report % len(MODERATORS)
        reason = rng.choice(REASONS)
        connection.execute(
            """INSERT INTO reports (id, reporter_id, target_type, target_id, target_user_id, community_id,
                   created_at, reason, status, resolved_at, resolved_by)
               VALUES (?, ?, 'post', ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                report,
                reporter,
                post,
                author,
                community,
                timestamp(filed),
                reason,
                status,
                resolved,
                moderator,
            ),
        )
        if status == "upheld":
            connection.execute("UPDATE posts SET removed_at = ? WHERE id = ?", (resolved, post))
            connection.execute(
                """INSERT INTO moderation_actions (moderator_id, community_id, action, target_type, target_id,
                       report_id, reason, created_at) VALUES (?, ?, 'remove_post', 'post', ?, ?, ?, ?)""",
                (moderator, community, post, report, reason, resolved),
            )
