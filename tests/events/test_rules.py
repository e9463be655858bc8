"""Which requests are which events: by method, path, status and fields, and what is taken from them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.events.rules import Rules
from balancer.http1.head import RequestHead, parse_request
from config.schema import Analytics, EventMatch, EventRule

WORDS = st.sampled_from(("api", "posts", "users", "a", "x"))
SEGMENTS = st.one_of(WORDS, st.sampled_from(("{post}", "{id}", "{name}")))


@st.composite
def templates(draw: st.DrawFn) -> str:
    segments = draw(st.lists(SEGMENTS, min_size=1, max_size=4))
    seen: set[str] = set()
    parts = []
    for segment in segments:
        while segment.startswith("{") and segment in seen:
            segment = "{" + segment[1:-1] + "x}"
        seen.add(segment)
        parts.append(segment)
    return "/" + "/".join(parts) + draw(st.sampled_from(("", "/**")))


def head(target: str, method: str = "GET", *fields: str) -> RequestHead:
    lines = "\r\n".join((f"{method} {target} HTTP/1.1", "Host: a.example", *fields))
    return parse_request(lines.encode(), 100, 8192)


def naive(template: str, path: str) -> list[str] | None:
    """What the names of a template stand for in a path; None: it does not fit."""
    below = template.endswith("/**")
    pattern = "".join(
        "/" + ("([^/]+)" if part.startswith("{") else re.escape(part))
        for part in template.removesuffix("/**").split("/")[1:]
    )
    found = re.fullmatch(pattern + ("(?:/.*)?" if below else ""), path)
    return list(found.groups()) if found else None


@given(st.lists(templates(), min_size=1, max_size=8, unique=True), st.lists(WORDS | st.just("17"), max_size=5))
def test_all_rules_that_fit_are_found_and_no_other(written, segments):
    path = "/" + "/".join(segments)
    rules = Rules({f"e{number}": EventRule(match=(EventMatch(path=one),)) for number, one in enumerate(written)})
    watched = rules.watch(head(path))
    found: dict[str, list[str]] = {}
    while watched is not None:
        for rule in watched.rules:
            found[rule.path] = [value.decode() for value in watched.found]
        watched = watched.more
    assert found == {one: names for one in written if (names := naive(one, path)) is not None}


def only(take: dict[str, str], when: dict[str, str] | None = None, path: str = "/posts/{post}") -> Rules:
    rule = EventRule(match=(EventMatch(path=path),), take=take, when=when or {})  # type: ignore[arg-type]
    return Rules({"e": rule})


@pytest.mark.parametrize(
    ("source", "target", "answered", "value"),
    [
        ("path:post", "/posts/17", {}, "17"),
        ("path:post", "/posts/a%20b", {}, "a b"),
        ("query:q", "/posts/1?q=bread&x=2", {}, "bread"),
        ("query:q", "/posts/1", {}, None),
        ("query-length:q", "/posts/1?q=bread", {}, "5"),
        ("response-header:X-Kind", "/posts/1", {b"x-kind": b"topic"}, "topic"),
        ("response-header:X-Kind", "/posts/1", {}, None),
        ("location:/t/{topic}", "/posts/1", {b"location": b"/t/9?x"}, "9"),
        ("location:/t/{topic}", "/posts/1", {b"location": b"https://a.example/t/9#c"}, "9"),
        ("location:/t/{topic}", "/posts/1", {b"location": b"/u/9"}, None),
        ("=yes", "/posts/1", {}, "yes"),
    ],
)
def test_a_dimension_is_taken_from_where_it_is_said(source, target, answered, value):
    watched = only({"kind": source}).watch(head(target))
    assert watched is not None
    (rule,) = watched.rules
    assert rule.taken(watched.found, target.encode(), {}, answered).get("kind") == value


def test_what_is_taken_goes_before_what_the_path_says():
    watched = only({"post": "response-header:X-Post"}).watch(head("/posts/slug"))
    assert watched is not None
    (rule,) = watched.rules
    assert rule.taken(watched.found, b"/posts/slug", {}, {b"x-post": b"7"}) == {"post": "7"}
    assert rule.taken(watched.found, b"/posts/slug", {}, {}) == {"post": "slug"}


@pytest.mark.parametrize(
    ("wanted", "answered", "counts"),
    [
        ("*", {b"x-a": b"1"}, True),
        ("*", {}, False),
        ("1", {b"x-a": b"1"}, True),
        ("1", {b"x-a": b"2"}, False),
        ("", {}, True),
    ],
)
def test_a_condition_is_about_a_field_that_is_there_has_a_value_or_is_not(wanted, answered, counts):
    watched = only({}, {"response-header:X-A": wanted}).watch(head("/posts/1"))
    assert watched is not None
    assert watched.rules[0].counts(200, {}, answered) is counts
    assert watched.rules[0].counts(404, {}, answered) is False


def test_a_rule_for_every_method_holds_beside_those_for_one():
    events = {
        "any": EventRule(match=(EventMatch(path="/a"),)),
        "made": EventRule(match=(EventMatch(method=("POST",), path="/a"),)),
    }
    rules = Rules(events)
    for method, names in (("POST", {"any", "made"}), ("GET", {"any"}), ("PATCH", {"any"})):
        watched = rules.watch(head("/a", method))
        found = set()
        while watched is not None:
            found |= {rule.name for rule in watched.rules}
            watched = watched.more
        assert found == names


def test_paths_are_compared_as_routes_compare_them():
    rules = only({})
    assert rules.watch(head("/%70osts/1")) is not None
    assert rules.watch(head("//posts/1?x=//")) is not None
    assert rules.watch(head("/posts/")) is None
    assert Analytics().events == {}
