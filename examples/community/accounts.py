"""Users and their sessions."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from datetime import UTC, datetime, timedelta

from examples.community.passwords import matches, sealed
from examples.community.records import Refusal, User, timestamp

SESSION = 30 * 24 * 3600
"""How long a session lasts, in seconds."""

_USER = "u.id, u.username, u.role, u.trust_level, u.created_at, u.last_seen_at"


def register(connection: sqlite3.Connection, username: str, kept: str) -> User:
    """A new user; `kept` is the password as `sealed` made it, outside of the transaction."""
    now = timestamp()
    try:
        cursor = connection.execute(
            "INSERT INTO users (username, password, created_at, last_seen_at) VALUES (?, ?, ?, ?)",
            (username, kept, now, now),
        )
    except sqlite3.IntegrityError:
        raise Refusal(409, f"the name {username} is taken; choose another", "username") from None
    return user(connection, cursor.lastrowid or 0)


def user(connection: sqlite3.Connection, user_id: int) -> User:
    row = connection.execute(f"SELECT {_USER} FROM users u WHERE id = ? AND deleted_at IS NULL", (user_id,)).fetchone()
    if row is None:
        raise Refusal(404, f"there is no user {user_id}")
    return User(*row)


def check(connection: sqlite3.Connection, username: str, password: str) -> User:
    """The user whose name and password these are."""
    row = connection.execute(
        f"SELECT {_USER}, u.password FROM users u WHERE username = ? AND deleted_at IS NULL", (username,)
    ).fetchone()
    # The same work and the same words whether the name or the password is wrong.
    if not matches(password, row[-1] if row else sealed("nobody", b"nobody")):
        raise Refusal(401, "no user has this name and password")
    return User(*row[:-1])


def open_session(connection: sqlite3.Connection, user_id: int) -> str:
    """A token for the cookie; the table keeps only its digest."""
    token = secrets.token_urlsafe(24)
    now = datetime.now(UTC)
    connection.execute(
        "INSERT INTO sessions (digest, user_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
        (_digest(token), user_id, timestamp(now), timestamp(now + timedelta(seconds=SESSION))),
    )
    connection.execute("UPDATE users SET last_seen_at = ? WHERE id = ?", (timestamp(now), user_id))
    return token


def close_session(connection: sqlite3.Connection, token: str) -> None:
    connection.execute("DELETE FROM sessions WHERE digest = ?", (_digest(token),))


def whose(connection: sqlite3.Connection, token: str) -> User | None:
    """The user of a session; None when it is unknown or over."""
    row = connection.execute(
        f"""SELECT {_USER} FROM sessions s JOIN users u ON u.id = s.user_id
            WHERE s.digest = ? AND s.expires_at > ? AND u.deleted_at IS NULL""",
        (_digest(token), timestamp()),
    ).fetchone()
    return User(*row) if row else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
