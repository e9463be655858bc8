"""All cases, in the order of the table in docs/caching.md; importing a theme enters its own."""

from __future__ import annotations

from importlib import import_module

from tests.caching.case import CASES

for _theme in (
    "freshness",
    "parsing",
    "status",
    "responses",
    "requests",
    "vary",
    "keys",
    "updates",
    "conditions",
    "ranges",
    "staleness",
    "invalidation",
    "targeted",
    "fields",
    "bodies",
    "rules",
):
    import_module(f"{__name__}.{_theme}")

__all__ = ["CASES"]
