"""What may be stored, and for how long it is fresh: RFC 9111 sections 3 and 4.2."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.entry import Entry
from balancer.cache.storing import HEURISTIC, MOST_GROUPS, MOST_TAGS, UNDERSTOOD, groups
from tests.cache.heads import (
    DIRECTIVES,
    NOW,
    TEXT,
    WALL,
    date,
    lifetime,
    refused,
    response,
    rule,
    stored,
    value,
    verdict,
)

MAX = "Cache-Control: max-age=60"
ETAG = 'ETag: "a"'
OLD = "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"


def cc(*directives: str) -> str:
    return "Cache-Control: " + ", ".join(directives)


# Section 3: what may be stored.


@pytest.mark.parametrize("status", [200, 201, 204, 299, 302, 400, 404, 418, 499, 500, 503, 599, 999])
def test_any_final_status_is_stored_when_it_says_for_how_long(status: int) -> None:
    """Section 3."""
    assert stored(MAX, status=status).status == status
    assert lifetime(f"Expires: {date(60)}", status=status) == 60


@pytest.mark.parametrize("status", [100, 103, 206, 304, 416])
def test_what_is_not_final_or_of_a_part_is_not_stored(status: int) -> None:
    """Sections 3 and 3.3; a 416 is about a range, and not about its URL."""
    assert refused(MAX, ETAG, status=status) in ("status", "partial")


@pytest.mark.parametrize("status", range(200, 600))
def test_without_a_lifetime_only_some_statuses_are_stored(status: int) -> None:
    """RFC 9110 section 15.1."""
    if status not in (206, 304, 416):
        assert (refused(OLD, status=status) == "") == (status in HEURISTIC)
        assert refused(OLD, cc("public"), status=status) == ""


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PUT", "DELETE", "QUERY"])
def test_answers_to_other_methods_are_not_stored(method: str) -> None:
    """Section 3."""
    assert refused(MAX, method=method) == "method"


@pytest.mark.parametrize("directive", ["no-store", "private"])
def test_what_forbids_storing_does_whatever_else_is_said(directive: str) -> None:
    """Sections 5.2.2.5 and 5.2.2.7."""
    assert refused(cc("public", "max-age=60", "s-maxage=60", directive), f"Expires: {date(60)}") == directive


@given(DIRECTIVES, st.sampled_from(["no-store", "private", "no-cache", "max-age=0", "s-maxage=0"]), st.booleans())
def test_one_more_restriction_never_makes_an_answer_storable_or_fresh_for_longer(
    directives: Sequence[str], restriction: str, first: bool
) -> None:
    """Section 4.2.1: the most restrictive directive is honoured."""
    if "must-understand" in directives or restriction.startswith("s-maxage"):
        return  # they allow something as well (sections 5.2.2.3 and 3.5)
    more = (restriction, *directives) if first else (*directives, restriction)
    before, after = (verdict(cc(*each), OLD, ETAG) for each in (directives, more))
    if isinstance(after, Entry) and isinstance(before, Entry):
        assert after.fresh_until <= before.fresh_until
        assert after.strict >= before.strict
    else:
        assert not isinstance(after, Entry)


def test_a_request_may_forbid_storing() -> None:
    """Section 5.2.1.5."""
    assert refused(MAX, of=("Cache-Control: no-store",)) == "request-no-store"


@pytest.mark.parametrize("status", [200, 299, 404, 499, 511, 599])
def test_must_understand_allows_what_is_understood_and_nothing_else(status: int) -> None:
    """Section 5.2.2.3."""
    known = "" if status in UNDERSTOOD else "must-understand"
    assert refused(cc("must-understand", "no-store", "max-age=60"), status=status) == known
    assert refused(cc("must-understand", "max-age=60"), status=status) == known
    assert refused(cc("must-understand", "private", "max-age=60"), status=status) == (known or "private")


@given(DIRECTIVES)
def test_an_answer_to_authorization_is_stored_only_when_it_says_that_it_may_be(directives: Sequence[str]) -> None:
    """Section 3.5."""
    allowed = any(d in ("public", "must-revalidate") or d.lower().startswith("s-maxage=") for d in directives)
    with_it = verdict(cc(*directives), ETAG, OLD, of=("Authorization: Basic eA==",))
    without = verdict(cc(*directives), ETAG, OLD)
    assert isinstance(with_it, Entry) == (allowed and isinstance(without, Entry))


def test_no_cache_alone_does_not_allow_to_store() -> None:
    """Section 3: it is not among what does."""
    assert refused(cc("no-cache"), ETAG, status=403) == "no-lifetime"
    assert refused(cc("no-cache"), ETAG) == ""


def test_what_must_be_checked_each_time_is_stored_when_it_can_be() -> None:
    """Section 5.2.2.4."""
    entry = stored(cc("no-cache", "max-age=60"), ETAG)
    assert (entry.fresh_until, entry.strict) == (NOW, True)
    assert stored(cc("max-age=0"), OLD).fresh_until == NOW
    assert refused(cc("no-cache", "max-age=60")) == "no-lifetime"
    assert refused(cc("no-cache", "max-age=60"), "ETag: unquoted", "Last-Modified: yesterday") == "no-lifetime"


def test_what_is_stale_from_the_start_is_stored_only_for_some_use() -> None:
    assert refused(MAX, "Age: 60") == "old"
    assert refused(MAX, "Age: 60", ETAG) == ""
    assert refused(cc("max-age=0", "stale-while-revalidate=60")) == ""
    assert refused(cc("max-age=0", "stale-if-error=60")) == ""
    assert refused(cc("max-age=0", "stale-if-error=60", "must-revalidate")) == "no-lifetime"
    assert refused(cc("max-age=0"), by=rule(stale_if_error=5)) == ""


def test_a_body_that_is_too_large_is_known_by_its_length() -> None:
    small = rule(cache_max_object=10)
    assert refused(MAX, "Content-Length: 11", by=small) == "too-large"
    assert refused(MAX, "Content-Length: 10", by=small) == ""
    assert refused(MAX, "Transfer-Encoding: chunked", by=small) == ""


# Sections 4.2.1 and 4.2.2: how long it is fresh.


def test_the_order_of_what_says_how_long() -> None:
    """Section 4.2.1."""
    assert lifetime(cc("max-age=2", "s-maxage=1"), f"Expires: {date(3)}") == 1
    assert lifetime(cc("max-age=2"), f"Expires: {date(3)}") == 2
    assert lifetime(f"Expires: {date(3)}") == 3


@pytest.mark.parametrize("expires", ["0", "-1", "", "tomorrow", "Fri, 01 Jan 2100 00:00:00 EST", "2100-01-01"])
def test_an_expires_that_is_no_date_is_past(expires: str) -> None:
    """Section 5.3, and nothing is guessed in its place."""
    assert stored(f"Expires: {expires}", OLD).fresh_until <= NOW
    assert refused(f"Expires: {expires}") == "no-lifetime"
    assert refused(f"Expires: {expires}", status=299) == "no-lifetime"


def test_of_two_dates_in_expires_none_counts() -> None:
    """Section 4.2.1: the first, or stale."""
    assert refused(f"Expires: {date(60)}", f"Expires: {date(90)}") == "no-lifetime"
    assert lifetime(f"Expires: {date(60)}", f"Expires: {date(60)}") == 60


def test_expires_counts_from_date_and_without_it_from_arrival() -> None:
    """Section 4.2.1."""
    assert lifetime(f"Date: {date(50)}", f"Expires: {date(60)}") == 10
    assert lifetime(f"Expires: {date(60)}", dated=False) == 60
    assert lifetime("Date: nonsense", f"Expires: {date(60)}") == 60


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(0, 10**6))
def test_what_is_guessed_is_a_share_of_the_time_since_it_was_changed(ago: int, share: float, longest: float) -> None:
    """Section 4.2.2."""
    by = rule(heuristic={"share": share, "longest": longest})
    assert lifetime(f"Last-Modified: {date(-ago)}", by=by) == pytest.approx(min(ago * share, longest), abs=1e-6)


def test_nothing_is_guessed_from_what_is_to_come() -> None:
    assert lifetime(f"Last-Modified: {date(60)}") == 0


@given(
    directives=DIRECTIVES,
    expires=st.none() | st.integers(-100, 10**6),
    age=st.none() | st.integers(0, 10**6),
    dated=st.integers(-(10**5), 10**5),
)
def test_nothing_is_fresh_for_longer_than_it_says(
    directives: Sequence[str], expires: int | None, age: int | None, dated: int
) -> None:
    """Section 4.2.1: by a reading of the directives that knows no clever cases."""
    lines = [cc(*directives), ETAG, f"Date: {date(dated)}"]
    if expires is not None:
        lines.append(f"Expires: {date(expires)}")
    if age is not None:
        lines.append(f"Age: {age}")
    entry = verdict(*lines)
    if not isinstance(entry, Entry):
        return
    said: dict[str, list[float]] = {}
    for directive in directives:
        name, _, number = directive.lower().partition("=")
        number = number.strip('"')
        said.setdefault(name, []).append(min(float(number), 2.0**31) if number.isdigit() else 0.0)
    if "s-maxage" in said:
        limit = min(said["s-maxage"])
    elif "max-age" in said:
        limit = min(said["max-age"])
    elif expires is not None:
        limit = float(expires - dated)
    else:
        limit = 0.0
    assert entry.fresh_until - entry.born == pytest.approx(limit, abs=1e-6)
    assert entry.fresh_until - NOW <= limit - (age or 0) + 1e-6


# Section 4.2.3: how old it is.


def age_by_the_rfc(lines: Sequence[str], request_time: float, response_time: float, now: float) -> float:
    """The calculation as section 4.2.3 writes it, on text, with the standard library's dates."""
    fields = [(name.strip().lower(), text.strip()) for name, _, text in (line.partition(":") for line in lines)]
    age_value = 0
    for text in [text for name, text in fields if name == "age"][:1]:
        first = text.split(",")[0].strip()
        if first and all(digit in "0123456789" for digit in first):
            age_value = min(int(first), 2**31)
    apparent_age = 0.0
    for text in [text for name, text in fields if name == "date"][:1]:
        date_value = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp()
        apparent_age = max(0, int(response_time) - date_value)
    response_delay = response_time - request_time
    corrected_age_value = age_value + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    resident_time = now - response_time
    return corrected_initial_age + resident_time


