"""An exchange whose answer may go into the cache, or come out of it after all."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Final, Protocol

from balancer.cache.cache_status import line as cache_status
from balancer.cache.conditions import freshened, not_modified, selected, validators
from balancer.cache.dates import parse_date
from balancer.cache.entry import Entry
from balancer.cache.serving import may_serve_on_error, may_serve_unreachable
from balancer.cache.storing import Refused, judge
from balancer.caching.fill import UNKNOWN, Fill
from balancer.caching.order import URI_MISS, Order
from balancer.caching.stock import Stock
from balancer.caching.stored import connection_line, unchanged
from balancer.decision import Decision
from balancer.http1.fields import Field
from balancer.http1.framing import CHUNKED
from balancer.http1.head import NO_LENGTH, RequestFields, RequestHead, ResponseHead
from balancer.proxy.exchange import ANSWERING, OVER, TUNNEL, Exchange
from balancer.proxy.nobody import Nobody
from balancer.proxy.sides import ClientSide, Surroundings

OWN_CONDITIONS: Final = frozenset((b"if-none-match", b"if-modified-since", b"if-range", b"range"))
"""What a request asks of its own answer. The one that is fetched for the cache is to be whole."""
_STORED: Final = cache_status(fwd=URI_MISS, stored=True)
OF_THE_REQUEST: Final = ("authorization", "request-no-store")
"""Reasons for which an answer is not stored that say nothing of other requests."""
GONE: Final = (404, 410)
ERRORS: Final = frozenset((500, 502, 503, 504))
"""Answers that a stale one may stand in for (RFC 5861 section 4)."""


class Cache(Protocol):
    """Where fetches come from."""

    stock: Stock
    wall: float
    """Unix time less monotonic time."""

    def serve(self, order: Order, entry: Entry, verdict: str, fwd_status: int = 0) -> None:
        """Send a stored answer, and count the request. `fwd_status` is what a server said meanwhile."""

    def may_purge(self, client: str) -> bool:
        """Whether a client is one of those that may steer the cache."""

    def changed(self, exchange: Exchange, response: ResponseHead) -> None:
        """A request has changed something: what is stored of its URL is not to be believed any more."""


class Fetch(Exchange):
    """Gets an answer for one request, and for the cache and all who follow if it may be stored.

    Its own client gets it as from any other exchange. When that client leaves, or has what it wanted, the fetch goes
    on as long as somebody follows or the answer is being stored.
    """

    __slots__ = (
        "_as_it_is",
        "_cache",
        "_detached",
        "_feeds",
        "_renewed",
        "_slow",
        "_stale",
        "_twice",
        "_validated",
        "fill",
        "order",
    )

    def __init__(
        self,
        around: Surroundings,
        cache: Cache,
        order: Order,
        fill: Fill,
        stale: Entry | None,
        validated: Sequence[Entry],
        *,
        as_it_is: bool = False,
        client: ClientSide | None = None,
    ) -> None:
        """`stale` is what may be served if it comes to that; `validated` are those that a server is asked about.

        `as_it_is`: with what the client asks of its own answer. `client` is given where it is not the order's own.
        """
        head = order.head
        if validated:
            head = _fetching(head, validators(validated))
        elif not as_it_is and not order.asks.plain:
            head = _fetching(head, [])
        super().__init__(
            around, client or order.client, head, order.route, order.decision, order.listener, order.lane_cookie
        )
        self.order = order
        self.fill = fill
        fill.source = self
        self._as_it_is = as_it_is and not validated
        self._cache = cache
        self._stale = stale
        self._validated = validated
        self._renewed: Entry | None = None  # what a 304 says is good still, until that answer has ended
        self._feeds = False  # its body goes to the fill
        self._slow = False  # its client does not take what it is sent, which has not mattered so far
        self._detached = client is not None
        self._twice = False  # a 304 was of no use: the whole answer has to be asked for

    # The answer.

    def _answer_with(self, response: ResponseHead, length: int) -> None:
        status = response.status
        order = self.order
        decision = self.decision
        if status == 304 and self._validated:
            self._not_modified(response)
            return
        if status in ERRORS and self._stale is not None:
            now = monotonic()
            if may_serve_on_error(self._stale, order.asks, now):
                self._serve_stale(self._stale, status)
                return
        if order.head.method == b"HEAD":
            if self._stale is not None and _tells_of_another(self._stale, response):
                self._cache.stock.spoiled(order, self._stale)
            decision.cache = "expired"
            self.extra = decision.extra + (self._status(status, stored=False) if order.rule.status_header else b"")
            super()._answer_with(response, length)
            return
        rule = order.rule
        cache = self._cache
        now = decision.first_byte
        verdict = judge(
            order.head,
            order.asks,
            response,
            rule,
            order.key,
            order.lane,
            asked=decision.sent,
            now=now,
            wall=cache.wall + now,
        )
        decision.cache = "expired" if self._stale is not None else "miss"
        entry: Entry | None = None
        reason = ""
        if isinstance(verdict, Refused):
            reason = verdict.reason
        elif length < 0 and length != CHUNKED:
            reason = "until-close"  # where it ends cannot be told from where it was cut
        elif verdict.vary and self._varies_by_ours(verdict):
            reason = "vary"
        else:
            entry = verdict
        if reason:
            cache.stock.refused(order, reason)
        stale = self._stale
        # The server's newest word is that nobody else may have it: what was stored is for nobody else either, unless
        # this answer is about who asked.
        if (
            stale is not None
            and isinstance(verdict, Refused)
            and (status < 400 or status in GONE)
            and not self._is_of_the_request(verdict)
        ):
            cache.stock.spoiled(order, stale)
        if entry is None or now >= entry.fresh_until:
            if status < 500 and not self._is_of_the_request(verdict):
                cache.stock.alone(order)
            self.fill.release(alone=True)
        if order.rule.status_header:
            self.extra = decision.extra + self._status(status, stored=entry is not None, reason=reason)
        if entry is None:
            if self._detached:
                self.unwanted()
            else:
                super()._answer_with(response, length)
            return
        self._feeds = True
        if not order.asks.plain and status == 200 and not_modified(order.asks, entry):
            self._send_unchanged(entry)
        else:
            super()._answer_with(response, length)
        self.fill.begin(entry, length if length >= 0 else UNKNOWN)

    def _is_of_the_request(self, verdict: Entry | Refused) -> bool:
        """Whether an answer was not stored for what this client asked of it, which says nothing of other requests."""
        return isinstance(verdict, Refused) and (self._as_it_is or verdict.reason in OF_THE_REQUEST)

    def _pack(self, response: ResponseHead, length: int) -> tuple[ResponseHead, int]:
        """What nobody is sent is not compressed: a coder would take its share of memory, and not give it back."""
        return (response, length) if self._detached else super()._pack(response, length)

    def _varies_by_ours(self, entry: Entry) -> bool:
        """Whether it varies by what the balancer has told the server: what a client sent there selects nothing."""
        ours = {self.route.edits.request_id.lower()}
        if self.client.vouched is not None:
            ours.add(self.client.vouched[0].lower())
        return any(name in ours for name, _ in entry.vary)

    def _status(self, status: int, *, stored: bool, reason: str = "") -> bytes:
        """What the cache did, as a line; `reason` is why the answer is not stored."""
        order = self.order
        key = order.key if order.asks.wants_key and self._cache.may_purge(self.decision.client) else None
        if stored and order.why is URI_MISS and key is None:
            return _STORED
        fwd_status = status if self._validated else 0
        detail = reason.encode("ascii") or None
        return cache_status(fwd=order.why, fwd_status=fwd_status, stored=stored, key=key, detail=detail)

    def response_body(self, pieces: list[bytes]) -> None:
        if self._feeds:
            self.fill.feed(pieces)
        if not self._detached:
            super().response_body(pieces)

    def response_end(self, trailers: list[Field], reusable: bool) -> None:
        renewed = self._renewed
        if self._twice:
            self._ask_again(reusable)
        elif renewed is None:
            if self._feeds:
                self._feeds = False
                if self._upstream is not None and self._upstream.excess:
                    self.fill.kept = False
                self.fill.complete()
            super().response_end(trailers, reusable)
        else:
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                upstream.release(reusable)
            self._leave_server()
            self.state = OVER
            if monotonic() < renewed.fresh_until:
                self.fill.settle(renewed, "revalidated", 304)
            else:
                self._cache.stock.alone(self.order)
                self.fill.release(alone=True)
            if not self._detached:
                self._cache.serve(self.order, renewed, "revalidated", 304)

    # What is stored already.

    def _not_modified(self, response: ResponseHead) -> None:
        """A server says that what is stored is good still: its end follows at once, and then that is served."""
        order = self.order
        decision = self.decision
        entry = selected(self._validated, response)
        now = decision.first_byte
        if entry is not None:
            fresh = freshened(
                entry,
                order.head,
                order.asks,
                response,
                order.rule,
                asked=decision.sent,
                now=now,
                wall=self._cache.wall + now,
            )
            if isinstance(fresh, Entry):
                self._renewed = fresh
                self._cache.stock.refreshed(self.fill, entry, fresh)
            else:
                self._renewed = entry  # good for this once, and not to be kept
                self._cache.stock.spoiled(order, entry)
        else:
            self._twice = True

    def _ask_again(self, reusable: bool) -> None:
        """A 304 for something that is not stored: ask for all of it (RFC 9111 section 4.3.3)."""
        self._twice = False
        self._validated = ()
        self.head = _fetching(self.order.head, [])
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.release(reusable)
        self._leave_server()
        self.start()

    def _serve_stale(self, entry: Entry, fwd_status: int) -> None:
        """Answer with what is stored, since what a server says or does not say is no use."""
        self._drop_attempt()
        self.state = OVER
        self.fill.settle(entry, "stale", fwd_status)
        if not self._detached:
            self._cache.serve(self.order, entry, "stale", fwd_status)

    def _send_unchanged(self, entry: Entry) -> None:
        """The client has it already: it is told so, and the rest is for the cache alone."""
        order = self.order
        head = order.head
        persistent = self.persistent and not self.client.last
        extra = order.extra(self.around.rng) + connection_line(head.minor, persistent)
        if order.rule.status_header:
            extra += cache_status(fwd=order.why, fwd_status=200, stored=True)
        self.state = ANSWERING
        self.flush()  # interim answers come first
        self.client.send(b"%b%b\r\n" % (unchanged(entry, order.edits, order.route.compress, head), extra))
        self.decision.status = 304
        client = self.client
        self._detach("ok")
        client.finished(persistent)

    # Without a client, or without a server.

    def client_gone(self) -> None:
        if self.state in (OVER, TUNNEL):
            super().client_gone()
        elif self.fill.followers or (self._feeds and self.fill.kept):
            self.decision.status = self.decision.status or 499
            self._detach("client-abort")
        else:
            self.fill.release()
            super().client_gone()

    def _detach(self, outcome: str) -> None:
        """Count the request as done, and go on without its client."""
        decision = self.decision
        decision.outcome = outcome
        decision.finished = monotonic()
        self.around.over(self)
        rest = Decision(decision.listener, decision.client, decision.started)
        rest.sent, rest.first_byte, rest.status = decision.sent, decision.first_byte, decision.status
        rest.request_id, rest.server, rest.reused = decision.request_id, decision.server, decision.reused
        rest.method, rest.attempts = decision.method, decision.attempts
        self.decision = rest
        self.client = Nobody(self.client)
        self._detached = True
        self._unpack()
        if self._client_full or self._slow:
            self.client_drained()

    def unwanted(self) -> None:
        if self._is_for_nobody and self.state != OVER:
            self._drop_attempt()
            self.fill.release()
            self._over("client-abort")

    @property
    def _is_for_nobody(self) -> bool:
        return self._detached and not self.fill.kept and not self.fill.followers

    def flush(self) -> None:
        super().flush()
        if self._feeds and self._upstream is not None and self._is_for_nobody:
            self.unwanted()  # it has turned out to be too large, and its client has left long since

    def throttle(self, behind: bool) -> None:
        if self._slow and not self._client_full:
            super().client_full()
        upstream = self._upstream
        if upstream is not None and not self._client_full:
            if behind:
                upstream.hold()
            else:
                upstream.resume()

    def client_full(self) -> None:
        """What is to be stored is in memory anyway: one slow client need not slow down those who follow."""
        self._slow = True
        if not (self._feeds and self.fill.kept):
            super().client_full()

    def client_drained(self) -> None:
        self._slow = False
        super().client_drained()

    def _give_up(self, status: int, reason: str, outcome: str) -> None:
        stale = self._stale
        if stale is not None:
            now = monotonic()
            asks = self.order.asks
            if may_serve_unreachable(stale, asks, now) or may_serve_on_error(stale, asks, now):
                self._serve_stale(stale, 0)
                return
            if stale.strict:
                status = 504  # RFC 9111 section 5.2.2.2
        self.fill.failed(status, reason, outcome)
        super()._give_up(status, reason, outcome)

    def _cut(self, outcome: str) -> None:
        self._feeds = False
        self.fill.broken(outcome)
        super()._cut(outcome)

    def _over(self, outcome: str) -> None:
        if self._detached:
            self.state = OVER
        else:
            super()._over(outcome)


class Past(Exchange):
    """A request that goes past the cache. `told` is the line that says so, or empty."""

    __slots__ = ("told",)

    told: bytes

    def _answer_with(self, response: ResponseHead, length: int) -> None:
        self.extra += self.told
        super()._answer_with(response, length)


class Unsafe(Past):
    """A request that may change what is stored of its URL (RFC 9111 section 4.4)."""

    __slots__ = ("cache",)

    cache: Cache

    def _answer_with(self, response: ResponseHead, length: int) -> None:
        super()._answer_with(response, length)
        if response.status < 400:
            self.cache.changed(self, response)


def _tells_of_another(entry: Entry, response: ResponseHead) -> bool:
    """Whether the answer to a HEAD is about something else than what is stored (RFC 9111 section 4.3.5)."""
    if response.status != entry.status:
        return response.status < 400
    etag, modified = response.value(b"etag"), response.value(b"last-modified")
    return (
        (etag is not None and etag != entry.etag)
        or (modified is not None and parse_date(modified) != entry.last_modified)
        or (response.length != NO_LENGTH and response.length != len(entry.body))
    )


def _fetching(head: RequestHead, added: Sequence[Field]) -> RequestHead:
    """The request as it is made for the cache: without what its client asks of its own answer, and with our own."""
    before = head.common
    fields = [field for field in before.fields if field.name not in OWN_CONDITIONS]
    common = RequestFields(b"", before.minor, [*fields, *added], before.special)
    common.host = before.host
    common.persistent = before.persistent
    common.names = before.names
    common.via = before.via
    common.user_agent = before.user_agent
    made = RequestHead(head.method, head.target, head.minor, common)
    made.host = head.host
    return made
