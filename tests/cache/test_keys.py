"""Keys of URLs, and the lanes of rules."""

from __future__ import annotations

import re
from random import Random
from time import perf_counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancer.cache.keys import url_key
from tests.cache.heads import request, rule

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
VISIBLE = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in "#%"]
PIECE = st.one_of(st.sampled_from(VISIBLE), st.integers(0, 255).map("%{:02X}".format))
TARGET = st.lists(PIECE, max_size=30).map(lambda pieces: "/" + "".join(pieces))
ODD_TARGET = st.text("%0123456789abcdefABCDEF/?&=z", max_size=20).map("/".__add__)


def key(target: str, host: str = "site.test", scheme: str = "http", **said: object) -> bytes:
    return url_key(scheme.encode(), host.encode(), target.encode(), rule(**said) if said else None)


def respelt(target: str, rng: Random) -> str:
    """Another spelling of the same URL by RFC 3986 section 6.2.2."""

    def one(match: re.Match[str]) -> str:
        text = match[0]
        if text[0] == "%":
            return text.lower() if rng.random() < 0.5 else text
        return f"%{ord(text):02x}" if ord(text) in UNRESERVED and rng.random() < 0.3 else text

    return "/" + re.sub("%[0-9A-Fa-f]{2}|.", one, target[1:])


@given(TARGET, st.randoms(use_true_random=False))
def test_spellings_of_one_url_have_one_key(target: str, rng: Random) -> None:
    """RFC 3986 sections 6.2.2.1 and 6.2.2.2."""
    assert key(respelt(target, rng)) == key(target)


def meaning(target: str) -> list[str] | str:
    """What a URL is by RFC 3986: its characters, of which an encoded one is the same only where it is unreserved."""
    pieces: list[str] = []
    at = 0
    while at < len(target):
        if target[at] == "%":
            digits = target[at + 1 : at + 3]
            if len(digits) < 2 or not set(digits) <= set("0123456789abcdefABCDEF"):
                return target  # it is none, and is only what it is
            code = int(digits, 16)
            pieces.append(chr(code) if code in UNRESERVED else f"encoded {code}")
            at += 3
        else:
            pieces.append(target[at])
            at += 1
    return pieces


@given(ODD_TARGET | TARGET, ODD_TARGET | TARGET)
@example("/%4%31", "/%%34%31")
@example("/%4%31", "/%41")
@example("/%2541", "/%25%34%31")
@example("/%2f", "/%2F")
@example("/%2F", "//")
def test_urls_have_one_key_just_when_they_are_equivalent(one: str, other: str) -> None:
    """RFC 3986 section 6.2.2, by a reading of it that takes one character after the other."""
    assert (key(one) == key(other)) == (meaning(one) == meaning(other))


@given(TARGET | ODD_TARGET)
def test_a_key_is_its_own(target: str) -> None:
    once = key(target)
    again = url_key(b"http", b"site.test", once[len(b"http://site.test") :])
    assert again == once


def test_broken_encodings_do_not_meet() -> None:
    assert len({key("/%4%31"), key("/%%34%31"), key("/%41"), key("/%")}) == 4


def test_scheme_host_and_port_are_the_same_in_their_usual_spellings() -> None:
    """RFC 3986 sections 3.1, 3.2.2 and 6.2.3."""
    assert key("/", "SITE.test:80") == key("/", "site.TEST:", "HTTP") == key("/")
    assert key("/", "site.test:443", "https") == key("/", "site.test", "https")
    assert len({key("/"), key("/", "site.test:8080"), key("/", "site.test:443"), key("/", "site.test", "https")}) == 4
    assert len({key("/", "[::1]"), key("/", "[::1]:8080"), key("/", "site.test."), key("/")}) == 4
    assert key("/", "[::1]:80") == key("/", "[::1]")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/a/"),
        ("/a", "/A"),
        ("/a//b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a?x=1&y=2", "/a?y=2&x=1"),
        ("/a?", "/a"),
        ("/a?b+c", "/a?b%20c"),
        ("/a%2Fb", "/a/b"),
        ("/a%3Fb", "/a?b"),
        ("/a%25", "/a%"),
        ("/a;x", "/a"),
    ],
)
def test_what_servers_may_tell_apart_is_apart(one: str, other: str) -> None:
    assert key(one) != key(other)