@given(
    age=st.none()
    | st.one_of(st.integers(0, 2**40).map(str), st.sampled_from(["", "x", "-5", "1.5", "7, 9", "3,x", "007"])),
    second_age=st.none() | st.integers(0, 100),
    dated=st.none() | st.integers(-(10**6), 10**6),
    took=st.floats(0, 100),
    fraction=st.floats(0, 0.999),
    later=st.floats(0, 10**5),
)
def test_the_age_is_that_of_the_rfc(
    age: str | None, second_age: int | None, dated: int | None, took: float, fraction: float, later: float
) -> None:
    """Section 4.2.3."""
    lines = [] if age is None else [f"Age: {age}"]
    if second_age is not None:
        lines.append(f"Age: {second_age}")
    if dated is not None:
        lines.append(f"Date: {date(dated)}")
    wall = WALL + fraction
    entry = stored(*lines, cc("max-age=9"), ETAG, dated=False, took=took, wall=wall)
    expected = age_by_the_rfc(lines, wall - took, wall, wall + later)
    assert NOW + later - entry.born == pytest.approx(expected, abs=1e-3)


def test_a_clock_that_goes_back_makes_nothing_younger_than_new() -> None:
    assert stored(MAX, took=-5.0).born == NOW


# Sections 3.1 and 3.2: which fields are stored.


