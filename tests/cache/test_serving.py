"""What a stored answer may do for a request: RFC 9111 sections 4, 4.2.4 and 5.2.1, RFC 5861."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.entry import Entry
from balancer.cache.serving import (
    FRESH,
    REVALIDATE,
    STALE_WHILE_REVALIDATE,
    may_serve_on_error,
    may_serve_unreachable,
    use,
)
from tests.cache.heads import NOW, asks, stored

WISHES = st.lists(
    st.one_of(
        st.sampled_from(["no-cache", "max-stale", "no-store", "only-if-cached"]),
        st.builds(
            "{}={}".format,
            st.sampled_from(["max-age", "min-fresh", "max-stale", "stale-if-error"]),
            st.integers(0, 100),
        ),
    ),
    max_size=3,
)


def entry(control: str = "max-age=60", age: int = 0) -> Entry:
    """It has a validator, so that it is kept when it is stale."""
    return stored(f"Cache-Control: {control}", f"Age: {age}", 'ETag: "a"')


def wish(text: str) -> Any:
    return asks(f"Cache-Control: {text}")


@pytest.mark.parametrize(
    ("age", "control", "wishes", "expected"),
    [
        (0, "max-age=60", "", FRESH),
        (59, "max-age=60", "", FRESH),
        (60, "max-age=60", "", REVALIDATE),
        (0, "max-age=60", "no-cache", REVALIDATE),
        (30, "max-age=60", "max-age=29", REVALIDATE),
        (30, "max-age=60", "max-age=30", FRESH),
        (30, "max-age=60", "min-fresh=30", FRESH),
        (30, "max-age=60", "min-fresh=31", REVALIDATE),
        (70, "max-age=60", "max-stale", FRESH),
        (70, "max-age=60", "max-stale=10", FRESH),
        (70, "max-age=60", "max-stale=9", REVALIDATE),
        (70, "max-age=60", "max-stale, min-fresh=0", REVALIDATE),
        (70, "max-age=60", "max-stale, max-age=69", REVALIDATE),
        (70, "max-age=60", "max-stale, max-age=70", FRESH),
        (70, "max-age=60, stale-while-revalidate=11", "", STALE_WHILE_REVALIDATE),
        (70, "max-age=60, stale-while-revalidate=10", "", REVALIDATE),
        (70, "max-age=60, stale-while-revalidate=20", "max-age=100", REVALIDATE),
        (70, "max-age=60, stale-while-revalidate=20", "max-stale=5", REVALIDATE),
        (70, "max-age=60, stale-while-revalidate=20", "max-stale=10", STALE_WHILE_REVALIDATE),
        (70, "max-age=60, stale-while-revalidate=20", "min-fresh=0", REVALIDATE),
        (70, "max-age=60, must-revalidate", "max-stale", REVALIDATE),
        (70, "max-age=60, proxy-revalidate, stale-while-revalidate=20", "", REVALIDATE),
        (70, "s-maxage=60, stale-while-revalidate=20", "max-stale", REVALIDATE),
        (0, "no-cache, max-age=60", "max-stale", REVALIDATE),
    ],
)
def test_what_is_used_how(age: int, control: str, wishes: str, expected: str) -> None:
    """RFC 9111 sections 4.2.4 and 5.2.1."""
    assert use(entry(control, age), wish(wishes), NOW) == expected


@given(WISHES, st.integers(0, 150), st.sampled_from(["max-age=60", "max-age=60, stale-while-revalidate=30"]))
def test_nothing_stale_is_used_beyond_what_both_sides_allow(wishes: list[str], age: int, control: str) -> None:
    """RFC 9111 section 4.2.4."""
    verdict = use(entry(control, age), wish(", ".join(wishes)), NOW)
    if verdict is REVALIDATE:
        return
    assert "no-cache" not in wishes
    stale = age - 60
    numbers: dict[str, list[int]] = {}
    for text in wishes:
        name, _, number = text.partition("=")
        if number:
            numbers.setdefault(name, []).append(int(number))
    assert all(age <= most for most in numbers.get("max-age", []))
    assert all(-stale >= least for least in numbers.get("min-fresh", []))
    if stale >= 0:
        assert all(stale <= most for most in numbers.get("max-stale", []))
        assert "max-stale" in numbers or "max-stale" in wishes or ("revalidate" in control and stale < 30)


def test_an_error_is_replaced_within_the_window() -> None:
    """RFC 5861 section 4."""
    old = entry("max-age=60, stale-if-error=10", 65)
    assert may_serve_on_error(old, wish("max-age=0"), NOW)
    assert not may_serve_on_error(old, wish("no-cache"), NOW)
    assert may_serve_on_error(old, asks(), NOW + 4.9)
    assert not may_serve_on_error(old, asks(), NOW + 5)
    assert not may_serve_on_error(entry("max-age=60", 60), asks(), NOW)
    assert may_serve_on_error(entry("max-age=60, must-revalidate", 59), wish("max-age=0"), NOW)
    assert not may_serve_on_error(entry("max-age=60, must-revalidate, stale-if-error=99", 61), asks(), NOW)


def test_a_request_may_give_the_window_and_cannot_widen_that_of_the_answer() -> None:
    """RFC 5861 section 4.1: it is a directive of both."""
    assert may_serve_on_error(entry("max-age=60", 65), wish("stale-if-error=6"), NOW)
    assert not may_serve_on_error(entry("max-age=60", 65), wish("stale-if-error=5"), NOW)
    assert not may_serve_on_error(entry("max-age=60, stale-if-error=3", 65), wish("stale-if-error=99"), NOW)
    assert not may_serve_on_error(entry("s-maxage=60", 65), wish("stale-if-error=99"), NOW)


@pytest.mark.parametrize("forbids", ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"])
def test_nobody_gets_what_is_stale_where_that_is_forbidden(forbids: str) -> None:
    """RFC 9111 section 4.2.4."""
    assert not may_serve_unreachable(entry(f"max-age=60, {forbids}", 70), wish("max-stale"), NOW)


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ("", True),
        ("no-cache", False),
        ("max-age=100", False),
        ("max-age=100, max-stale", True),
        ("max-age=69, max-stale", False),
        ("min-fresh=0", False),
        ("max-stale=10", True),
        ("max-stale=9", False),
    ],
)
def test_what_is_stale_is_served_without_a_server_unless_the_request_forbids_it(wishes: str, expected: bool) -> None:
    """RFC 9111 section 4.2.4."""
    assert may_serve_unreachable(entry("max-age=60", 70), wish(wishes), NOW) == expected


@pytest.mark.parametrize(
    ("wishes", "expected"), [("", True), ("no-cache", False), ("max-age=29", False), ("min-fresh=31", False)]
)
def test_what_is_fresh_is_served_without_a_server_by_the_same_rules(wishes: str, expected: bool) -> None:
    assert may_serve_unreachable(entry("max-age=60, must-revalidate", 30), wish(wishes), NOW) == expected
