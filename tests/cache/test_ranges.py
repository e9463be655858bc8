"""Parts of what is stored whole: RFC 9110 section 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.ranges import UNSATISFIABLE, wanted
from tests.cache.heads import TEXT, asks, date, stored

MAX = "Cache-Control: max-age=60"
PLAIN = stored(MAX, 'ETag: "a"', f"Last-Modified: {date(-1)}")
NUMBER = st.none() | st.integers(0, 12) | st.integers(10**17, 10**30)
Part = tuple[int, int] | str | None


def part(text: str, size: int, *lines: str) -> Part:
    found = wanted(asks(f"Range: {text}", *lines), PLAIN, size)
    return "nothing" if found is UNSATISFIABLE else found  # type: ignore[return-value]  # it is the only one of its kind


@given(first=NUMBER, last=NUMBER, size=st.integers(0, 12))
def test_a_part_is_what_the_numbers_say(first: int | None, last: int | None, size: int) -> None:
    """RFC 9110 section 14.1.2, on the bytes themselves."""
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    found = part(text, size)
    body = bytes(range(size))
    if first is None and last is None:
        assert found is None
        return
    if first is None:
        assert last is not None
        expected = body[max(size - last, 0) :] if last else b""
    elif last is not None and last < first:
        assert found is None
        return
    else:
        expected = body[first:] if last is None else body[first : last + 1]
    if isinstance(found, tuple):
        assert 0 <= found[0] <= found[1] < size
        assert body[found[0] : found[1] + 1] == expected
    elif found is None:
        assert size == 0
        assert first is None
    else:
        assert expected == b""


@pytest.mark.parametrize(
    "text",
    ["bytes=a-b", "bytes=", "bytes=-", "bytes=5", "items=0-1", "bytes=0-1,3-4", "bytes= 0 - 1", "bytes=--1", "0-1"],
)
def test_what_is_not_one_range_gets_the_whole(text: str) -> None:
    """RFC 9110 section 14.2."""
    assert part(text, 10) is None


def test_units_letters_and_empty_members_do_not_matter() -> None:
    """RFC 9110 sections 14.1 and 5.6.1."""
    assert part("BYTES=0-3", 10) == part("bytes=,0-3 ,", 10) == part("bytes=000-0003", 10) == (0, 3)


def test_two_fields_are_two_ranges() -> None:
    assert part("bytes=0-3", 10, "Range: bytes=5-6") is None


@given(TEXT, TEXT, st.integers(0, 100))
def test_no_range_is_too_odd(text: str, condition: str, size: int) -> None:
    found = part(f"bytes={text}", size, f"If-Range: {condition}")
    assert not isinstance(found, tuple) or 0 <= found[0] <= found[1] < size


def test_a_number_of_any_length_is_one() -> None:
    assert part("bytes=1-" + "9" * 5000, 10) == (1, 9)
    assert part("bytes=" + "9" * 5000 + "-", 10) == "nothing"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('"a"', True),
        ('"b"', False),
        ('W/"a"', False),
        ("a", False),
        ("", False),
        (date(-1), True),
        (date(-2), False),
        (date(0), False),
        ('"a", "b"', False),
    ],
)
def test_if_range_holds_for_the_very_answer(condition: str, holds: bool) -> None:
    """RFC 9110 section 13.1.5."""
    assert part("bytes=0-3", 10, f"If-Range: {condition}") == ((0, 3) if holds else None)


def test_if_range_never_holds_for_what_is_weak() -> None:
    """RFC 9110 sections 8.8.2.2 and 13.1.5."""
    weak = stored(MAX, 'ETag: W/"a"', f"Last-Modified: {date()}")
    for condition in ('W/"a"', '"a"', date()):
        assert wanted(asks("Range: bytes=0-3", f"If-Range: {condition}"), weak, 10) is None


def test_parts_are_of_200_only() -> None:
    """RFC 9110 section 14.2."""
    assert wanted(asks("Range: bytes=0-3"), stored(MAX, status=404), 10) is None
    assert wanted(asks('If-Range: "a"'), PLAIN, 10) is None
