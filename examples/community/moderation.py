"""Reports, what becomes of them, and the removal of posts."""

from __future__ import annotations

import sqlite3

from examples.community import accounts, content
from examples.community.inputs import NewReport, Resolution
from examples.community.records import Post, Refusal, Report, User, timestamp

_REPORT = """SELECT id, reporter_id, target_type, target_id, target_user_id, community_id, reason, status,
    created_at, resolved_at, resolved_by FROM reports"""


def report(connection: sqlite3.Connection, report_id: int) -> Report:
    row = connection.execute(f"{_REPORT} WHERE id = ?", (report_id,)).fetchone()
    if row is None:
        raise Refusal(404, f"there is no report {report_id}")
    return Report(*row)


def open_reports(connection: sqlite3.Connection, limit: int = 50) -> list[Report]:
    """The oldest first."""
    rows = connection.execute(f"{_REPORT} WHERE status = 'open' ORDER BY created_at LIMIT ?", (limit,))
    return [Report(*row) for row in rows]


def file_report(connection: sqlite3.Connection, reporter: User, given: NewReport) -> Report:
    about, place = _target(connection, given.target_type, given.target_id)
    cursor = connection.execute(
        """INSERT INTO reports (reporter_id, target_type, target_id, target_user_id, community_id, reason,
               created_at) VALUES (?, ?, ?, ?, ?, ?, ?)""",
        (reporter.id, given.target_type, given.target_id, about, place, given.reason, timestamp()),
    )
    return report(connection, cursor.lastrowid or 0)


def resolve(connection: sqlite3.Connection, moderator: User, report_id: int, given: Resolution) -> Report:
    """Decide a report once; upholding one takes its post or comment down, or warns its user."""
    found = report(connection, report_id)
    _require_moderator(connection, moderator, found.community_id)
    if found.status != "open":
        raise Refusal(409, f"report {report_id} is {found.status} since {found.resolved_at}")
    now = timestamp()
    connection.execute(
        "UPDATE reports SET status = ?, resolved_at = ?, resolved_by = ? WHERE id = ?",
        (given.status, now, moderator.id, report_id),
    )
    if given.status == "upheld":
        action = action_on(found.target_type)
        if found.target_type != "user":
            table = "posts" if found.target_type == "post" else "comments"
            connection.execute(f"UPDATE {table} SET removed_at = ? WHERE id = ?", (now, found.target_id))
        _act(connection, moderator, action, found.target_type, found.target_id, found.community_id, found)
    return report(connection, report_id)


def action_on(target_type: str) -> str:
    """What becomes of the target of a report that is upheld."""
    return "warn" if target_type == "user" else f"remove_{target_type}"


def delete_post(connection: sqlite3.Connection, user: User, post_id: int) -> Post:
    """Authors take their own posts back; moderators take down anybody's, which is kept as an action."""
    found = content.post(connection, post_id)
    if found.author_id == user.id:
        connection.execute("UPDATE posts SET deleted_at = ? WHERE id = ?", (timestamp(), post_id))
        return found
    _require_moderator(connection, user, found.community_id)
    connection.execute("UPDATE posts SET removed_at = ? WHERE id = ?", (timestamp(), post_id))
    _act(connection, user, "remove_post", "post", post_id, found.community_id)
    return found


def _target(connection: sqlite3.Connection, kind: str, target_id: int) -> tuple[int, int | None]:
    """Whose it is and in which community."""
    if kind == "user":
        return accounts.user(connection, target_id).id, None
    if kind == "comment":
        found = content.comment(connection, target_id)
        return found.author_id, content.post(connection, found.post_id).community_id
    post = content.post(connection, target_id)
    return post.author_id, post.community_id


def _require_moderator(connection: sqlite3.Connection, user: User, community_id: int | None) -> None:
    if user.moderates:
        return
    row = connection.execute(
        """SELECT 1 FROM memberships
           WHERE community_id = ? AND user_id = ? AND role = 'moderator' AND left_at IS NULL""",
        (community_id, user.id),
    ).fetchone()
    if row is None:
        raise Refusal(403, "only moderators may do this")


def _act(
    connection: sqlite3.Connection,
    moderator: User,
    action: str,
    target_type: str,
    target_id: int,
    community_id: int | None,
    cause: Report | None = None,
) -> None:
    connection.execute(
        """INSERT INTO moderation_actions (moderator_id, community_id, action, target_type, target_id,
               report_id, reason, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            moderator.id,
            community_id,
            action,
            target_type,
            target_id,
            cause.id if cause else None,
            cause.reason if cause else None,
            timestamp(),
        ),
    )
