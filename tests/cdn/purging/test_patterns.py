"""The language of purges: what is taken, what is refused and where, what it means, and that fewer mean the same."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.keys import url_key
from balancer.cdn.errors import Invalid
from balancer.cdn.purging.collapse import collapse, crowded, nearest
from balancer.cdn.purging.patterns import LONGEST, MOST, MOST_WIDE, BadOrder, matches, parse, target
from balancer.cdn.purging.ticket import PurgeOrder
from balancer.cdn.types import PurgeKind, PurgeTarget

URL, PREFIX, PATTERN = PurgeKind.URL, PurgeKind.PREFIX, PurgeKind.PATTERN


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/a/b.png", PurgeTarget(URL, "/a/b.png")),
        ("/a/b.png?w=3", PurgeTarget(URL, "/a/b.png", query="w=3")),
        ("/a/b.png?", PurgeTarget(URL, "/a/b.png", query="")),
        ("/a/b.png?*", PurgeTarget(URL, "/a/b.png")),
        ("/posts/*", PurgeTarget(PREFIX, "/posts/")),
        ("/posts*", PurgeTarget(PREFIX, "/posts")),
        ("/posts/***", PurgeTarget(PREFIX, "/posts/")),
        ("/a/*/b", PurgeTarget(PATTERN, "/a/*/b")),
        ("*.png", PurgeTarget(PATTERN, "/*.png")),
        ("/a*?w=3", PurgeTarget(PATTERN, "/a*?w=3")),
        ("/a?w=*", PurgeTarget(PATTERN, "/a?w=*")),
        ("https://Img.Example.com:443/x", PurgeTarget(URL, "/x", "img.example.com")),
        ("http://example.com:8080/x/*", PurgeTarget(PREFIX, "/x/", "example.com:8080")),
        ("HTTPS://example.com", PurgeTarget(URL, "/", "example.com")),
        ("https://example.com/*", PurgeTarget(PREFIX, "/", "example.com")),
        ("https://[2001:DB8::1]/x", PurgeTarget(URL, "/x", "[2001:db8::1]")),
        ("tag:post-42", PurgeTarget(PurgeKind.TAG, "post-42")),
        ("tag:file:image/a.png", PurgeTarget(PurgeKind.TAG, "file:image/a.png")),
        ("host:Img.example.com", PurgeTarget(PurgeKind.HOST, "img.example.com")),
        ("  /a \n", PurgeTarget(URL, "/a")),
        ("/my file.png", PurgeTarget(URL, "/my%20file.png")),
        ("/%7euser/%2fx", PurgeTarget(URL, "/~user/%2Fx")),
        ("/Z\u00fcrich", PurgeTarget(URL, "/Z%C3%BCrich")),
        ("/Zu\u0308rich", PurgeTarget(URL, "/Z%C3%BCrich")),
        ("/Z%c3%bcrich", PurgeTarget(URL, "/Z%C3%BCrich")),
        ("/tag:x", PurgeTarget(URL, "/tag:x")),
        ("//x/y", PurgeTarget(URL, "//x/y")),
        ("/a..b/.c/...", PurgeTarget(URL, "/a..b/.c/...")),
    ],
)
def test_what_is_written_has_one_meaning(written: str, meant: PurgeTarget) -> None:
    assert parse(PurgeOrder(patterns=(written,))) == (meant,)
    assert target(meant.written) == meant


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "not nothing"),
        ("   ", "not nothing"),
        ("posts/7", "expected /path"),
        ("example.com/x", "expected /path"),
        ("ftp://example.com/x", "expected /path"),
        ("/a/../b", ".."),
        ("/a/%2e%2E/b", ".."),
        ("/a/.%2e", ".."),
        ("/a/%2f..%2fb", ".."),
        ("/./a", ".."),
        ("/a\x00b", "control"),
        ("/a\u0085b", "control"),
        ("/a\nb", "control"),
        ("/a\udcffb", "control"),
        ("/a\\b", "backslash"),
        ("/a#top", "after #"),
        ("/100%", "%25"),
        ("/%4g", "%25"),
        ("/" + "x" * LONGEST, "at most 2000 characters"),
        ("/" + "\u00fc" * 400, "percent-encoded"),
        ("https://*.example.com/x", "without a star"),
        ("https://me@example.com/x", "user name"),
        ("https:///x", "expected a host"),
        ("https://example.com?x", "no slash"),
        ("https://b\u00fccher.example/x", "ASCII"),
        ("tag:", "a tag is"),
        ("tag:a,b", "commas"),
        ("tag:a b", "white space"),
        ("tag:\u00fc", "ASCII"),
        ("tag:" + "x" * 1025, "at most 1024"),
        ("host:", "expected a host"),
        ("host:*.example.com", "without a star"),
        ("host:example.com/x", "expected a host"),
        ("*", '"everything": true'),
        ("/*", '"everything": true'),
        ("/**", '"everything": true'),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_position(written: str, said: str) -> None:
    with pytest.raises(BadOrder) as refused:
        parse(PurgeOrder(patterns=("/good", written, "tag:good")))
    (fault,) = refused.value.faults
    assert (fault.field, fault.position, fault.pointer) == ("patterns", 1, "/patterns/1")
    assert said in fault.reason
    assert "patterns[1]" in str(refused.value)


def test_every_fault_of_an_order_is_told_at_once() -> None:
    order = PurgeOrder(
        patterns=("/a/..", "/fine"), paths=("https://h/x",), urls=("/x",), tags=("a b", "ok"), hosts=("host:x",)
    )
    with pytest.raises(BadOrder) as refused:
        parse(order)
    found = [fault.pointer for fault in refused.value.faults]
    assert found == ["/patterns/0", "/paths/0", "/urls/0", "/tags/0", "/hosts/0"]


def test_nothing_is_never_everything() -> None:
    for order in (PurgeOrder(), PurgeOrder(soft=True, widen=True), PurgeOrder(patterns=("",))):
        with pytest.raises(BadOrder):
            parse(order)
    assert parse(PurgeOrder(everything=True)) == (PurgeTarget(PurgeKind.ALL, ""),)
    assert parse(PurgeOrder(patterns=("*", "/a"), everything=True)) == (PurgeTarget(PurgeKind.ALL, ""),)


def test_an_order_for_nobody_is_refused() -> None:
    with pytest.raises(BadOrder, match="scope"):
        parse(PurgeOrder(patterns=("/a",), scope=()))


def test_an_order_is_bounded() -> None:
    assert len(parse(PurgeOrder(paths=tuple(f"/{n}" for n in range(MOST))))) == MOST
    with pytest.raises(BadOrder, match="at most 1000 targets"):
        parse(PurgeOrder(paths=tuple(f"/{n}" for n in range(MOST)), tags=("one",)))
    with pytest.raises(BadOrder, match="with a star"):
        parse(PurgeOrder(patterns=tuple(f"/{n}/*" for n in range(MOST_WIDE + 1))))


def test_one_target_by_itself_says_what_was_expected() -> None:
    with pytest.raises(Invalid, match="cannot purge 'posts': expected /path"):
        target("posts")


@pytest.mark.parametrize(
    ("written", "url", "met"),
    [
        ("/a", "https://h/a", True),
        ("/a", "http://other:8080/a?x=1", True),
        ("/a", "https://h/a/b", False),
        ("/a", "https://h/ab", False),
        ("/a?x=1", "https://h/a?x=1", True),
        ("/a?x=1", "https://h/a?x=12", False),
        ("/a?", "https://h/a?", True),
        ("/a?", "https://h/a", False),
        ("/a*", "https://h/a?x", True),
        ("/a/*", "https://h/a/", True),
        ("/a/*", "https://h/a", False),
        ("/*.png", "https://h/x/y.png", True),
        ("/*.png", "https://h/y.png?w=3", True),
        ("/*.png", "https://h/y.pngs", False),
        ("/a*?w=3", "https://h/abc?w=3", True),
        ("/a*?w=3", "https://h/abcXw=3", False),
        ("/a*?w=3", "https://h/abc", False),
        ("https://h/a", "http://H:80/a", True),
        ("https://h/a", "https://i/a", False),
        ("https://h:8080/a", "https://h/a", False),
        ("host:h", "https://h/any?thing", True),
        ("host:h", "https://h.h/any", False),
    ],
)
def test_a_target_means_what_the_documentation_says(written: str, url: str, met: bool) -> None:
    assert matches(target(written), url) is met


def test_a_tag_means_what_carries_it_and_everything_means_all() -> None:
    assert matches(target("tag:a"), "https://h/x", ("b", "a"))
    assert not matches(target("tag:a"), "https://h/a", ("A", "aa"))
    assert matches(target("*"), "https://h/x")


@pytest.mark.parametrize(
    ("written", "left"),
    [
        (["/posts/7", "/posts/*"], ["/posts/*"]),
        (["/posts/*", "/posts/7?x", "/posts/a/*", "/posts/*/b"], ["/posts/*"]),
        (["/posts*", "/posts/*", "/postscript"], ["/posts*"]),
        (["/a", "/a?x=1", "/a"], ["/a"]),
        (["/a?x=1", "/a?x=2"], ["/a?x=1", "/a?x=2"]),
        # No provider has a form for the first, so that it must not hide the second.
        (["/a/*/b", "/a/7/b"], ["/a/*/b", "/a/7/b"]),
        (["/posts/*", "https://h/posts/7"], ["/posts/*", "https://h/posts/7"]),
        (["https://h/posts/*", "https://h/posts/7"], ["https://h/posts/*"]),
        (["host:h", "https://h/posts/7"], ["host:h", "https://h/posts/7"]),
        (["tag:a", "tag:a", "tag:b"], ["tag:a", "tag:b"]),
        (["/b", "/a", "/b"], ["/b", "/a"]),
    ],
)
def test_what_another_target_covers_is_left_out(written: list[str], left: list[str]) -> None:
    assert [kept.written for kept in parse(PurgeOrder(patterns=tuple(written)))] == left


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "*", "", "b*"]), min_size=1, max_size=4)
QUERIES = st.sampled_from(["", "", "?", "?x", "?x=1", "?*"])
HOSTS = st.sampled_from(["", "", "https://h", "http://i:8080"])
PLACES = st.builds(lambda host, words, query: f"{host}/{'/'.join(words)}{query}", HOSTS, WORDS, QUERIES)
WRITTEN = st.one_of(PLACES, PLACES, st.sampled_from(["tag:t", "tag:u", "host:h", "host:i:8080"]))
TARGETS = st.lists(WRITTEN.map(target), min_size=1, max_size=12)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "", "ba"]), min_size=1, max_size=4)
URLS = st.builds(
    lambda host, words, query: f"{host}/{'/'.join(words)}{query}",
    st.sampled_from(["https://h", "http://h", "http://i:8080", "https://j"]),
    PATHS,
    st.sampled_from(["", "?", "?x", "?x=1", "?y"]),
)
TAGS = st.lists(st.sampled_from(["t", "u", "v"]), unique=True)


@given(TARGETS, URLS, TAGS)
def test_collapsing_keeps_the_union(targets: list[PurgeTarget], url: str, tags: list[str]) -> None:
    kept = collapse(targets)
    assert any(matches(one, url, tags) for one in kept) == any(matches(one, url, tags) for one in targets)
    assert set(kept) <= set(targets)
    assert collapse(kept) == kept
    assert collapse(reversed(targets)) == tuple(one for one in dict.fromkeys(reversed(targets)) if one in kept)


@given(TARGETS, URLS, TAGS, st.integers(1, 3))
def test_a_crowd_becomes_folders_that_mean_at_least_as_much(
    targets: list[PurgeTarget], url: str, tags: list[str], most: int
) -> None:
    kept, folders = crowded(targets, most)
    assert len(kept) <= len(collapse(targets))
    if any(matches(one, url, tags) for one in targets):
        assert any(matches(one, url, tags) for one in kept)
    assert "/*" not in folders
    assert "*" not in folders


@given(TARGETS, URLS)
def test_the_nearest_folder_means_at_least_as_much(targets: list[PurgeTarget], url: str) -> None:
    for one in targets:
        near = nearest(one)
        if near is not None and matches(one, url):
            assert matches(near, url)
            assert near.kind is PREFIX
            assert near.value.endswith("/")


def test_there_is_no_nearest_folder_of_what_may_be_anywhere() -> None:
    assert nearest(target("/a/b*/c.jpg")) == PurgeTarget(PREFIX, "/a/")
    assert nearest(target("https://h/a/*/c?x")) == PurgeTarget(PREFIX, "/a/", "h")
    assert nearest(target("*.png")) is None
    assert nearest(target("tag:a")) is None
    assert nearest(target("host:h")) is None


def test_more_than_two_hundred_pending_below_a_folder_are_that_folder() -> None:
    urls = [target(f"/posts/{n}") for n in range(201)]
    kept, folders = crowded([*urls, target("/other"), target("tag:a")])
    assert [one.written for one in kept] == ["/other", "tag:a", "/posts/*"]
    assert folders == ("/posts/*",)
    assert crowded(urls[:200])[0] == tuple(urls[:200])


def test_the_deepest_crowded_folder_is_taken() -> None:
    deep = [target(f"/a/b/{n}") for n in range(201)]
    flat = [target(f"/a/{n}") for n in range(199)]
    assert crowded([*deep, *flat])[1] == ("/a/b/*",)
    spread = [target(f"/a/{n}/index") for n in range(201)]
    assert crowded(spread)[1] == ("/a/*",)


def test_a_crowd_at_the_root_does_not_become_everything() -> None:
    urls = [target(f"/{n}") for n in range(1000)]
    assert crowded(urls) == (tuple(urls), ())


@given(st.text(max_size=30))
def test_any_text_is_a_target_or_a_fault(text: str) -> None:
    try:
        found = target(text)
    except Invalid:
        return
    assert target(found.written) == found
    assert found.written.isascii()
    assert len(found.written) <= LONGEST + 300


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="#\\%*?"), max_size=20))
def test_a_path_is_spelled_as_the_cache_spells_it(text: str) -> None:
    try:
        found = target(f"/x{text}")
    except Invalid:
        return
    sent = found.value.encode()
    assert url_key(b"https", b"h", sent) == b"https://h" + sent


@given(WORDS, PATHS)
def test_a_pattern_agrees_with_an_implementation_of_others(words: list[str], path: list[str]) -> None:
    written, held = f"/{'/'.join(words)}", f"/{'/'.join(path)}"
    assert matches(target(written), f"https://h{held}") == fnmatchcase(held, written)
