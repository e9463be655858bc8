"""Where requests arrive: each is given its route, answered on the spot, or turned into an exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from ipaddress import ip_address
from random import Random
from time import monotonic
from typing import Final, Protocol

from balancer.cache.memory import Memory
from balancer.caching.shared_cache import SAFE, SharedCache
from balancer.decision import Decision
from balancer.events.rules import Rules
from balancer.guarding.checkpoint import Checkpoint
from balancer.guards.verdict import Refusal
from balancer.http1.error_page import OWN
from balancer.http1.fields import FORWARDED_FOR
from balancer.http1.head import RequestHead
from balancer.limits.overload import Overload
from balancer.listening import Listener
from balancer.own_answers import UNROUTED, Arrival, OwnAnswers
from balancer.proxy.client_connection import ClientConnection
from balancer.proxy.dialer import Dialer
from balancer.proxy.exchange import Exchange
from balancer.proxy.sides import Finished, Serving
from balancer.routing import Route, RouteTable, TwoWays
from balancer.routing.hops import ASKS_THE_WAY, OPTIONS_OF_ALL, circles, hop_answer
from balancer.tally import METHODS, ListenerTally, RouteTally

MOST_HOPS: Final = 32
"""Addresses of X-Forwarded-For that are looked at, from the right: a client can have a proxy pass on thousands."""
SOON: Final = b"Retry-After: 1\r\n"
CHANGING: Final = frozenset(("POST", "PUT", "PATCH", "DELETE"))
"""Methods of requests that may mean something for the product."""
_EXPECTED: Final = frozenset(("ok", "answered", "tunnel", "refused", "client-abort"))


class Observer(Protocol):
    """Reads finished decisions: the access log, the memory of last errors."""

    def observe(self, decision: Decision) -> None: ...


class EventObserver(Observer, Protocol):
    """Reads those that may be product events: `rules` says which those are, and `learn` is told of the others."""

    def learn(self, decision: Decision) -> None: ...

    @property
    def rules(self) -> Rules: ...


@dataclass
class Views:
    """What looks at finished decisions.

    `events` sees those that its rules have been told of at their beginning, `every` all of them, `failures` those that
    went wrong.
    """

    events: EventObserver | None = None
    every: Observer | None = None
    failures: Observer | None = None
    on_event: Callable[[str, str, str], None] = field(default=lambda event, where, detail: None)


class Reception:
    """Opens exchanges under the table of the moment, and counts how each request ended.

    It is what an exchange finds around it: the dialer, random numbers and the date.
    """

    def __init__(self, dialer: Dialer, views: Views, rng: Random, tally: RouteTally, overload: Overload) -> None:
        """`tally` counts requests that match no route; `overload` says which share of all is turned away.

        The cache has no room until it is given some.
        """
        self.table = RouteTable({})  # the one reference that a reload swaps
        self.listeners: Mapping[str, Listener] = {}
        self.rng = rng
        self.date = b""
        self.error_page = OWN  # swapped by a reload, too
        self.connect = dialer.connect
        self.gave_up = dialer.gave_up
        self._overload = overload
        self._views = views
        self._unrouted = tally
        self._own = OwnAnswers(self, tally, self._count)
        self.cache = SharedCache(self, Memory(0))
        self.refresh_date()

    def refresh_date(self) -> None:
        """Once a second: the Date of answers."""
        self.date = formatdate(usegmt=True).encode("ascii")
        for listener in self.listeners.values():
            listener.date = self.date

    def open(self, listener: Listener, client: ClientConnection, head: RequestHead) -> Serving | None:
        """Take a request: what is to be started, or None when it has been answered here."""
        decision = Decision(listener.name, client.address, monotonic())
        decision.method = head.method.decode("ascii")
        decision.host = head.host
        decision.target = head.target
        decision.version = b"1.1" if head.minor else b"1.0"
        decision.user_agent = head.common.user_agent
        decision.tls = client.tls
        if client.trusted:
            decision.client = _behind_proxies(listener, client, head)
        if self._overload.share and self.rng.random() < self._overload.share:
            listener.tally.rejected["overload"] += 1
            reason = "this site has more to do than it can: try again in a moment"
            self._own.turn_away(Arrival(listener, client, head, decision), 503, reason, SOON, "unserved")
            return None
        if listener.settings.redirect is not None:
            self._own.redirect(Arrival(listener, client, head, decision), listener.settings.redirect)
            return None
        if head.target == b"*":
            self._own.hop(Arrival(listener, client, head, decision), OPTIONS_OF_ALL)
            return None
        try:
            route = self.table.match(head)
        except TwoWays:
            reason = "the path can be read in two ways that this site treats differently"
            self._own.turn_away(Arrival(listener, client, head, decision), 400, reason)
            return None
        if route is None:
            reason = "no route of this site takes this request"
            self._own.turn_away(Arrival(listener, client, head, decision), 404, reason)
            return None
        if head.common.via and (own := circles(head, route)) is not None:
            self._own.hop(Arrival(listener, client, head, decision, route), own)
            return None
        guard = route.guard
        if guard is not None:
            try:
                verdict = guard.check(head, client, decision)
            except Exception as error:  # who can not be judged is not let in, and gives back what it has been given
                self.failed(Arrival(listener, client, head, decision, route), error)
                return None
            if verdict is None:
                return self.admit(listener, client, head, decision, route)
            arrival = Arrival(listener, client, head, decision, route)
            if isinstance(verdict, Refusal):
                self._own.refuse(arrival, verdict)
                return None
            return Checkpoint(_Return(self, arrival), client, head, route, decision, listener.tally, verdict)
        return self.admit(listener, client, head, decision, route)

    def admit(
        self, listener: Listener, client: ClientConnection, head: RequestHead, decision: Decision, route: Route
    ) -> Serving | None:
        """The route takes it: what is to be started, or None when it has been answered here."""
        if decision.substitution is not None:
            head = decision.substitution.applied(head)
        if self._views.events is not None:
            decision.event = self._views.events.rules.watch(head)
        if head.method in ASKS_THE_WAY and (own := hop_answer(head, route)) is not None:
            self._own.hop(Arrival(listener, client, head, decision, route), own)
            return None
        fixed = route.fixed
        if route.maintenance is not None and not _allowed(route, decision.client):
            fixed = route.maintenance
        if fixed is not None:
            arrival = Arrival(listener, client, head, decision, route)
            self._own.answer(arrival, fixed.status, fixed.body, fixed.content_type, fixed.fields(head))
            return None
        lane_cookie = None
        if route.split is not None:
            lane, lane_cookie = route.split.pick(head.value(b"cookie") or b"")
            route = route.lanes[lane]
        decision.route = route.name
        decision.pool = route.pool.name
        if route.cache is not None:
            return self.cache.open(client, head, route, route.cache, decision, listener.tally, lane_cookie)
        if self.table.caches and head.method not in SAFE:
            return self.cache.unsafe(client, head, route, decision, listener.tally, lane_cookie)
        return Exchange(self, client, head, route, decision, listener.tally, lane_cookie)

    def failed(self, arrival: Arrival, error: Exception) -> None:
        """A guard has raised: that is our fault, and no reason to let anybody in."""
        assert arrival.route is not None  # it is a route's
        self._views.on_event("guard_failed", arrival.route.name, _place_of(error))
        self._own.turn_away(arrival, 500, "this site could not find out whether you may come", outcome="unserved")

    def refuse(self, arrival: Arrival, refusal: Refusal) -> None:
        """A guard has it answered so."""
        self._own.refuse(arrival, refusal)

    def refused(self, listener: Listener, client: ClientConnection, status: int, size: int) -> None:
        """What came was no request: it is counted and logged with what is known of it."""
        decision = Decision(listener.name, client.address, monotonic())
        decision.route = UNROUTED
        decision.status = status
        decision.outcome = "refused"
        decision.bytes_out = size
        decision.finished = decision.started
        self._count(decision, listener.tally, self._unrouted)

    def over(self, finished: Finished) -> None:
        """A request is over and its decision complete."""
        self.ended(finished.decision, finished.listener, finished.route)

    def ended(self, decision: Decision, listener: ListenerTally, route: Route) -> None:
        """The same of a request that has left nothing else behind."""
        if decision.cache:
            route.tally.cache[decision.cache] += 1
        self._count(decision, listener, route.tally)

    def route_for(self, head: RequestHead) -> Route | None:
        """The route that such a request would take; None when that cannot be said."""
        try:
            return self.table.match(head)
        except TwoWays:
            return None

    def _count(self, decision: Decision, listener: ListenerTally, route: RouteTally) -> None:
        method = decision.method
        status = decision.status
        outcome = decision.outcome
        listener.requests[method if method in METHODS else "OTHER", status] += 1
        listener.bytes_in += decision.bytes_in
        listener.bytes_out += decision.bytes_out
        route.codes[status] += 1
        route.bytes_out += decision.bytes_out
        if decision.holds is not None:
            for place in decision.holds:
                place.release()
        if outcome != "tunnel":  # how long a tunnel was open says nothing of how quick the route is
            route.latency.observe(decision.finished - decision.started)
        views = self._views
        if views.events is not None:
            if decision.event is not None:
                views.events.observe(decision)
            elif status < 300 and method in CHANGING:
                views.events.learn(decision)
        if views.every is not None:
            views.every.observe(decision)
        if views.failures is not None and (status >= 500 or outcome not in _EXPECTED):
            views.failures.observe(decision)


class _Return:
    """How a request that had to wait comes back to where it came from."""

    __slots__ = ("_arrival", "_reception")

    def __init__(self, reception: Reception, arrival: Arrival) -> None:
        self._reception = reception
        self._arrival = arrival

    def refuse(self, refusal: Refusal) -> None:
        self._reception.refuse(self._arrival, refusal)

    def failed(self, error: Exception) -> None:
        self._reception.failed(self._arrival, error)

    def let_in(self) -> Serving | None:
        listener, client, head, decision, route = self._arrival
        assert route is not None  # a guard is a route's
        return self._reception.admit(listener, client, head, decision, route)

    def over(self, finished: Finished) -> None:
        self._reception.over(finished)


def _behind_proxies(listener: Listener, client: ClientConnection, head: RequestHead) -> str:
    """The nearest address that is no trusted proxy, read from the right of X-Forwarded-For."""
    values = [field.value for field in head.common.special if field.kind == FORWARDED_FOR]
    for part in reversed(b",".join(values).split(b",")[-MOST_HOPS:]):
        try:
            # A zone means nothing on another machine than the one that wrote it, and may be any text.
            address = str(ip_address(part.strip(b' \t"').decode("ascii", "replace").partition("%")[0]))
        except ValueError:
            break  # whoever wrote this cannot be believed further
        if not listener.trusts(address):
            return address
    return client.address


def _place_of(error: Exception) -> str:
    """Its kind and where it was raised, and not its text, which may have a secret of a client's in it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace is not None else None
    place = f" in {code.co_qualname}, line {trace.tb_lineno}" if code is not None and trace is not None else ""
    return f"{type(error).__name__}{place}"


def _allowed(route: Route, client: str) -> bool:
    """Whether the client is let through a route's maintenance."""
    assert route.maintenance is not None
    return bool(route.maintenance.allow) and client in route.maintenance.allow
