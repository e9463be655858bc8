"""Cache-Status: RFC 9211."""

from __future__ import annotations

from typing import Any

from http_sf import parse
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.cache_status import line


def told(**said: Any) -> dict[str, Any]:
    text = line(**said)
    assert text.startswith(b"Cache-Status: ")
    assert text.endswith(b"\r\n")
    members: Any = parse(text[len(b"Cache-Status: ") : -2], tltype="list")
    ((name, parameters),) = members
    assert str(name) == "balancer"
    return {key: str(value) if not isinstance(value, int) else value for key, value in parameters.items()}


def test_a_hit_says_how_long_it_is_fresh() -> None:
    """Sections 2.1 and 2.4."""
    assert line(hit=True, ttl=60) == b"Cache-Status: balancer; hit; ttl=60\r\n"
    assert told(hit=True, ttl=-5) == {"hit": True, "ttl": -5}


def test_what_was_forwarded_says_why_and_what_became_of_it() -> None:
    """Sections 2.2, 2.3, 2.5 and 2.6."""
    assert told(fwd=b"stale", fwd_status=304, stored=True, collapsed=True, ttl=5) == {
        "fwd": "stale",
        "fwd-status": 304,
        "ttl": 5,
        "stored": True,
        "collapsed": True,
    }


def test_a_hit_was_not_forwarded() -> None:
    """Section 2.2: one excludes the other."""
    assert told(hit=True, fwd=b"stale", fwd_status=200) == {"hit": True}


@given(st.binary(max_size=50), st.binary(min_size=1, max_size=50))
def test_any_key_and_detail_can_be_told(key: bytes, detail: bytes) -> None:
    """Sections 2.7 and 2.8."""
    visible = bytes(code for code in key if 0x20 <= code <= 0x7E).decode()
    assert told(fwd=b"uri-miss", key=key, detail=detail)["key"] == visible
