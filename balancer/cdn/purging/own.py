"""Targets as purges of the balancer's own cache, and of the pictures that were made of files that are meant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from balancer.cache.purges import EVERYTHING, Purge
from balancer.cdn.images.signing import foreign_tag, host_tag, path_tag
from balancer.cdn.purging.patterns import matches
from balancer.cdn.types import PurgeKind, PurgeTarget

FILE_TAG: Final = "file:"
"""What begins the tag that a file and all pictures of it have."""


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


def means_source(targets: Iterable[PurgeTarget], places: Places) -> Callable[[str, Collection[str]], bool] | None:
    """Whether a picture is meant, by what it is made of (a path of the CDN, or a URL) and its tags. None: any is."""
    exact: set[str] = set()
    tagged: set[str] = set()
    others: list[PurgeTarget] = []
    for target in targets:
        if target.kind is PurgeKind.ALL:
            return None
        if target.kind is PurgeKind.TAG:
            tagged.add(target.value)
        elif target.kind is PurgeKind.URL and target.value.startswith(places.files):
            exact.add(target.value.removeprefix(places.files))
        else:
            others.append(target)
    # Of paths without a host, those of the CDN's own files are meant, wherever those are.
    files = [replace(one, host=None) for one in others if one.kind is not PurgeKind.HOST]
    foreign = [one for one in others if one.host is not None or one.kind is PurgeKind.HOST]

    def means(source: str, tags: Collection[str]) -> bool:
        if not tagged.isdisjoint(tags):
            return True
        if "://" in source:
            return any(matches(one, source) for one in foreign)
        return source in exact or any(matches(one, f"https://host{places.files}{source}") for one in files)

    return means


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
    yield from _foreign_pictures(target)
    start = source_prefix(target, places)
    if start is None or target.kind is PurgeKind.ALL:
        return
    if target.kind is PurgeKind.URL:
        yield Purge("tag", f"{FILE_TAG}{start}".encode())
        return
    rest = target.value.removeprefix(places.files).partition("?")[0] if target.value.startswith(places.files) else ""
    yield Purge("pattern", f"{places.pictures}*/local/{rest}*".replace("**", "*").encode())


def _foreign_pictures(target: PurgeTarget) -> Iterator[Purge]:
    """Those of what is elsewhere. Of a folder and of what has a star, all of the host go: their tags tell no more, and
    what was not meant comes back from its copy on disk."""
    if target.kind is PurgeKind.HOST:
        yield Purge("tag", host_tag(target.value).encode())
    elif target.host is None:
        return
    elif target.kind is not PurgeKind.URL:
        yield Purge("tag", host_tag(target.host).encode())
    elif target.query is None:
        yield Purge("tag", path_tag(target.host, target.value).encode())
    else:
        for scheme in ("https", "http"):
            yield Purge("tag", foreign_tag(f"{scheme}://{target.host}{target.value}?{target.query}").encode())
