"""Who is active: by day, within a week and a month, for the first time or again, and how much."""

from __future__ import annotations

from datetime import date
from itertools import accumulate

from balancer.analytics.buckets import starts
from balancer.analytics.source import Interval, Row
from balancer.analytics.sqlite_store.rows.look import Look, quantile, share
from balancer.analytics.sqlite_store.schema import DAY


def active_users(look: Look) -> list[Row]:
    """WAU and MAU are sums of changes (see `rolling` in the schema), so that no user is looked at."""
    before = look.one(
        "SELECT coalesce(sum(week), 0), coalesce(sum(month), 0) FROM rolling WHERE what = ? AND day < ?",
        look.what,
        look.first_day,
    )
    changes = {
        day: (week, month)
        for day, week, month in look.all(
            "SELECT day, week, month FROM rolling WHERE what = ? AND day >= ? AND day < ?",
            look.what,
            look.first_day,
            look.end_day,
        )
    }
    days = range(look.first_day, look.end_day)
    wau = list(accumulate((changes.get(day, (0, 0))[0] for day in days), initial=before[0]))[1:]
    mau = list(accumulate((changes.get(day, (0, 0))[1] for day in days), initial=before[1]))[1:]
    dau = dict(
        look.all(
            "SELECT bucket, n FROM uniques WHERE what = ? AND grain = ? AND bucket >= ? AND bucket < ?",
            look.what,
            DAY,
            look.first_day,
            look.end_day,
        )
    )
    return [
        {
            "day": date.fromordinal(day),
            "dau": dau.get(day, 0),
            "wau": wau[index],
            "mau": mau[index],
            "stickiness": share(dau.get(day, 0), mau[index]),
        }
        for index, day in enumerate(days)
    ]


def lifecycle(look: Look) -> list[Row]:
    """By days at the finest."""
    interval: Interval = "day" if look.asked.interval == "hour" else look.asked.interval
    moments = starts(look.asked.since, look.asked.until, interval, look.asked.zone)
    if not moments:
        return []
    counts = look.unique_counts(look.what, interval, moments)
    number = look.bucket_numbers(interval, moments[:1])[0] - 1
    grain = {"day": 1, "week": 2, "month": 3}[interval]
    before = look.db.execute(
        "SELECT n FROM uniques WHERE what = ? AND grain = ? AND bucket = ?", (look.what, grain, number)
    ).fetchone()
    last = before[0] if before is not None else 0
    rows: list[Row] = []
    for start, (n, new, again) in zip(moments, counts, strict=True):
        rows.append(
            {
                "start": start,
                "new": new,
                "returning": again,
                "resurrecting": n - new - again,
                "dormant": last - again,
            }
        )
        last = n
    return rows


def depth(look: Look) -> list[Row]:
    """Of those who posted, commented or reacted."""
    found = look.all(
        f"""SELECT posts, comments, posts + comments + reactions AS did FROM ({look.sums_of_users()})
            WHERE posts + comments + reactions > 0"""
    )
    actions = sorted(did for _, _, did in found)
    content = sorted((posts + comments for posts, comments, _ in found), reverse=True)
    top = content[: max(1, len(content) // 100)]
    return [
        {
            "active_users": len(found),
            "contributors": sum(written > 0 for written in content),
            "posters": sum(posts > 0 for posts, _, _ in found),
            "reacting_only": sum(written == 0 for written in content),
            "actions_per_active_user": round(sum(actions) / len(actions), 2) if actions else None,
            "median_actions": quantile(actions, 0.5),
            "top1pct_share_of_content": share(sum(top), sum(content)),
        }
    ]
