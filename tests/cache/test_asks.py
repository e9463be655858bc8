"""What a request's own fields ask of a cache."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.asks import NAMES, asks_of
from tests.cache.heads import TEXT, asks, date, request


def test_a_usual_request_asks_for_nothing() -> None:
    usual = asks("Accept: */*", "Accept-Encoding: gzip, br", "Cookie: a=1", "User-Agent: x", "Referer: y", "DNT: 1")
    assert (usual.plain, usual.passes, usual.accept_encoding) == (True, False, b"gzip, br")
    assert asks().accept_encoding is None


@pytest.mark.parametrize("name", sorted(NAMES - {b"accept-encoding"}))
def test_what_is_looked_at_is_not_plain(name: bytes) -> None:
    assert not asks(f"{name.decode()}: x").plain


@pytest.mark.parametrize(
    "line",
    ['If-Match: "a"', f"If-Unmodified-Since: {date()}", "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: PUT"],
)
def test_what_only_a_server_can_judge_goes_past_the_cache(line: str) -> None:
    """RFC 9111 section 4.3.2."""
    assert asks(line).passes
    assert asks(line.replace("-", "_")).passes


def test_an_upgrade_goes_past_the_cache() -> None:
    """RFC 9110 section 7.8."""
    assert asks("Connection: upgrade", "Upgrade: websocket").passes
    assert not asks("Upgrade: websocket").passes


@pytest.mark.parametrize("name", ["Accept-Language", "Accept-Encoding", "X-Country"])
def test_what_connection_takes_away_goes_past_the_cache(name: str) -> None:
    """No server is sent it, so that nothing may be stored, or found, by it."""
    assert asks(f"{name}: x", f"Connection: {name}").passes
    assert not asks(f"{name}: x", "Connection: keep-alive, X-Other").passes
    assert not asks("Keep-Alive: 300", "TE: trailers", "Connection: Keep-Alive, TE", "Cookie: a=1").passes


def test_the_etag_takes_the_place_of_the_date() -> None:
    """RFC 9110 section 13.1.3."""
    both = asks('If-None-Match: "a"', f"If-Modified-Since: {date()}")
    assert (both.if_none_match, both.if_modified_since) == (b'"a"', None)


def test_lines_of_one_field_are_one_list() -> None:
    """RFC 9110 section 5.3."""
    assert asks("Cache-Control: max-age=5", "cache-control: no-cache").wishes.no_cache
    assert asks('If-None-Match: "a"', 'If-None-Match: "b"').if_none_match == b'"a", "b"'


def test_pragma_counts_beside_no_cache_control() -> None:
    """RFC 9111 section 5.4."""
    assert asks("Pragma: no-cache").wishes.no_cache
    assert not asks("Pragma: no-cache", "Cache-Control:").wishes.no_cache


def test_names_that_are_only_alike_mean_nothing_else() -> None:
    assert asks("Cache_Control: no-cache", "If_None_Match: *", "Range_: x").plain


def test_the_key_is_asked_for_by_its_name() -> None:
    assert asks("Balancer-Debug: key").wants_key
    assert not asks("Balancer-Debug: keys").wants_key


@given(st.lists(st.builds("{}: {}".format, st.sampled_from(sorted(name.decode() for name in NAMES)), TEXT), max_size=5))
def test_no_request_is_too_odd(lines: list[str]) -> None:
    head = request(*lines)
    made = asks_of(head.common)
    assert made.plain == all(line.startswith("accept-encoding:") for line in lines)
