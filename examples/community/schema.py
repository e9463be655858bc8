"""The tables of the shared file: the reference schema of the analytics reports, in SQLite's words."""

from __future__ import annotations

VERSION = 1
"""Kept in the file as `user_version`; 0 is a file that nobody has prepared."""

# Times are UTC text (RFC 3339), which SQLite sorts and compares as it stands. What the author takes back has
# `deleted_at`, what a moderator takes down has `removed_at`; both stay in the table, so that history counts.
STATEMENTS = (
    """CREATE TABLE users (
        id INTEGER PRIMARY KEY, username TEXT NOT NULL UNIQUE, password TEXT NOT NULL,
        created_at TEXT NOT NULL, last_seen_at TEXT, deleted_at TEXT, suspended_until TEXT,
        role TEXT NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'moderator', 'admin')),
        trust_level INTEGER NOT NULL DEFAULT 0, is_bot INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE sessions (
        digest TEXT PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE communities (
        id INTEGER PRIMARY KEY, slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL, about TEXT NOT NULL DEFAULT '',
        creator_id INTEGER NOT NULL REFERENCES users, visibility TEXT NOT NULL DEFAULT 'public',
        created_at TEXT NOT NULL, deleted_at TEXT)""",
    """CREATE TABLE memberships (
        community_id INTEGER NOT NULL REFERENCES communities, user_id INTEGER NOT NULL REFERENCES users,
        role TEXT NOT NULL DEFAULT 'member', joined_at TEXT NOT NULL, left_at TEXT,
        PRIMARY KEY (community_id, user_id)) WITHOUT ROWID""",
    """CREATE TABLE posts (
        id INTEGER PRIMARY KEY, community_id INTEGER NOT NULL REFERENCES communities,
        author_id INTEGER NOT NULL REFERENCES users, title TEXT NOT NULL, body TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL, deleted_at TEXT, removed_at TEXT)""",
    """CREATE TABLE comments (
        id INTEGER PRIMARY KEY, post_id INTEGER NOT NULL REFERENCES posts,
        author_id INTEGER NOT NULL REFERENCES users, parent_id INTEGER REFERENCES comments,
        body TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL, deleted_at TEXT, removed_at TEXT)""",
    """CREATE TABLE reactions (
        id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, target_type TEXT NOT NULL,
        target_id INTEGER NOT NULL, kind TEXT NOT NULL DEFAULT 'like', created_at TEXT NOT NULL,
        UNIQUE (target_type, target_id, user_id, kind))""",
    """CREATE TABLE reports (
        id INTEGER PRIMARY KEY, reporter_id INTEGER NOT NULL REFERENCES users, target_type TEXT NOT NULL,
        target_id INTEGER NOT NULL, target_user_id INTEGER, community_id INTEGER, reason TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'upheld', 'rejected', 'ignored')),
        created_at TEXT NOT NULL, resolved_at TEXT, resolved_by INTEGER REFERENCES users)""",
    """CREATE TABLE moderation_actions (
        id INTEGER PRIMARY KEY, moderator_id INTEGER REFERENCES users, community_id INTEGER,
        action TEXT NOT NULL, target_type TEXT NOT NULL, target_id INTEGER NOT NULL,
        report_id INTEGER REFERENCES reports, reason TEXT, created_at TEXT NOT NULL,
        automated INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX users_created ON users (created_at)",
    "CREATE INDEX memberships_joined ON memberships (joined_at)",
    "CREATE INDEX posts_created ON posts (created_at)",
    "CREATE INDEX posts_community ON posts (community_id, created_at)",
    "CREATE INDEX posts_author ON posts (author_id, created_at)",
    "CREATE INDEX comments_created ON comments (created_at)",
    "CREATE INDEX comments_post ON comments (post_id, created_at)",
    "CREATE INDEX comments_author ON comments (author_id, created_at)",
    "CREATE INDEX reactions_created ON reactions (created_at)",
    "CREATE INDEX reports_created ON reports (created_at)",
    "CREATE INDEX reports_open ON reports (created_at) WHERE status = 'open'",
    "CREATE INDEX moderation_actions_created ON moderation_actions (created_at)",
)
