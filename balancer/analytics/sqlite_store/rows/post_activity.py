"""Posts, comments and reactions, and how soon somebody answers."""

from __future__ import annotations

from collections import Counter

from balancer.analytics.event import COMMENTED, POSTED, REACTED
from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look, key_text, moment, quantile, whole
from balancer.analytics.sqlite_store.schema import COMMENTED as COMMENTERS
from balancer.analytics.sqlite_store.schema import POSTED as POSTERS
from balancer.analytics.sqlite_store.schema import QUARTER


def series(look: Look) -> list[Row]:
    everywhere = look.community is None
    posts, comments, reactions = look.counts(POSTED), look.counts(COMMENTED), look.counts(REACTED)
    nobody: list[int | None] = [None] * len(posts)
    authors = look.wrote(POSTERS, "posts") if everywhere else nobody
    commenters = look.wrote(COMMENTERS, "comments") if everywhere else nobody
    sql = "SELECT at, 1 FROM post WHERE at >= ? AND at < ? AND removed_at IS NOT NULL"
    removed = look.spread(look.all(sql + _in(look), look.since, look.until))
    return [
        {
            "start": start,
            "posts": posts[index],
            "post_authors": authors[index],
            "posts_removed": removed[index],
            "comments": comments[index],
            "comment_authors": commenters[index],
            "reactions": reactions[index],
        }
        for index, start in enumerate(look.starts)
    ]


def first_response(look: Look) -> list[Row]:
    """Of posts that still stand."""
    found = look.all(
        f"""SELECT responded_at - at FROM post
            WHERE at >= ? AND at < ? AND deleted_at IS NULL AND removed_at IS NULL{_in(look)} ORDER BY 1""",
        look.since,
        look.until,
    )
    seconds = [waited / 1000 for (waited,) in found if waited is not None]
    return [
        {
            "posts": len(found),
            "answered": len(seconds),
            "unanswered": len(found) - len(seconds),
            "mean_s": whole(sum(seconds) / len(seconds) if seconds else None),
            "median_s": whole(quantile(seconds, 0.5)),
            "p90_s": whole(quantile(seconds, 0.9)),
        }
    ]


def heatmap(look: Look) -> list[Row]:
    """By local hours of the week."""
    table = "total" if look.community is None else "place"
    where = "" if look.community is None else f" AND community = {look.community}"
    found = look.all(
        f"SELECT quarter, n FROM {table} WHERE name = ? AND quarter >= ? AND quarter < ?{where}",
        look.name(POSTED),
        look.first_quarter,
        look.end_quarter,
    )
    hours: Counter[tuple[int, int]] = Counter()
    for quarter, n in found:
        hours[look.week_hour(quarter * QUARTER)] += n
    return [{"isodow": day, "hour": hour, "posts": n} for (day, hour), n in sorted(hours.items())]


def top(look: Look) -> list[Row]:
    """Comments and reactions are those of today, also those that came after the period."""
    found = look.all(
        f"""SELECT key, community, author, at, comments, reactions, 2 * comments + reactions AS score FROM post
            WHERE at >= ? AND at < ? AND deleted_at IS NULL AND removed_at IS NULL{_in(look)}
            ORDER BY score DESC, id LIMIT ?""",
        look.since,
        look.until,
        look.asked.limit,
    )
    return [
        {
            "id": key,
            "title": None,
            "community_id": look.communities.get(community),
            "author_id": key_text(author),
            "created_at": moment(at),
            "comments": comments,
            "reactions": reactions,
            "score": score,
        }
        for key, community, author, at, comments, reactions, score in found
    ]


def _in(look: Look) -> str:
    return "" if look.community is None else f" AND community = {look.community}"
