"""What the own cache is told to purge: all that a target means, and the pictures of files that it means."""

from __future__ import annotations

import pytest
from hypothesis import given

from balancer.cache.entry import Entry
from balancer.cache.keys import url_key
from balancer.cache.purge_log import Purged, PurgeLog
from balancer.cache.purges import EVERYTHING, Purge, parse
from balancer.cdn.images.signing import foreign_tag, foreign_tags
from balancer.cdn.purging.own import Places, means_source, purges, source_prefix
from balancer.cdn.purging.patterns import matches, target
from balancer.cdn.types import PurgeKind, PurgeTarget
from tests.cdn.purging.test_patterns import TAGS, TARGETS, URLS

PLACES = Places("/cdn/", "/img/")


def stored(url: str, tags: tuple[str, ...] = ()) -> Entry:
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    key = url_key(scheme.encode(), host.encode(), f"/{path}".encode())
    entry = Entry(key, (), (), 200, b"HTTP/1.1 200 OK\r\n", ())
    entry.tags = tuple(tag.encode() for tag in tags)
    return entry


def is_met(wanted: list[Purge], entry: Entry) -> bool:
    """As the store finds it."""
    log = PurgeLog()
    for serial, purge in enumerate(wanted, 1):
        log.add(Purged(purge, serial, 0.0))
    return bool(log.since(entry, 0))


@given(TARGETS, URLS, TAGS)
def test_the_own_cache_purges_at_least_what_is_meant(targets: list[PurgeTarget], url: str, tags: list[str]) -> None:
    if any(matches(one, url, tags) for one in targets):
        assert is_met(purges(targets, False), stored(url, tuple(tags)))


@given(TARGETS, URLS, TAGS)
def test_and_nothing_else_unless_a_star_is_in_the_middle(targets: list[PurgeTarget], url: str, tags: list[str]) -> None:
    exact = [one for one in targets if one.kind is not PurgeKind.PATTERN]
    if is_met(purges(exact, False), stored(url, tuple(tags))):
        assert any(matches(one, url, tags) for one in exact)


@given(TARGETS)
def test_each_purge_is_one_that_an_operator_could_have_written(targets: list[PurgeTarget]) -> None:
    for purge in purges(targets, True, PLACES):
        assert parse(purge.kind, purge.value.decode(), purge.soft) == purge


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("/a", [Purge("path", b"/a")]),
        ("https://h:8080/a?x=1", [Purge("url", b"h:8080/a?x=1")]),
        ("/a/*", [Purge("prefix", b"/a/")]),
        ("/a/*/b", [Purge("pattern", b"/a/*/b"), Purge("pattern", b"/a/*/b?*")]),
        ("/a*?x", [Purge("pattern", b"/a*?x")]),
        ("tag:t", [Purge("tag", b"t")]),
        ("host:h", [Purge("host", b"h")]),
        ("*", [EVERYTHING]),
    ],
)
def test_the_forms_of_the_own_cache(written: str, expected: list[Purge]) -> None:
    assert purges([target(written)], False) == expected
    assert purges([target(written)], True) == [Purge(one.kind, one.value, True) for one in expected]


@pytest.mark.parametrize(
    ("written", "met"),
    [
        ("/cdn/image/cat.png", True),
        ("https://elsewhere/cdn/image/cat.png", True),
        ("/cdn/image/*", True),
        ("/cdn/image/c*", True),
        ("/cdn/*", True),
        ("/c*", True),
        ("https://h/*", True),
        ("/cdn/*/cat.png", True),
        ("*.png", True),
        ("/*/cat.png", True),
        ("/cdn/image/cat*?v=1", True),
        ("tag:file:image/cat.png", True),
        ("*", True),
        ("/cdn/image/cat", False),
        ("/cdn/image/dog.png", False),
        ("/cdn/other/*", False),
        ("/image/cat.png", False),
        ("/image/*", False),
        ("tag:other", False),
    ],
)
def test_pictures_go_with_the_file_that_they_are_of(written: str, met: bool) -> None:
    wanted = purges([target(written)], False, PLACES)
    for path in ("/img/s1gn/w=320,f=auto/local/image/cat.png", "/img/p/small/local/image/cat.png"):
        assert is_met(wanted, stored(f"https://h{path}", ("file:image/cat.png",))) is met


