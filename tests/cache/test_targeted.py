"""Targeted cache control: RFC 9213."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.targeted import targeted
from tests.cache.heads import TEXT, lifetime, refused, response, stored


def test_the_closest_target_wins_over_all_others() -> None:
    """Section 2.2."""
    lines = ("Cache-Control: max-age=1", "CDN-Cache-Control: max-age=2", f"Expires: {0}")
    assert lifetime(*lines) == 2
    assert lifetime(*lines, "Balancer-Cache-Control: max-age=3") == 3


def test_cache_control_and_expires_mean_nothing_beside_it() -> None:
    """Section 2.2."""
    assert lifetime("Cache-Control: no-store, private", "CDN-Cache-Control: max-age=2") == 2
    assert refused("Cache-Control: max-age=60", "CDN-Cache-Control: no-store") == "no-store"
    assert refused("Cache-Control: max-age=60", "CDN-Cache-Control: foo") == "no-lifetime"
    assert refused("Expires: Fri, 01 Jan 2100 00:00:00 GMT", "CDN-Cache-Control: foo") == "no-lifetime"
    assert not stored("Cache-Control: must-revalidate", "CDN-Cache-Control: max-age=2").strict


@pytest.mark.parametrize(
    "value",
    ["", "max-age=60, &&&", "max-age=60,", "MAX-AGE=60", "max-age=60 private", 'max-age="60', "max-age=\xff", "("],
)
def test_what_is_no_dictionary_is_ignored(value: str) -> None:
    """Section 2.1: empty, or an error in parsing."""
    assert targeted(response(f"CDN-Cache-Control: {value}").fields) is None
    assert lifetime("Cache-Control: max-age=5", f"CDN-Cache-Control: {value}") == 5


def test_an_unreadable_target_leaves_the_word_to_the_next() -> None:
    """Section 2.2: the first with a valid value."""
    assert lifetime("Balancer-Cache-Control: =", "CDN-Cache-Control: max-age=7", "Cache-Control: no-store") == 7


@pytest.mark.parametrize("value", ["60.5", '"60"', "abc", "?1", ":NjA=:", "(60)", "-60", "@60"])
def test_a_time_of_another_type_is_none(value: str) -> None:
    """Section 2.1: values that violate the constraints are not consumed."""
    assert refused("Cache-Control: max-age=60", f"CDN-Cache-Control: max-age={value}") == "no-lifetime"
    guessed = ("Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", f"CDN-Cache-Control: max-age={value}")
    assert lifetime(*guessed) == 0


def test_lines_are_one_dictionary_in_which_the_last_member_counts() -> None:
    """RFC 9651 section 4.2.2."""
    assert lifetime("CDN-Cache-Control: max-age=60, public", "CDN-Cache-Control: max-age=30") == 30


def test_fields_are_listed_in_a_string() -> None:
    found = targeted(response('CDN-Cache-Control: max-age=5, private="x-one, X-Two", no-cache="Set-Cookie"').fields)
    assert found is not None
    assert (found.private, found.no_cache, found.hidden) == (False, False, {b"x-one", b"x-two", b"set-cookie"})


def test_what_forbids_does_so_in_any_type() -> None:
    assert refused("CDN-Cache-Control: max-age=60, no-store=1") == "no-store"
    assert refused("CDN-Cache-Control: max-age=60, private=()") == "private"
    assert lifetime("CDN-Cache-Control: max-age=60, no-cache=token", 'ETag: "a"') == 0
    assert refused("CDN-Cache-Control: max-age=60, public=1", of=("Authorization: x",)) == "authorization"
    assert refused("CDN-Cache-Control: max-age=60, no-store=?0") == ""


@given(st.one_of(TEXT, st.text('abc-=;,"?()10. :@%*', max_size=60)))
def test_no_value_is_too_odd(value: str) -> None:
    found = targeted(response(f"CDN-Cache-Control: {value}").fields)
    assert found is None or found.max_age is None or found.max_age >= 0
