"""Vary: RFC 9111 section 4.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.variants import matches, names_of, normalised, selecting, selection
from tests.cache.heads import TEXT, request, stored

MAX = "Cache-Control: max-age=60"
FIELD = st.sampled_from([b"foo", b"accept-encoding", b"accept-language", b"accept", b"cookie", b"user-agent"])


def same(name: str, one: str, other: str) -> bool:
    entry = stored(MAX, f"Vary: {name}", of=(f"{name}: {one}",))
    return matches(entry, request(f"{name}: {other}"))


@given(FIELD, TEXT)
def test_a_form_is_its_own_form(name: bytes, text: str) -> None:
    once = normalised(name, text.encode("latin-1"))
    assert normalised(name, once) == once


@given(TEXT, TEXT)
def test_requests_that_say_the_same_get_the_same(one: str, other: str) -> None:
    one, other = one.strip(), other.strip()
    assert same("Foo", one, one)
    if same("Foo", one, other):
        assert "".join(one.split()).replace(",", "") == "".join(other.split()).replace(",", "")


def test_white_space_between_members_means_nothing() -> None:
    """Section 4.1."""
    assert same("Foo", "a, b", "a ,\tb,")
    assert same("Accept", "text/html;q=0.5, */*", "text/html ; q=0.5,*/*")
    assert not same("Foo", "a b", "ab")
    assert not same("Foo", "a;b", "a; b")
    assert not same("Foo", "a, b", "b, a")


@pytest.mark.parametrize("name", ["User-Agent", "Cookie", "Referer", "If-Modified-Since"])
def test_a_comma_in_what_is_no_list_separates_nothing(name: str) -> None:
    assert not same(name, "a, b", "a,b")


def test_what_is_quoted_is_not_touched() -> None:
    assert not same("Foo", '"a, b"', '"a,b"')
    assert not same("Accept-Language", '"A"', '"a"')


def test_letters_mean_nothing_in_codings_and_languages_only() -> None:
    """RFC 9110 sections 8.4.1 and 8.5.1."""
    assert same("Accept-Encoding", "GZIP, Br", "gzip,br")
    assert same("Accept-Language", "de-AT", "DE-at")
    assert not same("Accept", "text/HTML;v=A", "text/html;v=a")
    assert not same("Foo", "a", "A")


def test_absent_is_the_same_as_absent_only() -> None:
    entry = stored(MAX, "Vary: Foo")
    assert matches(entry, request())
    assert not matches(entry, request("Foo:"))
    assert not matches(stored(MAX, "Vary: Foo", of=("Foo:",)), request())


def test_lines_of_one_field_are_one_list() -> None:
    """RFC 9110 section 5.3."""
    assert matches(stored(MAX, "Vary: Foo", of=("Foo: a, b",)), request("Foo: a", "foo: b"))


def test_fields_that_some_servers_cannot_tell_apart_are_compared_together() -> None:
    entry = stored(MAX, "Vary: Accept-Language")
    assert not matches(entry, request("Accept_Language: evil"))
    entry = stored(MAX, "Vary: Accept_Language", of=("Accept-Language: de",))
    assert not matches(entry, request())


def test_fields_that_some_servers_can_tell_apart_are_not_the_same() -> None:
    """Such a server has answered one who did not say Accept-Language at all."""
    entry = stored(MAX, "Vary: Accept-Language", of=("Accept_Language: de",))
    assert matches(entry, request("Accept_Language: de"))
    assert not matches(entry, request("Accept-Language: de"))


@pytest.mark.parametrize("name", ["User-Agent", "Cookie", "Origin"])
def test_two_lines_of_what_is_no_list_are_not_one(name: str) -> None:
    """Of two lines servers take the first, or the last."""
    entry = stored(MAX, f"Vary: {name}", of=(f"{name}: a", f"{name}: b"))
    assert matches(entry, request(f"{name}: a", f"{name}: b"))
    assert not matches(entry, request(f"{name}: a, b"))


def test_the_host_is_that_of_the_request() -> None:
    """RFC 9112 section 3.2.2: an absolute target has it."""
    entry = stored(MAX, "Vary: Host")
    assert matches(entry, request())
    assert not matches(entry, request(host="other.test"))
    assert matches(entry, request(target="http://site.test/x", host="other.test"))
    assert not matches(entry, request(target="http://other.test/x"))


def test_what_is_remembered_of_one_host_is_not_for_another() -> None:
    """Requests of one connection share their fields, and may each name a host in the target."""
    one, other = request(target="http://one.test/x"), request(target="http://two.test/x")
    other.common = one.common
    assert selection(b"Foo, Host", one) == ((b"foo", None), (b"host", b"one.test"))
    assert selection(b"Foo, Host", other) == ((b"foo", None), (b"host", b"two.test"))


def test_what_is_remembered_with_the_request_is_what_it_says() -> None:
    head = request("Foo: a,b", "Bar: 1")
    first = selecting((b"bar", b"foo", b"qux"), head)
    assert first == ((b"bar", b"1"), (b"foo", b"a,b"), (b"qux", None))
    assert selecting((b"foo",), head) == first[1:2]
    for number in range(200):
        assert selecting((b"x-%d" % number,), head) == ((b"x-%d" % number, None),)
    assert selecting((b"bar", b"foo", b"qux"), head) == first
    assert selection(b"Qux, foo,BAR", head) == selection(b"Qux, foo,BAR", head) == first
    assert selection(b"*", head) is None
    head.common.asks = None
    assert selecting((b"bar", b"foo", b"qux"), head) == first


def test_the_names_in_vary_come_once_each_in_order_and_in_lower_case() -> None:
    assert names_of(b"B, a, ,C,A") == (b"a", b"b", b"c")
    assert names_of(b"") == ()
    assert names_of(b"a, *") is None


@given(TEXT, TEXT)
def test_nothing_in_vary_is_too_odd(vary: str, text: str) -> None:
    names = names_of(vary.encode("latin-1"))
    assert names is None or selecting(names, request(f"Foo: {text}")) is not None
