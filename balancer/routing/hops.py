"""What is answered on the way and not by a server: OPTIONS *, TRACE, Max-Forwards, and requests that go in circles."""

from __future__ import annotations

from typing import Final, NamedTuple

from balancer.http1.canned import TEXT
from balancer.http1.fields import SECRET
from balancer.http1.head import ALLOW, RequestHead
from balancer.routing.table import Route

ASKS_THE_WAY: Final = frozenset((b"OPTIONS", b"TRACE"))
"""Methods that may be for a proxy on the way (RFC 9110 section 7.6.2)."""
MOST_ROUNDS: Final = 5
"""How often our own name may stand in Via. Some balancers of one name in a row are usual; each round adds one."""


class HopAnswer(NamedTuple):
    """An answer without a server."""

    status: int
    body: bytes = b""
    content_type: bytes = TEXT
    extra: bytes = b""
    """Complete field lines."""
    reason: str = ""
    """What was wrong, for a status that says that something was."""


OPTIONS_OF_ALL: Final = HopAnswer(200, extra=ALLOW)
"""The answer to OPTIONS *, which asks about the server as a whole (RFC 9110 section 9.3.7)."""
_NO_TRACE: Final = HopAnswer(405, extra=ALLOW, reason="TRACE is not offered here")
_NO_CONTENT_IN_TRACE: Final = HopAnswer(400, reason="a TRACE request must have no content")
_CIRCLE: Final = HopAnswer(508, reason="the request goes in circles: its Via names this proxy too often")


def hop_answer(head: RequestHead, route: Route) -> HopAnswer | None:
    """The answer to a request whose method `ASKS_THE_WAY`, or None: it is for a server."""
    if head.method == b"TRACE":
        if not route.traces:
            return _NO_TRACE
        if head.common.has_body:
            return _NO_CONTENT_IN_TRACE
    left = head.value(b"max-forwards")
    if not left or left.strip(b"0"):  # another number, or none
        return None
    return HopAnswer(200, extra=ALLOW) if head.method == b"OPTIONS" else HopAnswer(200, _echo(head), b"message/http")


def circles(head: RequestHead, route: Route) -> HopAnswer | None:
    """The answer to a request that has come through here again and again, or None. Ask when it has a Via."""
    name = route.edits.via.lower()
    return _CIRCLE if name and head.common.via.count(name) >= MOST_ROUNDS else None


def _echo(head: RequestHead) -> bytes:
    """The request as it came, without what nobody else should see (RFC 9110 section 9.3.8)."""
    lines = [field.line for field in head.common.fields if field.name not in SECRET]
    return b"%b %b HTTP/1.%d\r\n%b\r\n" % (head.method, head.target, head.minor, b"".join(lines))
