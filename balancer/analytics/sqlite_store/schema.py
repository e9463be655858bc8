"""The tables of the event store, and how they came to be.

Everything but `event` is kept up with each batch, in the transaction that stores its events, so that no report looks
at single events. Times are milliseconds since 1970; a quarter is `at // 900_000`; days, weeks and months are those of
the store's own time zone, as numbers (see `calendar`): a day is its proleptic ordinal, a week the ordinal of its Monday
divided by seven, a month `year * 12 + month - 1`; hours count from 1970, and begin when the zone's do. Users and
visitors are keyed hashes.
"""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    -- 0 is none.
    CREATE TABLE community (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, created_at INTEGER, closed_at INTEGER);

    -- As they came. There is no index: they are in the order of their times, but for seconds.
    CREATE TABLE event (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, name INTEGER NOT NULL, user INTEGER, visitor INTEGER,
        status INTEGER NOT NULL, duration INTEGER NOT NULL, size INTEGER NOT NULL, dims TEXT);

    CREATE TABLE total (
        name INTEGER NOT NULL, quarter INTEGER NOT NULL, n INTEGER NOT NULL, duration INTEGER NOT NULL,
        size INTEGER NOT NULL, PRIMARY KEY (name, quarter)) WITHOUT ROWID;
    CREATE TABLE place (
        name INTEGER NOT NULL, quarter INTEGER NOT NULL, community INTEGER NOT NULL, n INTEGER NOT NULL,
        PRIMARY KEY (name, quarter, community)) WITHOUT ROWID;
    CREATE TABLE excluded (
        day INTEGER NOT NULL, why TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, why)) WITHOUT ROWID;

    -- The last hour, day, week and month in which a user was seen (s), contributed (k), posted (p), commented (m).
    CREATE TABLE user (
        key INTEGER PRIMARY KEY, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, registered_at INTEGER,
        deleted_at INTEGER, activated INTEGER NOT NULL DEFAULT 0, cohort INTEGER,
        s_day INTEGER, s_week INTEGER, s_month INTEGER, k_day INTEGER, k_week INTEGER, k_month INTEGER,
        p_hour INTEGER, p_day INTEGER, p_week INTEGER, p_month INTEGER,
        m_hour INTEGER, m_day INTEGER, m_week INTEGER, m_month INTEGER);
    CREATE INDEX user_registered ON user (registered_at) WHERE registered_at IS NOT NULL;

    -- How many users were seen (0), contributed (1), posted (2), commented (3) in an hour (0), a day (1), a week (2)
    -- or a month (3); how many of them for the first time, and how many in the bucket just before, too.
    CREATE TABLE uniques (
        what INTEGER NOT NULL, grain INTEGER NOT NULL, bucket INTEGER NOT NULL, n INTEGER NOT NULL,
        new INTEGER NOT NULL, again INTEGER NOT NULL, PRIMARY KEY (what, grain, bucket)) WITHOUT ROWID;
    -- What the number of users active within 7 and 30 days changes by on a day: its sum up to a day is that number.
    CREATE TABLE rolling (
        what INTEGER NOT NULL, day INTEGER NOT NULL, week INTEGER NOT NULL, month INTEGER NOT NULL,
        PRIMARY KEY (what, day)) WITHOUT ROWID;
    -- Of those who registered in a week, how many were active so many weeks later; -1 in `what`: how many they were.
    CREATE TABLE retained (
        what INTEGER NOT NULL, cohort INTEGER NOT NULL, week INTEGER NOT NULL, n INTEGER NOT NULL,
        PRIMARY KEY (what, cohort, week)) WITHOUT ROWID;

    -- What each user did.
    CREATE TABLE did_day (
        day INTEGER NOT NULL, user INTEGER NOT NULL, posts INTEGER NOT NULL, comments INTEGER NOT NULL,
        reactions INTEGER NOT NULL, received INTEGER NOT NULL, PRIMARY KEY (day, user)) WITHOUT ROWID;
    CREATE TABLE did_month (
        month INTEGER NOT NULL, user INTEGER NOT NULL, posts INTEGER NOT NULL, comments INTEGER NOT NULL,
        reactions INTEGER NOT NULL, received INTEGER NOT NULL, PRIMARY KEY (month, user)) WITHOUT ROWID;
    -- Who posted or commented where.
    CREATE TABLE wrote_day (
        day INTEGER NOT NULL, community INTEGER NOT NULL, user INTEGER NOT NULL,
        PRIMARY KEY (day, community, user)) WITHOUT ROWID;
    CREATE TABLE wrote_month (
        month INTEGER NOT NULL, community INTEGER NOT NULL, user INTEGER NOT NULL,
        PRIMARY KEY (month, community, user)) WITHOUT ROWID;

    CREATE TABLE post (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, community INTEGER NOT NULL, author INTEGER,
        at INTEGER NOT NULL, responded_at INTEGER, comments INTEGER NOT NULL DEFAULT 0,
        reactions INTEGER NOT NULL DEFAULT 0, removed_at INTEGER, deleted_at INTEGER);
    CREATE INDEX post_at ON post (at);
    CREATE TABLE report (
        id INTEGER PRIMARY KEY, key TEXT UNIQUE, at INTEGER NOT NULL, community INTEGER NOT NULL, reporter INTEGER,
        target_type TEXT, target_user INTEGER, reason TEXT, resolved_at INTEGER, outcome TEXT, resolver INTEGER);
    CREATE INDEX report_at ON report (at);
    CREATE INDEX report_resolved ON report (resolved_at) WHERE resolved_at IS NOT NULL;
    CREATE TABLE action (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, moderator INTEGER, community INTEGER NOT NULL, kind TEXT NOT NULL,
        post TEXT, report TEXT, automated INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX action_at ON action (at);
    """,
    """
    -- The day (or hour) before the last one in which a user was there: so one that comes late finds its place. NULL is
    -- that there was none; what is larger than any day or hour, that nobody knows.
    ALTER TABLE user ADD COLUMN s_day_before INTEGER DEFAULT 9007199254740992;
    ALTER TABLE user ADD COLUMN k_day_before INTEGER DEFAULT 9007199254740992;
    ALTER TABLE user ADD COLUMN p_hour_before INTEGER DEFAULT 9007199254740992;
    ALTER TABLE user ADD COLUMN p_day_before INTEGER DEFAULT 9007199254740992;
    ALTER TABLE user ADD COLUMN m_hour_before INTEGER DEFAULT 9007199254740992;
    ALTER TABLE user ADD COLUMN m_day_before INTEGER DEFAULT 9007199254740992;
    """,
)
"""Scripts, each from one version of the schema to the next. Never edit one that has been released."""

SEEN, CONTRIBUTED, POSTED, COMMENTED = range(4)
"""What `uniques`, `rolling` and `retained` tell apart (the last two only know the first two)."""
REGISTERED = -1
"""What `retained` has the sizes of cohorts under."""
HOUR, DAY, WEEK, MONTH = range(4)
"""The grains of `uniques`; hours are only kept of who posted and commented."""
QUARTER = 900_000
"""Milliseconds."""
COHORT_WEEKS = 12
"""Weeks after a registration that are looked at."""
