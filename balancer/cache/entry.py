"""One stored answer."""

from __future__ import annotations

from typing import Final

from balancer.http1.fields import Field

NEVER: Final = float("-inf")
OVERHEAD: Final = 600
"""Bytes that an entry is counted with beside its head and its body: itself and its places in the store."""

Selecting = tuple[tuple[bytes, bytes | None], ...]
"""Fields of a request by lower-cased name, with their value as `variants.normalised` gives it, None where absent."""


class Entry:
    """A stored answer with everything that was worked out of it once. Times are monotonic seconds.

    `key` is of the URL (`keys.url_key`); `lane` and `vary` tell the answers of one URL apart. Fresh until
    `fresh_until`; from then on it may still be served while it is fetched anew until `revalidate_until`, in the place
    of a server's error until `error_until`, and when no server can be reached at all unless `strict`.
    """

    __slots__ = (
        "body",
        "born",
        "checked",
        "encoded",
        "encodings",
        "error_until",
        "etag",
        "fields",
        "fresh_until",
        "groups",
        "hits",
        "key",
        "lane",
        "last_modified",
        "line",
        "next",
        "previous",
        "revalidate_until",
        "size",
        "status",
        "strict",
        "tags",
        "vary",
        "visited",
    )

    def __init__(
        self,
        key: bytes,
        lane: tuple[bytes | None, ...],
        vary: Selecting,
        status: int,
        line: bytes,
        fields: tuple[Field, ...],
    ) -> None:
        self.key = key
        self.lane = lane  # the route and what else its rule tells apart by
        self.vary = vary  # empty: the same for everybody
        self.status = status
        self.line = line  # the status line with its CRLF
        self.fields = fields  # those that may be stored, without Age and Content-Length
        self.body = b""
        self.born = 0.0  # when it was made by the server that made it: its age is now - born
        self.fresh_until = NEVER
        self.revalidate_until = NEVER
        self.error_until = NEVER
        self.strict = False  # never to be served stale (must-revalidate, proxy-revalidate, no-cache, s-maxage)
        self.etag: bytes | None = None  # as it came, W/ and quotes included
        self.last_modified: int | None = None  # Unix seconds
        self.tags: tuple[bytes, ...] = ()
        self.groups: tuple[bytes, ...] = ()  # RFC 9875
        self.checked = 0  # owner: the store. The last purge that it was held against
        self.size = 0  # owner: the store. Bytes it is counted with
        self.hits = 0
        self.encoded: object = None  # owner: the one that sends it. Its head, for one way of editing
        self.encodings: dict[bytes, bytes | None] | None = None  # bodies by coding; None: it did not pay
        # Owner: the store's policy.
        self.visited = False
        self.previous: Entry | None = None
        self.next: Entry | None = None
