"""Bots, duplicates, harmless values and shapes of traffic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.analytics.suggest import suggestions
from balancer.events.bots import is_bot
from balancer.events.duplicates import MOST, Duplicates
from balancer.events.safe import is_harmless
from balancer.events.shapes import Shapes


@pytest.mark.parametrize(
    "agent",
    [
        b"",
        b"  ",
        b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        b"curl/8.5.0",
        b"python-requests/2.32",
        b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)",
        b"kube-probe/1.31",
        b"Prometheus/2.53.0",
    ],
)
def test_a_program_is_known_by_its_name(agent):
    assert is_bot(agent)


@pytest.mark.parametrize(
    "agent",
    [
        b"Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
        b"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
        b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
        b"community-traffic",
    ],
)
def test_a_browser_or_an_app_is_none(agent):
    assert not is_bot(agent)


def test_the_same_within_the_window_is_a_duplicate_and_begins_it_anew():
    seen = Duplicates(2.0)
    assert [seen.is_one("a", at) for at in (0.0, 1.0, 2.5, 4.6)] == [False, True, True, False]
    assert not seen.is_one("b", 4.6)
    assert not Duplicates(0.0).is_one("a", 1.0)


def test_what_is_remembered_of_duplicates_is_bounded():
    seen = Duplicates(1000.0)
    for number in range(MOST + 100):
        seen.is_one(number, 1.0)
    assert len(seen._seen) == len(seen._order) == MOST


@pytest.mark.parametrize(
    "value",
    ["17", "12345678901234567890", "nice-slug", "spam", "remove_post", "v1.2", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"],
)
def test_an_id_or_a_word_is_harmless(value):
    assert is_harmless(value)


@pytest.mark.parametrize(
    "value",
    [
        "jo@example.com",
        "192.0.2.7",
        "2001:db8::1",
        "+49-171-5550199",
        "0171-555-0199",
        "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0",
        "sess-planted-9f8e7d6c5b4a39281706",
        "a b",
        "x" * 41,
        "",
    ],
)
def test_what_may_be_somebodys_is_not(value):
    assert not is_harmless(value)


def test_paths_of_one_shape_are_counted_together_and_name_nobody():
    shapes = Shapes()
    for number in range(40):
        shapes.learn("POST", f"/api/communities/{number}/posts?token=abc".encode(), located=True)
        shapes.learn("POST", f"/api/users/jo{number}.smith/follow".encode(), located=False)
        shapes.learn("POST", b"/api/users/jo/follow", located=False)
        shapes.learn("POST", b"/api/users", located=True)
    found = {(shape.method, shape.path): shape.count for shape in shapes.seen()}
    assert found == {
        ("POST", "/api/communities/*/posts"): 40,
        ("POST", "/api/users/*/follow"): 80,
        ("POST", "/api/users"): 40,
    }


def test_rules_are_suggested_for_what_no_rule_is_about():
    shapes = Shapes()
    for number in range(5):
        shapes.learn("POST", f"/api/communities/{number}/posts".encode(), located=True)
        shapes.learn("POST", b"/api/users", located=True)
        shapes.learn("POST", b"/api/imports", located=False)
    found = suggestions(shapes.seen(), {("POST", "/api/users")})
    assert [(one.event, one.path, one.why) for one in found] == [
        ("post_created", "/api/communities/{community}/posts", "5 successful POSTs on /api/communities/*/posts"),
        ("imports_post", "/api/imports", "5 successful POSTs on /api/imports"),
    ]
    assert "location:/posts/{post}" in found[0].rule


@given(st.lists(st.binary(max_size=30), max_size=200))
def test_whatever_paths_there_are_what_is_remembered_is_bounded(paths):
    shapes = Shapes()
    for path in paths:
        shapes.learn("POST", b"/" + path, located=False)
    assert len(shapes.seen()) <= 500
    assert sum(words.size() for words in shapes._methods.values()) <= 2100
