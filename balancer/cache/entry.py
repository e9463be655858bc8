"""One stored answer."""

from __future__ import annotations

from typing import Final

from balancer.http1.fields import Field, parse_line

NEVER: Final = float("-inf")
_names: dict[bytes, Field] = {}  # some field of that name, as it is spelt
_MOST_NAMES: Final = 1024
# What CPython takes on a 64-bit machine beyond the bytes themselves; `python -m bench.cache_memory` holds it against
# tracemalloc and against the size of the process.
_BYTES: Final = 40  # of bytes: their head, and what the allocator rounds up
_LARGE: Final = 16  # more for a body that is not from the small blocks
_FIXED: Final = (
    256  # the entry, with the collector's head
    + 64  # its place in the store's dictionary: 24 bytes and an index, of which a part is always free; and its ghost
    + 4 * 24  # its times
    + 3 * 32  # its size, when it was modified, how often it was asked for
    + 4 * _BYTES  # key, lines, encoded head, body
    + 64  # what the encoded head is in
    + _LARGE
)

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
        return tuple([_field(line) for line in held.split(b"\r\n")[:-1]])

    @property
    def lines(self) -> bytes:
        """The lines of the fields."""
        held = self._fields
        return held if isinstance(held, bytes) else b"".join([field[4] for field in held])

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
        lines = self._fields
        if not isinstance(lines, bytes):
            lines = self._fields = b"".join([field[4] for field in lines])
        etag = self._etag
        if isinstance(etag, bytes):
            at = lines.find(b": %b\r\n" % etag)
            if at >= 0:
                self._etag = at + 2
        tags = self._tags
        if tags and isinstance(tags, tuple):
            self._tags = b" ".join(tags)
        fresh = self.fresh_until
        if self.revalidate_until == fresh:
            self.revalidate_until = fresh
        if self.error_until == fresh:
            self.error_until = fresh

    def weight(self) -> int:
        """The bytes that it takes once folded, with the head that is encoded of it when it is served."""
        held = self._fields
        lines = held if isinstance(held, bytes) else self.lines
        size = _FIXED + len(self.key) + len(self.line) + 2 * len(lines) + len(self.body)
        tags = self._tags
        if tags:
            size += _BYTES + (len(tags) if isinstance(tags, bytes) else sum(map(len, tags)) + len(tags))
        if self.vary:
            for _, value in self.vary:
                size += len(value or b"")  # mostly shared with many others
        if self.groups or len(self.lane) > 2:
            for part in (*self.groups, *self.lane[2:]):
                size += 2 * _BYTES + len(part or b"")
        if self.encodings:
            size += 256 + sum([_BYTES + _LARGE + len(body) for body in self.encodings.values() if body])
        return size


def _field(line: bytes) -> Field:
    """Parse a line as it stands in `Field.line`: it has been parsed before, so that only its name has to be known."""
    name, _, value = line.partition(b": ")
    known = _names.get(name)
    if known is None:
        known = parse_line(line)
        if len(_names) >= _MOST_NAMES:
            _names.clear()
        if len(name) <= 64:
            _names[bytes(name)] = Field(known.name, b"", b"", known.kind, b"", known.alike)
        return known
    line += b"\r\n"
    kind = known[3]
    return tuple.__new__(Field, (known[0], value, b"" if kind else line, kind, line, known[5]))
