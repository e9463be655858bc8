"""The shared cache of a plane: a request is answered from memory, or is given whatever else gets it an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from ipaddress import ip_address
from time import monotonic
from time import time as wall_time  # noqa: TID251  # HTTP dates are wall-clock time (RFC 9110 section 5.6.7)
from typing import Final, Protocol
from urllib.parse import urljoin

from balancer.cache.asks import Asks, asks_of
from balancer.cache.cache_status import line as cache_status
from balancer.cache.conditions import MOST_VALIDATED
from balancer.cache.entry import Entry
from balancer.cache.keys import url_key
from balancer.cache.memory import Memory
from balancer.cache.purges import Purge, of_group
from balancer.cache.rules import Rule
from balancer.cache.serving import FRESH, STALE_WHILE_REVALIDATE, may_serve_on_error, may_serve_unreachable, use
from balancer.cache.storing import groups
from balancer.cache.variants import matches
from balancer.caching import order as why
from balancer.caching.fetch import Fetch, Past, Unsafe
from balancer.caching.fill import Fill
from balancer.caching.follower import Follower
from balancer.caching.order import Order
from balancer.caching.places import behind_proxy, key_of
from balancer.caching.purging import PURGE, Purging
from balancer.caching.sender import HIT, Counting, Sender
from balancer.caching.stock import Second, Stock
from balancer.decision import Decision
from balancer.http1.head import RequestHead, ResponseHead
from balancer.proxy.exchange import Exchange
from balancer.proxy.nobody import Nobody
from balancer.proxy.sides import ClientSide, Serving
from balancer.routing import Route
from balancer.tally import ListenerTally
from config.schema import Cache
from config.values import Network

SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Methods that change nothing (RFC 9110 section 9.2.1). Of one that is not known that cannot be said."""


class Front(Counting, Protocol):
    """What the cache stands behind: the reception."""

    def route_for(self, head: RequestHead) -> Route | None:
        """The route that such a request would take."""


