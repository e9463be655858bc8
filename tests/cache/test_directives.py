"""Cache-Control: RFC 9111 section 5.2."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.directives import LONGEST, Directives, Wishes, of_answer, of_request, split
from tests.cache.heads import DIRECTIVES, TEXT


def said(found: Directives | Wishes) -> dict[str, object]:
    return {name: getattr(found, name) for name in found.__slots__}


@given(DIRECTIVES, st.randoms())
def test_letters_white_space_and_empty_members_do_not_matter(directives: Sequence[str], rng: object) -> None:
    """RFC 9110 section 5.6.1, RFC 9111 section 5.2."""
    one = ",".join(directives).encode()
    other = " \t, ,".join(("", *(text.swapcase() for text in directives), "")).encode()
    assert said(of_answer(one)) == said(of_answer(other))


@given(DIRECTIVES, st.integers(0, 10))
def test_of_lifetimes_that_come_twice_the_shorter_one_holds(directives: Sequence[str], shorter: int) -> None:
    """RFC 9111 section 4.2.1: the first of several, or stale; the shorter one is never more than either."""
    value = ", ".join((*directives, f"max-age={shorter}"))
    before = of_answer(", ".join(directives).encode()).max_age
    assert of_answer(value.encode()).max_age == (shorter if before is None else min(before, shorter))


@given(TEXT, st.sampled_from(["no-store", "private", "no-cache", "must-revalidate", "proxy-revalidate"]))
def test_what_forbids_is_not_hidden_by_what_comes_before(text: str, forbids: str) -> None:
    """RFC 9111 section 4.2.1: the most restrictive directive is honoured."""
    if '"' in text:
        return  # a quoted string may hold anything
    found = of_answer(f"{text}, {forbids}".encode("latin-1"))
    assert getattr(found, forbids.replace("-", "_"))


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "", "'60'", "60s", "60 60", "+60", "0x3c", "60; public"])
def test_a_number_that_is_none_is_zero(text: str) -> None:
    """RFC 9111 section 4.2.1: invalid freshness information is stale."""
    assert of_answer(f"max-age={text}".encode()).max_age == 0
    assert of_answer(f"max-age=60, s-maxage={text}".encode()).s_maxage == 0
    assert of_answer(b"max-age").max_age == 0
    assert of_answer(b"max-age = 60").max_age == 0


@given(st.integers(0, 10**40), st.booleans(), st.integers(0, 9))
def test_a_number_is_no_more_than_it_says_or_can_be(number: int, quoted: bool, zeros: int) -> None:
    """RFC 9111 sections 1.2.2 and 5.2: clamped at 2^31, quoted or not."""
    digits = "0" * zeros + str(number)
    text = f'max-age="{digits}"' if quoted else f"max-age={digits}"
    assert of_answer(text.encode()).max_age == min(number, LONGEST)


def test_quotes_hide_commas_and_directives() -> None:
    """RFC 9110 section 5.6.4."""
    found = of_answer(rb'foo="a, no-store, \", private", max-age=60')
    assert (found.no_store, found.private, found.max_age) == (False, False, 60)


def test_an_open_quote_leaves_nothing_to_rely_on() -> None:
    found = of_answer(b'max-age=60, foo="no-store, max-age=3600')
    assert (found.no_store, found.max_age) == (True, 0)


def test_fields_that_are_listed_are_hidden_and_no_more() -> None:
    """RFC 9111 sections 5.2.2.4 and 5.2.2.7."""
    found = of_answer(b'private="X-One, x-two", no-cache="Set-Cookie"')
    assert (found.private, found.no_cache) == (False, False)
    assert found.hidden == {b"x-one", b"x-two", b"set-cookie"}


@pytest.mark.parametrize("argument", ['""', '"a(b"', '"x-one, <b>"', '"'])
def test_fields_that_have_no_names_are_all(argument: str) -> None:
    found = of_answer(f"private={argument}".encode())
    assert found.private
    assert of_answer(f"no-cache={argument}".encode()).no_cache


def test_what_is_qualified_and_unqualified_holds_for_all() -> None:
    """RFC 9111 section 4.2.1: the most restrictive one."""
    assert of_answer(b'private="x-one", private').private
    assert of_answer(b'no-cache, no-cache="x-one"').no_cache


def test_what_allows_does_not_count_with_an_argument() -> None:
    found = of_answer(b"public=no, must-understand=x, no-store=0, must-revalidate=0")
    assert (found.public, found.must_understand, found.no_store, found.must_revalidate) == (False, False, True, True)


def test_a_name_is_not_found_in_another() -> None:
    found = of_answer(b"x-no-store, no-stores, max-agee=1, x-max-age=2")
    assert (found.no_store, found.max_age) == (False, None)


@given(st.binary(max_size=600))
def test_no_bytes_are_too_odd(value: bytes) -> None:
    found = of_answer(value)
    assert found.max_age is None or 0 <= found.max_age <= LONGEST
    wishes = of_request(value)
    assert wishes.min_fresh is None or 0 <= wishes.min_fresh <= LONGEST
    split(value)


def test_the_wishes_of_a_request() -> None:
    """RFC 9111 section 5.2.1."""
    wishes = of_request(b'Max-Age="10", min-fresh=5, max-stale=7, no-store, only-if-cached, stale-if-error=3')
    assert (wishes.max_age, wishes.min_fresh, wishes.max_stale, wishes.stale_if_error) == (10, 5, 7, 3)
    assert (wishes.no_store, wishes.only_if_cached, wishes.no_cache) == (True, True, False)
    assert of_request(b"max-stale").max_stale == float("inf")


def test_a_wish_that_cannot_be_read_leaves_the_cache_the_least() -> None:
    wishes = of_request(b"max-age=x, min-fresh=x, max-stale=x")
    assert (wishes.max_age, wishes.min_fresh, wishes.max_stale) == (0, LONGEST, 0)
    twice = of_request(b"max-age=1, max-age=2, min-fresh=1, min-fresh=2, max-stale, max-stale=1")
    assert (twice.max_age, twice.min_fresh, twice.max_stale) == (1, 2, 1)


def test_pragma_counts_without_cache_control_only() -> None:
    """RFC 9111 section 5.4."""
    assert of_request(None, b"foo, No-Cache").no_cache
    assert not of_request(b"", b"no-cache").no_cache
    assert not of_request(b"max-age=5", b"no-cache").no_cache
    assert not of_request(None, b"").no_cache


@given(DIRECTIVES)
def test_a_long_value_says_the_same_as_a_short_one(directives: Sequence[str]) -> None:
    value = ", ".join(directives)
    assert said(of_answer(value.encode())) == said(of_answer(f"x={'y' * 300}, {value}".encode()))