def test_fields_of_the_hop_are_not_stored() -> None:
    """Section 3.1."""
    hop = ("Connection: X-Hop, ETag", "X-Hop: 1", "Keep-Alive: timeout=5", "Transfer-Encoding: chunked", "Upgrade: x")
    proxy = ("Proxy-Authenticate: x", "Proxy-Authentication-Info: x", "Proxy-Connection: x", "X-Request-Id: y")
    entry = stored(MAX, ETAG, "Age: 3", "X-Cache: MISS", *hop, *proxy, "X-All: 1", "x-all: 2", "Via: 1.1 other")
    assert {field.name for field in entry.fields} == {b"date", b"cache-control", b"etag", b"x-cache", b"x-all", b"via"}
    assert value(entry, "X-All") == ["1", "2"]


def test_fields_that_are_for_one_client_are_not_stored() -> None:
    """Sections 5.2.2.4 and 5.2.2.7."""
    entry = stored(
        cc("max-age=60", 'private="X-Mine"', 'no-cache="x-too"'), "X-Mine: 1", "X-Too: 2", "x-mine: 3", "X-Y: 4"
    )
    assert (value(entry, "x-mine"), value(entry, "x-too"), value(entry, "x-y")) == ([], [], ["4"])
    assert not entry.strict


@pytest.mark.parametrize("name", ["Content-Encoding", "content-type", "Vary", "Cache-Control"])
def test_an_answer_that_is_another_one_without_its_private_fields_is_not_stored(name: str) -> None:
    """Section 5.2.2.7."""
    assert refused(cc("max-age=60", f'private="{name}"'), "Content-Encoding: gzip") == "private"


