"""Purges: what they meet, how they are written, and how they are found again."""

from __future__ import annotations

import re
from time import perf_counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from balancer.cache.entry import Entry
from balancer.cache.keys import url_key
from balancer.cache.purge_log import Purged, PurgeLog
from balancer.cache.purges import KINDS, LONGEST, Purge, matcher, of_group, parse, place


def entry(key: bytes, tags: tuple[bytes, ...] = (), groups: tuple[bytes, ...] = ()) -> Entry:
    made = Entry(key, (), (), 200, b"HTTP/1.1 200 OK\r\n", ())
    made.tags = tags
    made.groups = groups
    return made


def found(purge: Purge, stored: Entry) -> bool:
    log = PurgeLog()
    log.add(Purged(purge, 1, 0.0))
    assert log.since(stored, 1) == []
    return bool(log.since(stored, 0))


PAGE = entry(b"https://example.com/posts/7?page=2", (b"posts", b"post-7"), (b"of all",))
PORT = entry(b"http://shop.example.com:8080/posts/")
SIX = entry(b"http://[2001:db8::1]:8080/a//b")


@pytest.mark.parametrize(
    ("kind", "value", "meets"),
    [
        ("url", "https://example.com/posts/7?page=2", PAGE),
        ("url", "HTTPS://Example.COM:443/posts/7?page=2", PAGE),
        ("url", "https://example.com/posts/%37?page=2", PAGE),
        ("url", "example.com/posts/7?page=2", PAGE),
        ("url", "example.com:443/posts/7?page=2", PAGE),
        ("url", "/posts/7?page=2", PAGE),
        ("url", " /posts/7?page=2\n", PAGE),
        ("url", "http://[2001:DB8::1]:8080/a//b", SIX),
        ("path", "https://example.com/posts/7", PAGE),
        ("path", "example.com:443/posts/%37", PAGE),
        ("path", "/posts/7", PAGE),
        ("path", "/posts/", PORT),
        ("path", "/a//b", SIX),
        ("prefix", "/posts/", PAGE),
        ("prefix", "/", PORT),
        ("prefix", "https://example.com/", PAGE),
        ("prefix", "shop.example.com:8080/p", PORT),
        ("pattern", "/posts/*", PAGE),
        ("pattern", "/posts/?[?]page=2".replace("[?]", "?"), PAGE),
        ("pattern", "/*page=*", PAGE),
        ("pattern", "*.example.com:*/posts/*", PORT),
        ("pattern", "https://*/posts/*", PAGE),
        ("pattern", "example.com/posts/*", PAGE),
        ("pattern", "/posts/7?page=2", PAGE),
        ("tag", "posts", PAGE),
        ("tag", "post-7", PAGE),
        ("group", "https://example.com of all", PAGE),
        ("group", "https://EXAMPLE.com:443 of all", PAGE),
        ("host", "example.com", PAGE),
        ("host", "shop.example.com", PORT),
        ("host", "shop.example.com:8080", PORT),
        ("host", "*.example.com", PORT),
        ("host", "[2001:db8::1]", SIX),
        ("host", "example.com:443", PAGE),
        ("everything", "", SIX),
    ],
)
def test_it_meets_what_it_names(kind, value, meets):
    purge = parse(kind, value)
    assert purge.meets(meets)
    assert found(purge, meets)


