"""What a stored answer may do for a request: RFC 9111 sections 4, 4.2.4 and 5.2.1, RFC 5861."""

from __future__ import annotations

from typing import Final

from balancer.cache.asks import Asks
from balancer.cache.entry import Entry

FRESH: Final = "fresh"
STALE_WHILE_REVALIDATE: Final = "stale-while-revalidate"
REVALIDATE: Final = "revalidate"


def use(entry: Entry, asks: Asks, now: float) -> str:
    """FRESH: serve it; STALE_WHILE_REVALIDATE: the same, and fetch it anew; REVALIDATE: ask a server first."""
    wishes = asks.wishes
    if wishes.no_cache:
        return REVALIDATE
    age = now - entry.born
    left = entry.fresh_until - now
    if wishes.max_age is not None and age > wishes.max_age:
        return REVALIDATE
    if left > 0:
        return FRESH if wishes.min_fresh is None or left >= wishes.min_fresh else REVALIDATE
    if wishes.min_fresh is not None:
        return REVALIDATE
    if wishes.max_stale is not None and not entry.strict and -left <= wishes.max_stale:
        return FRESH
    return STALE_WHILE_REVALIDATE if now < entry.revalidate_until else REVALIDATE


def may_serve_on_error(entry: Entry, asks: Asks, now: float) -> bool:
    """Whether it may stand in for a server's error (RFC 5861 section 4)."""
    if entry.strict or asks.wishes.no_cache:
        return False
    until = entry.error_until
    if asks.wishes.stale_if_error is not None:
        until = max(until, entry.fresh_until + asks.wishes.stale_if_error)
    return now < until


def may_serve_unreachable(entry: Entry, asks: Asks, now: float) -> bool:
    """Whether it may be served when no server can be reached (RFC 9111 section 4.2.4): unless that is forbidden."""
    wishes = asks.wishes
    return not (entry.strict or wishes.no_cache or wishes.max_age is not None or wishes.min_fresh is not None)
