"""Analytics: whether the rules take what there is to take, and reports can be made of what is kept."""

from __future__ import annotations

import re
from typing import Final

from config.findings import Findings
from config.problems import Path, listed, nearest
from config.schema import Analytics, Config

REPORTED: Final = (
    "user_registered",
    "user_deleted",
    "user_login",
    "post_created",
    "post_deleted",
    "post_viewed",
    "comment_created",
    "comment_deleted",
    "reaction_added",
    "community_created",
    "community_closed",
    "community_joined",
    "community_left",
    "report_filed",
    "report_resolved",
    "moderation_action",
    "search",
)
"""Events that reports understand."""
_NAMED: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}")
_NAMES: Final = re.compile(r"\{([^}]*)\}")
_DIMENSIONS: Final = {
    "post_created": ("post",),
    "comment_created": ("post",),
    "reaction_added": ("post",),
    "report_filed": ("report",),
    "report_resolved": ("report",),
}
"""What reports need to know of an event to say more than how many there were."""


def check_analytics(config: Config, found: Findings) -> None:
    analytics = config.analytics
    if analytics is None:
        return
    if analytics.keep > analytics.keep_summaries:
        found.add(("analytics", "keep"), "must not be longer than `keep_summaries`: single events go first")
    for name, rule in analytics.events.items():
        path: Path = ("analytics", "events", name)
        if name not in REPORTED and (close := nearest(name, REPORTED)) is not None:
            found.warn(path, f'is no event that reports know, and only counted: did you mean "{close}"?')
        for number, match in enumerate(rule.match):
            _check_path(match.path, (*path, "match", number, "path"), found)
        for dimension, source in rule.take.items():
            kind, _, wanted = source.partition(":")
            if kind == "path" and not any(wanted in _NAMES.findall(match.path) for match in rule.match):
                names = sorted({each for match in rule.match for each in _NAMES.findall(match.path)})
                there = f"there is {listed(names)}" if names else "there is none in it"
                found.add((*path, "take", dimension), f"must be a name of the path: {there}")
        for dimension in _DIMENSIONS.get(name, ()):
            if dimension not in rule.take and not any(dimension in _NAMES.findall(match.path) for match in rule.match):
                found.warn(
                    path,
                    f"does not say which {dimension} it is about: reports then only count it. "
                    f'Take it, such as take: {{{dimension}: "location:/{dimension}s/{{{dimension}}}"}}',
                )
    _check_sources(analytics, found)


def _check_path(path: str, place: Path, found: Findings) -> None:
    names = _NAMES.findall(path)
    if len(set(names)) < len(names):
        found.add(place, "must not have the same name twice")
    segments = path.split("/")
    if "**" in segments[:-1] or any("{" in part and not _NAMED.fullmatch(part) for part in segments):
        found.add(place, "must be a path such as /exact, /prefix/** or /users/{id}: a name stands for a whole segment")
    elif any("*" in part for part in segments[:-1]) or (segments[-1] not in ("**",) and "*" in segments[-1]):
        found.add(place, "must be a path such as /exact, /prefix/** or /users/{id}: a star is only at the end, as /**")


def _check_sources(analytics: Analytics, found: Findings) -> None:
    database = analytics.database is not None and analytics.database.url
    if analytics.source == "database" and not database:
        found.add(("analytics", "source"), "needs `database.url`, or ANALYTICS_DB_URL")
    if analytics.source != "database" and not analytics.events and not database:
        found.warn(("analytics",), "has no `events` and no `database`: there is nothing to report")
