"""What a stored answer may do for a request: RFC 9111 sections 4, 4.2.4 and 5.2.1, RFC 5861."""

from __future__ import annotations

from typing import Final

from balancer.cache.asks import Asks
from balancer.cache.entry import Entry

FRESH: Final = "fresh"
STALE_WHILE_REVALIDATE: Final = "stale-while-revalidate"
REVALIDATE: Final = "revalidate"


def use(entry: Entry, asks: Asks, now: float) -> str:
    """FRESH: serve it; STALE_WHILE_REVALIDATE: the same, and fetch it anew; REVALIDATE: ask a server first.

    What a client takes stale (max-stale) is FRESH, too. A client that says how old its answer may be takes no stale
    one unless it says that as well (RFC 9111 section 5.2.1.1).
    """
    wishes = asks.wishes
    if wishes.no_cache:
        return REVALIDATE
    if wishes.max_age is not None and now - entry.born > wishes.max_age:
        return REVALIDATE
    left = entry.fresh_until - now
    if left > 0:
        return FRESH if wishes.min_fresh is None or left >= wishes.min_fresh else REVALIDATE
    if not _takes_stale(entry, asks, now):
        return REVALIDATE
    if now < entry.revalidate_until:
        return STALE_WHILE_REVALIDATE
    return FRESH if wishes.max_stale is not None else REVALIDATE


def _takes_stale(entry: Entry, asks: Asks, now: float) -> bool:
    """Whether neither the answer nor the request forbids that it is served stale."""
    wishes = asks.wishes
    if entry.strict or wishes.no_cache or wishes.min_fresh is not None:
        return False
    if wishes.max_stale is not None:
        return now - entry.fresh_until <= wishes.max_stale
    return wishes.max_age is None


def may_serve_on_error(entry: Entry, asks: Asks, now: float) -> bool:
    """Whether it may stand in for a server's error (RFC 5861 section 4), whatever age the request asks for.

    Where both the answer and the request say for how long, both have to allow it.
    """
    if asks.wishes.no_cache:
        return False
    if now < entry.fresh_until:
        return True
    if entry.strict:
        return False
    until = entry.error_until
    asked = asks.wishes.stale_if_error
    if asked is not None:
        until = entry.fresh_until + asked if until <= entry.fresh_until else min(until, entry.fresh_until + asked)
    return now < until


def may_serve_unreachable(entry: Entry, asks: Asks, now: float) -> bool:
    """Whether it may be served when no server can be reached (RFC 9111 section 4.2.4): unless that is forbidden."""
    wishes = asks.wishes
    if wishes.max_age is not None and now - entry.born > wishes.max_age:
        return False
    if now < entry.fresh_until:
        return not wishes.no_cache and (wishes.min_fresh is None or entry.fresh_until - now >= wishes.min_fresh)
    return _takes_stale(entry, asks, now)
