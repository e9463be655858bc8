"""Fewer targets that mean the same, or a little more where there are too many."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from balancer.cdn.types import PurgeKind, PurgeTarget

CROWD: Final = 200
"""URLs below one folder that may wait; of more, the folder is purged."""
EVERYTHING: Final = PurgeTarget(PurgeKind.ALL, "")
_Folder = tuple[str | None, str]
"""Its host, and its path with the slash at its end."""


def collapse(targets: Iterable[PurgeTarget]) -> tuple[PurgeTarget, ...]:
    """Each target once, in their order, without those that another one covers.

    Only what every provider has a form for covers another: of /a/*/b and /a/7/b both are kept, since most can purge
    only the second. For the same reason a prefix of all hosts does not cover one of a certain host: that one need not
    be among those that a provider knows of.
    """
    unique = tuple(dict.fromkeys(targets))
    if EVERYTHING in unique:
        return (EVERYTHING,)
    prefixes: dict[str | None, list[str]] = defaultdict(list)
    for target in unique:
        if target.kind is PurgeKind.PREFIX:
            prefixes[target.host].append(target.value)
    roots = {host: _roots(found) for host, found in prefixes.items()}
    whole = {(target.host, target.value) for target in unique if target.kind is PurgeKind.URL and target.query is None}
    return tuple(target for target in unique if not _is_covered(target, roots, whole))


def nearest(target: PurgeTarget) -> PurgeTarget | None:
    """The folder that all of it is below; None where that is the root, which would be everything."""
    if target.kind not in (PurgeKind.URL, PurgeKind.PREFIX, PurgeKind.PATTERN):
        return None
    literal = target.value.partition("*")[0].partition("?")[0]
    folder = literal[: literal.rfind("/") + 1]
    return PurgeTarget(PurgeKind.PREFIX, folder, target.host) if len(folder) > 1 else None


def crowded(targets: Iterable[PurgeTarget], most: int = CROWD) -> tuple[tuple[PurgeTarget, ...], tuple[str, ...]]:
    """More than `most` URLs, prefixes and patterns below a folder as that folder; and which folders those are.

    The deepest folders that are crowded are taken, and never the root.
    """
    unique = collapse(targets)
    below: dict[int, dict[_Folder, list[PurgeTarget]]] = defaultdict(lambda: defaultdict(list))  # by their depth
    for target in unique:
        near = nearest(target)
        if near is not None:
            below[near.value.count("/")][near.host, near.value].append(target)
    taken: list[PurgeTarget] = []
    for depth in range(max(below, default=0), 1, -1):
        for (host, folder), found in below[depth].items():
            if len(found) > most:
                taken.append(PurgeTarget(PurgeKind.PREFIX, folder, host))
                found = taken[-1:]
            below[depth - 1][host, folder[: folder.rfind("/", 0, -1) + 1]].extend(found)
    return (collapse([*unique, *taken]), tuple(folder.written for folder in taken)) if taken else (unique, ())


def _roots(prefixes: Iterable[str]) -> list[str]:
    """Those that begin with no other, sorted."""
    roots: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not roots or not prefix.startswith(roots[-1]):
            roots.append(prefix)
    return roots


def _is_covered(target: PurgeTarget, roots: dict[str | None, list[str]], whole: set[tuple[str | None, str]]) -> bool:
    if target.kind is PurgeKind.URL and target.query is not None and (target.host, target.value) in whole:
        return True
    if target.kind not in (PurgeKind.URL, PurgeKind.PREFIX, PurgeKind.PATTERN) or target.host not in roots:
        return False
    literal = target.value.partition("*")[0]
    near = roots[target.host]
    # None of them begins with another, so that only the last one before it can be what it begins with.
    position = bisect_right(near, literal)
    if position == 0 or not literal.startswith(near[position - 1]):
        return False
    return target.kind is not PurgeKind.PREFIX or near[position - 1] != target.value
