"""What is asked for on a cached route, and what has been worked out of it."""

from __future__ import annotations

from random import Random
from typing import Final

from balancer.cache.asks import Asks
from balancer.cache.rules import Rule
from balancer.decision import Decision
from balancer.http1.edits import Edits
from balancer.http1.head import RequestHead
from balancer.proxy.sides import ClientSide
from balancer.routing import Route
from balancer.tally import ListenerTally

Lane = tuple[bytes | None, ...]

URI_MISS: Final = b"uri-miss"
VARY_MISS: Final = b"vary-miss"
STALE: Final = b"stale"
REQUEST: Final = b"request"
BYPASS: Final = b"bypass"
METHOD: Final = b"method"


class Order:
    """One request of a cached route, and its client."""

    __slots__ = (
        "alone",
        "asks",
        "client",
        "decision",
        "head",
        "key",
        "lane",
        "lane_cookie",
        "lease",
        "listener",
        "looked",
        "place",
        "route",
        "rule",
        "why",
    )

    def __init__(
        self,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        rule: Rule,
        decision: Decision,
        listener: ListenerTally,
        lane_cookie: bytes | None,
        asks: Asks,
        key: bytes,
        lane: Lane,
    ) -> None:
        self.client = client
        self.head = head
        self.route = route
        self.rule = rule
        self.decision = decision
        self.listener = listener
        self.lane_cookie = lane_cookie  # a Set-Cookie value for the answer, from the split that chose `route`
        self.asks = asks
        self.key = key
        self.lane = lane
        self.why = URI_MISS  # why it could not be answered from memory, a word of RFC 9211 section 2.2
        self.place = key, lane  # where its answers are: those of another lane are never for it
        self.looked = False  # Redis has been asked
        self.alone = False  # it has waited for an answer that was another's only: once is enough
        self.lease: object = None  # of Redis: this one is to ask a server

    @property
    def edits(self) -> Edits:
        """Those of the route for this client."""
        edits = self.route.edits
        return edits.for_cdn if edits.for_cdn is not None and self.client.trusted else edits

    def extra(self, rng: Random) -> bytes:
        """Field lines of this one answer, where it comes out of the cache: who asked, and its lane."""
        decision = self.decision
        edits = self.route.edits
        lines = decision.extra
        if edits.request_id:
            if not decision.request_id:
                decision.request_id = b"%032x" % rng.getrandbits(128)
            lines += b"%b: %b\r\n" % (edits.request_id, decision.request_id)
        if self.lane_cookie is not None:
            lines += b"Set-Cookie: %b\r\n" % self.lane_cookie
        return lines