class SharedCache:
    """Where requests of cached routes are answered, in the words of RFC 9111 a shared cache.

    A request is answered from memory at once. Otherwise `open` gives what will answer it: an exchange that fetches,
    one that follows such an exchange, or a plain one for what goes past the cache.
    """

    def __init__(self, around: Front, memory: Memory) -> None:
        self.stock = Stock(memory)
        self.wall = 0.0  # Unix time less monotonic time
        self._around = around
        self._sender = Sender(around, memory)
        self._memory = memory
        self._purge_from: tuple[Network, ...] = ()
        self._tasks: set[asyncio.Task[object]] = set()
        self.second_passed(monotonic())

    def configure(self, settings: Cache) -> None:
        """Take the settings of a configuration."""
        self.stock.configure(settings)
        self._purge_from = settings.purge_from

    def second_passed(self, now: float) -> None:
        """Once a second: the clocks drift apart when the system's is set."""
        self.wall = wall_time() - now

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
            key, lane = behind_proxy(client, head, rule, lane)
        else:
            key = url_key(client.scheme, head.host, head.target, rule)
        entry = self.stock.stored(key, lane, head)
        if asks.plain and entry is not None:
            now = decision.started
            if (
                now < entry.fresh_until
                and lane_cookie is None
                and not decision.extra
                and method == b"GET"
                and head.minor == 1
                and common.persistent
                and not client.last
                and rule.status_header
            ):
                wanted = compress.choose(asks.accept_encoding) if compress is not None else None
                self._sender.hit(client, route, entry, wanted, decision, listener, now)
                return None
        elif asks.passes:
            return self._past(client, head, route, rule, decision, listener, lane_cookie)
        order = Order(client, head, route, rule, decision, listener, lane_cookie, asks, key, lane)
        return self._find(order, entry)

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
        elif self._memory.find(order.key):
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
        together = order.rule.collapse and not self.stock.is_alone(order)
        if not asks.plain and together:
            wishes = asks.wishes
            part = asks.range is not None and stale is None
            together = not (asks.authorization or wishes.no_cache or wishes.max_age == 0 or part)
        if together:
            for fill in self.stock.fills.get(order.place, ()):
                if fill.takes(order):
                    self.stock.tally.collapsed += 1
                    return Follower(self._around, order, fill)
        if asks.wishes.no_store or (order.head.method == b"HEAD" and stale is None):
            order.decision.cache = "miss"
            return self._alone_for(order)
        hint = () if order.why is why.URI_MISS else self.stock.hint(order)
        fill = Fill(self.stock, self, order.key, order.lane, hint, self._memory.moment)
        fill.open = together and order.head.method == b"GET"
        second = self.stock.second
        if second is not None and second.up:
            fill.mark = second.mark()
            if not order.looked and not asks.wishes.no_cache:
                return self._look(second, order, fill)
        return self._lead(order, stale, fill)

    def _lead(self, order: Order, stale: Entry | None, fill: Fill) -> Fetch:
        """The exchange that fetches."""
        asks = order.asks
        as_it_is = not asks.plain and ((asks.range is not None and stale is None) or self.stock.is_alone(order))
        validated: list[Entry] = []
        if stale is not None:
            validated = [stale]
        elif order.why is why.VARY_MISS and not as_it_is:
            found = [e for e in self._memory.find(order.key) if e.lane == order.lane and e.etag is not None]
            validated = [
                e for e in found[:MOST_VALIDATED] if e.checked == self._memory.serial or self._memory.current(e)
            ]
        self.stock.tally.fills += 1
        if order.lease is not None:
            fill.lease, order.lease = order.lease, None
        if fill.open:
            self.stock.register(fill)
        return Fetch(self._around, self, order, fill, stale, validated, as_it_is=as_it_is)

    def _refresh(self, order: Order, entry: Entry) -> None:
        """Fetch anew what has just been served stale; nobody waits for it."""
        if order.place in self.stock.fills:
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
        fill = Fill(self.stock, self, order.key, order.lane, self.stock.hint(order), self._memory.moment)
        fetch = Fetch(self._around, self, again, fill, entry, [entry], client=Nobody(order.client))
        self.stock.register(fill)
        self.stock.tally.refreshes += 1
        second = self.stock.second
        if second is None or not second.up:
            fetch.start()
        else:
            fill.mark = second.mark()
            self._keep(self._refresh_from(second, fetch, entry))

    async def _refresh_from(self, second: Second, fetch: Fetch, entry: Entry) -> None:
        """Another balancer may have fetched it already; where two do at a time, the first one alone does."""
        fill, head = fetch.fill, fetch.order.head
        found = lease = None
        try:
            found = await second.get(fill.key, fill.lane, head)
            if found is None or found.born <= entry.born:
                lease = await second.lease(fill.key, fill.lane)
                if lease is None:
                    found = await second.await_other(fill.key, fill.lane, head)
        finally:
            if found is not None and found.born > entry.born and monotonic() < found.fresh_until:
                self._memory.put(found, fill.begun)
                fill.release()
            else:
                fill.lease = lease
                fetch.start()

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
        exchange = Past(self._around, client, head, route, decision, listener, lane_cookie)
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
        exchange = Unsafe(self._around, client, head, route, decision, listener, lane_cookie)
        exchange.told = told
        exchange.cache = self
        return exchange

    def _alone_for(self, order: Order) -> Past:
        """An exchange for a request whose answer is for its client alone."""
        exchange = Past(
            self._around, order.client, order.head, order.route, order.decision, order.listener, order.lane_cookie
        )
        exchange.told = cache_status(fwd=order.why) if order.rule.status_header else b""
        return exchange

    # For those who have waited.

    def serve(self, order: Order, entry: Entry, verdict: str, fwd_status: int = 0) -> None:
        """Answer with what is stored. `fwd_status` is what a server has said meanwhile."""
        shows_key = order.asks.wants_key and self.may_purge(order.decision.client)
        self._sender.serve(order, entry, verdict, fwd_status, shows_key=shows_key)

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
        serving = self._find(order, self.stock.stored(order.key, order.lane, order.head))
        if serving is not None:
            order.client.serve(serving)

    # From Redis.

    def _look(self, second: Second, order: Order, fill: Fill) -> Follower:
        """Ask Redis first. Who comes meanwhile waits too, and one of those who wait will ask a server."""
        self.stock.register(fill)
        self._keep(self._lookup(second, order, fill))
        return Follower(self._around, order, fill)

    async def _lookup(self, second: Second, order: Order, fill: Fill) -> None:
        """Put what Redis has into memory. Who waited then finds it there, or the first of them asks a server."""
        entry = lease = None
        try:
            entry = await second.get(fill.key, fill.lane, order.head)
            if entry is None and fill.open and self.stock.stored(fill.key, fill.lane, order.head) is None:
                lease = await second.lease(fill.key, fill.lane)
                if lease is None:
                    entry = await second.await_other(fill.key, fill.lane, order.head)
                elif lease:  # another may have stored it, and given its lease back, since the first look
                    entry = await second.get(fill.key, fill.lane, order.head)
        finally:
            if entry is not None and self.stock.is_news(entry, order.head):
                self._memory.put(entry, fill.begun)
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
            key = key_of(exchange.client, head, None)
            self._purge_soon([of_group(key, group) for group in groups(named_groups)])

    def _purge_soon(self, purges: list[Purge]) -> None:
        """In memory at once; nobody waits for the level below."""
        self.stock.purge(purges)
        if self.stock.second is not None:
            self._keep(self.stock.purge_below(purges))

    def _keep(self, work: Coroutine[object, object, object]) -> None:
        """Run it beside the rest, and hold it until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, client: ClientSide, head: RequestHead, target: bytes) -> None:
        """Invalidate what is stored of a URL for GET."""
        asked = RequestHead(b"GET", target, head.minor, head.common)
        asked.host = head.host
        route = self._around.route_for(asked)
        if route is None or route.cache is None:
            return
        self.stock.invalidate(key_of(client, asked, route.cache))

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
            exchange = Exchange(self._around, client, head, route, decision, listener)
            exchange.fail(403, "PURGE is for the addresses in cache.purge_from", "refused")
            return None
        soft = (head.value(b"cache-purge") or b"").lower() == b"soft"
        purge = Purge("url", key_of(client, head, rule), soft)
        return Purging(self._around, client, head, route, decision, listener, purge, self.stock.purge_all)

    def may_purge(self, client: str) -> bool:
        """Whether a client is one of those that may steer the cache."""
        if not self._purge_from:
            return False
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:  # a Unix socket's client
            return False
        return any(address in network for network in self._purge_from)
