"""Communities, memberships, posts, comments and reactions."""

from __future__ import annotations

import sqlite3

from examples.community.inputs import NewComment, NewCommunity, NewPost
from examples.community.records import Comment, Community, Post, Refusal, User, timestamp

_COMMUNITY = """SELECT c.id, c.slug, c.name, c.about, c.creator_id, c.created_at,
    (SELECT count(*) FROM memberships m WHERE m.community_id = c.id AND m.left_at IS NULL) AS members,
    (SELECT count(*) FROM posts p
        WHERE p.community_id = c.id AND p.deleted_at IS NULL AND p.removed_at IS NULL) AS posts
    FROM communities c WHERE c.deleted_at IS NULL"""
_POST = """SELECT p.id, p.community_id, c.slug, p.author_id, u.username, p.title, p.body, p.created_at,
    (SELECT count(*) FROM comments m
        WHERE m.post_id = p.id AND m.deleted_at IS NULL AND m.removed_at IS NULL),
    (SELECT count(*) FROM reactions r WHERE r.target_type = 'post' AND r.target_id = p.id)
    FROM posts p JOIN communities c ON c.id = p.community_id JOIN users u ON u.id = p.author_id
    WHERE p.deleted_at IS NULL AND p.removed_at IS NULL"""
_COMMENT = """SELECT m.id, m.post_id, m.author_id, u.username, m.parent_id, m.body, m.created_at
    FROM comments m JOIN users u ON u.id = m.author_id WHERE m.deleted_at IS NULL AND m.removed_at IS NULL"""


def communities(connection: sqlite3.Connection, limit: int = 50) -> list[Community]:
    """The newest first."""
    rows = connection.execute(f"{_COMMUNITY} ORDER BY c.id DESC LIMIT ?", (limit,))
    return [Community(*row) for row in rows]


def top_communities(connection: sqlite3.Connection, limit: int = 5) -> list[Community]:
    """Those with most members, and among equals most posts."""
    rows = connection.execute(f"{_COMMUNITY} ORDER BY members DESC, posts DESC, c.id LIMIT ?", (limit,))
    return [Community(*row) for row in rows]


def community(connection: sqlite3.Connection, name: str) -> Community:
    """By id or by slug, which never look alike."""
    column = "id" if name.isdecimal() else "slug"
    row = connection.execute(f"{_COMMUNITY} AND c.{column} = ?", (name,)).fetchone()
    if row is None:
        raise Refusal(404, f"there is no community {name}")
    return Community(*row)


def add_community(connection: sqlite3.Connection, founder: User, given: NewCommunity) -> Community:
    if given.slug == "top":  # GET /api/communities/top is taken
        raise Refusal(409, "the slug top is reserved; choose another", "slug")
    now = timestamp()
    try:
        cursor = connection.execute(
            "INSERT INTO communities (slug, name, about, creator_id, created_at) VALUES (?, ?, ?, ?, ?)",
            (given.slug, given.name, given.about, founder.id, now),
        )
    except sqlite3.IntegrityError:
        raise Refusal(409, f"the slug {given.slug} is taken; choose another", "slug") from None
    connection.execute(
        "INSERT INTO memberships (community_id, user_id, role, joined_at) VALUES (?, ?, 'moderator', ?)",
        (cursor.lastrowid, founder.id, now),
    )
    return community(connection, str(cursor.lastrowid))


def join(connection: sqlite3.Connection, name: str, member: User) -> bool:
    """True when the user was no member before."""
    place = community(connection, name)
    changed = connection.execute(
        """INSERT INTO memberships (community_id, user_id, joined_at) VALUES (?, ?, ?)
           ON CONFLICT DO UPDATE SET joined_at = excluded.joined_at, left_at = NULL
               WHERE left_at IS NOT NULL""",
        (place.id, member.id, timestamp()),
    )
    return changed.rowcount == 1


