"""Validation: RFC 9110 section 13, RFC 9111 section 4.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.conditions import MOST_VALIDATED, etags, freshened, not_modified, selected, validators
from balancer.cache.entry import Entry
from balancer.cache.storing import Refused
from tests.cache.heads import NOW, PLAIN, TEXT, WALL, asks, date, refused, request, response, stored, value

MAX = "Cache-Control: max-age=60"
ETAG = st.text(st.characters(min_codepoint=0x23, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=8).map(
    '"{}"'.format
)
WEAK = st.builds("{}{}".format, st.sampled_from(["", "W/"]), ETAG)


def renewed(entry: Entry, *lines: str, of: tuple[str, ...] = (), method: str = "GET", dated: bool = True) -> Entry:
    made = _renewed(entry, *lines, of=of, method=method, dated=dated)
    assert isinstance(made, Entry), made.reason
    return made


def _renewed(
    entry: Entry, *lines: str, of: tuple[str, ...] = (), method: str = "GET", dated: bool = True
) -> Entry | Refused:
    head = request(*of, method=method)
    answer = response(*lines, status=304, dated=dated)
    return freshened(entry, head, asks(*of), answer, PLAIN, asked=NOW + 100, now=NOW + 100, wall=WALL + 100)


# What a client has already.


@given(st.lists(WEAK, max_size=5), WEAK)
def test_a_client_has_what_is_in_its_list_by_the_weak_comparison(have: list[str], stored_etag: str) -> None:
    """RFC 9110 sections 13.1.2 and 8.8.3.2."""
    entry = stored(MAX, f"ETag: {stored_etag}")
    expected = stored_etag.removeprefix("W/") in [text.removeprefix("W/") for text in have]
    assert not_modified(asks("If-None-Match: " + ", ".join(have)), entry) == expected
    assert not_modified(asks(*(f"If-None-Match: {text}" for text in have)), entry) == expected


@given(st.lists(WEAK))
def test_a_list_of_etags_is_taken_apart_as_it_was_put_together(texts: list[str]) -> None:
    """RFC 9110 section 8.8.3: commas may stand in them."""
    assert etags(" , ".join(texts).encode("latin-1")) == [text.encode("latin-1") for text in texts]


@pytest.mark.parametrize("text", ["a", '"a', 'a"', 'w/"a"', '"a""b"', '"x", a', "**", '*, "a"', ""])
def test_what_is_no_list_of_etags_matches_nothing(text: str) -> None:
    entry = stored(MAX, 'ETag: "a"', "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")
    assert not not_modified(asks(f"If-None-Match: {text}", f"If-Modified-Since: {date()}"), entry)


def test_a_star_matches_whatever_is_there() -> None:
    """RFC 9110 section 13.1.2."""
    assert not_modified(asks("If-None-Match: *"), stored(MAX))


def test_a_date_counts_against_last_modified_or_date() -> None:
    """RFC 9111 section 4.3.2."""
    entry = stored(MAX, f"Last-Modified: {date(-100)}")
    assert not_modified(asks(f"If-Modified-Since: {date(-100)}"), entry)
    assert not not_modified(asks(f"If-Modified-Since: {date(-101)}"), entry)
    assert not not_modified(asks("If-Modified-Since: yesterday"), entry)
    assert not not_modified(asks(f"If-Modified-Since: {date()}", f"If-Modified-Since: {date()}"), entry)
    assert not_modified(asks(f"If-Modified-Since: {date()}"), stored(MAX))
    assert not not_modified(asks(f"If-Modified-Since: {date(-1)}"), stored(MAX))


@pytest.mark.parametrize("status", [301, 404, 503])
def test_conditions_are_for_successes(status: int) -> None:
    """RFC 9110 section 13.2.1."""
    entry = stored(MAX, 'ETag: "a"', f"Last-Modified: {date(-100)}", status=status)
    assert not not_modified(asks('If-None-Match: "a"'), entry)
    assert not not_modified(asks(f"If-Modified-Since: {date()}"), entry)


@given(TEXT, TEXT)
def test_no_condition_is_too_odd(one: str, other: str) -> None:
    entry = stored(MAX, 'ETag: "a"')
    assert not_modified(asks(f"If-None-Match: {one}"), entry) in (True, False)
    assert not_modified(asks(f"If-Modified-Since: {other}"), entry) in (True, False)


# What a server is asked.


def lines(entries: list[Entry]) -> list[bytes]:
    return [field.line for field in validators(entries)]


def test_one_answer_is_asked_about_by_all_that_it_has() -> None:
    """RFC 9111 section 4.3.1."""
    changed = "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"
    since = b"If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT\r\n"
    assert lines([stored(MAX, 'ETag: W/"a"', changed)]) == [b'If-None-Match: W/"a"\r\n', since]
    assert lines([stored(MAX, changed)]) == [since]
    assert lines([stored(MAX, 'ETag: "a"')]) == [b'If-None-Match: "a"\r\n']
    assert lines([stored(MAX, "ETag: a", "Last-Modified: 2020")]) == []
    assert lines([stored('Cache-Control: max-age=60, private="Last-Modified"', changed)]) == []


def test_several_answers_are_asked_about_by_their_etags_up_to_a_bound() -> None:
    """RFC 9111 section 4.3.1."""
    many = [stored(MAX, f'ETag: "{n}"', f"Last-Modified: {date(-n)}") for n in range(MOST_VALIDATED + 3)]
    (asked,) = validators([many[0], *many])
    assert asked.value.split(b", ") == [b'"%d"' % n for n in range(MOST_VALIDATED - 1)]


# Which of them a 304 means.


def test_a_strong_etag_means_the_same_strong_one() -> None:
    """RFC 9111 section 4.3.4."""
    weak, strong = stored(MAX, 'ETag: W/"a"'), stored(MAX, 'ETag: "b"')
    assert selected([weak, strong], response('ETag: "b"', status=304)) is strong
    assert selected([weak, strong], response('ETag: "a"', status=304)) is None
    assert selected([weak, strong], response('ETag: "c"', status=304)) is None
    assert selected([strong], response('ETag: "c"', status=304)) is None


def test_a_weak_validator_means_the_youngest_that_has_it() -> None:
    """RFC 9111 section 4.3.4."""
    old, young = stored(MAX, 'ETag: "a"', "Age: 50"), stored(MAX, 'ETag: W/"a"', "Age: 5")
    assert selected([old, young], response('ETag: W/"a"', status=304)) is young
    changed = f"Last-Modified: {date(-100)}"
    old, young = stored(MAX, changed, "Age: 50"), stored(MAX, changed, "Age: 5")
    assert selected([old, young], response(changed, status=304)) is young
    assert selected([old, young], response(f"Last-Modified: {date(-99)}", status=304)) is None
    assert selected([old, young], response("Last-Modified: x", status=304)) is None


def test_without_a_validator_it_means_the_only_one() -> None:
    one, other = stored(MAX, 'ETag: "a"'), stored(MAX, 'ETag: "b"')
    assert selected([one], response(status=304)) is one
    assert selected([one, other], response(status=304)) is None
    assert selected([], response(status=304)) is None


def test_an_etag_that_is_new_does_not_make_another_answer_of_one_known_by_its_date() -> None:
    dated = stored(MAX, f"Last-Modified: {date(-100)}")
    assert selected([dated], response('ETag: "a"', status=304)) is dated
    assert selected([dated], response('ETag: "a"', f"Last-Modified: {date(-9)}", status=304)) is None


# What a 304 changes.


def test_a_304_replaces_the_fields_that_it_has() -> None:
    """RFC 9111 section 3.2."""
    entry = stored(MAX, 'ETag: "a"', "X-It: 1", "X-It: 2", "X-Kept: 3")
    new = renewed(entry, "Cache-Control: max-age=5", 'ETag: "a"', "x-it: 4", "X-New: 5", f"Date: {date(99)}")
    assert [value(new, name) for name in ("X-It", "X-Kept", "X-New")] == [["4"], ["3"], ["5"]]
    assert value(new, "Cache-Control") == ["max-age=5"]
    assert value(new, "Date") == [date(99)]
    assert (new.born, new.fresh_until) == (NOW + 99, NOW + 104)


def test_a_304_does_not_change_what_describes_the_body() -> None:
    """RFC 9111 section 3.2."""
    entry = stored(MAX, 'ETag: "a"', "Content-Type: text/html", "Content-Encoding: br")
    entry.body = b"body"
    entry.encodings = {b"gzip": None}
    entry.hits = 7
    described = ("Content-Type: x/y", "Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "Content-Length: 3")
    new = renewed(entry, *described, 'ETag: W/"a"', "Content-MD5: x")
    assert value(new, "Content-Type") == ["text/html"]
    assert value(new, "Content-Encoding") == ["br"]
    assert value(new, "Content-Range") == value(new, "Content-MD5") == value(new, "Content-Length") == []
    assert new.etag == b'"a"'
    assert new.body is entry.body
    assert new.encodings is entry.encodings
    assert (new.hits, new.status, new.line, new.key, new.lane) == (7, 200, entry.line, entry.key, entry.lane)


def test_a_304_without_date_is_of_when_it_came() -> None:
    """RFC 9110 section 6.6.1; the old one would make it as old as that."""
    entry = stored(MAX, 'ETag: "a"')
    assert renewed(entry, dated=False).born == NOW + 100
    assert value(renewed(entry, dated=False), "Date") == [date(100)]
    assert renewed(entry, "Age: 30", dated=False).born == NOW + 70


def test_fields_of_the_hop_stay_out_and_take_nothing_with_them() -> None:
    """RFC 9111 section 3.1."""
    entry = stored(MAX, 'ETag: "a"', "X-Own: 1")
    new = renewed(entry, "Connection: X-Own, X-Hop", "X-Own: 2", "X-Hop: 3", "Keep-Alive: 4")
    assert value(new, "X-Own") == ["1"]
    assert value(new, "X-Hop") == value(new, "Keep-Alive") == []


def test_what_a_304_forbids_is_forbidden() -> None:
    """RFC 9111 sections 3 and 5.2.2."""
    entry = stored(MAX, 'ETag: "a"')
    for control in ("no-store", "private"):
        made = _renewed(entry, f"Cache-Control: {control}")
        assert made == Refused(control)
    assert _renewed(entry, MAX, of=("Authorization: x",)) == Refused("authorization")
    assert renewed(entry, "Cache-Control: no-cache").strict


def test_an_answer_is_renewed_for_the_variant_that_asked() -> None:
    """RFC 9111 section 4.3.4."""
    entry = stored(MAX, 'ETag: "a"', "Vary: Foo", "Cache-Tag: t", of=("Foo: 1",))
    new = renewed(entry, of=("Foo: 2",))
    assert (new.vary, new.tags) == (((b"foo", b"2"),), (b"t",))
    assert entry.vary == ((b"foo", b"1"),)


def test_a_head_can_renew_an_answer_to_get() -> None:
    """RFC 9111 section 4.3.5."""
    entry = stored(MAX, 'ETag: "a"')
    assert renewed(entry, method="HEAD").fresh_until == NOW + 60
    assert refused(MAX, method="HEAD") == "method"
