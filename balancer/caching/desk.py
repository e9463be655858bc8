"""Where a request of a cached route is answered from memory, or is given whatever else gets it an answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from ipaddress import ip_address
from time import monotonic
from time import time as wall_time  # noqa: TID251  # HTTP dates are wall-clock time (RFC 9110 section 5.6.7)
from typing import Final, Protocol
from urllib.parse import urljoin

from balancer.cache.asks import Asks, asks_of
from balancer.cache.cache_status import line as cache_status
from balancer.cache.conditions import MOST_VALIDATED
from balancer.cache.entry import Entry, Selecting
from balancer.cache.keys import url_key
from balancer.cache.memory import Memory
from balancer.cache.purge_log import Purged
from balancer.cache.purges import Purge, of_group
from balancer.cache.receipts import LevelReceipt, PurgeReceipt
from balancer.cache.rules import Rule
from balancer.cache.serving import FRESH, STALE_WHILE_REVALIDATE, may_serve_on_error, may_serve_unreachable, use
from balancer.cache.storing import groups
from balancer.cache.variants import matches, selecting
from balancer.caching import order as why
from balancer.caching.fetch import Fetch, Nobody, Past, Unsafe
from balancer.caching.fill import Fill
from balancer.caching.follower import Follower
from balancer.caching.order import Lane, Order
from balancer.caching.purging import PURGE, Purging
from balancer.caching.stored import SEPARATE, WITHOUT_CONTENT, answer, connection_line, encoded
from balancer.compression import compress as compressed
from balancer.compression.coders import SLICE
from balancer.decision import Decision
from balancer.http1.fields import FORWARDED, FORWARDED_HOST, FORWARDED_OTHER, FORWARDED_PROTO
from balancer.http1.head import RequestHead, ResponseHead
from balancer.proxy.exchange import Exchange
from balancer.proxy.sides import ClientSide, Serving, Surroundings
from balancer.routing import Route
from balancer.tally import CacheTally, ListenerTally
from balancer.telemetry.cache_report import CacheReport, SecondReport
from config.schema import Cache
from config.values import Network

SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Methods that change nothing (RFC 9110 section 9.2.1). Of one that is not known that cannot be said."""
ALONE: Final = 10.0
"""Seconds in which requests do not wait for each other, after an answer that was for one of them only."""
MOST_ALONE: Final = 4096
REAPED: Final = 1000
"""Entries that a tick of a tenth of a second looks at for those that were purged."""
MOST_PASSES: Final = 10_000
"""Turns in which the store is gone through for a receipt; ten million entries are more than fit into any memory."""
TOGETHER: Final = 32
"""Purges that the level below is told of at once: with a thousand it misses its deadlines, and is taken for dead."""
HIT: Final = "hit"
_ADDRESSES: Final = frozenset(
    (b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"x-forwarded-for")
)
_NODE_PARTS: Final = re.compile(rb'(?i)(?:\A|[;,])[\t ]*(host|proto)=("[^"]*"|[^;,"]*)')


class Front(Surroundings, Protocol):
    """What the desk stands in: the reception."""

    def ended(self, decision: Decision, listener: ListenerTally, route: Route) -> None:
        """A request is over and its decision complete."""

    def route_for(self, head: RequestHead) -> Route | None:
        """The route that such a request would take."""


class Second(Protocol):
    """The level below memory, which is shared with other balancers."""

    async def get(self, key: bytes, lane: Lane, request: RequestHead) -> Entry | None: ...

    async def lease(self, key: bytes, lane: Lane) -> object | None: ...

    async def await_other(self, key: bytes, lane: Lane, request: RequestHead) -> Entry | None: ...

    def release(self, lease: object) -> None: ...

    def invalidate(self, key: bytes) -> None: ...

    def mark(self) -> object: ...

    def put(self, entry: Entry, mark: object) -> None: ...

    async def purge(self, purge: Purge) -> LevelReceipt: ...

    @property
    def up(self) -> bool: ...


