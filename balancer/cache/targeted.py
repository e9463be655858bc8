"""Cache control that is meant for some caches only (RFC 9213), as structured fields (RFC 9651)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from http_sf import parse

from balancer.cache.directives import LONGEST, LONGEST_REMEMBERED, Directives, names_in
from balancer.http1.fields import Field

TARGETS: Final = (b"balancer-cache-control", b"cdn-cache-control")
"""The fields that are meant for this cache, those that say it more closely first."""
_FLAGS: Final = {
    "no-store": "no_store",
    "no-cache": "no_cache",
    "private": "private",
    "public": "public",
    "must-revalidate": "must_revalidate",
    "proxy-revalidate": "proxy_revalidate",
    "must-understand": "must_understand",
    "no-transform": "no_transform",
    "immutable": "immutable",
}
_FORBIDDING: Final = frozenset(("no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate"))
_SECONDS: Final = {
    "max-age": "max_age",
    "s-maxage": "s_maxage",
    "stale-while-revalidate": "stale_while_revalidate",
    "stale-if-error": "stale_if_error",
}


def targeted(fields: Sequence[Field]) -> Directives | None:
    """What an answer says to this cache in particular; then its Cache-Control and Expires are not for us."""
    for target in TARGETS:
        values = [field[1] for field in fields if field[0] == target]
        if values:
            value = values[0] if len(values) == 1 else b", ".join(values)
            found = _parsed(value) if len(value) <= LONGEST_REMEMBERED else _parsed.__wrapped__(value)
            if found is not None:
                return found
    return None


@lru_cache(256)
def _parsed(value: bytes) -> Directives | None:
    """None for what is no dictionary or is empty (RFC 9213 section 2.1).

    A directive with a value of another type than it has is not taken for what it does not say: a time is 0, what allows
    does not allow; what forbids does, however it is written. Parameters mean nothing, nor do unknown directives.
    """
    try:
        members = parse(value, tltype="dictionary")
    except (ValueError, KeyError, IndexError, UnicodeError, OverflowError):
        return None
    if not isinstance(members, dict) or not members:
        return None
    found = Directives()
    for name, item in members.items():
        value_of = item[0] if isinstance(item, tuple) else item
        if name in _SECONDS:
            proper = isinstance(value_of, int) and not isinstance(value_of, bool) and value_of >= 0
            setattr(found, _SECONDS[name], min(value_of, LONGEST) if proper else 0)
        elif name in _FLAGS:
            if name in ("no-cache", "private") and isinstance(value_of, str):
                fields = names_in(value_of.encode("latin-1", "replace"))
                if fields:
                    found.hidden |= fields
                    continue
                value_of = True
            if value_of is not False:
                setattr(found, _FLAGS[name], value_of is True or name in _FORBIDDING)
    return found