def test_an_answer_without_date_is_of_when_it_came() -> None:
    """RFC 9110 section 6.6.1."""
    assert value(stored(MAX, dated=False), "Date") == [date()]
    assert value(stored(MAX, "Date: nonsense"), "Date") == [date()]
    assert value(stored(MAX, f"Date: {date(-5)}", f"Date: {date(-9)}"), "Date") == [date(-5)]


def test_only_what_is_an_etag_is_one() -> None:
    """RFC 9110 section 8.8.3."""
    assert stored(MAX, 'ETag: W/"a b"').etag is None
    assert stored(MAX, 'ETag: W/"a,b"').etag == b'W/"a,b"'
    for text in ("a", 'w/"a"', '"a" "b"', '"a', 'W/ "a"', ""):
        entry = stored(MAX, f"ETag: {text}")
        assert (entry.etag, value(entry, "ETag")) == (None, [text])
    assert stored(MAX, 'ETag: "a"', 'ETag: "b"').etag is None


# Set-Cookie.


def test_an_answer_with_a_cookie_is_stored_when_it_says_so() -> None:
    """Section 7.3."""
    assert value(stored(MAX, "Set-Cookie: a=1"), "Set-Cookie") == ["a=1"]
    assert refused(cc("public"), OLD, "Set-Cookie: a=1") == ""
    assert refused(OLD, "Set-Cookie: a=1") == "set-cookie"
    assert refused("Set-Cookie: a=1", by=rule(ttl=60)) == "set-cookie"
    assert refused("Set-Cookie: a=1", by=rule(negative={"404": 5}), status=404) == "set-cookie"
    assert refused(MAX, "Set-Cookie: a=1", by=rule(store_set_cookie="never")) == "set-cookie"
    hidden = cc("max-age=60", 'no-cache="Set-Cookie"')
    assert value(stored(hidden, "Set-Cookie: a=1", by=rule(store_set_cookie="never")), "Set-Cookie") == []


# Sections 4.2.4 and 5.2.2, RFC 5861: what is served stale.


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"])
def test_what_forbids_stale_answers_forbids_all_of_them(directive: str) -> None:
    """Section 4.2.4."""
    entry = stored(cc("max-age=60", "stale-while-revalidate=9", "stale-if-error=9", directive), ETAG)
    assert entry.strict
    assert entry.fresh_until == entry.revalidate_until == entry.error_until


def test_windows_of_stale_answers_begin_where_freshness_ends() -> None:
    """RFC 5861 sections 3 and 4."""
    entry = stored(cc("max-age=60", "stale-while-revalidate=5", "stale-if-error=7"), "Age: 10")
    assert (entry.fresh_until, entry.revalidate_until, entry.error_until) == (NOW + 50, NOW + 55, NOW + 57)
    by = rule(stale_while_revalidate=1, stale_if_error=2)
    entry = stored(MAX, by=by)
    assert (entry.revalidate_until, entry.error_until) == (NOW + 61, NOW + 62)
    entry = stored(cc("max-age=60", "stale-while-revalidate=0", "stale-if-error=x"), by=by)
    assert entry.revalidate_until == entry.error_until == NOW + 60


# Vary, tags, groups.


def test_what_varies_by_what_no_request_tells_is_not_stored() -> None:
    """Section 4.1."""
    for vary in ("*", "Foo, *", "*, Foo", "Foo, b@r", "X-Forwarded-For", "forwarded", "X-Request-ID", "Traceparent"):
        assert refused(MAX, f"Vary: {vary}") == "vary", vary
    assert refused(MAX, "Vary: Foo", "Vary: *") == "vary"
    assert refused(MAX, "Vary: " + ", ".join(f"X-{n}" for n in range(17))) == "vary"
    assert stored(MAX, "Vary: Foo, bar,,FOO", of=("Foo: 1",)).vary == ((b"bar", None), (b"foo", b"1"))


def test_tags_come_from_all_fields_that_the_cache_looks_at() -> None:
    entry = stored(MAX, "Surrogate-Key: a  b\tc", "Cache-Tag: d,e, a", "Cache-Tag: f", "X-Tag: g")
    assert entry.tags == (b"a", b"b", b"c", b"d", b"e", b"f")
    assert stored(MAX, "X-Tag: g", "Cache-Tag: d", by=rule(cache_tags=("x-TAG",))).tags == (b"g",)
    assert stored(MAX, "Cache-Tag: , ,").tags == ()