class Desk:
    """The cache of one plane: its memory, what is being fetched for it, and the level below.

    A request is answered from memory at once. Otherwise `open` gives what will answer it: an exchange that fetches,
    one that follows such an exchange, or a plain one for what goes past the cache.
    """

    def __init__(self, around: Front, memory: Memory) -> None:
        self.around = around
        self.memory = memory
        self.second: Second | None = None
        self.tally = CacheTally()
        self.max_object = 0
        self.purge_from: tuple[Network, ...] = ()
        self.wall = 0.0  # Unix time less monotonic time
        self.fills: dict[tuple[bytes, Lane], list[Fill]] = {}
        self._growing = 0  # bytes of bodies that are not complete
        self._alone: dict[tuple[bytes, Lane], float] = {}  # until when
        self._lookups: set[asyncio.Task[None]] = set()
        self.second_passed(monotonic())

    def configure(self, settings: Cache) -> None:
        """Take the settings of a configuration; what no longer fits into memory is evicted."""
        self.memory.limit = settings.memory
        self.max_object = settings.max_object
        self.purge_from = settings.purge_from

    def second_passed(self, now: float) -> None:
        """Once a second: the clocks drift apart when the system's is set."""
        self.wall = wall_time() - now

    def tick(self) -> None:
        """Ten times a second: give back the memory of what was purged, a little at a time."""
        self.memory.reap(REAPED)

    # A request comes.

    def open(
        self,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        rule: Rule,
        decision: Decision,
        listener: ListenerTally,
        lane_cookie: bytes | None,
    ) -> Serving | None:
        """What will answer this request; None: it has been answered."""
        common = head.common
        method = head.method
        if (method != b"GET" and method != b"HEAD") or common.has_body:
            if method == PURGE:
                return self._purging(client, head, route, rule, decision, listener)
            return self._past(client, head, route, rule, decision, listener, lane_cookie, why.METHOD)
        asks = common.asks
        if not isinstance(asks, Asks):
            asks = common.asks = asks_of(common)
        if rule.bypasses and rule.passes(head):
            return self._past(client, head, route, rule, decision, listener, lane_cookie)
        compress = route.compress
        if compress is not None and asks.if_none_match is not None:
            asks = asks_of(compress.restored(head).common)
        lane = rule.lane(route.name, route.pool.name, head)
        if client.trusted:
            key, lane = _behind_proxy(client, head, rule, lane)
        else:
            key = url_key(client.scheme, head.host, head.target, rule)
        entry = self._stored(key, lane, head)
        if asks.plain and entry is not None:
            now = decision.started
            if (
                now < entry.fresh_until
                and lane_cookie is None
                and method == b"GET"
                and head.minor == 1
                and common.persistent
                and not client.last
                and rule.status_header
            ):
                wanted = compress.choose(asks.accept_encoding) if compress is not None else None
                self._hit(client, route, entry, wanted, decision, listener, now)
                return None
        elif asks.passes:
            return self._past(client, head, route, rule, decision, listener, lane_cookie)
        order = Order(client, head, route, rule, decision, listener, lane_cookie, asks, key, lane)
        return self._find(order, entry)

    def _hit(
        self,
        client: ClientSide,
        route: Route,
        entry: Entry,
        wanted: bytes | None,
        decision: Decision,
        listener: ListenerTally,
        now: float,
    ) -> None:
        """The usual case of `serve`, and nothing but it: a whole fresh answer to a plain GET."""
        edits = route.edits
        if edits.request_id:
            request_id = decision.request_id = b"%032x" % self.around.rng.getrandbits(128)
            named = b"%b: %b\r\n" % (edits.request_id, request_id)
        else:
            named = b""
        told = encoded(entry, edits, route.compress, wanted)
        head = told.plain
        body = entry.body
        if told.coding is not None:
            coded = self._coded(entry, told.coding)
            if coded is not None:
                head, body = told.head, coded
        size = len(body)
        sent = b"%bContent-Length: %d\r\nAge: %d\r\nCache-Status: balancer; hit; ttl=%d\r\n%b\r\n" % (
            head,
            size,
            now - entry.born,
            entry.fresh_until - now,
            named,
        )
        if entry.status in WITHOUT_CONTENT:
            sent = sent.replace(b"Content-Length: 0\r\n", b"", 1)
        if size < SEPARATE:
            client.send(sent + body)
        else:
            client.send(sent)
            client.send(body)
        entry.visited = True
        entry.hits += 1
        decision.status = entry.status
        decision.bytes_out = size
        decision.cache = HIT
        decision.outcome = "ok"
        decision.finished = monotonic()
        self.around.ended(decision, listener, route)
        client.finished(True)

    def _stored(self, key: bytes, lane: Lane, head: RequestHead) -> Entry | None:
        """What is stored for such a request, fresh or not."""
        memory = self.memory
        for entry in memory.find(key):
            if entry.lane == lane and (not entry.vary or matches(entry, head)):
                if entry.checked == memory.serial or memory.current(entry):
                    return entry
                return self._stored(key, lane, head)  # it was purged, and the list is another one now
        return None

    def _find(self, order: Order, entry: Entry | None) -> Serving | None:
        """The way to an answer. What is stored for it, if anything, is not simply served."""
        asks = order.asks
        wishes = asks.wishes
        stale = None
        if entry is not None:
            verdict = use(entry, asks, monotonic())
            if verdict is FRESH:
                self.serve(order, entry, HIT)
                return None
            if verdict is STALE_WHILE_REVALIDATE:
                self._refresh(order, entry)
                self.serve(order, entry, "stale")
                return None
            order.why = why.REQUEST if monotonic() < entry.fresh_until else why.STALE
            stale = entry
        elif self.memory.find(order.key):
            order.why = why.VARY_MISS
        if wishes.only_if_cached:
            order.decision.cache = "miss"
            exchange = self._alone_for(order)
            exchange.fail(504, "nothing is stored that could answer this, and no server was to be asked", "refused")
            return None
        return self._fetch(order, stale)

    def _fetch(self, order: Order, stale: Entry | None) -> Serving:
        """Ask a server, or wait with those who wait for it already."""
        asks = order.asks
        together = order.rule.collapse and not self._is_alone(order)
        if not asks.plain and together:
            wishes = asks.wishes
            part = asks.range is not None and stale is None
            together = not (asks.authorization or wishes.no_cache or wishes.max_age == 0 or part)
        if together:
            for fill in self.fills.get(order.place, ()):
                if fill.takes(order):
                    self.tally.collapsed += 1
                    return Follower(self.around, order, fill)
        if asks.wishes.no_store or (order.head.method == b"HEAD" and stale is None):
            order.decision.cache = "miss"
            return self._alone_for(order)
        hint = () if order.why is why.URI_MISS else self._hint(order)
        fill = Fill(self, order.key, order.lane, hint, self.memory.moment)
        fill.open = together and order.head.method == b"GET"
        second = self.second
        if second is not None and second.up:
            fill.mark = second.mark()
            if not order.looked and not asks.wishes.no_cache:
                return self._look(second, order, fill)
        return self._lead(order, stale, fill)

    def _lead(self, order: Order, stale: Entry | None, fill: Fill) -> Fetch:
        """The exchange that fetches."""
        asks = order.asks
        as_it_is = not asks.plain and ((asks.range is not None and stale is None) or self._is_alone(order))
        validated: list[Entry] = []
        if stale is not None:
            validated = [stale]
        elif order.why is why.VARY_MISS and not as_it_is:
            found = [e for e in self.memory.find(order.key) if e.lane == order.lane and e.etag is not None]
            validated = [e for e in found[:MOST_VALIDATED] if e.checked == self.memory.serial or self.memory.current(e)]
        self.tally.fills += 1
        if order.lease is not None:
            fill.lease, order.lease = order.lease, None
        if fill.open:
            self.fills.setdefault(order.place, []).append(fill)
        return Fetch(self.around, self, order, fill, stale, validated, as_it_is=as_it_is)

    def _refresh(self, order: Order, entry: Entry) -> None:
        """Fetch anew what has just been served stale; nobody waits for it."""
        if order.place in self.fills:
            return
        decision = order.decision
        own = Decision(decision.listener, decision.client, monotonic())
        own.method, own.host, own.target, own.version = "GET", decision.host, decision.target, decision.version
        head = order.head
        if head.method != b"GET":
            head = RequestHead(b"GET", head.target, head.minor, head.common)
            head.host = order.head.host
        again = Order(
            order.client, head, order.route, order.rule, own, order.listener, None, order.asks, order.key, order.lane
        )
        again.why = why.STALE
        fill = Fill(self, order.key, order.lane, self._hint(order), self.memory.moment)
        if self.second is not None:
            fill.mark = self.second.mark()
        self.fills.setdefault(order.place, []).append(fill)
        self.tally.refreshes += 1
        Fetch(self.around, self, again, fill, entry, [entry], client=Nobody(order.client)).start()

    def _past(
        self,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        rule: Rule,
        decision: Decision,
        listener: ListenerTally,
        lane_cookie: bytes | None,
        fwd: bytes = why.BYPASS,
    ) -> Exchange:
        """An exchange that has nothing to do with the cache, except that it may change what is stored."""
        decision.cache = "bypass"
        told = cache_status(fwd=fwd) if rule.status_header else b""
        if head.method not in SAFE:
            return self.unsafe(client, head, route, decision, listener, lane_cookie, told)
        exchange = Past(self.around, client, head, route, decision, listener, lane_cookie)
        exchange.told = told
        return exchange

    def unsafe(
        self,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        decision: Decision,
        listener: ListenerTally,
        lane_cookie: bytes | None,
        told: bytes = b"",
    ) -> Exchange:
        """The exchange of a request that may change what is stored, on whatever route."""
        exchange = Unsafe(self.around, client, head, route, decision, listener, lane_cookie)
        exchange.told = told
        exchange.desk = self
        return exchange

    def _alone_for(self, order: Order) -> Past:
        """An exchange for a request whose answer is for its client alone."""
        exchange = Past(
            self.around, order.client, order.head, order.route, order.decision, order.listener, order.lane_cookie
        )
        exchange.told = cache_status(fwd=order.why) if order.rule.status_header else b""
        return exchange

    # From memory.

    def serve(self, order: Order, entry: Entry, verdict: str, fwd_status: int = 0) -> None:
        """Answer with what is stored. `fwd_status` is what a server has said meanwhile."""
        client, head, rule, decision = order.client, order.head, order.rule, order.decision
        now = monotonic()
        minor = head.minor
        persistent = head.common.persistent and not client.last
        compress = order.route.compress
        if compress is not None and (wanted := compress.takes(head)) is not None:
            told = encoded(entry, order.route.edits, compress, wanted)
            if told.coding is not None:
                self._coded(entry, told.coding)
        sent = answer(entry, order.route.edits, compress, order.asks, head)
        body = sent.body
        parts = [sent.head, order.extra(self.around.rng)]
        if sent.status not in WITHOUT_CONTENT:
            parts.append(b"Content-Length: %d\r\n" % len(body))
        parts.append(b"Age: %d\r\n" % max(now - entry.born, 0))
        if rule.status_header:
            hit = verdict == HIT or (verdict == "stale" and order.why is why.URI_MISS)
            key = order.key if order.asks.wants_key and self.may_purge(decision.client) else None
            parts.append(
                cache_status(hit=True, ttl=int(entry.fresh_until - now), key=key)
                if hit
                else cache_status(fwd=order.why, fwd_status=fwd_status, key=key)
            )
        parts.append(connection_line(minor, persistent))
        parts.append(b"\r\n")
        if head.method == b"HEAD":
            body = b""
        if len(body) < SEPARATE:
            parts.append(body)
            client.send(b"".join(parts))
        else:
            client.send(b"".join(parts))
            client.send(body)
        entry.visited = True
        entry.hits += 1
        decision.status = sent.status
        decision.bytes_out = len(body)
        decision.cache = verdict
        decision.outcome = "ok"
        decision.finished = now
        self.around.over(order)
        client.finished(persistent)

    def _coded(self, entry: Entry, coding: bytes) -> bytes | None:
        """The body in a coding, made when it is asked for first; a large one is made beside the loop."""
        encodings = entry.encodings
        if encodings is None:
            encodings = entry.encodings = {}
        elif coding in encodings:
            return encodings[coding] or None
        body = entry.body
        if len(body) > SLICE:
            encodings[coding] = None  # until it is there it goes as it is
            task = asyncio.get_running_loop().create_task(self._compress(entry, coding))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)
            return None
        made = encodings[coding] = compressed(coding, body)
        self.memory.resize(entry)
        return made

    async def _compress(self, entry: Entry, coding: bytes) -> None:
        made = await asyncio.to_thread(compressed, coding, entry.body)
        if entry.encodings is not None:
            entry.encodings[coding] = made
            self.memory.resize(entry)

    def settle(self, order: Order, entry: Entry, verdict: str, fwd_status: int) -> None:
        """For one who waited: what is stored will do, if it matches and may be served."""
        now = monotonic()
        asks = order.asks
        fits = matches(entry, order.head) and entry.lane == order.lane
        fits = fits and (
            use(entry, asks, now) is FRESH
            or may_serve_on_error(entry, asks, now)
            or (not fwd_status and may_serve_unreachable(entry, asks, now))
        )
        if fits:
            order.why = why.STALE
            self.serve(order, entry, verdict, fwd_status)
        else:
            self.again(order)

    def again(self, order: Order) -> None:
        """What this request waited for is not for it, or is stored by now: it begins anew."""
        order.why = why.URI_MISS
        serving = self._find(order, self._stored(order.key, order.lane, order.head))
        if serving is not None:
            order.client.serve(serving)

    # From Redis.

    def _look(self, second: Second, order: Order, fill: Fill) -> Follower:
        """Ask Redis first. Who comes meanwhile waits too, and one of those who wait will ask a server."""
        self.fills.setdefault(order.place, []).append(fill)
        task = asyncio.get_running_loop().create_task(self._lookup(second, order, fill))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)
        return Follower(self.around, order, fill)

    async def _lookup(self, second: Second, order: Order, fill: Fill) -> None:
        """Put what Redis has into memory. Who waited then finds it there, or the first of them asks a server."""
        entry = lease = None
        try:
            entry = await second.get(fill.key, fill.lane, order.head)
            if entry is None and fill.open and self._stored(fill.key, fill.lane, order.head) is None:
                lease = await second.lease(fill.key, fill.lane)
                if lease is None:
                    entry = await second.await_other(fill.key, fill.lane, order.head)
        finally:
            if entry is not None and self._is_news(entry, order):
                self.memory.put(entry, fill.begun)
            orders = [follower.order for follower in fill.followers]
            for waiting in orders:
                waiting.looked = True
            if orders:
                orders[0].lease = lease
            elif lease is not None:
                second.release(lease)
            fill.release()
            if orders and orders[0].lease is not None:
                second.release(orders[0].lease)

    def _is_news(self, entry: Entry, order: Order) -> bool:
        """Whether what Redis has is younger than what is in memory."""
        known = self._stored(order.key, order.lane, order.head)
        return known is None or entry.born > known.born

    # What fetches say.

    def refused(self, order: Order, reason: str) -> None:
        self.tally.refused[reason] += 1

    def alone(self, order: Order) -> None:
        """For a while requests for this do not wait for each other."""
        if len(self._alone) >= MOST_ALONE:
            del self._alone[next(iter(self._alone))]
        self._alone[order.place] = monotonic() + ALONE

    def _is_alone(self, order: Order) -> bool:
        if order.alone:
            return True
        until = self._alone.get(order.place) if self._alone else None
        if until is None:
            return False
        if monotonic() < until:
            return True
        del self._alone[order.place]
        return False

    def refreshed(self, fill: Fill, before: Entry, after: Entry) -> None:
        self.memory.put(after, fill.begun)
        if self.second is not None and fill.mark is not None:
            self.second.put(after, fill.mark)

    def spoiled(self, order: Order, entry: Entry) -> None:
        self.memory.remove(entry)

    def room(self, fill: Fill, size: int) -> bool:
        entry = fill.entry
        limit = self.memory.limit
        if entry is None or fill.size + size > self.max_object or self._growing + size > limit:
            self.tally.refused["too-large"] += 1
            return False
        self._growing += size
        fill.counted += size
        return True

    def keep(self, fill: Fill) -> None:
        entry = fill.entry
        assert entry is not None
        self._alone.pop((fill.key, fill.lane), None)
        self.memory.put(entry, fill.begun)
        second = self.second
        if second is not None and fill.mark is not None:
            second.put(entry, fill.mark)

    def ended(self, fill: Fill) -> None:
        self._growing -= fill.counted
        fill.counted = 0
        fill.open = False
        place = fill.key, fill.lane
        others = self.fills.get(place)
        if others is not None and fill in others:
            others.remove(fill)
            if not others:
                del self.fills[place]
        if fill.lease is not None and self.second is not None:
            self.second.release(fill.lease)
            fill.lease = None

    # What has changed.

    def changed(self, exchange: Exchange, response: ResponseHead) -> None:
        """After a request that was not safe and went well: its URL, and those it names on the same host."""
        head = exchange.head
        urls = {head.target}
        base = "http://" + head.host.decode("latin-1")
        for name in (b"location", b"content-location"):
            value = response.value(name)
            if value:
                try:
                    named = urljoin(base + head.target.decode("latin-1"), value.decode("latin-1"))
                except ValueError:  # it names nothing
                    continue
                for start in (base, "https" + base[4:]):
                    if named.startswith(start + "/"):
                        urls.add(named[len(start) :].partition("#")[0].encode("latin-1"))
        for target in urls:
            self._forget(exchange.client, head, target)
        named_groups = response.value(b"cache-group-invalidation")
        if named_groups:
            key = self._key(exchange.client, head, None)
            self.purge([of_group(key, group) for group in groups(named_groups)])

    def _forget(self, client: ClientSide, head: RequestHead, target: bytes) -> None:
        """Invalidate what is stored of a URL for GET."""
        asked = RequestHead(b"GET", target, head.minor, head.common)
        asked.host = head.host
        route = self.around.route_for(asked)
        if route is None or route.cache is None:
            return
        key = self._key(client, asked, route.cache)
        self.tally.invalidated += self.memory.invalidate(key)
        self._overtake([place for place in self.fills if place[0] == key])
        if self.second is not None:
            self.second.invalidate(key)

    @staticmethod
    def _key(client: ClientSide, head: RequestHead, rule: Rule | None) -> bytes:
        """Where the answers of a request's URL are."""
        if client.trusted:
            return _behind_proxy(client, head, rule, ())[0]
        return url_key(client.scheme, head.host, head.target, rule)

    def _purging(
        self,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        rule: Rule,
        decision: Decision,
        listener: ListenerTally,
    ) -> Serving | None:
        """PURGE: its URL, however it is stored. `Cache-Purge: soft` makes it stale."""
        decision.cache = "purge"
        if not self.may_purge(decision.client):
            exchange = Exchange(self.around, client, head, route, decision, listener)
            exchange.fail(403, "PURGE is for the addresses in cache.purge_from", "refused")
            return None
        soft = (head.value(b"cache-purge") or b"").lower() == b"soft"
        purge = Purge("url", self._key(client, head, rule), soft)
        return Purging(self.around, client, head, route, decision, listener, purge, self.purge_all)

    def report(self, second: SecondReport | None = None) -> CacheReport:
        """How full it is and what it did; what is in it takes longer to tell. `second` is the level below."""
        fills = [fill for there in self.fills.values() for fill in there]
        return CacheReport(
            memory=self.memory.figures(),
            tally=self.tally,
            fills=len(fills),
            followers=sum(len(fill.followers) for fill in fills),
            uncacheable=len(self._alone),
            second=second,
        )

    def forget(self) -> None:
        """Nothing in memory is to be believed any more: purges of others may have been missed."""
        self.memory.clear()
        self._overtake(list(self.fills))

    async def purge_all(self, purges: Iterable[Purge]) -> list[PurgeReceipt]:
        """Put purges in force on every level, and count what they met. A level that does not take it says so."""
        wanted = list(purges)
        began = monotonic()
        receipts = self.purge(wanted)
        in_force = monotonic() - began
        second = self.second
        below: list[LevelReceipt] = []
        if second is not None:
            for start in range(0, len(wanted), TOGETHER):
                below += await asyncio.gather(*map(second.purge, wanted[start : start + TOGETHER]))
        for _ in range(MOST_PASSES):
            if not self.memory.reap(REAPED):
                break
            await asyncio.sleep(0)
        found = []
        for position, purge in enumerate(wanted):
            purged = receipts[position]
            own = LevelReceipt("memory", True, purged.entries if purged.done else None, in_force)
            found.append(PurgeReceipt(purge, (own, below[position]) if below else (own,)))
        return found

    def purge(self, purges: Iterable[Purge]) -> list[Purged]:
        """Put purges in force in memory; the receipts are complete when the store has been gone through."""
        now = monotonic()
        found = []
        for purge in purges:
            self.tally.purges[purge.kind] += 1
            found.append(self.memory.purge(purge, now))
        self._overtake(list(self.fills))
        return found

    def _overtake(self, places: list[tuple[bytes, Lane]]) -> None:
        """What is being fetched there is from before a change: who comes later must not be given it."""
        for place in places:
            for fill in self.fills.pop(place):
                fill.open = False

    def may_purge(self, client: str) -> bool:
        """Whether a client is one of those that may steer the cache."""
        if not self.purge_from:
            return False
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:  # a Unix socket's client
            return False
        return any(address in network for network in self.purge_from)

    def _hint(self, order: Order) -> Selecting:
        """What will probably select the answer, going by the last one of the same URL."""
        for entry in self.memory.find(order.key):
            if entry.lane == order.lane:
                return selecting([name for name, _ in entry.vary], order.head) if entry.vary else ()
        return ()


def _behind_proxy(client: ClientSide, head: RequestHead, rule: Rule | None, lane: Lane) -> tuple[bytes, Lane]:
    """The place of a request of a trusted proxy: what that says of the client's request, servers may go by.

    It says for which host and by which scheme it was made, and perhaps more that tells answers apart. What it says of
    the client's address cannot: answers that differ by address must not be stored.
    """
    scheme, host = client.scheme, head.host
    more: list[bytes] = []
    for field in head.common.special:
        kind = field.kind
        if kind == FORWARDED_PROTO:
            scheme = field.value
        elif kind == FORWARDED_HOST:
            host = field.value
        elif kind == FORWARDED:
            more += [b"%b=%b" % part for part in _NODE_PARTS.findall(field.value)]
        elif kind == FORWARDED_OTHER and field.name not in _ADDRESSES:
            more.append(field.line)
    if host != head.host:
        more.append(head.host)
    return url_key(scheme, host, head.target, rule), (*lane, *more) if more else lane
