"""Who contributes most, and how many there are."""

from __future__ import annotations

from balancer.analytics.event import REGISTERED
from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look, key_text, moment
from balancer.analytics.sqlite_store.schema import SEEN


def top(look: Look) -> list[Row]:
    found = look.all(
        f"""SELECT d.user, d.posts, d.comments, d.reactions, d.received, u.registered_at, u.last_at
            FROM ({look.sums_of_users()}) d LEFT JOIN user u ON u.key = d.user
            WHERE d.posts + d.comments + d.reactions > 0 AND u.deleted_at IS NULL
            ORDER BY d.posts + d.comments DESC, d.user LIMIT ?""",
        look.asked.limit,
    )
    against = {
        user: (n, upheld)
        for user, n, upheld in look.all(
            """SELECT target_user, count(*), coalesce(sum(outcome = 'upheld'), 0) FROM report
               WHERE at >= ? AND at < ? AND target_user IS NOT NULL GROUP BY 1""",
            look.since,
            look.until,
        )
    }
    return [
        {
            "id": key_text(user),
            "username": None,
            "role": None,
            "trust_level": None,
            "created_at": moment(registered),
            "last_seen_at": moment(last),
            "posts": posts,
            "comments": comments,
            "reactions_given": given,
            "reactions_received": received,
            "reports_against": against.get(user, (0, 0))[0],
            "upheld_against": against.get(user, (0, 0))[1],
        }
        for user, posts, comments, given, received, registered, last in found
    ]


def summary(look: Look) -> list[Row]:
    (seen,) = look.one("SELECT coalesce(sum(month), 0) FROM rolling WHERE what = ? AND day < ?", SEEN, look.end_day)
    return [
        {
            "total": None,
            "new": sum(look.counts(REGISTERED, everywhere=True)),
            "seen_30d": seen,
            "suspended": None,
            "bots": None,
            "by_trust_level": None,
            "by_role": None,
        }
    ]