def test_ignored_parameters_make_no_other_url() -> None:
    ignore = {"ignore_query": ("utm_*", "fbclid", "*_id", "a*b*c", "größe")}
    same = key("/x?q=1", **ignore)
    for query in ("utm_x=1&q=1", "q=1&fbclid", "q=1&utm%5Fy=2", "click_id=3&q=1&axxbyyc=", "gr%C3%B6%c3%9fe=9&q=1"):
        assert key(f"/x?{query}", **ignore) == same, query
    for query in ("q=1&fbclid2=", "q=1&xutm_=", "q=1&ab", "q=1&UTM_x", "q=2", "q=1&acb"):
        assert key(f"/x?{query}", **ignore) != same, query
    assert key("/x?utm_x=1&fbclid=2", **ignore) == key("/x", **ignore)
    assert key("/x?a&&b", **ignore) == b"http://site.test/x?a&&b"


def test_patterns_do_not_overlap_themselves() -> None:
    assert key("/x?ab=1", ignore_query=("ab*b",)) == b"http://site.test/x?ab=1"
    assert key("/x?abb=1", ignore_query=("ab*b",)) == b"http://site.test/x"


def test_no_name_makes_a_pattern_slow() -> None:
    by = rule(ignore_query=("a*a*a*a*a*a*a*b",))
    start = perf_counter()
    url_key(b"http", b"site.test", b"/?" + b"a" * 8000, by)
    assert perf_counter() - start < 0.25  # some 10 ** 20 steps, if each star were tried at each place


@given(st.binary(max_size=40), st.binary(max_size=20))
def test_no_target_is_too_odd(target: bytes, host: bytes) -> None:
    assert url_key(b"http", host, b"/" + target, rule(ignore_query=("a*",))).startswith(b"http://")


def test_a_lane_is_of_the_route_and_its_pool() -> None:
    by = rule()
    assert by.lane("a", "b", request()) is by.lane("a", "b", request("X-Lang: de"))
    assert len({by.lane("a", "b", request()), by.lane("ab", "", request()), by.lane("a", "c", request())}) == 3


def test_fields_and_cookies_of_the_key_tell_apart() -> None:
    by = rule(key={"headers": ["X-Lang"], "cookies": ["theme"]})

    def lane(*lines: str) -> tuple[bytes | None, ...]:
        return by.lane("r", "p", request(*lines))

    assert lane("X-Lang: de", "Cookie: a=1; theme=dark")[2:] == (b"de", b"dark")
    assert lane("Cookie: xtheme=1; themes=2")[2:] == (None, None)
    assert lane("X-Lang:", "Cookie: theme")[2:] == (b"", b"")


@given(st.lists(st.sampled_from(["image/avif", "image/webp", "image/avif;q=0", "IMAGE/WEBP ;q=0.5", "image/*", "*/*"])))
def test_kinds_of_pictures_make_four_lanes_at_most(parts: list[str]) -> None:
    by = rule(key={"images": True})
    lane = by.lane("r", "p", request(*([f"Accept: {', '.join(parts)}"] if parts else [])))
    assert lane[2] in (b"", b"avif", b"webp", b"avif webp")
    split = by.lane("r", "p", request(*(f"Accept: {part}" for part in parts)))
    assert split == lane


def test_what_was_stored_by_another_key_is_in_another_lane() -> None:
    """The rule may have changed with a reload, or be older on another balancer that shares what is stored."""
    keys: list[dict[str, list[str]]] = [{"headers": ["X-Lang"]}, {"headers": ["X-Land"]}, {"cookies": ["X-Lang"]}, {}]
    asked = request("X-Lang: de", "X-Land: de", "Cookie: X-Lang=de")
    assert len({rule(key=key).lane("r", "p", asked) for key in keys}) == len(keys)


