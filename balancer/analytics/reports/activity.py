"""How much is going on: posts and answers, and who is active."""

from __future__ import annotations

from datetime import date, datetime

from balancer.analytics.reports.base import Asking, last, mean, share, single, total


async def post_activity(asking: Asking) -> None:
    query = "post_activity.series"
    rows, before = await asking.both(query)
    asking.sums(query, rows, before, posts="posts", comments="comments", reactions="reactions", posts_removed="posts")
    asking.figure(
        "comments_per_post",
        share(total(rows, "comments"), total(rows, "posts")),
        share(total(before, "comments"), total(before, "posts")),
        "comments",
        query,
        "comments",
    )
    asking.series(rows)
    first = "post_activity.first_response"
    now, earlier = await asking.both(first)
    for column in ("median_s", "p90_s", "mean_s"):
        asking.figure(
            f"first_response_{column}", single(now, column), single(earlier, column), "seconds", first, column
        )
    asking.figure(
        "unanswered_share",
        share(single(now, "unanswered"), single(now, "posts")),
        share(single(earlier, "unanswered"), single(earlier, "posts")),
        "share",
        first,
        "unanswered",
    )
    asking.table("heatmap", await asking.rows("post_activity.heatmap"))
    asking.table("top", await asking.rows("post_activity.top"))


async def engagement(asking: Asking) -> None:
    """PostHog's lifecycle and Discourse's DAU/MAU: definitions in docs/analytics.md."""
    query = "engagement.active_users"
    rows, before = await asking.both(query)
    for column in ("dau", "wau", "mau"):
        asking.figure(column, last(rows, column), last(before, column), "users", query)
    asking.figure(
        "stickiness_avg",
        mean(row["stickiness"] for row in rows or ()),
        mean(row["stickiness"] for row in before or ()),
        "share",
        query,
        "stickiness",
    )
    today = datetime.now().astimezone(asking.report.period.local).date()
    for row in rows or ():
        day = row["day"]
        assert isinstance(day, date)
        shown = {name: value for name, value in row.items() if name != "day"}
        asking.report.series.append({"start": day, "partial": day >= today, **shown})
    depth = "engagement.depth"
    now, earlier = await asking.both(depth)
    asking.singles(
        depth,
        now,
        earlier,
        active_users="users",
        contributors="users",
        posters="users",
        reacting_only="users",
        actions_per_active_user="actions",
        median_actions="actions",
        top1pct_share_of_content="share",
    )
    asking.table("lifecycle", await asking.rows("engagement.lifecycle"))