@pytest.mark.parametrize(
    ("kind", "value", "spared"),
    [
        ("url", "http://example.com/posts/7?page=2", PAGE),
        ("url", "/posts/7", PAGE),
        ("url", "/Posts/7?page=2", PAGE),
        ("url", "ample.com/posts/7?page=2", PAGE),
        ("path", "/posts", PAGE),
        ("path", "/posts/", PAGE),
        ("path", "http://example.com/posts/7", PAGE),
        ("path", "shop.example.com/posts/", PORT),
        ("prefix", "/osts", PAGE),
        ("prefix", "http://example.com/", PAGE),
        ("prefix", "shop.example.com/", PORT),
        ("pattern", "/posts/", PAGE),
        ("pattern", "/posts/?", PAGE),
        ("pattern", "/post.*", PAGE),
        ("pattern", "example.com/posts/*", PORT),
        ("pattern", "http://*/posts/*", PAGE),
        ("tag", "post", PAGE),
        ("tag", "POSTS", PAGE),
        ("group", "http://example.com of all", PAGE),
        ("group", "https://example.com of", PAGE),
        ("host", "*.example.com", PAGE),
        ("host", "ample.com", PAGE),
        ("host", "shop.example.com:80810", PORT),
        ("host", "*.ample.com", PORT),
    ],
)
def test_it_spares_what_it_does_not_name(kind, value, spared):
    purge = parse(kind, value)
    assert not purge.meets(spared)
    assert not found(purge, spared)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("url", ""),
        ("url", "posts"),
        ("url", "https://example.com"),
        ("url", "https:///posts"),
        ("url", "ftp://example.com/posts"),
        ("url", "https://user@example.com/posts"),
        ("url", "/posts 7"),
        ("url", "/posts\r\nX: y"),
        ("url", "/posts#top"),
        ("path", "/posts/7?page=2"),
        ("path", "posts"),
        ("prefix", "https://example.com"),
        ("pattern", "*.jpg"),
        ("pattern", "*"),
        ("tag", ""),
        ("tag", "two words"),
        ("tag", "a,b"),
        ("tag", "a\x00"),
        ("group", "of all"),
        ("group", "https://example.com"),
        ("group", "https://example.com/ of all"),
        ("host", ""),
        ("host", "*"),
        ("host", "*."),
        ("host", "example.com/"),
        ("host", "https://example.com"),
        ("everything", "really"),
        ("url", "/" + "x" * LONGEST),
    ],
)
def test_what_is_not_understood_is_refused_with_what_was_expected(kind, value):
    with pytest.raises(ValueError, match=rf"^purge by {kind}: (expected \S.* not |at most {LONGEST} characters, not )"):
        parse(kind, value)


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"url, path, prefix, pattern, tag, group, host, everything, not by 'file'"):
        parse("file", "x")


@given(st.sampled_from(KINDS), st.text())
def test_any_text_is_a_purge_or_a_value_error(kind, text):
    try:
        purge = parse(kind, text, soft=True)
    except ValueError:
        return
    assert purge.kind == kind
    assert purge.soft
    assert purge.meets(PAGE) in (True, False)


_TARGETS = st.text(st.sampled_from("ab/?%47~é"), max_size=12).map("/{}".format)


@given(_TARGETS)
def test_a_url_as_a_browser_has_it_meets_the_key_of_its_request(target):
    sent = "".join(each if each.isascii() else "%c3%a9" for each in target).encode()
    assume(re.search(rb"%(?![0-9A-Fa-f]{2})", sent) is None)  # what is broken has no second way to be written
    key = url_key(b"https", b"Example.com:443", sent)
    for value in (f"https://example.com{target}", f"example.com{target}", target):
        assert parse("url", value).meets(entry(key)), (value, key)


def test_a_group_is_of_the_origin_of_its_key():
    assert of_group(PAGE.key, b"of all").meets(PAGE)
    assert not of_group(PORT.key, b"of all").meets(PAGE)


def test_the_parts_of_a_key():
    assert place(PORT.key) == (
        b"shop.example.com",
        b"shop.example.com:8080",
        b"/posts/",
        b"shop.example.com:8080/posts/",
    )
    assert place(SIX.key)[:3] == (b"[2001:db8::1]", b"[2001:db8::1]:8080", b"/a//b")
    assert place(b"http://[::1]/")[0] == b"[::1]"


def _simply(pattern: bytes) -> re.Pattern[bytes]:
    steps = {b"*": b".*", b"?": b"."}
    each = (pattern[at : at + 1] for at in range(len(pattern)))
    return re.compile(b"".join(steps.get(one, re.escape(one)) for one in each) + rb"\Z", re.DOTALL)


_FEW = st.lists(st.sampled_from([b"a", b"b", b"\n"]), max_size=10).map(b"".join)


