"""Targets as purges of the balancer's own cache, and of the pictures that were made of files that are meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from balancer.cache.purges import EVERYTHING, Purge
from balancer.cdn.types import PurgeKind, PurgeTarget


@dataclass(frozen=True, slots=True)
class Places:
    """Where files and pictures of the balancer's own are, as the beginnings of their paths."""

    files: str
    """/cdn/"""
    pictures: str
    """/img/"""


def purges(targets: Iterable[PurgeTarget], soft: bool, places: Places | None = None) -> list[Purge]:
    """What meets at least all that the targets mean; with `places`, pictures of local files as well."""
    found: dict[Purge, None] = {}
    for target in targets:
        found.update(dict.fromkeys(_of(target)))
        if places is not None:
            found.update(dict.fromkeys(_pictures(target, places)))
    return [Purge(one.kind, one.value, True) for one in found] if soft else list(found)


def source_prefix(target: PurgeTarget, places: Places) -> str | None:
    """What the paths of local files begin with of which some are meant; None: no file is."""
    if target.kind is PurgeKind.ALL:
        return ""
    if target.kind not in (PurgeKind.URL, PurgeKind.PREFIX, PurgeKind.PATTERN):
        return None
    literal, star, _ = target.value.partition("*")
    literal = literal.partition("?")[0]
    if literal.startswith(places.files):
        return literal.removeprefix(places.files)
    open_ended = star or target.kind is PurgeKind.PREFIX
    return "" if open_ended and places.files.startswith(literal) else None


def _of(target: PurgeTarget) -> Iterator[Purge]:
    place = ((target.host or "") + target.value).encode()
    if target.kind is PurgeKind.ALL:
        yield EVERYTHING
    elif target.kind is PurgeKind.TAG:
        yield Purge("tag", place)
    elif target.kind is PurgeKind.HOST:
        yield Purge("host", place)
    elif target.kind is PurgeKind.PREFIX:
        yield Purge("prefix", place)
    elif target.kind is PurgeKind.URL:
        yield Purge("path", place) if target.query is None else Purge("url", place + b"?" + target.query.encode())
    else:
        # A question mark is any character to the cache, so that this meets a little more than is meant.
        yield Purge("pattern", place)
        if "?" not in target.value:
            yield Purge("pattern", place + b"?*")


def _pictures(target: PurgeTarget, places: Places) -> Iterator[Purge]:
    """The paths of pictures end with the file that they are of: /img/SIGNATURE/OPTIONS/local/image/cat.png.

    They are purged on every host: a picture need not be asked for where its file is.
    """
    start = source_prefix(target, places)
    if start is None or target.kind is PurgeKind.ALL:
        return
    if target.kind is PurgeKind.URL:
        yield Purge("tag", f"file:{start}".encode())
        return
    rest = target.value.removeprefix(places.files).partition("?")[0] if target.value.startswith(places.files) else ""
    yield Purge("pattern", f"{places.pictures}*/local/{rest}*".replace("**", "*").encode())