def leave(connection: sqlite3.Connection, name: str, member: User) -> bool:
    """True when the user was a member until now."""
    place = community(connection, name)
    changed = connection.execute(
        "UPDATE memberships SET left_at = ? WHERE community_id = ? AND user_id = ? AND left_at IS NULL",
        (timestamp(), place.id, member.id),
    )
    return changed.rowcount == 1


def latest_posts(connection: sqlite3.Connection, community_id: int | None = None, limit: int = 20) -> list[Post]:
    """The newest first, of one community or of all."""
    where, values = ("", ()) if community_id is None else ("AND p.community_id = ?", (community_id,))
    rows = connection.execute(f"{_POST} {where} ORDER BY p.id DESC LIMIT ?", (*values, limit))
    return [Post(*row) for row in rows]


def posts_after(connection: sqlite3.Connection, post_id: int, limit: int = 50) -> list[Post]:
    """What came after a post, in the order in which it came."""
    rows = connection.execute(f"{_POST} AND p.id > ? ORDER BY p.id LIMIT ?", (post_id, limit))
    return [Post(*row) for row in rows]


def newest_post_id(connection: sqlite3.Connection) -> int:
    found: int | None = connection.execute("SELECT max(id) FROM posts").fetchone()[0]
    return found or 0


def post(connection: sqlite3.Connection, post_id: int) -> Post:
    row = connection.execute(f"{_POST} AND p.id = ?", (post_id,)).fetchone()
    if row is None:
        raise Refusal(404, f"there is no post {post_id}")
    return Post(*row)


def add_post(connection: sqlite3.Connection, author: User, name: str, given: NewPost) -> Post:
    """A post; writing in a community makes a member of its author."""
    place = community(connection, name)
    join(connection, name, author)
    cursor = connection.execute(
        "INSERT INTO posts (community_id, author_id, title, body, created_at) VALUES (?, ?, ?, ?, ?)",
        (place.id, author.id, given.title, given.body, timestamp()),
    )
    _seen(connection, author)
    return post(connection, cursor.lastrowid or 0)


def comments(connection: sqlite3.Connection, post_id: int) -> list[Comment]:
    """Of one post, the oldest first."""
    rows = connection.execute(f"{_COMMENT} AND m.post_id = ? ORDER BY m.id LIMIT 500", (post_id,))
    return [Comment(*row) for row in rows]


def thread(connection: sqlite3.Connection, post_id: int) -> tuple[Post, list[Comment]]:
    """A post with its comments."""
    return post(connection, post_id), comments(connection, post_id)


def comment(connection: sqlite3.Connection, comment_id: int) -> Comment:
    row = connection.execute(f"{_COMMENT} AND m.id = ?", (comment_id,)).fetchone()
    if row is None:
        raise Refusal(404, f"there is no comment {comment_id}")
    return Comment(*row)


def add_comment(connection: sqlite3.Connection, author: User, post_id: int, given: NewComment) -> Comment:
    post(connection, post_id)
    if given.parent_id is not None and comment(connection, given.parent_id).post_id != post_id:
        raise Refusal(400, f"comment {given.parent_id} belongs to another post", "parent_id")
    cursor = connection.execute(
        "INSERT INTO comments (post_id, author_id, parent_id, body, created_at) VALUES (?, ?, ?, ?, ?)",
        (post_id, author.id, given.parent_id, given.body, timestamp()),
    )
    _seen(connection, author)
    return comment(connection, cursor.lastrowid or 0)


def react(connection: sqlite3.Connection, user: User, post_id: int) -> bool:
    """Like a post; False when this user already did."""
    post(connection, post_id)
    changed = connection.execute(
        """INSERT INTO reactions (user_id, target_type, target_id, created_at) VALUES (?, 'post', ?, ?)
           ON CONFLICT DO NOTHING""",
        (user.id, post_id, timestamp()),
    )
    return changed.rowcount == 1


def _seen(connection: sqlite3.Connection, user: User) -> None:
    connection.execute("UPDATE users SET last_seen_at = ? WHERE id = ?", (timestamp(), user.id))