@given(st.lists(st.sampled_from([b"a", b"b", b"*", b"?"]), max_size=10).map(b"".join), _FEW)
def test_a_pattern_matches_what_it_says(pattern, text):
    assert bool(matcher(pattern).match(text)) == bool(_simply(pattern).match(text))


def test_many_stars_take_no_longer_than_the_text():
    pattern = matcher(b"*a" * 40 + b"c")
    text = b"a" * 8000 + b"b"
    began = perf_counter()
    assert pattern.match(text) is None
    assert perf_counter() - began < 5, "a simple expression would take until the end of the world"


_KEYS = st.sampled_from([PAGE.key, PORT.key, SIX.key, b"https://example.com/", b"http://example.com/posts/7?page=2"])
_ENTRIES = st.builds(
    entry,
    _KEYS,
    st.lists(st.sampled_from([b"a", b"b"]), unique=True).map(tuple),
    st.lists(st.sampled_from([b"g", b"h"]), unique=True).map(tuple),
)
_PURGES = st.one_of(
    st.builds(Purge, st.just("tag"), st.sampled_from([b"a", b"b", b"c"])),
    st.builds(lambda key, group: of_group(key, group), _KEYS, st.sampled_from([b"g", b"h"])),
    st.builds(lambda kind, key, part: Purge(kind, place(key)[part] if part < 4 else key),
              st.sampled_from(["url", "prefix", "pattern"]), _KEYS, st.sampled_from([2, 3, 4])),
    st.builds(lambda key, part: Purge("path", (place(key)[part] if part < 4 else key).partition(b"?")[0]),
              _KEYS, st.sampled_from([2, 3, 4])),
    st.builds(lambda key, part: Purge("host", place(key)[part]), _KEYS, st.sampled_from([0, 1])),
    st.sampled_from([Purge("host", b"*.example.com"), Purge("everything")]),
)  # fmt: skip


@given(st.lists(_PURGES, max_size=12), _ENTRIES, st.integers(0, 12))
def test_the_log_finds_those_purges_that_meet_and_are_newer_in_their_order(purges, stored, serial):
    log = PurgeLog()
    added = [Purged(purge, number, 0.0) for number, purge in enumerate(purges, 1)]
    for purged in added:
        log.add(purged)
    expected = [purged for purged in added if purged.serial > serial and purged.purge.meets(stored)]
    assert log.since(stored, serial) == expected
    assert len(log) == len(added)


@given(st.lists(_PURGES, min_size=2, max_size=12), _ENTRIES, st.data())
def test_what_is_forgotten_takes_nothing_else_along(purges, stored, data):
    log = PurgeLog(most_exact=4, most_wide=2)
    for number, purge in enumerate(purges, 1):
        log.add(Purged(purge, number, 0.0))
        log.forget(data.draw(st.integers(0, number)))
    expected = [number for number, purge in enumerate(purges, 1) if purge.meets(stored) and number > log.floor]
    assert [purged.serial for purged in log.since(stored, log.floor)] == expected


def test_of_the_same_purge_the_newer_ones_are_found():
    log = PurgeLog()
    for number in range(1, 4):
        log.add(Purged(Purge("tag", b"posts"), number, 0.0))
    assert [purged.serial for purged in log.since(PAGE, 1)] == [2, 3]


def test_what_is_left_of_a_kind_is_found_when_others_were_forgotten():
    log = PurgeLog(most_exact=4)
    for number, tag in enumerate((b"a", b"b", b"c", b"posts"), 1):
        log.add(Purged(Purge("tag", tag), number, 0.0))
    log.forget(2)
    assert [purged.serial for purged in log.since(PAGE, 2)] == [4]


def test_no_more_is_forgotten_than_is_needed_to_make_room():
    log = PurgeLog(most_exact=4, most_wide=2)
    for number in range(1, 4):
        log.add(Purged(Purge("tag", b"a"), number, 0.0))
    log.forget(3)
    assert len(log) == 2
    assert log.floor == 1