def test_an_answer_that_not_every_tag_could_purge_is_not_stored() -> None:
    assert refused(MAX, "Cache-Tag: " + ",".join(f"t{n}" for n in range(MOST_TAGS))) == ""
    assert refused(MAX, "Cache-Tag: " + ",".join(f"t{n}" for n in range(MOST_TAGS + 1))) == "tags"
    assert refused(MAX, "Cache-Tag: " + "x" * 257) == "tags"


def test_groups_are_a_list_of_strings() -> None:
    """RFC 9875 section 2."""
    assert stored(MAX, r'Cache-Groups: "a", "b\"c";x=1', 'Cache-Groups: "a"').groups == (b"a", b'b"c')
    for text in ("a", '"a", b', '"a",', "", '("a")', '"a" "b"', "1", '"\xe4"'):
        assert stored(MAX, f"Cache-Groups: {text}").groups == (), text
    many = ", ".join(f'"{n}"' for n in range(MOST_GROUPS + 5))
    assert len(groups(many.encode())) == MOST_GROUPS


# Rules.


def test_ttl_is_for_what_may_be_stored_and_is_no_error() -> None:
    by = rule(ttl=600)
    assert lifetime(by=by) == 600
    assert lifetime(cc("max-age=0"), "Age: 50", by=by) == 600
    assert lifetime(MAX, status=302, by=by) == 600
    assert refused(status=302, by=by) == "no-lifetime"
    assert refused(cc("no-store"), by=by) == "no-store"
    assert refused(cc("private"), by=by) == "private"
    assert lifetime(cc("no-cache"), ETAG, by=by) == 0
    assert lifetime(MAX, status=404, by=by) == 60
    assert refused(status=404, by=by) == "no-lifetime"
    assert not stored(cc("s-maxage=5"), by=by).strict
    assert stored(cc("s-maxage=5", "must-revalidate"), by=by).strict


def test_errors_that_say_nothing_may_be_kept_for_a_short_time() -> None:
    by = rule(negative={"404": 10, "5xx": 2, "4xx": 3, "429": 4})
    assert lifetime(status=404, by=by) == 10
    assert lifetime(status=403, by=by) == 3
    assert lifetime(status=503, by=by) == 2
    assert lifetime(status=429, by=by) == 4
    assert lifetime(MAX, status=404, by=by) == 60
    assert lifetime(f"Expires: {date(-5)}", ETAG, status=404, by=by) == -5
    assert refused(cc("no-store"), status=404, by=by) == "no-store"
    assert lifetime(cc("no-cache"), ETAG, status=404, by=by) == 0
    assert refused(cc("no-cache"), status=404, by=by) == "no-lifetime"


@pytest.mark.parametrize("status", [400, 401, 407, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426, 428, 431])
def test_an_error_that_one_client_brings_about_is_not_kept_for_all(status: int) -> None:
    assert refused(status=status, by=rule(negative={"4xx": 60})) in ("no-lifetime", "partial")


# Anything at all.

NAMES = st.sampled_from(
    [
        "Cache-Control",
        "Expires",
        "Age",
        "Date",
        "Vary",
        "ETag",
        "Last-Modified",
        "Set-Cookie",
        "Cache-Groups",
        "CDN-Cache-Control",
        "Cache-Tag",
    ]
)
VALUES = TEXT | st.sampled_from([date(9), "max-age=5", '"a"'])
LINES = st.lists(st.builds("{}: {}".format, NAMES, VALUES))


@given(LINES, st.sampled_from([200, 206, 302, 404]))
def test_nothing_that_a_server_says_is_too_odd(lines: list[str], status: int) -> None:
    made = verdict(*lines, "X-It: 1", status=status)
    if isinstance(made, Entry):
        assert value(made, "X-It") == ["1"]
        assert made.born <= NOW
        assert made.fresh_until <= made.revalidate_until
        assert made.fresh_until <= made.error_until
        assert len(value(made, "Date")) == 1
    else:
        assert made.reason


def test_what_is_stored_is_as_the_server_wrote_it() -> None:
    answer = response("Content-TYPE: Text/HTML", MAX)
    entry = stored("Content-TYPE: Text/HTML", MAX)
    assert entry.lines == b"".join(field.line for field in answer.fields)
    assert entry.line == answer.line
