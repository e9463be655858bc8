"""Users who registered, and what became of them."""

from __future__ import annotations

from time import time as wall_time  # noqa: TID251  # whether seven days are over is a question of the wall clock

from balancer.analytics.calendar import week_of, week_start
from balancer.analytics.event import REGISTERED, USER_DELETED
from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look, share
from balancer.analytics.sqlite_store.schema import REGISTERED as COHORTS
from balancer.analytics.sqlite_store.writing import SOON


def series(look: Look) -> list[Row]:
    """Of all communities: nobody registers in one."""
    new, gone = (look.counts(name, everywhere=True) for name in (REGISTERED, USER_DELETED))
    return [
        {
            "start": start,
            "new_users": new[index],
            "deleted_users": gone[index],
            "net": new[index] - gone[index],
            "total_users": None,
        }
        for index, start in enumerate(look.starts)
    ]


def activation(look: Look) -> list[Row]:
    end = min(look.until, round(wall_time() * 1000) - SOON)
    eligible, activated = look.one(
        "SELECT count(*), sum(activated) FROM user WHERE registered_at >= ? AND registered_at < ?", look.since, end
    )
    return [{"eligible": eligible, "activated": activated or 0}]


def retention(look: Look) -> list[Row]:
    """Cohorts are whole weeks of the store's zone, those that the period touches."""
    first, last = week_of(look.first_day), week_of(look.end_day - 1)
    sizes = dict(look.all("SELECT cohort, n FROM retained WHERE what = ? AND week = 0", COHORTS))
    found = look.all(
        """SELECT cohort, week, n FROM retained WHERE what = ? AND cohort BETWEEN ? AND ? ORDER BY cohort, week""",
        look.what,
        first,
        last,
    )
    return [
        {
            "cohort": week_start(cohort),
            "size": sizes[cohort],
            "week": week,
            "retained": n,
            "rate": share(n, sizes[cohort]),
        }
        for cohort, week, n in found
        if cohort in sizes
    ]
