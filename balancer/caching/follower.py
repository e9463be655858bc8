"""A request that waits for an answer which is being fetched already, and reads along with it."""

from __future__ import annotations

from time import monotonic
from typing import Final

from balancer.cache.cache_status import line as cache_status
from balancer.cache.conditions import not_modified
from balancer.cache.entry import Entry
from balancer.cache.variants import matches
from balancer.caching.fill import UNKNOWN, Fill
from balancer.caching.order import Order
from balancer.caching.stored import WITHOUT_CONTENT, connection_line, encoded, unchanged
from balancer.compression.coders import SLICE
from balancer.decision import Decision
from balancer.http1.fields import Field
from balancer.http1.framing import LAST_CHUNK, chunk
from balancer.proxy.exchange import Exchange
from balancer.proxy.sides import Surroundings
from balancer.routing import Route
from balancer.tally import ListenerTally

STEP: Final = 64 * 1024
"""Bytes that a client which is behind is handed at a time: about as much as waits for it at most."""


class Follower:
    """One such request, from the moment it waits to its end; to its client's connection it is an exchange."""

    __slots__ = (
        "_around",
        "_behind",
        "_complete",
        "_fill",
        "_over",
        "_persistent",
        "_waits",
        "at",
        "decision",
        "listener",
        "order",
        "route",
    )

    def __init__(self, around: Surroundings, order: Order, fill: Fill) -> None:
        self._around = around
        self._fill = fill
        self._behind = False  # the client has not taken what it was sent
        self._complete = False  # nothing more comes, but it has not been handed over yet
        self._over = False
        self._waits = False
        self._persistent = order.head.common.persistent
        self.at = 0  # the number of the next piece for it
        self.order = order
        self.decision: Decision = order.decision
        self.listener: ListenerTally = order.listener
        self.route: Route = order.route

    # What the client's connection says.

    def start(self) -> None:
        self._fill.join(self)

    def request_body(self, pieces: list[bytes]) -> None:
        raise AssertionError("a request with a body does not wait for another's answer")

    def request_end(self, trailers: list[Field]) -> None:
        raise AssertionError("a request with a body does not wait for another's answer")

    def client_fault(self, status: int, reason: str) -> None:
        raise AssertionError("there is no body that could be at fault")

    def client_gone(self) -> None:
        if not self._over:
            self.decision.status = self.decision.status or 499
            self._end("client-abort")
            self._fill.leave(self)

    def client_full(self) -> None:
        self._behind = True

    def client_drained(self) -> None:
        self._behind = False
        if not (self._over or self._waits):
            self._catch_up()
            self._fill.caught_up()

    # What the fill says.

    def begin(self, entry: Entry, *, may_wait: bool = True) -> None:
        """The head is there. `may_wait`: the whole of a short answer will be, too, and can be compressed at once."""
        order = self.order
        head = order.head
        if not matches(entry, head):
            self._fill.dismiss(self)
            return
        decision = self.decision
        now = decision.first_byte = monotonic()
        decision.cache = "collapsed"
        edits = order.edits
        length = self._fill.length
        persistent = self._persistent and not order.client.last
        bodiless = head.method == b"HEAD"
        extra = order.extra(self._around.rng)
        if order.rule.status_header:
            extra += cache_status(fwd=order.why, collapsed=True, stored=True)
        extra += b"Age: %d\r\n" % max(now - entry.born, 0)
        if not order.asks.plain and not_modified(order.asks, entry):
            decision.status = 304
            sent = unchanged(entry, edits, order.route.compress, head)
            bodiless = True
        else:
            decision.status = entry.status
            compress = order.route.compress
            told = encoded(entry, edits, compress, compress.takes(head) if compress is not None else None, length)
            if may_wait and told.coding is not None and UNKNOWN != length <= SLICE and not bodiless:
                self._waits = True  # for the whole of it, which is compressed once for all
                return
            sent = told.plain
            if entry.status in WITHOUT_CONTENT:
                bodiless = True
            elif length != UNKNOWN:
                extra += b"Content-Length: %d\r\n" % length
            elif head.minor:
                extra += b"Transfer-Encoding: chunked\r\n"
            else:
                persistent = persistent and bodiless
        self._persistent = persistent
        order.client.send(b"%b%b%b\r\n" % (sent, extra, connection_line(head.minor, persistent)))
        if bodiless:
            self._done()
            self._fill.leave(self)
        else:
            self._catch_up()

    def more(self, data: bytes, count: int, size: int) -> None:
        """The next `count` pieces: `size` bytes of body, framed in `data`."""
        if self._waits:
            fill = self._fill
            if not fill.kept and fill.entry is not None:  # the server is held until everybody has taken what there is
                self._waits = False
                self.begin(fill.entry, may_wait=False)
        elif not self._behind:
            self.at += count
            self.decision.bytes_out += size
            self.order.client.send(data if self.order.head.minor or self._fill.length != UNKNOWN else self._bare(count))

    def finish(self) -> None:
        """The answer is complete. A slow client goes on taking it from where it is, as all others do."""
        if self._waits:
            self._over = True
            self._fill.serve_whole(self)
            return
        self._complete = True
        if not self._fill.kept:
            self._behind = False  # little is left, since the server was held; and nobody keeps it any longer
        self._catch_up()

    def fail(self, status: int, reason: str, outcome: str) -> None:
        """No server has answered."""
        order = self.order
        self._over = True
        exchange = Exchange(self._around, order.client, order.head, order.route, self.decision, self.listener)
        exchange.fail(status, reason, outcome)

    def cut(self, outcome: str) -> None:
        """The answer broke off, and its beginning is with the client, unless that was to get it as a whole."""
        if self._waits:
            late = outcome in ("upstream-timeout", "deadline")
            self.fail(504 if late else 502, "the server's answer broke off", outcome)
            return
        self._end(outcome)
        self.order.client.cut()

    def _catch_up(self) -> None:
        """Hand over what is there for as long as the client takes it: sent, it would be a copy for each client."""
        fill, client = self._fill, self.order.client
        framed = fill.length == UNKNOWN and self.order.head.minor
        most = None if self._complete and not fill.kept else STEP
        while not self._behind:
            pieces = fill.since(self.at, most)
            if not pieces:
                break
            self.at += len(pieces)
            self.decision.bytes_out += sum(map(len, pieces))
            client.send(chunk(pieces) if framed else b"".join(pieces))
        if self._complete and not self._over and not fill.since(self.at, 1):
            if framed:
                client.send(LAST_CHUNK)
            self._done()

    def _bare(self, count: int) -> bytes:
        """The last pieces without the framing that a client of HTTP/1.0 does not know."""
        return b"".join(self._fill.since(self.at - count))

    def _done(self) -> None:
        self._end("ok")
        self.order.client.finished(self._persistent)

    def _end(self, outcome: str) -> None:
        self._over = True
        self.decision.outcome = outcome
        self.decision.finished = monotonic()
        self._around.over(self)
