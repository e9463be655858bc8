"""One stored answer."""

from __future__ import annotations

from typing import Final

from balancer.http1.fields import Field, parse_line, recall

NEVER: Final = float("-inf")

Selecting = tuple[tuple[bytes, bytes | None], ...]
"""Fields of a request by lower-cased name, with their value as `variants.normalised` gives it, None where absent."""


class Entry:
    """A stored answer with everything that was worked out of it once. Times are monotonic seconds.

    `key` is of the URL (`keys.url_key`); `lane` and `vary` tell the answers of one URL apart. Fresh until
    `fresh_until`; from then on it may still be served while it is fetched anew until `revalidate_until`, in the place
    of a server's error until `error_until`, and when no server can be reached at all unless `strict`.
    """

    __slots__ = (
        "_etag",
        "_fields",
        "_tags",
        "body",
        "born",
        "checked",
        "encoded",
        "encodings",
        "error_until",
        "fresh_until",
        "groups",
        "hits",
        "key",
        "lane",
        "last_modified",
        "line",
        "main",
        "next",
        "previous",
        "revalidate_until",
        "size",
        "status",
        "strict",
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
        fields: tuple[Field, ...] | bytes,
    ) -> None:
        """`fields` may also be their lines."""
        self.key = key
        self.lane = lane  # the route and what else its rule tells apart by
        self.vary = vary  # empty: the same for everybody
        self.status = status
        self.line = line  # the status line with its CRLF
        self._fields: tuple[Field, ...] | bytes = fields
        self.body = b""
        self.born = 0.0  # when it was made by the server that made it: its age is now - born
        self.fresh_until = NEVER
        self.revalidate_until = NEVER
        self.error_until = NEVER
        self.strict = False  # never to be served stale (must-revalidate, proxy-revalidate, no-cache, s-maxage)
        self._etag: bytes | int | None = None
        self.last_modified: int | None = None  # Unix seconds
        self._tags: tuple[bytes, ...] | bytes = ()
        self.groups: tuple[bytes, ...] = ()  # RFC 9875
        self.checked = 0  # owner: the store. The last purge that it was held against
        self.size = 0  # owner: the store. Bytes it is counted with
        self.hits = 0
        self.encoded: object = None  # owner: the one that sends it. Its head, for one way of editing
        self.encodings: dict[bytes, bytes | None] | None = None  # bodies by coding; None: it did not pay
        # Owner: the store's policy.
        self.main = False  # in the main queue
        self.visited = False  # asked for since the policy looked last
        self.previous: Entry | None = None
        self.next: Entry | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Those that may be stored, without Age and Content-Length.

        In the store they are parsed anew each time: looked at once or twice in the life of an entry, they would take
        more memory than all the rest of its head, and each of them would be one more object for the collector to visit.
        """
        held = self._fields
        if isinstance(held, tuple):
            return held
        return tuple([recall(line) or parse_line(line) for line in held.split(b"\r\n")[:-1]])

    @property
    def lines(self) -> bytes:
        """The lines of the fields."""
        held = self._fields
        return held if isinstance(held, bytes) else b"".join([field.line for field in held])

    @property
    def etag(self) -> bytes | None:
        """As it came, W/ and quotes included."""
        held = self._etag
        if isinstance(held, int):
            lines = self.lines
            return lines[held : lines.index(b"\r\n", held)]
        return held

    @etag.setter
    def etag(self, etag: bytes | None) -> None:
        self._etag = etag

    @property
    def tags(self) -> tuple[bytes, ...]:
        """What it can be purged by; no tag has a space in it."""
        held = self._tags
        return held if isinstance(held, tuple) else tuple(held.split(b" "))

    @tags.setter
    def tags(self, tags: tuple[bytes, ...]) -> None:
        self._tags = tags

    def fold(self) -> None:
        """Take no more memory than needed: fields and tags are kept as bytes, and what comes twice is kept once."""
        held = self._fields
        lines = self._fields = held if isinstance(held, bytes) else self.lines
        if isinstance(self._etag, bytes):
            at = lines.find(b": %b\r\n" % self._etag)
            if at >= 0:
                self._etag = at + 2
        if self._tags and isinstance(self._tags, tuple):
            self._tags = b" ".join(self._tags)
        if self.revalidate_until == self.fresh_until:
            self.revalidate_until = self.fresh_until
        if self.error_until == self.fresh_until:
            self.error_until = self.fresh_until