def test_what_a_server_may_take_for_the_key_is_in_it() -> None:
    """Of two cookies of one name, or of X_Lang beside X-Lang, servers take one or the other."""
    by = rule(key={"headers": ["X-Lang"], "cookies": ["theme"]})
    plain = by.lane("r", "p", request("X-Lang: de", "Cookie: theme=dark"))
    for lines in (
        ("X-Lang: de", "Cookie: theme=dark; theme=evil"),
        ("X-Lang: de", "Cookie: theme=dark", "Cookie: theme=evil"),
        ("X-Lang: de", "X_Lang: evil", "Cookie: theme=dark"),
        ("X-Lang: de", "X-Lang: evil", "Cookie: theme=dark"),
    ):
        assert by.lane("r", "p", request(*lines)) != plain, lines


def test_what_a_server_may_not_take_for_the_key_is_not_the_key() -> None:
    """Some servers know X_Lang and X-Lang apart, or take one of two lines, or end a cookie at its closing quote."""
    by = rule(key={"headers": ["X-Lang"], "cookies": ["theme"]})

    def lane(*lines: str) -> tuple[bytes | None, ...]:
        return by.lane("r", "p", request(*lines))

    assert lane("X_Lang: de") not in (lane("X-Lang: de"), lane())
    assert lane("X-Lang: de", "X-Lang: en") != lane("X-Lang: de, en")
    assert lane('Cookie: a="x; theme=dark; b=y"') not in (lane("Cookie: theme=dark"), lane())
    assert lane('Cookie: a="x', "Cookie: theme=dark", 'Cookie: b=y"') not in (lane("Cookie: theme=dark"), lane())


@pytest.mark.parametrize(
    "cookie",
    [
        "theme =dark",
        "a=1 theme=dark",
        "a=1, theme=dark",
        "a=1\ttheme=dark",
        'a="1" theme=dark',
        "Theme=dark",
        "%74heme=dark",
        'theme="dark"',
        'a="\\"; theme=dark',
    ],
)
def test_a_cookie_that_some_server_finds_is_in_the_key(cookie: str) -> None:
    by = rule(key={"cookies": ["theme"]}, bypass={"cookies": ["theme"]})
    asked = request(f"Cookie: {cookie}")
    assert by.passes(asked)
    assert by.lane("r", "p", asked) not in (
        by.lane("r", "p", request()),
        by.lane("r", "p", request("Cookie: theme=dark")),
    )


def test_a_cookie_with_any_value_is_found_by_its_name_alone() -> None:
    by = rule(key={"cookies": ["user_id"]})

    def lane(cookie: str) -> tuple[bytes | None, ...]:
        return by.lane("r", "p", request(f"Cookie: {cookie}"))

    assert lane("a=user_id; b=user_id=1; user_ids=2") == lane("a=b")
    assert lane("user_id=a=b")[2:] == (b"a=b",)
    assert lane("user.id=1") != lane("a=b")


def test_bypassing_is_by_names_alone() -> None:
    by = rule(bypass={"headers": ["X-Preview"], "cookies": ["session"]})
    assert by.bypasses
    assert by.passes(request("x-preview:"))
    assert by.passes(request("X_Preview: 1"))
    assert by.passes(request("Cookie: a=1; session="))
    assert by.passes(request("Cookie: session"))
    assert not by.passes(request("X-Previews: 1", "Cookie: sessions=1; a=session"))
    assert not rule().bypasses


def test_a_cookie_is_found_among_any_number_of_others() -> None:
    by = rule(key={"cookies": ["theme"]}, bypass={"cookies": ["theme"]})
    many = request("Cookie: " + "a=1; " * 1000 + "theme=dark")
    assert by.passes(many)
    assert by.lane("r", "p", many) != by.lane("r", "p", request("Cookie: " + "a=1; " * 1000))
