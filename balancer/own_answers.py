"""Answers that no server gives: redirects, fixed texts, refusals and errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from time import monotonic
from typing import Final, NamedTuple, Protocol

from balancer.decision import Decision
from balancer.guards.verdict import Refusal
from balancer.http1 import canned
from balancer.http1.careful import is_secure
from balancer.http1.error_page import ErrorPage
from balancer.http1.head import RequestHead
from balancer.listening import Listener
from balancer.proxy.client_connection import ClientConnection
from balancer.routing import Route
from balancer.routing.hops import HopAnswer
from balancer.tally import ListenerTally, RouteTally

UNROUTED: Final = "-"
"""The route's name in figures and logs for requests that match none."""

Count = Callable[[Decision, ListenerTally, RouteTally], None]


class Arrival(NamedTuple):
    """A request that has come, with all that is known of it."""

    listener: Listener
    client: ClientConnection
    head: RequestHead
    decision: Decision
    route: Route | None = None
    """None: it is not known yet, or there is none."""


class House(Protocol):
    """What own answers find around them."""

    rng: Random
    date: bytes
    error_page: ErrorPage
    listeners: Mapping[str, Listener]


class OwnAnswers:
    """Gives them, and has each counted."""

    def __init__(self, house: House, unrouted: RouteTally, count: Count) -> None:
        """`unrouted` is for requests that match no route."""
        self._house = house
        self._unrouted = unrouted
        self._count = count

    def answer(
        self,
        arrival: Arrival,
        status: int,
        body: bytes,
        content_type: bytes = canned.TEXT,
        extra: bytes = b"",
        outcome: str = "answered",
    ) -> None:
        """Answer so. An unread body spoils the connection for further requests."""
        listener, client, head, decision, route = arrival
        if route is not None:
            self._name(decision, route)
            if route.edits.request_id:
                extra += b"%b: %b\r\n" % (route.edits.request_id, decision.request_id)
            extra += route.edits.response_add
            if route.edits.careful is not None:
                secure = is_secure(head, client.scheme, trusted=client.trusted)
                extra += route.edits.careful.beside(extra, secure=secure)
        extra += decision.extra
        common = head.common
        persistent = common.persistent and not common.has_body and not client.last
        bodiless = head.method == b"HEAD"
        client.send(
            canned.answer(
                status,
                body,
                date=self._house.date,
                content_type=content_type,
                extra=extra,
                without_body=bodiless,
                persistent=persistent,
                minor=head.minor,
            )
        )
        decision.route = route.name if route is not None else UNROUTED
        decision.status = status
        decision.outcome = outcome
        decision.bytes_out = 0 if bodiless else len(body)
        decision.finished = monotonic()
        self._count(decision, listener.tally, route.tally if route is not None else self._unrouted)
        client.finished(persistent)

    def turn_away(
        self, arrival: Arrival, status: int, reason: str, extra: bytes = b"", outcome: str = "refused"
    ) -> None:
        """Answer with an error, in the form that the client would rather have."""
        drop: Collection[bytes] = ()
        decision, route = arrival.decision, arrival.route
        if route is not None:
            drop = route.edits.response_drop
            self._name(decision, route)
        accept = arrival.head.value(b"accept")
        page = self._house.error_page
        body, kind, fields = canned.told(status, reason, decision.request_id, accept, page, drop)
        self.answer(arrival, status, body, kind, fields + extra, outcome)

    def refuse(self, arrival: Arrival, refusal: Refusal) -> None:
        """What a guard of the route has against it."""
        arrival.decision.guarded = refusal.why
        if refusal.why and arrival.route is not None:
            arrival.route.tally.guarded[refusal.why] += 1
        if refusal.body is None:
            self.turn_away(arrival, refusal.status, refusal.reason, refusal.extra)
        else:
            self.answer(arrival, refusal.status, refusal.body, refusal.content_type, refusal.extra, "refused")

    def hop(self, arrival: Arrival, own: HopAnswer) -> None:
        """What a proxy says itself."""
        if own.status >= 400:
            self.turn_away(arrival, own.status, own.reason, own.extra)
        else:
            self.answer(arrival, own.status, own.body, own.content_type, own.extra)

    def redirect(self, arrival: Arrival, to: str) -> None:
        """Of a listener that only sends its clients to another one, or to another site."""
        head = arrival.head
        if not head.host:
            self.turn_away(arrival, 400, "a redirect needs to know the host")
            return
        if to in self._house.listeners:
            place = _start_of_urls(_without_port(head.host), self._house.listeners[to])
        else:
            place = to.encode("utf-8").rstrip(b"/")
        extra = b"Location: %b%b\r\n" % (place, b"/" if head.target == b"*" else head.target)
        self.answer(arrival, 308, b"", extra=extra)

    def _name(self, decision: Decision, route: Route) -> None:
        """Give a request that no server gets an identifier, once."""
        if route.edits.request_id and not decision.request_id:
            decision.request_id = b"%032x" % self._house.rng.getrandbits(128)


def _start_of_urls(host: bytes, listener: Listener) -> bytes:
    """Where a listener's site begins; the port is left out where it goes without saying."""
    if listener.scheme == b"https" and listener.port == 443:
        return b"https://" + host
    return b"%b://%b:%d" % (listener.scheme, host, listener.port)


def _without_port(host: bytes) -> bytes:
    if host[:1] == b"[":
        return host[: host.find(b"]") + 1]
    return host.partition(b":")[0]
