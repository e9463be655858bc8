"""Routes that answer by themselves, and targets that are rewritten: templates compiled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from balancer.guards.address import Networks
from balancer.http1.canned import TEXT
from balancer.http1.head import RequestHead
from balancer.http1.paths import match_path
from config.schema import Maintenance, Rewrite
from config.schema import Route as RouteSettings

_NAME: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MANY_SLASHES: Final = re.compile(rb"\A/{2,}")
_UNSAFE_IN_FIELD: Final = re.compile(rb"[^\x21-\x7e]")


class FixedAnswer:
    """A redirect, a fixed answer or the maintenance page."""

    __slots__ = ("_captures", "_location", "allow", "body", "content_type", "extra", "status")

    def __init__(self, status: int, body: bytes, content_type: bytes = TEXT, extra: bytes = b"") -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.extra = extra  # complete field lines
        self.allow = Networks(())  # of clients that are let through all the same
        self._location: str | None = None
        self._captures: re.Pattern[bytes] | None = None

    @classmethod
    def of(cls, route: RouteSettings) -> FixedAnswer:
        """The answer of a route with `redirect` or `respond`."""
        if route.redirect is not None:
            answer = cls(route.redirect.status, b"")
            answer._location = route.redirect.to
            answer._captures = captures_of(route.match.path)
            return answer
        respond = route.respond
        assert respond is not None  # the loader refuses routes without any of the four
        extra = b"".join(b"%b: %b\r\n" % (n.encode(), v.encode("latin-1")) for n, v in respond.headers.items())
        return cls(respond.status, respond.body.encode(), respond.content_type.encode(), extra)

    @classmethod
    def for_maintenance(cls, maintenance: Maintenance) -> FixedAnswer:
        extra = b"Retry-After: %d\r\n" % round(maintenance.retry_after)
        answer = cls(maintenance.status, maintenance.body.encode(), maintenance.content_type.encode(), extra)
        answer.allow = Networks(maintenance.allow)
        return answer

    def fields(self, head: RequestHead) -> bytes:
        """The answer's own field lines for this request."""
        if self._location is None:
            return self.extra
        path, query = match_path(head.target), head.target.partition(b"?")[2]
        values = {"host": head.host, "path": path, "query": query}
        if self._captures is not None and (match := self._captures.fullmatch(path)):
            values |= match.groupdict()
        place = _UNSAFE_IN_FIELD.sub(b"", _fill(self._location, values)).replace(b"\\", b"%5C")
        if self._location[:1] in ("/", "{") and not self._location.startswith("//"):
            # What the client wrote must not turn a path into another site's address ("//evil.example").
            place = _MANY_SLASHES.sub(b"/", place)
        return b"Location: %b\r\n" % place


def captures_of(pattern: str) -> re.Pattern[bytes]:
    """A path pattern as an expression whose groups are its captures; `rest` is what /** stands for."""
    parts = []
    segments = pattern[1:].split("/")
    for position, segment in enumerate(segments):
        if segment == "**" and position == len(segments) - 1:
            parts.append("(?:/(?P<rest>.*))?")
        elif name := _NAME.fullmatch(segment):
            parts.append(f"/(?P<{name[1]}>[^/]+)")
        else:
            parts.append("/" + re.escape(segment))
    return re.compile("".join(parts).encode("utf-8"), re.DOTALL)


def _fill(template: str, values: Mapping[str, bytes | None]) -> bytes:
    parts = _NAME.split(template)  # text and names take turns
    return b"".join((values.get(p) or b"") if i % 2 else p.encode("utf-8") for i, p in enumerate(parts))


def rewriter(rewrite: Rewrite, pattern: str) -> Callable[[bytes], bytes]:
    """The function from the client's target to the server's; the query stays as it is."""
    strip = (rewrite.strip_prefix or "").encode("utf-8").rstrip(b"/")
    add = (rewrite.add_prefix or "").encode("utf-8").rstrip(b"/")
    captures = captures_of(pattern)
    whole = rewrite.path

    def rewritten(target: bytes) -> bytes:
        _, mark, query = target.partition(b"?")
        path = match_path(target)
        if whole is not None:
            match = captures.fullmatch(path)
            path = _fill(whole, match.groupdict() if match else {})
        elif strip and (path == strip or path.startswith(strip + b"/")):
            path = path[len(strip) :] or b"/"
        path = add + path
        return (path if path[:1] == b"/" else b"/" + path) + mark + query

    return rewritten