def test_pictures_of_another_source_are_left_alone() -> None:
    wanted = purges([target("/cdn/image/*"), target("/cdn/a.png")], False, PLACES)
    assert not is_met(wanted, stored("https://h/img/s1gn/w=320/aHR0cHM6Ly9o", ("source:1234",)))


@pytest.mark.parametrize(
    ("written", "begin"),
    [
        ("/cdn/image/cat.png", "image/cat.png"),
        ("/cdn/image/*", "image/"),
        ("/cdn/*/cat.png", ""),
        ("*", ""),
        ("/c*", ""),
        ("/cdn", None),
        ("/other/*", None),
        ("tag:a", None),
    ],
)
def test_the_files_that_a_target_may_mean(written: str, begin: str | None) -> None:
    assert source_prefix(target(written), PLACES) == begin


@pytest.mark.parametrize(
    ("written", "source", "meant"),
    [
        ("/cdn/image/cat.png", "image/cat.png", True),
        ("https://h/cdn/image/cat.png", "image/cat.png", True),
        ("/cdn/image/*", "image/cat.png", True),
        ("/c*", "image/cat.png", True),
        ("*.png", "image/cat.png", True),
        ("/cdn/image/ca", "image/cat.png", False),
        ("/image/*", "image/cat.png", False),
        ("tag:cat", "image/cat.png", False),
        ("host:h", "image/cat.png", False),
        ("https://media.example.com/a.png", "https://media.example.com/a.png", True),
        ("https://media.example.com/a.png", "https://media.example.com/a.png?v=2", True),
        ("https://media.example.com/a/*", "https://media.example.com/a/b.png", True),
        ("host:media.example.com", "https://media.example.com/a/b.png", True),
        ("/a.png", "https://media.example.com/a.png", False),
        ("*.png", "https://media.example.com/a.png", False),
        ("https://h/a.png", "https://media.example.com/a.png", False),
    ],
)
def test_copies_on_disk_are_meant_by_their_source(written: str, source: str, meant: bool) -> None:
    means = means_source([target(written), target("tag:other")], PLACES)
    assert means is not None
    assert means(source, ()) is meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [("tag:summer", True), ("tag:file:image/cat.png", True), ("tag:winter", False), ("tag:file:image/ca", False)],
)
def test_copies_on_disk_are_meant_by_their_tags(written: str, meant: bool) -> None:
    means = means_source([target(written)], PLACES)
    assert means is not None
    assert means("image/cat.png", ("file:image/cat.png", "summer")) is meant


@given(TARGETS, URLS)
def test_pictures_of_what_is_elsewhere_leave_the_cache_with_their_copies_on_disk(
    targets: list[PurgeTarget], url: str
) -> None:
    means, tags = means_source(targets, PLACES), foreign_tags(url)
    if means is None or means(url, tags):
        assert is_met(purges(targets, False, PLACES), stored("https://other.example/img/s/w=3/url/xyz", tags))


def test_everything_means_every_copy() -> None:
    assert means_source([target("*")], PLACES) is None


def test_pictures_of_a_url_elsewhere_go_with_it() -> None:
    wanted = purges([target("https://media.example.com/a.png?v=2")], False, PLACES)
    tags = (foreign_tag("https://media.example.com/a.png?v=2"),)
    assert is_met(wanted, stored("https://h/img/s/w=3/xyz", tags))
    assert not is_met(wanted, stored("https://h/img/s/w=3/xyz", (foreign_tag("https://media.example.com/a.png"),)))
