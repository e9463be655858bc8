"""Header edits of configuration, pool and route, compiled once into what a head needs when it is sent on."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from balancer.http1.careful import Careful
from balancer.http1.fields import Field, usual
from balancer.http1.tag_fields import TagFields
from config.schema import HeaderEdits, Headers, SecurityHeaders


class Edits:
    """Which fields go, which come, and what is said about the client. Built per route and pool, read per request."""

    __slots__ = (
        "careful",
        "for_cdn",
        "forwarded",
        "host",
        "pass_server",
        "request_add",
        "request_drop",
        "request_gone",
        "request_id",
        "response_add",
        "response_drop",
        "tags",
        "trace",
        "tunnels",
        "via",
        "x_forwarded",
    )

    def __init__(
        self,
        headers: Headers,
        upgrades: Iterable[str] = ("websocket",),
        security: SecurityHeaders | None = None,
        tags: TagFields | None = None,
        gone: Iterable[str] = (),
    ) -> None:
        """`upgrades` are the protocols that may be asked for in an Upgrade field; `tags` are for the CDN alone.

        `gone` are fields of clients that no server is told, whatever `headers` say.
        """
        self.tunnels = frozenset(name.lower().encode("ascii") for name in upgrades)
        self.request_drop, self.request_add = _compile(headers.request)
        self.response_drop, self.response_add = _compile(headers.response)
        added = {name.lower().encode("ascii") for name in headers.response.add}
        self.careful = Careful(security, self.response_drop | added) if security is not None else None
        self.host: bytes | None = None
        for name, value in headers.request.set.items():
            if name.lower() == "host":
                self.host = value.encode("latin-1")
        self.x_forwarded = headers.forwarded in ("x-forwarded", "both")
        self.forwarded = headers.forwarded in ("forwarded", "both")
        self.via = headers.via.encode("ascii") if headers.via else b""
        self.request_id = headers.request_id.encode("ascii") if headers.request_id else b""
        own_id = {self.request_id.lower()} if self.request_id else set()
        if own_id & self.request_drop:
            self.request_id = b""  # the operator's edit says what the field has
        # What is left out of a client's fields. `request_drop` alone is left out of what is said about the client too.
        self.request_gone = self.request_drop | own_id | {usual(name.lower().encode("ascii")) for name in gone}
        self.pass_server = headers.server == "pass"
        self.trace = headers.trace
        self.tags: TagFields | None = None
        """How the CDN is told the tags of an answer; None: whom these edits are for is not told of any."""
        self.for_cdn: Edits | None = None
        """The same edits for what comes through the CDN, where that reads tags."""
        if tags is not None:
            self.response_drop |= tags.names
            if tags.speaks:
                self.for_cdn = copy(self)
                self.for_cdn.tags = tags

    def tag_line(self, fields: Iterable[Field]) -> bytes:
        """What an answer with these fields tells the CDN of its tags."""
        return b"" if self.tags is None else self.tags.line(fields)


def _compile(edits: HeaderEdits) -> tuple[frozenset[bytes], bytes]:
    """Lower-cased names to leave out, and complete lines to put in."""
    drop = frozenset(name.lower().encode("ascii") for name in (*edits.remove, *edits.set))
    pairs = [(n, v) for n, v in (*edits.set.items(), *edits.add.items()) if n.lower() != "host"]
    return drop, b"".join(b"%b: %b\r\n" % (n.encode("ascii"), v.encode("latin-1")) for n, v in pairs)
