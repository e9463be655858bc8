"""What the fields of an answer are to a cache, by number: those up to TAG are places in a list of their values."""

from __future__ import annotations

from typing import Final

from balancer.cache.targeted import TARGETS

CACHE_CONTROL: Final = 0
EXPIRES: Final = 1
AGE: Final = 2
DATE: Final = 3
VARY: Final = 4
ETAG: Final = 5
LAST_MODIFIED: Final = 6
SET_COOKIE: Final = 7
GROUPS: Final = 8
TARGETED: Final = 9
TAG: Final = 10
NOT_STORED: Final = 11
NOTHING: Final[tuple[bytes | None, ...]] = (None,) * (TAG + 1)

ROLES: Final[dict[bytes, int]] = {
    b"cache-control": CACHE_CONTROL,
    b"expires": EXPIRES,
    b"age": AGE,
    b"date": DATE,
    b"vary": VARY,
    b"etag": ETAG,
    b"last-modified": LAST_MODIFIED,
    b"set-cookie": SET_COOKIE,
    b"cache-groups": GROUPS,
    **dict.fromkeys(TARGETS, TARGETED),
    b"proxy-authenticate": NOT_STORED,  # RFC 9111 section 3.1
    b"proxy-authentication-info": NOT_STORED,
    b"proxy-authorization": NOT_STORED,
}
"""Of all rules; a rule adds the fields that name tags."""
