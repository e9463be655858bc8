"""Every event by its name."""

from __future__ import annotations

from collections import Counter, defaultdict

from balancer.analytics.source import Row
from balancer.analytics.sqlite_store.rows.look import Look
from balancer.analytics.sqlite_store.schema import QUARTER


def series(look: Look) -> list[Row]:
    names = dict(look.all("SELECT id, text FROM name"))
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    table, where = ("total", "") if look.community is None else ("place", f" AND community = {look.community}")
    for name, text in names.items():
        for quarter, n in look.all(
            f"SELECT quarter, n FROM {table} WHERE name = ? AND quarter >= ? AND quarter < ?{where}",
            name,
            look.first_quarter,
            look.end_quarter,
        ):
            counts[look.index(quarter * QUARTER)][text] += n
    return [
        {"start": look.starts[index], "name": text, "n": n}
        for index in sorted(counts)
        for text, n in sorted(counts[index].items())
    ]
