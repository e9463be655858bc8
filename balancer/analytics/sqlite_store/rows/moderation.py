"""What moderators did, and how much of it was undone."""

from __future__ import annotations

from collections import Counter, defaultdict

from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look, key_text, quantile, share, whole

SANCTIONS = ("ban", "mute")


def series(look: Look) -> list[Row]:
    kinds: list[Counter[str]] = [Counter() for _ in look.starts]
    automated = [0] * len(kinds)
    for at, kind, by_machine in look.all(
        f"SELECT at, kind, automated FROM action WHERE at >= ? AND at < ?{_in(look)}", look.since, look.until
    ):
        index = look.index(at)
        kinds[index][kind] += 1
        automated[index] += by_machine
    return [
        {
            "start": start,
            "actions": kinds[index].total(),
            "automated": automated[index],
            "by_action": dict(kinds[index]),
        }
        for index, start in enumerate(look.starts)
    ]


def moderators(look: Look) -> list[Row]:
    did: defaultdict[int, list[tuple[str, str | None, float | None]]] = defaultdict(list)
    for moderator, kind, report, waited in look.all(
        f"""SELECT a.moderator, a.kind, a.report, (a.at - r.at) / 1000.0 FROM action a
            LEFT JOIN report r ON r.key = a.report
            WHERE a.at >= ? AND a.at < ? AND a.moderator IS NOT NULL{_in(look, "a.")}""",
        look.since,
        look.until,
    ):
        did[moderator].append((kind, report, waited))
    busiest = sorted(did.items(), key=lambda one: (-len(one[1]), one[0]))[: look.asked.limit]
    return [
        {
            "moderator_id": key_text(moderator),
            "username": None,
            "actions": len(acts),
            "removals": sum(kind.startswith("remove") for kind, _, _ in acts),
            "sanctions": sum(kind in SANCTIONS for kind, _, _ in acts),
            "reports_handled": len({report for _, report, _ in acts if report is not None}),
            "median_response_s": whole(quantile(sorted(w for _, _, w in acts if w is not None), 0.5)),
        }
        for moderator, acts in busiest
    ]


def quality(look: Look) -> list[Row]:
    actions, removals, reversals, automated = look.one(
        f"""SELECT count(*), coalesce(sum(kind LIKE 'remove%'), 0), coalesce(sum(kind LIKE 'restore%'), 0),
                   coalesce(sum(automated), 0) FROM action WHERE at >= ? AND at < ?{_in(look)}""",
        look.since,
        look.until,
    )
    posts, removed = look.one(
        f"SELECT count(*), count(removed_at) FROM post WHERE at >= ? AND at < ?{_in(look)}", look.since, look.until
    )
    return [
        {
            "removals": removals,
            "reversals": reversals,
            "reversal_rate": share(reversals, removals),
            "removed_share_of_posts": share(removed, posts),
            "automated_share": share(automated, actions),
        }
    ]


def _in(look: Look, table: str = "") -> str:
    return "" if look.community is None else f" AND {table}community = {look.community}"
